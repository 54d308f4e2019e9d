"""Processes that train one agent together: each has its share of the tasks, and sums run over all of them.

The words are torch's: processes have ranks from 0 to `size` - 1. Without others there is one, of rank 0. Agents ask
`ranks()` for the sums of an update, so that parameters do not depend on how many processes share its tasks, but for
rounding.
"""

from __future__ import annotations

import os
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


T = TypeVar("T")
DATA, TENSOR = "data", "tensor"
"""Axes of the mesh of processes that divide a network: along the first tasks differ, along the second they are one."""


class Exchanged(NamedTuple):
    """What a process has exchanged with others."""

    times: int = 0
    """Number of exchanges."""
    num_bytes: int = 0
    """Bytes that it gave."""
    seconds: float = 0.0
    """Time they took, the wait for slower processes included."""


class Ranks(ABC):
    """What a process knows of those it trains with. All of them make the same calls in the same order."""

    rank: int
    """Place of this process, from 0."""
    size: int
    """Number of processes that have tasks of their own."""
    exchanged = Exchanged()
    """What was exchanged so far."""

    @property
    def leads(self) -> bool:
        """Whether this process writes what all of them have: one does."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Return which of `count` tasks are this process's own. Those of all follow one another."""
        bounds = [number * count // self.size for number in (self.rank, self.rank + 1)]
        return range(*bounds)

    def exchanging(self) -> AbstractContextManager[object]:
        """Return a block in which torch exchanges by itself. A lost process raises there what it raises elsewhere."""
        return nullcontext()

    @abstractmethod
    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` [n] over all processes: the same bits in each."""

    @abstractmethod
    def gather(self, values: np.ndarray) -> list[np.ndarray]:
        """Return the arrays of all processes, by rank. They may have other lengths."""

    @abstractmethod
    def broadcast(self, data: bytes) -> bytes:
        """Return the bytes that the process gives that leads; those of others are not used."""


class Alone(Ranks):
    """A process by itself."""

    rank = 0
    size = 1

    def total(self, values: Tensor) -> Tensor:
        """Return the values."""
        return values

    def gather(self, values: np.ndarray) -> list[np.ndarray]:
        """Return the values."""
        return [values]

    def broadcast(self, data: bytes) -> bytes:
        """Return the bytes."""
        return data


def is_launched() -> bool:
    """Return whether torchrun started this process beside others."""
    return "RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"


GOES_ON = "METARL_GOES_ON"
"""Environment variable that is 1 where a training goes on with a run that its folder holds."""


def goes_on() -> bool:
    """Return whether a training goes on with a run that its folder holds, as torchrun's restarts do."""
    return os.environ.get(GOES_ON) == "1" or int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) > 0


_ALONE = Alone()
_CURRENT: ContextVar[Ranks] = ContextVar("ranks")


def ranks() -> Ranks:
    """Return the processes that this one trains with."""
    return _CURRENT.get(_ALONE)


@contextmanager
def training_with(others: Ranks) -> Iterator[None]:
    """Let `ranks` return `others`, in this thread."""
    token = _CURRENT.set(others)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def alone() -> AbstractContextManager[None]:
    """Let `ranks` return this process by itself, in a block that others enter as often as their own tasks ask for."""
    return training_with(_ALONE)


def objects_of_all(value: T) -> list[T]:
    """Return an object of each process, by rank. They are pickled: processes of one training trust each other."""
    if ranks().size == 1:
        return [value]
    parts = ranks().gather(np.frombuffer(pickle.dumps(value), dtype=np.uint8))
    return [pickle.loads(part.tobytes()) for part in parts]


def numbers_of_all(values: Sequence[float]) -> np.ndarray:
    """Return a few numbers of each process, float64 [rank, number]."""
    return np.stack(ranks().gather(np.asarray(values, dtype=np.float64)))
