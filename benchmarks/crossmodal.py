"""The symmetric contrastive loss of 256 features, forward and backward: all at once and in blocks.

    OMP_NUM_THREADS=1 python benchmarks/crossmodal.py
    OMP_NUM_THREADS=1 python benchmarks/crossmodal.py --pairs 256 16384 --repeats 7

Prints CPU seconds (medians of interleaved runs) and the peak memory of one call, each in a process
of its own, with the ratios to cross-entropy over the whole matrix of similarities, written with
torch as CLIP's authors do. 16,384 pairs take minutes, and GiB.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

sys.path.insert(0, str(Path(__file__).parent))
import measuring

from mapping_lib.crossmodal import clip_loss

FEATURES, TEMPERATURE = 256, 0.07


def plain(images: Tensor, texts: Tensor) -> Tensor:
    """Both cross-entropies of the whole matrix."""
    logits = normalize(images) @ normalize(texts).mT / TEMPERATURE
    own = torch.arange(len(images))
    return (cross_entropy(logits, own) + cross_entropy(logits.mT, own)) / 2


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy twice": plain,
    "clip_loss": partial(clip_loss, temperature=TEMPERATURE),
    "clip_loss, block 512": partial(clip_loss, temperature=TEMPERATURE, block=512),
    "clip_loss, block 2048": partial(clip_loss, temperature=TEMPERATURE, block=2048),
}


def with_gradient(name: str, pairs: int) -> Callable[[], Tensor]:
    """Return a call that computes the value and both gradients."""
    torch.manual_seed(0)
    images, texts = (torch.randn(pairs, FEATURES, requires_grad=True) for _ in range(2))

    def call() -> Tensor:
        value = LOSSES[name](images, texts)
        torch.autograd.grad(value, (images, texts))
        return value

    return call


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, nargs="*", default=[1024, 4096])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory-of", nargs=2, metavar=("NAME", "PAIRS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.memory_of:
        name, pairs = arguments.memory_of
        with_gradient(name, 64)()
        print(f"{measuring.peak_mib(with_gradient(name, int(pairs))):.0f}")
        return
    print("| pairs | function | CPU s | times plain | peak MiB | plain over it | difference |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for pairs in arguments.pairs:
        calls = {name: with_gradient(name, pairs) for name in LOSSES}
        values = {name: call().item() for name, call in calls.items()}
        taken = measuring.seconds(calls, arguments.repeats if pairs < 10_000 else 1)
        peak = {
            name: float(measuring.in_a_process_of_its_own("--memory-of", name, pairs))
            for name in LOSSES
        }
        first = next(iter(LOSSES))
        for name in LOSSES:
            row = (
                f"{pairs} | {name} | {taken[name]:.3f} | {taken[name] / taken[first]:.2f} | "
                f"{peak[name]:.0f} | {peak[first] / max(peak[name], 1):.1f} | "
                f"{abs(values[name] - values[first]):.0e}"
            )
            print(f"| {row} |", flush=True)


if __name__ == "__main__":
    main()
