"""Data of one's own that a family reads from a file: a run keeps a copy, and knows the data again by its digest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..base.errors import MetarlError
from .model_files import REFERENCE, adopt

MOST_BYTES = 50 * 2**20
"""Largest file: a run holds a copy."""


def adopt_data(file: str, kinds: Mapping[str, str], parts: str) -> str:
    """Return what a family's setting `file` becomes: a reference of a copy; '' and references stay.

    `kinds` says by suffix what a file may be, such as {'.csv': 'CSV'}, and `parts` what to leave out of one that is too
    large. Raises MetarlError for another suffix, a file that is not there, and one above `MOST_BYTES`.
    """
    if not file or REFERENCE.fullmatch(file):
        return file
    path = Path(file).expanduser().absolute()
    require_data_file(path, kinds, parts)
    return str(adopt(str(path)))


def require_data_file(path: Path, kinds: Mapping[str, str], parts: str) -> None:
    """Raise MetarlError unless the path is that of a file which `adopt_data` takes."""
    if path.suffix.lower() not in kinds:
        raise MetarlError(f"file is {str(path)!r}; it must end in {' or '.join(kinds)}")
    if not path.is_file():
        raise MetarlError(f"file {str(path)!r} is not there; give the path of a {' or '.join(kinds.values())} file")
    if (size := path.stat().st_size) > MOST_BYTES:
        raise MetarlError(
            f"file {str(path)!r} has {size / 2**20:.0f} MB; a run holds a copy of at most {MOST_BYTES // 2**20} MB, so "
            f"leave some {parts} out"
        )


def same_digest(digest: str, found: str, data: str, restore: str) -> str:
    """Return the digest `found` of `data`, such as 'the texts of names', if a run's `digest` is the same or ''.

    Raises MetarlError, which says to `restore` it, where the data has become another.
    """
    if digest not in ("", found):
        raise MetarlError(
            f"digest is {digest!r}, and {data} have {found!r}; {restore}, or leave digest out to take those that "
            "are there"
        )
    return found
