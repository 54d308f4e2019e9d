"""Rows of text files as columns of words, with the line of each row for messages."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from metarl.base.errors import MetarlError

LATEST = 1e11
"""A time at or above is none in seconds; milliseconds since 1970 are."""


@dataclass(frozen=True)
class Layout:
    """How the rows of a file are written."""

    delimiter: str = ","
    """Text between two cells."""
    header: tuple[str, ...] = ()
    """Names of the columns; () for those that the first row names."""
    encodings: tuple[str, ...] = ("utf-8-sig",)
    """Encodings that are tried, in this order."""
    quoted: bool = True
    """Whether double quotes hold a cell together."""

    def reader(self, content: str) -> Any:
        """Return the reader of CSV files of a file's content."""
        single = content if len(self.delimiter) == 1 else content.replace(self.delimiter, "\t")
        return csv.reader(
            io.StringIO(single, newline=""),
            delimiter=self.delimiter if len(self.delimiter) == 1 else "\t",
            quoting=csv.QUOTE_MINIMAL if self.quoted else csv.QUOTE_NONE,
            strict=True,
        )


class Rows:
    """The rows of a file by columns. Raises MetarlError where the file cannot be read as such."""

    def __init__(self, path: Path, layout: Layout = Layout()) -> None:
        self.origin = f"file {path.name!r}"
        self._content, self._layout = _decoded(path, layout.encodings, self.origin), layout
        reader = layout.reader(self._content)
        try:
            cells = list(filter(None, reader))
        except csv.Error as error:
            raise MetarlError(
                f"{self.origin} is no table in line {reader.line_num} ({error}); write it again"
            ) from None
        self.header = layout.header or tuple(name.strip() for name in (cells.pop(0) if cells else ()))
        if len(set(self.header)) < len(self.header):
            raise MetarlError(f"{self.origin} names a column twice in line 1; give each a name of its own")
        self._require_whole(cells)
        self.columns = {name: list(map(itemgetter(at), cells)) for at, name in enumerate(self.header)}
        """Cells of each column, by its name."""
        self.count = len(cells)

    def _require_whole(self, cells: Sequence[Sequence[str]]) -> None:
        lengths = np.fromiter(map(len, cells), dtype=np.int64, count=len(cells))
        if (wrong := np.flatnonzero(lengths != len(self.header))).size:
            place = int(wrong[0])
            remedy = "; put a text with commas into double quotes" if self._layout.delimiter == "," else "; mend it"
            raise MetarlError(
                f"{self.origin} has {lengths[place]} cells in {self.line(place)} and {len(self.header)} columns{remedy}"
            )

    def line(self, place: int) -> str:
        """Return 'line N' for the row at a place. A cell in quotes may have several lines, so they are counted."""
        lines = self._lines()
        if not self._layout.header:
            next(lines)
        return f"line {next(number for at, number in enumerate(lines) if at == place)}"

    def _lines(self) -> Iterator[int]:
        reader = self._layout.reader(self._content)
        yield from (reader.line_num for row in reader if row)

    def require_columns(self, names: Sequence[str]) -> None:
        """Raise MetarlError unless the file has columns of these names."""
        for name in names:
            if name not in self.columns:
                found = ", ".join(self.header[:6]) or "none"
                raise MetarlError(f"{self.origin} has no column {name!r} in line 1, but {found}; add it")

    def words(self, name: str) -> list[str]:
        """Return a column without space around its cells. Raises MetarlError where one is empty."""
        words = list(map(str.strip, self.columns[name]))
        if "" in words:
            raise MetarlError(
                f"{self.origin} has no {name} in {self.line(words.index(''))}; give one, or leave the line out"
            )
        return words

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as float64 [row]. Raises MetarlError where a cell is no finite number."""
        words = self.words(name)
        try:
            found = np.array(words, dtype=np.float64) if words else np.zeros(0)
        except ValueError:
            found = np.array([_number(word) for word in words])
        if (wrong := np.flatnonzero(~np.isfinite(found))).size:
            place = int(wrong[0])
            raise MetarlError(f"{self.origin} has {name} {words[place]!r} in {self.line(place)}; it must be a number")
        return found

    def times(self, name: str) -> np.ndarray:
        """Return a column of seconds since 1970 as int64 [row]. Raises MetarlError for other times."""
        found = self.numbers(name)
        if (wrong := np.flatnonzero((found < 0) | (found >= LATEST))).size:
            place = int(wrong[0])
            raise MetarlError(
                f"{self.origin} has {name} {self.columns[name][place].strip()} in {self.line(place)}; it must be in "
                "seconds since 1970, UTC"
            )
        return found.astype(np.int64)


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return np.nan


def _decoded(path: Path, encodings: Sequence[str], origin: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MetarlError(f"{origin} cannot be read ({error.strerror}); give one that can") from None
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            wrong = error
    line = content.count(b"\n", 0, wrong.start) + 1
    raise MetarlError(f"{origin} is not UTF-8 at byte {wrong.start}, in line {line}; save it as UTF-8")
