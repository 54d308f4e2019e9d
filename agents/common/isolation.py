"""Torch's state of the process, which other threads and other programs share: its generator, dtype and device."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch

_LOCK = threading.RLock()


@contextlib.contextmanager
def own_torch(seed: int) -> Iterator[None]:
    """Set torch's generators to `seed`, its default dtype to float32 and its device to the CPU; restore all at the end.

    For code of a library that draws from the generator of the process, such as the first weights of a module. One
    thread at a time is inside; the others wait. Code that takes a generator and a dtype needs none of this.
    """
    with _LOCK, torch.random.fork_rng(), torch.device("cpu"):
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_default_dtype(before)
