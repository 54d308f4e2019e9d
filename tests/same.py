"""Observations of any space, compared."""

from __future__ import annotations

from typing import Any

import numpy as np


def assert_same(ours: Any, theirs: Any, worlds: slice = slice(None)) -> None:
    """Compare values and types of arrays, or of a Dict's or Tuple's parts, with those of some worlds of others."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for name, part in ours.items():
            assert_same(part, theirs[name], worlds)
    elif isinstance(ours, tuple):
        for mine, other in zip(ours, theirs, strict=True):
            assert_same(mine, other, worlds)
    else:
        theirs = theirs if worlds == slice(None) else theirs[worlds]
        np.testing.assert_array_equal(ours, theirs)
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype
