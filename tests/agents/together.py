"""Processes that train together, as threads of one: what they compute is what processes would."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from metarl.base.ranks import Ranks, training_with

T = TypeVar("T")


class Room:
    """Where threads meet to exchange values."""

    def __init__(self, size: int) -> None:
        self.size, self.barrier = size, threading.Barrier(size, timeout=60)
        self.given: list[Any] = [None] * size
        self.num_bytes = 0
        """Bytes that each thread has given to sums."""

    def exchange(self, rank: int, value: T) -> list[T]:
        """Return the values of all threads."""
        self.given[rank] = value
        self.barrier.wait()
        found = list(self.given)
        self.barrier.wait()
        return found


class Threads(Ranks):
    """A thread among others."""

    def __init__(self, room: Room, rank: int) -> None:
        self.room, self.rank, self.size = room, rank, room.size

    def total(self, values: Tensor) -> Tensor:
        """Return the sum, added up by rank."""
        if self.rank == 0:
            self.room.num_bytes += values.numel() * values.element_size()
        first, *others = self.room.exchange(self.rank, values.detach().clone())
        return sum(others, start=first)

    def gather(self, values: np.ndarray) -> list[np.ndarray]:
        """Return the arrays."""
        return self.room.exchange(self.rank, np.array(values))

    def broadcast(self, data: bytes) -> bytes:
        """Return the bytes of the first."""
        return self.room.exchange(self.rank, data)[0]


def run_together(size: int, run: Callable[[Ranks], T]) -> tuple[list[T], Room]:
    """Return what `run` returns in each of `size` threads, by rank."""
    room = Room(size)

    def one(rank: int) -> T:
        with training_with(Threads(room, rank)):
            try:
                return run(Threads(room, rank))
            except BaseException:
                room.barrier.abort()
                raise

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size))), room
