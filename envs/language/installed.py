"""Phrases that installed packages bring: names by babel, and messages by Django."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from metarl.base.meter import counted, meter
from metarl.base.stored import Store

from ..text.names import is_latin
from .catalogues import SOURCE, Pair, read_catalogue
from .packages import needed
from .pair_set import related

Pairs = Mapping[str, Sequence[Pair]]
"""English texts and their translations, by the code of the language."""
Scripts = Literal["latin", "all"]
"""Letters of languages."""
LEAST = 200
"""Fewest pairs of a language."""


def names_in_languages(scripts: Scripts) -> Pairs:
    """Return names of territories, languages, scripts and currencies: English, and in each language of Unicode's CLDR.

    With `latin`, those of languages that write most of them in Latin letters, and in Latin letters alone. Locales of a
    territory or a script are left out, and so are languages whose names are half those of another: they repeat it, as
    16 languages of Kenya and Tanzania repeat Swahili's. Raises MetarlError where babel is missing.
    """
    with needed("babel", "phrases 'names'"):
        import babel

    return PAIRS.get(["names, no relatives", scripts, babel.__version__], lambda: _written_in(scripts))


def _written_in(scripts: Scripts) -> Pairs:
    pairs = without_relatives(_read_names())
    if scripts == "latin":
        latin = {code: [pair for pair in found if is_latin(pair[1])] for code, found in pairs.items()}
        pairs = {code: kept for code, kept in latin.items() if 2 * len(kept) > len(pairs[code])}
    return {code: found for code, found in pairs.items() if len(found) >= LEAST}


def without_relatives(pairs: Pairs) -> Pairs:
    """Return the languages without those that are related to one with more pairs; of equals the first stays."""
    groups: dict[str, list[str]] = {}
    for code, group in zip(pairs, related(pairs), strict=True):
        groups.setdefault(group, []).append(code)
    kept = {max(codes, key=lambda code: len(pairs[code])) for codes in groups.values()}
    return {code: found for code, found in pairs.items() if code in kept}


def _read_names() -> Pairs:
    import babel
    import babel.localedata

    kinds = ("territories", "languages", "scripts", "currencies")
    english, found = babel.Locale.parse("en"), {}
    for code in sorted(babel.localedata.locale_identifiers()):
        if "_" in code or code == "en":
            continue
        locale = babel.Locale.parse(code)
        named = [(getattr(english, kind), getattr(locale, kind)) for kind in kinds]
        both = {(ours[key], theirs[key]) for ours, theirs in named for key in theirs if key in ours}
        pairs = sorted(pair for pair in both if all(pair))
        if len(pairs) >= LEAST:  # a few names may be those of several languages, which are related no more for that
            found[code] = pairs
    return found


def messages_in_languages() -> Pairs:
    """Return the messages of an installed Django: English, and in each language that it is translated into.

    Raises MetarlError where Django is missing.
    """
    with needed("Django", "phrases 'messages'"):
        import django

    files = Path(django.__file__).parent.glob("**/locale/*/LC_MESSAGES/*.mo")
    pairs = PAIRS.get(["messages", django.__version__], lambda: read_messages(sorted(files)))
    return {code: found for code, found in pairs.items() if len(found) >= LEAST}


def read_messages(files: Sequence[Path]) -> Pairs:
    """Return the messages of catalogues `CODE/LC_MESSAGES/*.mo` by code, each once; those of English are left out."""
    found: dict[str, dict[Pair, None]] = {}
    with meter("catalogues") as report:
        for path in counted(files, report, len(files)):
            code = path.parts[-3]
            if code.split("_")[0] != SOURCE:
                found.setdefault(code, {}).update(dict.fromkeys(read_catalogue(path)))
    return {code: list(pairs) for code, pairs in found.items()}


def _as_pairs(found: Mapping[str, Sequence[Sequence[str]]]) -> Pairs:
    return {code: [(one, other) for one, other in pairs] for code, pairs in found.items()}


PAIRS = Store.of_json("phrases", "phrases", _as_pairs)
"""Phrases of packages that this process has read."""
