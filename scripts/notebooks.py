"""Execute the book's notebooks and stamp them with what they were made from.

    python scripts/notebooks.py                  execute the stale notebooks
    python scripts/notebooks.py --all            execute every notebook
    python scripts/notebooks.py PATH …           execute these
    python scripts/notebooks.py --check          only name the stale ones; exit 1 if there are any

A notebook is stale when its stamp no longer matches its code cells, the code of the ``mapping_lib``
modules that it imports, directly or through others (docstrings and lines of comment aside), or the
results files that it names. A notebook that fails keeps its old file.
"""

import argparse
import ast
import contextlib
import hashlib
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path

import nbformat
import psutil
import yaml
from nbclient import NotebookClient
from nbformat import NotebookNode

from mapping_lib.lab.files import whole

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
CELL_TIMEOUT = 300  # seconds of wall-clock time; machines are noisy
RECORDED = (
    *("torch", "torchvision", "timm", "keras", "tensorflow"),
    *("numpy", "scikit-learn", "matplotlib"),
)
INSTALL_TAG = "install"
QUIET = {"OMP_NUM_THREADS": "1", "MAPPING_PROGRESS": "0", "PYTHONHASHSEED": "0"}
KERNEL = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


def notebook_paths() -> list[Path]:
    """Return the book's notebooks in reading order."""
    return sorted(p for p in BOOK.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)


def read(path: Path) -> NotebookNode:
    """Return the notebook stored at ``path``."""
    return nbformat.read(path, as_version=4)


def has_tag(cell: NotebookNode, *tags: str) -> bool:
    """Return whether the cell carries one of the tags."""
    return not set(tags).isdisjoint(cell.metadata.get("tags", []))


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the code cells, the generated install cell aside."""
    return [c for c in notebook.cells if c.cell_type == "code" and not has_tag(c, INSTALL_TAG)]


def python_source(cell: NotebookNode) -> str:
    """Return the cell's code without IPython's ``%`` and ``!`` lines."""
    lines = cell.source.splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def _module_file(name: str) -> Path | None:
    stem = ROOT.joinpath(*name.split("."))
    return next((f for f in (stem.with_suffix(".py"), stem / "__init__.py") if f.is_file()), None)


def _imports(source: str, module: str = "", is_package: bool = False) -> Iterator[str]:
    """Yield the names of ``mapping_lib`` modules that the source may import."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                above = parts[: len(parts) - node.level + is_package]
                base = ".".join([*above, base] if base else above)
            names = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == "mapping_lib")


def used_modules(notebook: NotebookNode, section: str = "") -> dict[str, Path]:
    """Return the library's modules behind a notebook, by name; ``section`` adds its exercises."""
    queue = list(_imports("\n".join(python_source(c) for c in code_cells(notebook))))
    if section:
        queue.append(f"mapping_lib.lab.exercises.section_{section}")
    found: dict[str, Path] = {}
    while queue:
        name = queue.pop()
        file = _module_file(name)
        if file is None or name in found:
            continue
        found[name] = file
        is_package = file.name == "__init__.py"
        queue += _imports(file.read_text(encoding="utf-8"), name, is_package)
        queue.append(name.rpartition(".")[0])
    return dict(sorted(found.items()))


def code_without_docstrings(source: str) -> str:
    """Return the source's lines without docstrings, whole-line comments and blank lines."""
    dropped: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                dropped.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = enumerate(source.splitlines(), start=1)
    kept = (line.rstrip() for number, line in lines if number not in dropped)
    return "\n".join(line for line in kept if line and not line.lstrip().startswith("#"))


def section_of(path: Path) -> str:
    """Return ``4_2`` for ``4_2_losses_and_optimisation.ipynb``."""
    numbers = []
    for part in path.stem.split("_"):
        if not part.isdigit():
            break
        numbers.append(part)
    return "_".join(numbers)


