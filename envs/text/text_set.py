"""Texts by class, as tokens: the bytes of their UTF-8."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.text import with_noun

MOST_BYTES = 2**30
"""Most bytes of all texts."""


@dataclass(frozen=True, eq=False)
class TextSet:
    """Texts of one length, those of a class behind each other."""

    origin: str
    """Where they come from, for messages."""
    tokens: np.ndarray
    """Bytes of each text, and zeros behind them. uint8 [text, length]"""
    counts: np.ndarray
    """Texts of each class. int64 [class]"""
    classes: tuple[str, ...]
    """Name of each class, ascending."""
    given: tuple[str, ...]
    """Split that the source puts each class into; '' where it names none."""

    @property
    def groups(self) -> tuple[str, ...]:
        """No group for any class."""
        return ("",) * len(self.classes)

    @property
    def firsts(self) -> np.ndarray:
        """Place of each class's first text, int64 [class]."""
        return np.cumsum(self.counts) - self.counts

    @property
    def digest(self) -> str:
        """A word that changes with the classes, their splits, and their texts."""
        told = hashlib.blake2b(json.dumps([self.classes, self.given, self.counts.tolist()]).encode(), digest_size=8)
        told.update(self.tokens.tobytes())
        return told.hexdigest()


def encode_text(text: str, length: int) -> bytes:
    """Return the first `length` bytes of a text in UTF-8, without a part of a character and without zeros."""
    whole = text.replace("\0", " ").encode(errors="replace")
    return whole[:length].decode(errors="ignore").encode()


def encode_texts(texts: Sequence[str], length: int) -> np.ndarray:
    """Return the bytes of texts with zeros behind them, uint8 [text, length]."""
    flat = b"".join(encode_text(text, length).ljust(length, b"\0") for text in texts)
    return np.frombuffer(flat, dtype=np.uint8).reshape(len(texts), length)


def decode_text(tokens: np.ndarray) -> str:
    """Return the text of tokens [length]."""
    return bytes(tokens[tokens != 0].astype(np.uint8)).decode(errors="replace")


def make_text_set(
    origin: str, texts: Mapping[str, Sequence[str]], length: int, given: Mapping[str, str] | None = None, least: int = 1
) -> TextSet:
    """Return texts by class as tokens. Texts of a class that begin alike count once: the others would be asked again.

    Classes with fewer than `least` texts are left out. Raises MetarlError for fewer than two classes.
    """
    found = {name: sorted({encode_text(text, length) for text in texts[name]}) for name in sorted(texts)}
    classes = [name for name, encoded in found.items() if len(encoded) >= least]
    if len(classes) < 2:
        raise MetarlError(f"{origin} has {with_noun(len(classes), 'label')}; give texts of several")
    encoded = [found[name] for name in classes]
    if (size := length * sum(map(len, encoded))) > MOST_BYTES:
        raise MetarlError(
            f"{origin} has {size / 2**30:.1f} GB in texts of length {length:,}; at most {MOST_BYTES / 2**30:.0f} GB "
            "are held: lower length, or leave texts out"
        )
    flat = [text.ljust(length, b"\0") for each in encoded for text in each]
    return TextSet(
        origin,
        np.frombuffer(b"".join(flat), dtype=np.uint8).reshape(len(flat), length),
        np.array([len(each) for each in encoded]),
        tuple(classes),
        tuple((given or {}).get(name, "") for name in classes),
    )
