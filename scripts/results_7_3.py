"""Count what section 7.3 says about two real sets, and write it to book/results.

    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_7_3.py sst2
    OMP_NUM_THREADS=1 MAPPING_DATA=… python scripts/results_7_3.py coco

Nothing is trained. Where nothing is drawn at random there is one row, with seed 0. Only numbers are
written, no text and no image.

sst2: of GLUE's 872 validation sentences of SST-2, how many share a run of n words with the training
phrases, and, for comparison, with the reviews of books, films and things of another collection. And
of 872 training phrases, held out at random, how many share one with the other training phrases; a
seed draws them.

coco: how the boxes of the first 128 images of COCO's training and of its validation set spread over
its 80 categories.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from recipes import run_recipe

from mapping_lib.lab import results
from mapping_lib.lab.data import amazon_reviews, coco128, sst2
from mapping_lib.lab.overlaps import all_runs, shared

FOLDER = Path(__file__).resolve().parents[1] / "book" / "results"
RUNS = (3, 5, 8, 13)
DOMAINS = ("books", "dvd", "electronics", "kitchen")
PHRASES = "phrases held out at random"
OFFICIAL = "validation sentences"
CHANCE = "validation sentences, other reviews"
COUNTED = "nothing to choose"


def overlaps() -> None:
    """Count the validation sentences that share a run of words with other texts."""
    train, dev = sst2("train"), sst2("validation")
    others = [text for domain in DOMAINS for text in amazon_reviews(domain).texts]
    recorder = results.Recorder(
        FOLDER / "data_sets_sst2.json",
        problem="SST-2, texts that share a run of words with what is learned from",
        recipe="scripts/results_7_3.py sst2",
        data=("sst2", "amazon-reviews"),
        methods={
            PHRASES: results.Method(
                "872 training phrases, held out at random, against the others", COUNTED
            ),
            OFFICIAL: results.Method(
                "GLUE's 872 validation sentences against its 67,349 training phrases", COUNTED
            ),
            CHANCE: results.Method(
                "the validation sentences against 8,000 reviews of four kinds of goods: what "
                "common phrases share",
                COUNTED,
            ),
        },
        packages=("torch",),
        settings={"words": "letters and digits, lower case"},
    )

    def measure(key: results.Row) -> dict[str, float]:
        texts, known = dev.texts, train.texts if key["method"] == OFFICIAL else others
        if key["method"] == PHRASES:
            generator = torch.Generator().manual_seed(key["seed"])
            order = torch.randperm(len(train.texts), generator=generator).tolist()
            texts = [train.texts[i] for i in order[: len(dev.texts)]]
            known = [train.texts[i] for i in order[len(dev.texts) :]]
        share = shared(texts, all_runs(known, key["run"]))
        long = int((~share.isnan()).sum())
        hit = int((share > 0).sum())
        return {"long_enough": long, "shared": hit, "share": round(hit / long, 4)}

    seeds = {PHRASES: range(3), OFFICIAL: range(1), CHANCE: range(1)}
    recorder.measure(
        [
            {"method": method, "run": n, "seed": seed}
            for method, drawn in seeds.items()
            for n in RUNS
            for seed in drawn
        ],
        measure,
    )


def categories() -> None:
    """Count boxes by category."""
    recorder = results.Recorder(
        FOLDER / "data_sets_coco.json",
        problem="COCO-128, how boxes spread over categories",
        recipe="scripts/results_7_3.py coco",
        data=("coco128",),
        methods={
            "train": results.Method("the first 128 images of train2017", COUNTED),
            "test": results.Method("the first 128 images of val2017", COUNTED),
        },
        packages=("torch",),
    )

    def measure(key: results.Row) -> dict[str, float]:
        found = coco128(key["method"])
        counts = torch.cat(found.labels).bincount(minlength=len(found.classes))
        by_size = counts.sort(descending=True).values
        person = found.classes.index("person")
        with_person = [bool((labels == person).any()) for labels in found.labels]
        return {
            "images": len(found),
            "without_boxes": sum(len(labels) == 0 for labels in found.labels),
            "boxes": int(counts.sum()),
            "categories": len(found.classes),
            "never": int((counts == 0).sum()),
            "at_most_five": int((counts <= 5).sum()),
            "persons": int(counts[person]),
            "images_with_person": sum(with_person),
            "in_ten_largest": int(by_size[:10].sum()),
        }

    recorder.measure([{"method": method, "seed": 0} for method in ("train", "test")], measure)


RECIPES: dict[str, Callable[[], object]] = {"sst2": overlaps, "coco": categories}

if __name__ == "__main__":
    run_recipe(__doc__ or "", RECIPES)
