"""Whether a family repeats its episodes. If not, every check that compares two plays finds the same fault again."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..families.family import TaskFamily
from .extent import FULL, Extent
from .replay import difference, play_new, shorten

SOURCES = "`streams` (functions of arrays) or `self.np_random` (a Gymnasium class), which every reset seeds"
"""Where random numbers of an episode come from."""


def check_repeats(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """The same seed gives the same episodes in a new environment."""
    family = shorten(family, extent.steps)
    tasks = family.sample("train", extent.few, seed=0)
    before = _read_generators()
    name = difference(play_new(family, tasks), play_new(family, tasks))
    if name:
        moved = _moved_since(before)
        told = f"it draws from {' and '.join(moved)}" if moved else "something in it is not seeded"
        yield f"the same seed gives other {name} in a new environment: {told}; draw every random number from {SOURCES}"


def find_shared_generators(family: TaskFamily, extent: Extent = FULL) -> str:
    """Return the random generators of the whole process that episodes of a family move, '' for none."""
    family = shorten(family, extent.steps)
    before = _read_generators()
    play_new(family, family.sample("train", extent.few, seed=0))
    return " and ".join(_moved_since(before))


def _read_generators() -> dict[str, Any]:
    """Return the states of the generators of the process, by name."""
    _, keys, place, *rest = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "NumPy's global generator (np.random)": (np.asarray(keys).tobytes(), place, *rest),
        "Python's global generator (random)": random.getstate(),
    }


def _moved_since(before: dict[str, Any]) -> list[str]:
    return [name for name, state in _read_generators().items() if state != before[name]]
