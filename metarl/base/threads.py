"""How many of torch's threads to use, where the default of all cores does harm."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on the calling thread.

    Its worker threads go on spinning after an operation. Where operations are short and many (acting, a GRU's steps),
    that gains little on idle cores, and costs much where simulation or another process needs them: measured on two
    cores, half of a rollout's speed, and up to nine tenths of a recurrent update's.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def acting() -> Iterator[None]:
    """Run on one thread and without gradients: what a learner's `act` wants."""
    with one_thread(), torch.no_grad():
        yield
