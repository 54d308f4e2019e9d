"""Right answers that the caller of a policy shows it, where its family reveals them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ..base.errors import MetarlError
from ..families.actions import ActionRange
from ..families.spaces import ActionSpace, limits, shape_of
from ..families.task import Reveal


class Shows(Protocol):
    """The part of a family that says what is shown."""

    @property
    def name(self) -> str:
        """Name of the family in messages."""
        ...

    @property
    def target_space(self) -> ActionSpace | None:
        """Space of the action that would have been right; None where none is known."""
        ...

    @property
    def reveal(self) -> Reveal:
        """When a learner is shown the targets."""
        ...


def reveals_targets(family: Shows) -> bool:
    """Return whether a learner ever sees a family's targets."""
    return family.target_space is not None and family.reveal != "never"


def shown_targets(
    family: Shows, target: Any, needed: np.ndarray, *, single: bool, begins: bool
) -> list[np.ndarray | None]:
    """Return the target of the step before of each environment, None where there is no such step.

    Args:
        family: The family that the policy plays.
        target: What the caller gave: None, one target, or with several environments an array [env, *target].
        needed: The environments in which a step was taken whose target is revealed. bool [env]
        single: Whether there is one environment, whose target has no axis in front.
        begins: Whether a single environment begins an episode.

    Raises:
        MetarlError: where a target is missing, given in vain, or does not fit the family.
    """
    rule = f"family {family.name!r} reveals the right answer of each step"
    if target is None:
        if needed.any():
            raise MetarlError(f"target is missing: {rule}; give that of the step before, such as info['target']")
        return [None] * len(needed)
    if not reveals_targets(family):
        raise MetarlError(f"target is given, but family {family.name!r} reveals no right answers; leave target out")
    if single and begins:
        raise MetarlError("target is given at the first step of an episode, which has no step before; leave target out")
    rows = _rows(family, target, needed, single=single)
    return [row if wanted else None for row, wanted in zip(rows, needed, strict=True)]


def _rows(family: Shows, target: Any, needed: np.ndarray, *, single: bool) -> np.ndarray:
    """Return targets [env, *target] in the type of their space. Raises MetarlError where they do not fit it."""
    space, num = family.target_space, len(needed)
    assert space is not None  # it was asked before whether the family reveals any
    shape = shape_of(space) if single else (num, *shape_of(space))
    rows = np.asarray(target)
    if rows.shape != shape:
        raise MetarlError(f"target has shape {rows.shape}; it must be {shape}, as family {family.name!r} gives it")
    known = ActionRange(space)
    if not known.can_store(rows):
        raise MetarlError(f"target has type {rows.dtype}; it must be {known.dtype}, as family {family.name!r} gives it")
    rows = rows.reshape(num, *shape_of(space))
    # An environment at its first step has no target: whatever stands in its place is not looked at.
    require_answers("target is", rows[needed], space)
    return rows.astype(space.dtype)


def require_answers(words: str, targets: np.ndarray, space: ActionSpace) -> None:
    """Raise MetarlError, which begins with `words`, where one of `targets` [n, *target] is no answer of a space."""
    outside = ~np.isfinite(targets)
    if not outside.any():
        low, high = limits(space)
        outside = (targets.astype(low.dtype) < low) | (targets.astype(high.dtype) > high)
    wrong = outside.any(axis=tuple(range(1, outside.ndim)))
    if wrong.any():
        raise MetarlError(f"{words} {targets[wrong.argmax()]}; it must be finite and lie in {space}")
