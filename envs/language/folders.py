"""Folders of phrases of one's own: a catalogue or a table of two columns for each language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from metarl.base.errors import MetarlError

from .catalogues import SOURCE, Pair, read_catalogue


def read_folder(folder: Path) -> Mapping[str, Sequence[Pair]]:
    """Return the pairs of each language, by its code.

    A language is a file `xx.po` or `xx.tsv`, or the catalogues `xx/LC_MESSAGES/*.po`. Raises MetarlError, which names
    file and line, for a folder without any, two files of one language, and files that cannot be read as such.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        files = sorted(path.glob("LC_MESSAGES/*.po")) if path.is_dir() else [path]
        if not files or (path.is_file() and path.suffix not in (".po", ".tsv")):
            continue
        language = (path.name if path.is_dir() else path.stem).replace("-", "_")
        if language in found:
            first = found[language][0].relative_to(folder)
            raise MetarlError(
                f"folder {str(folder)!r} has {str(first)!r} and {str(files[0].relative_to(folder))!r} for language "
                f"{language!r}; keep one"
            )
        found[language] = files
    found = {language: files for language, files in found.items() if files[0].suffix == ".tsv" or language != SOURCE}
    if not found:
        raise MetarlError(
            f"folder {str(folder)!r} has no phrases; put a file xx.po or xx.tsv, or xx/LC_MESSAGES/*.po, for each "
            "language into it"
        )
    return {language: [pair for path in files for pair in _read(path, language)] for language, files in found.items()}


def _read(path: Path, language: str) -> list[Pair]:
    try:
        return read_table(path) if path.suffix == ".tsv" else read_catalogue(path, language)
    except OSError as error:
        raise MetarlError(f"file {str(path)!r} cannot be read ({error.strerror}); mend it, or move it away") from None


def read_table(path: Path) -> list[Pair]:
    """Return the pairs of a UTF-8 file of lines `English<TAB>translation`. Empty lines do not count.

    Raises MetarlError, which names file and line, for other columns, an empty side, and another encoding.
    """
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise MetarlError(f"file {str(path)!r} is not UTF-8 in line {line}; save it as UTF-8") from None
    pairs = []
    for line, row in enumerate(text.split("\n"), start=1):
        if not row.strip():
            continue
        cells = [" ".join(cell.split()) for cell in row.split("\t")]
        if len(cells) != 2:
            raise MetarlError(
                f"file {str(path)!r} has {len(cells)} columns in line {line}; it must have 2, the English text and its "
                "translation, with a tab between"
            )
        if not all(cells):
            empty = "the English text" if not cells[0] else "the translation"
            raise MetarlError(f"file {str(path)!r} lacks {empty} in line {line}; give it, or leave the line out")
        pairs.append((cells[0], cells[1]))
    return pairs
