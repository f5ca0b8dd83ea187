"""Build the wheel and run the library's tests against it instead of the checkout.

The wheel is unpacked beside a copy of the tests, in a folder where the checkout's ``mapping_lib``
cannot be imported from; the packages it needs are those of the running environment.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECK = """
import sys, mapping_lib
from pathlib import Path
site = Path(sys.argv[1])
found = Path(mapping_lib.__file__)
sys.exit(site not in found.parents and f"the tests would import {found}, not the wheel")
"""


def run(*command: str | Path, **settings: object) -> None:
    """Run a command and stop at its failure."""
    subprocess.run([str(part) for part in command], check=True, **settings)  # type: ignore[call-overload]


def main() -> None:
    """Build, unpack, copy the tests, run them."""
    with tempfile.TemporaryDirectory() as folder:
        dist, site, work = (Path(folder, name).resolve() for name in ("dist", "site", "work"))
        source = Path(folder, "source")
        keep = ("mapping_lib", "pyproject.toml", "README.md", "LICENSE")
        for name in keep:
            origin, copy = ROOT / name, source / name
            if origin.is_dir():
                shutil.copytree(origin, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                copy.parent.mkdir(exist_ok=True)
                shutil.copy(origin, copy)
        run(sys.executable, "-m", "build", "--wheel", "--outdir", dist, source)
        (wheel,) = dist.glob("*.whl")
        run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", site, wheel)
        shutil.copytree(ROOT / "tests", work / "tests", ignore=shutil.ignore_patterns("book"))
        shutil.copy(ROOT / "pyproject.toml", work)
        env = os.environ | {"PYTHONPATH": str(site)}
        run(sys.executable, "-c", CHECK, site, cwd=work, env=env)
        # The settings name the book's files, which a wheel has not: set them aside.
        tests = ("tests/formulas", "tests/lab")
        options = ("-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib")
        run(sys.executable, "-m", "pytest", *options, *tests, cwd=work, env=env)
        print(f"{wheel.name}: its tests pass")


if __name__ == "__main__":
    main()
