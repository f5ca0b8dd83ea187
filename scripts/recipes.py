"""The command line that the recipes of measured results share."""

import argparse
from collections.abc import Callable, Mapping

import torch


def run_recipe(description: str, recipes: Mapping[str, Callable[[], object]]) -> None:
    """Run the recipe that the command line names, with one thread: small models are fastest so."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("recipe", choices=recipes)
    chosen = parser.parse_args().recipe
    torch.set_num_threads(1)
    recipes[chosen]()
