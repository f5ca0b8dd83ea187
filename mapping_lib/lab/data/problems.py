"""The problem that the chapter on practice solves, for each tier."""

from mapping_lib.lab.data.photographs import photographs
from mapping_lib.lab.data.pictures import hymenoptera
from mapping_lib.lab.data.types import Images
from mapping_lib.lab.registry import check_tier


def transfer_problem(tier: str, *, seed: int, labels_per_class: int = 1) -> tuple[Images, Images]:
    """Return the training and test images of the fine-tuning problem of a tier.

    Taught in :ref:`pytorch-fine-tuning` (section 5.2).

    Parameters
    ----------
    tier
        ``"bundled"`` and ``"full"`` take the photographs at 96 pixels; ``"real"`` takes the ants
        and bees at 224.
    seed, labels_per_class
        As :func:`mapping_lib.lab.data.photographs.photographs` takes them; they change nothing of
        the ants and bees, whose split is the official one.

    Raises
    ------
    ValueError
        An unknown tier.
    MissingKnowledge, CorruptKnowledge
        As :func:`mapping_lib.lab.data.pictures.hymenoptera` raises them.
    """
    if check_tier(tier) == "real":
        return hymenoptera(size=224)
    return photographs(labels_per_class, seed=seed, size=96)
