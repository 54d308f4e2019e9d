"""Names of territories and languages in many languages, from the data of Unicode's CLDR that `babel` installs."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping, Sequence

from metarl.base.stored import Store


def language_names() -> Mapping[str, Sequence[str]]:
    """Return the names of each language that is written in Latin letters, by its code.

    Names that English has too are left out: they are the same in many languages and would tell nothing.
    """
    import babel

    return NAMES.get(["names", babel.__version__], _read_names)


def _read_names() -> Mapping[str, Sequence[str]]:
    import babel
    import babel.localedata

    found: dict[str, set[str]] = {}
    for code in sorted(babel.localedata.locale_identifiers()):
        if "_" in code:  # a language with a territory or a script repeats most of the language's names
            continue
        locale = babel.Locale.parse(code)
        names = {*locale.territories.values(), *locale.languages.values()}
        latin = {name for name in names if is_latin(name)}
        if 2 * len(latin) > len(names):
            found[code] = latin
    english = found.pop("en")
    return {**{code: sorted(names - english) for code, names in found.items()}, "en": sorted(english)}


def is_latin(name: str) -> bool:
    """Return whether all letters of a name are Latin, and it has one."""
    letters = [letter for letter in name if letter.isalpha()]
    return bool(letters) and all(map(_is_latin_letter, letters))


NAMES: Store[Mapping[str, Sequence[str]]] = Store.of_json("names", "names of languages", dict)
"""Names by language, of the installed babel."""


@functools.cache
def _is_latin_letter(letter: str) -> bool:
    return "LATIN" in unicodedata.name(letter, "")
