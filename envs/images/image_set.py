"""Images by class."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Greyscale images of one size, those of a class behind each other."""

    origin: str
    """Where they come from, for messages."""
    images: np.ndarray
    """uint8 [image, size, size]"""
    counts: np.ndarray
    """Images of each class. int64 [class]"""
    classes: tuple[str, ...]
    """Name of each class, ascending."""
    groups: tuple[str, ...]
    """Group of each class, such as its alphabet; '' for none."""
    given: tuple[str, ...]
    """Split that the source puts each class into; '' where it names none."""

    @property
    def firsts(self) -> np.ndarray:
        """Place of each class's first image, int64 [class]."""
        return np.cumsum(self.counts) - self.counts

    @property
    def digest(self) -> str:
        """A word that changes with the classes, their groups and splits, and the number of their images."""
        told = json.dumps([self.classes, self.groups, self.given, self.counts.tolist()])
        return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()
