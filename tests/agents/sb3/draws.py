"""A check that the tests of all agents by stable-baselines3 share."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch


@contextlib.contextmanager
def no_global_draws() -> Iterator[None]:
    """Check that nothing inside draws from the generators of the process, by which the libraries draw."""
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[union-attr] # noqa: NPY002
    yield
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
