"""Torch as the agents run it, whatever the process has set: how many threads, and where new tensors are made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def cpu_by_default() -> Iterator[None]:
    """Make new tensors on the CPU unless their device is named, even after `torch.set_default_device`."""
    if torch.get_default_device().type == "cpu":
        yield
        return
    with torch.device("cpu"):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on the calling thread, its new tensors on the CPU unless their device is named.

    Torch's worker threads spin after each operation. With many short operations (acting, a GRU's steps) that gains
    little on idle cores, and costs much if a simulation or another process needs them: measured on two cores, half of a
    rollout's speed and up to nine tenths of a recurrent update's.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with cpu_by_default():
            yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def acting() -> Iterator[None]:
    """Run torch on one thread and without gradients, as a learner's `act` does."""
    with one_thread(), torch.no_grad():
        yield
