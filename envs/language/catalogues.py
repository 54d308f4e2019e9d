"""Message catalogues of gettext: English messages with their translations into one language."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metarl.base.errors import MetarlError

from .packages import needed

Pair = tuple[str, str]
"""An English text and its translation."""
SOURCE = "en"
"""Language of messages; its own catalogues translate nothing and are left out."""
CHARSET = re.compile(rb'"Content-Type:[^"]*charset=([^\s"\\]+)')
PLACEHOLDER = re.compile(r"%(?:\(\w+\))?[-+ #0]*\d*(?:\.\d+)?[a-zA-Z]|\{\w*\}")
"""Places that programs fill: %s, %(name)s, {name}."""
LINE = re.compile(r'(#.*|((msg\w+(\[\d+\])?\s+)?"([^"\\]|\\.)*")?)')
"""A line of a .po file: a comment, a keyword with a text in quotes, or more of the text."""
SOME = 5
"""Number of things whose plural form stands beside the English plural."""


def read_catalogue(path: Path, language: str = "") -> list[Pair]:
    """Return the translated messages of a .po or .mo file, with single spaces.

    Fuzzy, obsolete and empty entries are left out, and those whose translation has other placeholders. An entry with
    plural forms gives two pairs: the English singular with the form of 1, and the plural with that of 5. Raises
    MetarlError, which names file and line, for a broken file, a wrong header, and plural forms without a rule; with a
    `language`, also for the header of another one.
    """
    with needed("polib", f"file {path.name!r}"):
        import polib

    text = _decoded(path) if path.suffix == ".po" else str(path)
    try:
        catalogue = polib.pofile(text) if path.suffix == ".po" else polib.mofile(text)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        where = re.search(r"\(line (\d+)\)", str(error))
        line = f" in line {where.group(1)}" if where else ""
        raise _no_catalogue(path, line) from None
    _require_header(catalogue.metadata, path, language)
    return list(_pairs(catalogue, path))


def _decoded(path: Path) -> str:
    """Return the text of a .po file in the encoding that its header names, else in UTF-8."""
    content = path.read_bytes()
    found = CHARSET.search(content)
    charset = found.group(1).decode("ascii", "replace") if found else "UTF-8"
    try:
        text = content.decode("UTF-8-sig" if charset.upper() in ("UTF-8", "CHARSET") else charset)
    except LookupError:
        raise MetarlError(
            f"file {str(path)!r} has the unknown charset {charset!r} in its header; name another"
        ) from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise MetarlError(
            f"file {str(path)!r} is not {charset} in line {line}; save it so, or mend its header"
        ) from None
    for number, each in enumerate(text.split("\n"), start=1):
        if not LINE.fullmatch(each.strip()):  # polib cuts a text without quotes at both ends
            raise _no_catalogue(path, f" in line {number}")
    return text


def _no_catalogue(path: Path, line: str) -> MetarlError:
    return MetarlError(f"file {str(path)!r} is no catalogue of gettext{line}; check it with msgfmt")


def _require_header(header: dict[str, str], path: Path, language: str) -> None:
    if "Content-Type" not in header:
        raise MetarlError(
            f"file {str(path)!r} has no header in its first entry; give it one with Content-Type, Language and "
            "Plural-Forms"
        )
    told = re.split(r"[-_@]", header.get("Language", "").strip().lower())[0]
    if language and told and told != re.split(r"[-_@]", language.lower())[0]:
        raise MetarlError(
            f"file {str(path)!r} is of language {language!r} by its name, and its header says Language: "
            f"{header['Language']}; mend one of both"
        )


def _pairs(catalogue: Any, path: Path) -> Iterator[Pair]:
    forms: tuple[int, int] | None = None
    for entry in catalogue:
        if entry.obsolete or "fuzzy" in entry.flags:
            continue
        if not entry.msgid_plural:
            yield from _kept(entry.msgid, entry.msgstr)
            continue
        if forms is None:
            forms = _plural_forms(catalogue.metadata.get("Plural-Forms", ""), path, getattr(entry, "linenum", None))
        for message, form in zip((entry.msgid, entry.msgid_plural), forms, strict=True):
            yield from _kept(message, entry.msgstr_plural.get(form, ""))


def _plural_forms(rule: str, path: Path, line: int | None) -> tuple[int, int]:
    """Return the plural forms of 1 and of 5 things."""
    where = f"in line {line}" if line else "in it"
    found = re.search(r"plural\s*=([^;]*);?\s*$", rule)
    if not found:
        raise MetarlError(
            f"file {str(path)!r} has plural forms {where}, and no rule for them; add Plural-Forms to its header"
        )
    try:
        form = gettext.c2py(found.group(1))
        return int(form(1)), int(form(SOME))
    except (ValueError, ArithmeticError, RecursionError):
        raise MetarlError(f"file {str(path)!r} has Plural-Forms {rule!r}, which is no rule; mend its header") from None


def _kept(message: str, translation: str) -> Iterator[Pair]:
    """Yield a message with its translation, unless one is empty or their placeholders differ."""
    one, other = " ".join(message.split()), " ".join(translation.split())
    if one and other and sorted(PLACEHOLDER.findall(one)) == sorted(PLACEHOLDER.findall(other)):
        yield one, other
