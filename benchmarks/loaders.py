"""Seconds and memory of every loader of data and weights, each in a process of its own.

    OMP_NUM_THREADS=1 python benchmarks/loaders.py
    OMP_NUM_THREADS=1 MAPPING_DATA=… python benchmarks/loaders.py

Prints a row a loader: wall-clock seconds to import what it needs and, apart from that, to load; and
by how many mebibytes the process has grown above an empty Python's. What isn't here is named.
"""

import argparse
import subprocess
import sys

LOADERS = {
    "photographs": "data.photographs(5, seed=0)",
    "handwritten-digits": "data.handwritten_digits()",
    "rendered-glyphs (1,000 digits)": "data.rendered_digits(1000, seed=0)",
    "rendered-glyphs (261 letters, 20 each)": "data.rendered_glyphs('test', seed=0)",
    "docstrings": "data.docstrings('deep-learning')",
    "cldr-names": "data.cldr_names('de')",
    "efficientnet-lite0 (torch)": "backbones.efficientnet_lite0()",
    "efficientnet-lite0 (Keras)": "keras_models.efficientnet_lite0()",
    "minilm": "language.minilm()",
    "mnist": "data.mnist()",
    "usps": "data.usps()",
    "omniglot": "data.omniglot()",
    "office-caltech10 (webcam)": "data.office_caltech10('webcam')",
    "office-caltech10-surf (webcam)": "data.office_caltech10_surf('webcam')",
    "hymenoptera": "data.hymenoptera()",
    "coco128": "data.coco128('train')",
    "sst2": "data.sst2('train')",
    "amazon-reviews (books)": "data.amazon_reviews('books')",
    "conll2003": "data.conll2003('train')",
    "wnut17": "data.wnut17('train')",
    "multi30k": "data.multi30k('de', 'train')",
    "spoken-digits": "data.spoken_digits('train')",
    "emodb": "data.emodb()",
    "resnet18": "backbones.resnet18()",
    "resnet50": "backbones.resnet50()",
    "vgg16": "keras_models.vgg16()",
}
CHILD = """
import resource, sys, time
def grown(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
module, _, call = sys.argv[1].partition(".")
before, start = grown(), time.perf_counter()
exec(f"from mapping_lib.lab import {module}")
imported = time.perf_counter()
from mapping_lib.lab.registry import MissingKnowledge
try:
    kept = eval(sys.argv[1])
except MissingKnowledge:
    print("not here")
else:
    end = time.perf_counter()
    print(f"{imported - start:.1f} | {end - imported:.2f} | {grown() - before:.0f}")
"""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    print("| loader | seconds to import | seconds to load | MiB |\n|---|---:|---:|---:|")
    for name, call in LOADERS.items():
        command = [sys.executable, "-c", CHILD, call]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        found = run.stdout.strip() or f"failed: {run.stderr.strip().splitlines()[-1]}"
        print(f"| {name} | {found} |" + " | |" * (found == "not here"), flush=True)


if __name__ == "__main__":
    main()
