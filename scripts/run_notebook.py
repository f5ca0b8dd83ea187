"""Run one notebook with other parameters, through papermill.

    python scripts/run_notebook.py book/4_mathematics/4_1_mappings.ipynb -p seed 1 -o out.ipynb

papermill itself ignores a misspelt parameter and a notebook without a ``parameters`` cell; here
both are refused before anything runs.
"""

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any

import papermill as pm
import yaml


def check_parameters(notebook: Path, given: dict[str, Any]) -> None:
    """Raise ``ValueError`` unless the notebook declares every parameter that is given."""
    if not notebook.is_file():
        raise ValueError(f"no notebook at {notebook}")
    known = list(pm.inspect_notebook(str(notebook)))
    if not known:
        raise ValueError(f"{notebook} declares no parameters: no cell is tagged 'parameters'")
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"unknown parameter {name!r}{hint} It takes: {', '.join(known)}.")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("-o", "--output", type=Path, required=True, help="where the run is stored")
    options = parser.parse_args()
    given = {name: yaml.safe_load(value) for name, value in options.p}
    try:
        check_parameters(options.notebook, given)
    except ValueError as error:
        parser.error(str(error))
    pm.execute_notebook(
        str(options.notebook),
        str(options.output),
        parameters=given,
        cwd=str(options.notebook.parent),
        kernel_name="python3",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
