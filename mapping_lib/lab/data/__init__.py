"""Everything the notebooks learn from: one function a data set, which returns checked examples.

Every file comes through :mod:`mapping_lib.lab.registry`, so its hash has been checked. What the
readers return says which entry, domain and split it is; images have each pixel in [0, 1].
"""

from mapping_lib.lab.data.digits import handwritten_digits, mnist, usps
from mapping_lib.lab.data.docstrings import docstrings
from mapping_lib.lab.data.glyphs import rendered_digits, rendered_glyphs
from mapping_lib.lab.data.names import cldr_names
from mapping_lib.lab.data.photographs import photograph, photographs
from mapping_lib.lab.data.pictures import (
    coco128,
    hymenoptera,
    office_caltech10,
    office_caltech10_surf,
    omniglot,
)
from mapping_lib.lab.data.problems import transfer_problem
from mapping_lib.lab.data.speech import emodb, spoken_digits
from mapping_lib.lab.data.tables import breast_cancer, diabetes, wine
from mapping_lib.lab.data.texts import amazon_reviews, conll2003, multi30k, sst2, wnut17
from mapping_lib.lab.data.types import (
    Clips,
    Examples,
    Features,
    Images,
    Measurements,
    Scenes,
    TaggedSentences,
    Texts,
    Translations,
)

__all__ = [
    "Clips",
    "Examples",
    "Features",
    "Images",
    "Measurements",
    "Scenes",
    "TaggedSentences",
    "Texts",
    "Translations",
    "amazon_reviews",
    "breast_cancer",
    "cldr_names",
    "coco128",
    "conll2003",
    "diabetes",
    "docstrings",
    "emodb",
    "handwritten_digits",
    "hymenoptera",
    "mnist",
    "multi30k",
    "office_caltech10",
    "office_caltech10_surf",
    "omniglot",
    "photograph",
    "photographs",
    "rendered_digits",
    "rendered_glyphs",
    "spoken_digits",
    "sst2",
    "transfer_problem",
    "usps",
    "wine",
    "wnut17",
]
