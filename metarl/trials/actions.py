"""What `act` may return, and where its errors are told."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
from gymnasium import spaces

from ..base.errors import MetarlError, told_at, user_code
from ..families.vector import BatchedEnv


def raise_at(place: str, error: BaseException) -> NoReturn:
    """Raise an error of `act`, or of what it returned, with the place in front of it.

    Only an error pays for the context managers: they would take a tenth of a step of 40 points.
    """
    with told_at(place), user_code(f"{place}, act"):
        raise error


def read_confidences(confidences: object, active: np.ndarray) -> np.ndarray:
    """Return how sure a learner is of its actions. Raises MetarlError unless they are probabilities of that shape.

    Only `active` worlds count, [task, replica] or [question, task, replica].
    """
    if not isinstance(confidences, np.ndarray) or confidences.shape != active.shape:
        found = getattr(confidences, "shape", type(confidences).__name__)
        raise MetarlError(f"confidences are {found}; they must be an array of shape {active.shape}, one an action")
    sure = confidences[active]
    if not ((sure >= 0) & (sure <= 1)).all():
        wrong = sure[~((sure >= 0) & (sure <= 1))][0]
        raise MetarlError(f"confidences hold {wrong}; each must be a probability, from 0 to 1")
    return confidences.astype(np.float64, copy=False)


def read_actions(actions: object, envs: BatchedEnv, active: np.ndarray) -> np.ndarray:
    """Return what `act` returned. Raises MetarlError unless it is an array of actions, [task, replica, *action].

    Actions of a box are finite, and those of other spaces whole numbers inside them. Only `active` worlds count: others
    get an action of the space where theirs is none.
    """
    taken, shape = envs.action_range, (*envs.shape, *envs.action_shape)
    if not isinstance(actions, np.ndarray):
        raise MetarlError(f"act returned {type(actions).__name__}; it must return a NumPy array of shape {shape}")
    if actions.shape != shape:
        raise MetarlError(f"act returned shape {actions.shape}; it must be {shape}, [task, replica, *action]")
    if not taken.can_store(actions):
        raise MetarlError(f"act returned {actions.dtype}; actions of {taken.space} must be {taken.dtype}")
    if not taken.holds(actions):
        if (outside := taken.first_outside(actions[active])) is not None:
            if isinstance(taken.space, spaces.Box):
                raise MetarlError("act returned actions that are not finite; look at its observations and parameters")
            raise MetarlError(f"act returned action {outside}, which is not in {taken.space}")
        actions = taken.settle(actions, active)
    return taken.store(actions)
