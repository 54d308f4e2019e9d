"""What environments tell beside observations and rewards, in Gymnasium's forms."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from .batch import Step


def write_infos(step: Step, where: np.ndarray) -> dict[str, Any]:
    """Return what is known of the worlds in `where`, bool [world], in the form of Gymnasium's vector environments.

    Each key, such as `success`, has a companion `_success`: the worlds that it is known of. `target` is the action that
    would have been right.
    """
    infos: dict[str, Any] = {}
    if step.successes is not None:
        told = where if step.known is None else where & step.known
        if np.count_nonzero(told):
            infos["success"], infos["_success"] = step.successes & told, told.copy()
    if step.unstable is not None and np.count_nonzero(where):
        infos["unstable"], infos["_unstable"] = step.unstable & where, where.copy()
    if step.targets is not None and np.count_nonzero(where):
        told = where.reshape(-1, *(1,) * (step.targets.ndim - 1))
        infos["target"], infos["_target"] = np.where(told, step.targets, np.zeros_like(step.targets)), where.copy()
    return infos


def complete_spec(spec: EnvSpec | None, horizon: int) -> EnvSpec | None:
    """Return a spec whose `max_episode_steps` is the horizon, unless it has its own."""
    if spec is None or spec.max_episode_steps is not None:
        return spec
    completed = copy.copy(spec)
    completed.max_episode_steps = horizon
    return completed
