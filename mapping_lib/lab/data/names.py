"""Names of places, languages, scripts and currencies in five languages, from Unicode's CLDR."""

from mapping_lib.lab.data._arguments import one_of
from mapping_lib.lab.data.types import Translations
from mapping_lib.lab.registry import locate

DOMAINS = ("territories", "languages", "scripts", "currencies")
LANGUAGES = ("de", "es", "fr", "zh")


def cldr_names(language: str, *, domain: str | None = None) -> Translations:
    """Return English names and what another language calls the same.

    A pair that comes again in a later domain counts once ("Arabic" is a language before it is a
    script). Many names are the same in both: a third of the German ones, none of the Chinese. An
    English name may have two translations: of the language Tamil and of its script, say.

    Taught in :ref:`machine-translation` (section 6.2.3).

    Parameters
    ----------
    language
        ``"de"``, ``"es"``, ``"fr"`` or ``"zh"`` (in simplified characters).
    domain
        ``"territories"``, ``"languages"``, ``"scripts"`` or ``"currencies"``; None for all of
        them, in this order.

    Raises
    ------
    ValueError
        An unknown language or domain; the message suggests the nearest known one.
    MissingKnowledge, CorruptKnowledge
        Babel isn't installed, or has other names than the registry knows.

    Examples
    --------
    >>> cldr_names("de")
    Translations(cldr-names, all: 1391 pairs, en→de)
    >>> names = cldr_names("fr", domain="languages")
    >>> dict(zip(names.sources, names.targets))["German"]
    'allemand'
    """
    one_of(LANGUAGES, language=language)
    if domain is not None:
        one_of(DOMAINS, domain=domain)
    # Babel's data are pickles, which can run code: all that it opens is checked before it may.
    for name in ("global", "locale-data/root", "locale-data/en", f"locale-data/{language}"):
        locate("cldr-names", f"{name}.dat")
    from babel import Locale

    english, other = Locale("en"), Locale(language)
    found: dict[tuple[str, str], str] = {}  # the first domain of each pair
    for kind in DOMAINS:
        sources, targets = getattr(english, kind), getattr(other, kind)
        for code in sorted(sources.keys() & targets.keys()):
            if targets[code] != code:  # else a stand-in for a name
                found.setdefault((sources[code], targets[code]), kind)
    pairs = [pair for pair, kind in found.items() if domain in (None, kind)]
    return Translations(
        entry="cldr-names",
        split="all",
        domain=domain or "cldr-names",
        sources=tuple(source for source, _ in pairs),
        targets=tuple(target for _, target in pairs),
        languages=("en", language),
    )
