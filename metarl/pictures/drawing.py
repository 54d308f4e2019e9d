"""What all pictures of worlds share: the errors of families that cannot be drawn, and the white margin."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from gymnasium.error import DependencyNotInstalled

from ..base.errors import MetarlError

if TYPE_CHECKING:
    from ..families.family import TaskFamily
    from ..families.vector import Simulated


@contextlib.contextmanager
def drawing(family: TaskFamily) -> Iterator[None]:
    """Raise MetarlError in the body if the family's environment has no `render`, or a package for it is missing."""
    try:
        yield
    except NotImplementedError:  # an environment without `render`
        raise nothing_drawn(family) from None
    except DependencyNotInstalled as error:
        raise MetarlError(f"family {family.name!r} cannot be drawn: {error}") from None


def nothing_drawn(family: Simulated) -> MetarlError:
    """Return the error of a family whose environment returns no picture."""
    return MetarlError(
        f"family {family.name!r} draws nothing; its environment must return pictures in render_mode 'rgb_array'"
    )


def ink_box(frames: Iterable[np.ndarray]) -> tuple[slice, slice]:
    """Return the rows and columns of pictures of one shape without their common white margin."""
    ink = functools.reduce(np.logical_or, ((frame != 255).any(axis=2) for frame in frames))
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return slice(None), slice(None)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
