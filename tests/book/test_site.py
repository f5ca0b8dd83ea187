"""The strict build: it passes, it fails where it should, and what it makes has no dead links."""

import html
import html.parser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import course
import pytest
import yaml
from notebooks import ROOT

from mapping_lib.lab import results

RESULTS = sorted((ROOT / "book" / "results").glob("*.json"))
JUPYTER_BOOK = str(Path(sys.executable).with_name("jupyter-book"))


def build(output, config=None, source=ROOT):
    """Build the book as `make book` does, into a folder of its own."""
    command = [JUPYTER_BOOK, "build", str(source), "-n", "-W"]
    command += ["--keep-going", "--path-output", str(output)]
    if config is not None:
        command += ["--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    result = build(folder)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return folder / "_build" / "html"


class Page(html.parser.HTMLParser):
    """The links, images and anchors of one page."""

    def __init__(self, path):
        super().__init__()
        self.links, self.images, self.anchors = [], [], set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        if tag == "img":
            self.images.append(attrs)


def test_internal_links_and_images_resolve(site):
    pages = {p: Page(p) for p in site.rglob("*.html") if "_static" not in p.parts}
    dead = []
    for path, page in pages.items():
        for link in [*page.links, *(i.get("src", "") for i in page.images)]:
            url = urlsplit(link)
            if url.scheme or url.netloc or not (url.path or url.fragment):
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            anchors = pages[target].anchors if target in pages else set()
            lost = url.fragment and target in pages and unquote(url.fragment) not in anchors
            if lost or not target.exists():
                dead.append((path.name, link))
    assert len(pages) > 60
    assert not dead


def test_every_image_has_alt_text(site):
    bare = [
        (path.name, image.get("src"))
        for path in site.rglob("*.html")
        for image in Page(path).images
        if not image.get("alt")
    ]
    assert not bare


@pytest.mark.parametrize(
    "entry", course.entries(course.read_outline()), ids=lambda entry: entry["number"]
)
def test_rendered_number_is_the_outlines(site, entry):
    above = [e for e in course.entries(course.read_outline()) if entry in e.get("sections", [])]
    holder = entry if "file" in entry else above[0]
    page = (site / "book" / f"{holder['file']}.html").read_text("utf-8")
    number = re.escape(f"{entry['number']}.")
    title = re.escape(entry["en"].replace("&", "&amp;"))
    assert re.search(rf'<span class="section-number">{number} </span>{title}<', page)


def test_nothing_is_loaded_from_elsewhere(site):
    """A reader without a network sees formulas and style all the same."""
    for path in site.rglob("*.html"):
        page = path.read_text("utf-8")
        loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', page)
        assert not loaded, path
    page = (site / "book" / "4_mathematics" / "4_1_mappings.html").read_text("utf-8")
    assert "mathjax/tex-chtml.js" in page
    assert (site / "_static" / "mathjax" / "tex-chtml.js").is_file()


def plain(words):
    """Return words without the marks that a page sets otherwise."""
    return re.sub("[`'‘’]", "", words)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_page_shows_every_file(site, path):
    page = (site / "book" / "results.html").read_text("utf-8")
    start = page.index(f'id="results-{path.stem.replace("_", "-")}"')
    section = html.unescape(page[start : page.index("</section>", start)])
    text = plain(re.sub("<[^>]+>", "", section))
    content = results.read(path)
    for words in (content["problem"][1:], content["recipe"], *content["methods"]):
        assert plain(words) in text
    for method in content["methods"].values():
        assert plain(method["chosen"]) in text
    (image,) = re.findall("<img[^>]+>", section)
    assert re.search(r'alt="\w+ of each method.* seed', image)
    assert re.search('src="data:image/png;base64,[^"]{2000}', image)


def test_buttons_follow_the_repository_setting(site, tmp_path):
    name = "book/5_practice/5_2_pytorch_fine_tuning"
    without = (site / f"{name}.html").read_text("utf-8")
    for word in ("colab.research.google.com", "mybinder.org", "/edit/", "issues/new"):
        assert word not in without
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    config["repository"]["url"] = "https://github.com/owner/name"
    config["sphinx"]["local_extensions"]["course"] = str(ROOT / "book" / "_ext")
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    result = build(tmp_path, config=tmp_path / "_config.yml")
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    page = (tmp_path / "_build" / "html" / f"{name}.html").read_text("utf-8")
    assert f"https://colab.research.google.com/github/owner/name/blob/main/{name}.ipynb" in page
    assert "https://mybinder.org/v2/gh/owner/name/main" in page
    assert f"https://github.com/owner/name/edit/main/{name}.ipynb" in page
    assert "https://github.com/owner/name/issues/new" in page


BROKEN = {
    "no-such-label": "{ref}`no-such-label`",
    "nobody1900nothing": "{cite:t}`nobody1900nothing`",
    "no-such-directive": "```{no-such-directive}\n```",
    "no_such_loss": "{py:func}`mapping_lib.losses.no_such_loss`",
    "Tensorise.me": "{py:func}`Tensorise.me`",
    "eq:losses.no_such_loss": "{eq}`eq:losses.no_such_loss`",
    "9.9": "```{course-map} 9.9\n```",
}


@pytest.fixture(scope="module")
def small_book(tmp_path_factory):
    """One sound page under the book's own settings."""
    source = tmp_path_factory.mktemp("small")
    (source / "book").mkdir()
    for name in ("_config.yml", "book/references.bib", "book/outline.yml"):
        shutil.copy(ROOT / name, source / name)
    for name in ("book/_ext", "book/_static"):
        shutil.copytree(ROOT / name, source / name)
    (source / "_toc.yml").write_text("format: jb-book\nroot: book/index\n", encoding="utf-8")
    (source / "book" / "index.md").write_text("# Title\n\nSound.\n", encoding="utf-8")
    result = build(source, source=source)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    return source


@pytest.mark.parametrize(("name", "text"), BROKEN.items(), ids=BROKEN.keys())
def test_broken_page_fails_the_build(name, text, small_book, tmp_path):
    page = small_book / "book" / "index.md"
    page.write_text(f"# Title\n\n{text}\n", encoding="utf-8")
    result = build(tmp_path, source=small_book)
    assert result.returncode != 0
    assert name in result.stdout + result.stderr


def test_results_file_that_lacks_something_fails_the_build(small_book, tmp_path):
    page = small_book / "book" / "index.md"
    page.write_text("# Title\n\n```{results}\n```\n", encoding="utf-8")
    file = small_book / "book" / "results" / "half.json"
    file.parent.mkdir()
    content = json.loads(RESULTS[0].read_text(encoding="utf-8"))
    del content["rows"][0]["seconds"]
    file.write_text(json.dumps(content), encoding="utf-8")
    result = build(tmp_path, source=small_book)
    shutil.rmtree(file.parent)
    assert result.returncode != 0
    output = " ".join((result.stdout + result.stderr).split())
    assert re.search(r"half\.json is no whole results file: row 1 has no 'seconds'", output)
