"""Facts that come with installed libraries: territories, and names of ImageNet's classes.

Taught in :ref:`taxonomy-of-transfer` (section 1.2.2).
"""

from collections import Counter
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from mapping_lib.lab.data._arguments import one_of
from mapping_lib.lab.registry import locate

REGIONS = ("Africa", "America", "Asia", "Europe")
"""Parts of the world, as the names of time zones begin."""

SHARED = ("an official language", "a spoken language", "a former currency")
"""What two territories may share."""


@dataclass(frozen=True, repr=False)
class Relations:
    """What the territories of one part of the world share, pair by pair.

    Attributes
    ----------
    territories
        Their names, n of them.
    pairs
        Shape (n (n − 1) / 2, 2), integers that index ``territories``.
    shared
        Shape (pairs, 3), 1 or 0: whether the two share what :data:`SHARED` names.
    same_currency
        Shape (pairs,), whether they use the same currency today.
    """

    territories: tuple[str, ...]
    pairs: Tensor
    shared: Tensor
    same_currency: Tensor

    def __repr__(self) -> str:
        return (
            f"Relations({len(self.territories)} territories, {len(self.pairs)} pairs, "
            f"{int(self.same_currency.sum())} of them with one currency)"
        )

    def among(self, chosen: Tensor) -> Tensor:
        """Tell for each pair whether both territories are among the chosen ones.

        Parameters
        ----------
        chosen
            Indices of territories.
        """
        return torch.isin(self.pairs, chosen).all(1)


def territory_relations(region: str) -> Relations:
    """Return what the territories of a region have in common, from Unicode's CLDR.

    A language counts as spoken where a tenth of the people speak it. The currency is the latest
    legal tender; former ones are those that have been replaced.

    Parameters
    ----------
    region
        One of :data:`REGIONS`; a territory belongs to the region of most of its time zones.

    Raises
    ------
    ValueError
        An unknown region; the message suggests the nearest known one.
    MissingKnowledge, CorruptKnowledge
        Babel isn't installed, or has other facts than the registry knows.

    Examples
    --------
    >>> territory_relations("Africa")
    Relations(51 territories, 1275 pairs, 47 of them with one currency)
    """
    one_of(REGIONS, region=region)
    for name in ("global", "locale-data/root", "locale-data/en"):  # pickles, which can run code
        locate("cldr-names", f"{name}.dat")
    from babel import Locale
    from babel.core import get_global

    names = Locale("en").territories
    zones = get_global("territory_zones")
    languages, money = get_global("territory_languages"), get_global("territory_currencies")
    facts = {}
    for code in sorted(zones.keys() & names.keys()):
        tender = [row for row in money.get(code, []) if row[3]]
        now = [row[0] for row in tender if row[2] is None]
        parts = Counter(zone.split("/")[0] for zone in zones[code])
        if now and parts.most_common(1)[0][0] == region:
            spoken = languages.get(code, {}).items()
            official = {k for k, v in spoken if (v["official_status"] or "").startswith("off")}
            common = {k for k, v in spoken if v["population_percent"] >= 10}
            former = {row[0] for row in tender if row[2] is not None}
            facts[names[code]] = (official, common, former, now[0])
    rows = list(facts.values())
    pairs = list(combinations(range(len(rows)), 2))
    shared = [[bool(rows[a][j] & rows[b][j]) for j in range(len(SHARED))] for a, b in pairs]
    return Relations(
        territories=tuple(facts),
        pairs=torch.tensor(pairs),
        shared=torch.tensor(shared).float(),
        same_currency=torch.tensor([rows[a][3] == rows[b][3] for a, b in pairs]),
    )


def imagenet_names() -> tuple[str, ...]:
    """Return the names of ImageNet's 1,000 classes, in the order of the logits.

    They are synonyms with commas between them. One name stands for two classes
    ("crane" is a bird and a machine).

    Examples
    --------
    >>> imagenet_names()[985], imagenet_names()[0]
    ('daisy', 'tench, Tinca tinca')
    """
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    return tuple(str(info.index_to_description(number)) for number in range(1000))
