"""Run one notebook with other parameters, through papermill.

    python scripts/run_notebook.py book/4_mathematics/4_1_mappings.ipynb -p seed 1 -o out.ipynb

papermill itself ignores a misspelt parameter and a notebook without a ``parameters`` cell; here
both are refused before anything runs. A run that fails or is interrupted leaves no file.
"""

import argparse
import ast
import os
import sys
from pathlib import Path
from typing import Any

import papermill as pm
from notebooks import QUIET

from mapping_lib._names import suggest
from mapping_lib.lab.files import whole


def value_of(text: str) -> Any:
    """Return the Python value that the text writes (1e-3, True, [1, 2]), else the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


def check_parameters(notebook: Path, given: dict[str, Any]) -> None:
    """Raise ``ValueError`` unless the notebook declares every parameter that is given."""
    if not notebook.is_file():
        raise ValueError(f"no notebook at {notebook}")
    try:
        known = list(pm.inspect_notebook(str(notebook)))
    except Exception as error:  # papermill lets pass whatever nbformat and json raise
        raise ValueError(f"{notebook} isn't a notebook that can be read: {error}") from error
    if not known:
        raise ValueError(f"{notebook} declares no parameters: no cell is tagged 'parameters'")
    for name in given:
        if name not in known:
            raise ValueError(f"unknown parameter {name!r}{suggest(name, known)}")


def run(notebook: Path, output: Path, given: dict[str, Any]) -> None:
    """Run the notebook in its own folder and store the run, whole or not at all.

    Raises
    ------
    ValueError
        A parameter is unknown, or the run would replace the notebook itself.
    """
    check_parameters(notebook, given)
    if output.resolve() == notebook.resolve():
        raise ValueError(f"the run would replace {notebook}: give another file to -o")
    if not output.parent.is_dir():
        raise ValueError(f"there is no folder {output.parent} to write {output.name} to")
    if data := os.environ.get("MAPPING_DATA"):  # the notebook runs in another folder
        os.environ["MAPPING_DATA"] = str(Path(data).expanduser().absolute())
    with whole(output) as draft:
        pm.execute_notebook(
            str(notebook),
            str(draft),
            parameters=given,
            cwd=str(notebook.parent),
            kernel_name="python3",
        )


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("-o", "--output", type=Path, required=True, help="where the run is stored")
    options = parser.parse_args()
    try:
        run(options.notebook, options.output, {name: value_of(text) for name, text in options.p})
    except ValueError as error:
        parser.error(str(error))
    return 0


if __name__ == "__main__":
    os.environ |= QUIET
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted; no file was written")
    except pm.PapermillExecutionError as error:
        sys.exit(f"the run failed, no file was written:\n{error}")
