"""Texts of one's own: CSV with the columns text and label, or JSON lines with these keys."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metarl.base.errors import MetarlError

from .text_set import TextSet, make_text_set

COLUMNS = ("text", "label")
"""Columns that a file must have; it may have `split` too."""
SPLITS = ("train", "validation", "test")
KINDS = {".csv": "CSV", ".jsonl": "JSON-lines"}
"""What a file may be, by its suffix."""


def read_texts(path: Path, length: int) -> TextSet:
    """Return the texts of a file by label. Raises MetarlError where it cannot be read as such."""
    origin = f"file {path.name!r}"
    texts: dict[str, list[str]] = {}
    splits: dict[str, str] = {}
    for line, row in _rows(path, origin):
        text, label, split = (_word(row, name, line, origin) for name in (*COLUMNS, "split"))
        for name, value in zip(COLUMNS, (text, label), strict=True):
            if not value:
                raise MetarlError(f"{origin} has no {name} in line {line}; give one, or leave the line out")
        if split not in ("", *SPLITS):
            raise MetarlError(f"{origin} has split {split!r} in line {line}; it must be {', '.join(SPLITS)}, or empty")
        if splits.setdefault(label, split) != split:
            raise MetarlError(
                f"label {label!r} of {origin} is in split {splits[label]!r} and, in line {line}, in {split!r}; keep it "
                "in one"
            )
        texts.setdefault(label, []).append(text)
    _require_all_or_none(splits, origin)
    return make_text_set(origin, texts, length, splits)


def _rows(path: Path, origin: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the number of each line with its columns."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MetarlError(f"{origin} is not UTF-8 at byte {error.start}; save it as UTF-8") from None
    rows = _csv_rows(content, origin) if path.suffix.lower() == ".csv" else _json_rows(content, origin)
    for line, row in rows:
        for name in COLUMNS:
            if name not in row:
                found = ", ".join(sorted(map(str, row))[:5]) or "none"
                raise MetarlError(f"{origin} has no column {name!r} in line {line}, but {found}; add it")
        yield line, row


def _csv_rows(content: str, origin: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        header = next(reader, [])
        if not set(COLUMNS) <= set(header):
            yield 1, dict.fromkeys(header)
        for cells in reader:
            if cells and len(cells) != len(header):
                raise MetarlError(
                    f"{origin} has {len(cells)} cells in line {reader.line_num} and {len(header)} columns; put a text "
                    "with commas into double quotes"
                )
            if cells:
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise MetarlError(f"{origin} is no CSV in line {reader.line_num} ({error}); write it again") from None


def _json_rows(content: str, origin: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(content.split("\n"), start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise MetarlError(f"{origin} has no JSON object in line {line}; write one with text and label")
        yield line, row


def _word(row: Mapping[str, Any], name: str, line: int, origin: str) -> str:
    """Return a cell without space around it; '' for none. Raises MetarlError where it is no text."""
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MetarlError(f"{origin} has {name} {value!r} in line {line}; it must be a text, in quotes")
    return value.strip()


def _require_all_or_none(splits: Mapping[str, str], origin: str) -> None:
    if any(splits.values()) and not all(splits.values()):
        label = next(label for label, split in splits.items() if not split)
        raise MetarlError(f"label {label!r} of {origin} has no split, and others have; give every label one, or none")