def used_results(notebook: NotebookNode) -> list[Path]:
    """Return the files of ``book/results`` whose names stand in the notebook's code."""
    strings = {
        node.value
        for cell in code_cells(notebook)
        for node in ast.walk(ast.parse(python_source(cell)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return [f for f in sorted((BOOK / "results").glob("*.json")) if f.stem in strings]


def stamp(notebook: NotebookNode, section: str = "") -> str:
    """Return the hash of the code cells and of the library code and results they use."""
    digest = hashlib.sha256()
    for cell in code_cells(notebook):
        digest.update(b"\0cell\0" + cell.source.encode())
    for name, file in used_modules(notebook, section).items():
        code = code_without_docstrings(file.read_text(encoding="utf-8"))
        digest.update(f"\0module\0{name}\0{code}".encode())
    for file in used_results(notebook):
        digest.update(f"\0results\0{file.stem}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


def is_stale(path: Path) -> bool:
    """Return whether the notebook has to be executed again, or can't even be read."""
    try:
        notebook = read(path)
        stored = notebook.metadata.get("mapping_lib", {}).get("stamp")
        return bool(stored != stamp(notebook, section_of(path)))
    except (SyntaxError, ValueError):  # executing it will say what is wrong
        return True


def repository() -> tuple[str, str]:
    """Return the address, or an empty string, and the branch in ``_config.yml``."""
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    return str(config["url"] or ""), str(config["branch"])


def set_install_cell(notebook: NotebookNode, folder: str, url: str, branch: str = "main") -> None:
    """Put the cell that prepares Colab second, or take it out without an address.

    The whole book is fetched, not the library alone: notebooks read ``book/results``. ``folder``
    is the notebook's, below the root.
    """
    notebook.cells = [c for c in notebook.cells if not has_tag(c, INSTALL_TAG)]
    if not url:
        return
    source = (
        "# On Colab this fetches the book and installs what is lacking; elsewhere, nothing.\n"
        "import importlib.util\n\n"
        'if importlib.util.find_spec("mapping_lib") is None:\n'
        f"    !git clone -q --depth 1 --branch {branch} {url} everything-is-a-mapping\n"
        f"    %cd -q everything-is-a-mapping/{folder}\n"
        f'    %pip install -q "{"/".join(".." for _ in folder.split("/"))}[lab]"'
    )
    cell = nbformat.v4.new_code_cell(source, metadata={"tags": [INSTALL_TAG, "hide-cell"]})
    cell["id"] = INSTALL_TAG
    notebook.cells.insert(1, cell)


def merge_streams(cell: NotebookNode) -> None:
    """Join what a cell printed in pieces, which a slow kernel sends one by one."""
    merged: list[NotebookNode] = []
    for output in cell.get("outputs", []):
        last = merged[-1] if merged else None
        if last and output.output_type == "stream" and last.get("name") == output.name:
            last.text += output.text
        else:
            merged.append(output)
    if cell.cell_type == "code":
        cell.outputs = merged


def _kernel_cpu_seconds(client: NotebookClient) -> float:
    process = psutil.Process(client.km.provisioner.pid)
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def execute(path: Path) -> float:
    """Execute the notebook from the top, store it with its outputs, return its CPU seconds."""
    notebook = read(path)
    folder = path.parent.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else "."
    set_install_cell(notebook, folder, *repository())
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    notebook.metadata = nbformat.from_dict(KERNEL)  # the kernel of this environment
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    with client.setup_kernel():
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
            merge_streams(cell)
        seconds = _kernel_cpu_seconds(client)
    notebook.metadata = nbformat.from_dict(
        KERNEL
        | {
            "mapping_lib": {
                "stamp": stamp(notebook, section_of(path)),
                "cpu_seconds": round(seconds, 1),
                "executed": date.today().isoformat(),
                "versions": {"python": platform.python_version()}
                | {name: version(name) for name in RECORDED},
            }
        }
    )
    write(notebook, path)
    return seconds


def write(notebook: NotebookNode, path: Path) -> None:
    """Store the notebook under its path in one step, so that no half file is ever left."""
    with whole(path) as draft:
        nbformat.write(notebook, draft)


def refresh(paths: Iterable[Path]) -> int:
    """Execute the notebooks one by one; return the number that failed."""
    failed = 0
    for path in paths:
        print(f"{shown(path)} … ", end="", flush=True)
        try:
            print(f"{execute(path):.1f} s of CPU time")
        except Exception as error:  # whatever one notebook does, the others get their turn
            failed += 1
            print(f"failed, the stored file is unchanged:\n{type(error).__name__}: {error}")
    return failed


def shown(path: Path) -> Path:
    """Return the path as it is printed: below the root where it is there."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path, help="notebooks (default: the stale ones)")
    parser.add_argument("--all", action="store_true", help="execute every notebook")
    parser.add_argument("--check", action="store_true", help="only name the stale notebooks")
    options = parser.parse_args()
    chosen = [p.resolve() for p in options.paths] or notebook_paths()
    for path in chosen:
        if not path.is_file():
            parser.error(f"no notebook at {path}")
    if options.check or not (options.all or options.paths):
        chosen = [p for p in chosen if is_stale(p)]
    if options.check:
        print("\n".join(f"stale: {shown(p)}" for p in chosen) or "all stamps are fresh")
        return int(bool(chosen))
    if not chosen:
        print("nothing to do: all stamps are fresh")
    return int(refresh(chosen) > 0)


if __name__ == "__main__":
    # One thread: on a busy machine small networks run slower with more. No bars in outputs.
    os.environ |= QUIET
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
    sys.exit("interrupted; the notebook in progress is unchanged")
