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
    would have been right. What the family tells on its own follows, in `Step.infos`.
    """
    infos: dict[str, Any] = {}
    if step.successes is not None:
        told = where if step.known is None else where & step.known
        if np.count_nonzero(told):
            infos["success"], infos["_success"] = step.successes & told, told.copy()
    if step.unstable is not None and np.count_nonzero(where):
        infos["unstable"], infos["_unstable"] = step.unstable & where, where.copy()
    if step.targets is not None and np.count_nonzero(where):
        infos["target"], infos["_target"] = _of(where, step.targets), where.copy()
    if step.infos is not None and np.count_nonzero(where):
        for name, told_of_all in step.infos.items():
            infos[name], infos[f"_{name}"] = _of(where, told_of_all), where.copy()
    return infos


def _of(where: np.ndarray, array: np.ndarray) -> np.ndarray:
    """Return the rows of `array` [world, ...] that `where` marks, and zero in the others."""
    return np.where(where.reshape(-1, *(1,) * (array.ndim - 1)), array, np.zeros_like(array))


def complete_spec(spec: EnvSpec | None, horizon: int) -> EnvSpec | None:
    """Return a spec whose `max_episode_steps` is the horizon, unless it has its own."""
    if spec is None or spec.max_episode_steps is not None:
        return spec
    completed = copy.copy(spec)
    completed.max_episode_steps = horizon
    return completed
