"""The batched environment in all of Gymnasium's autoreset modes, with tasks that stay or change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv

from ..families.arguments import read_mask, require_seeds
from ..families.faults import ArgumentValueError
from ..families.infos import write_infos
from ..families.vector import BatchedEnv
from .redraw import TaskDraws


class AutoresetVectorEnv(VectorEnv[Any, np.ndarray, np.ndarray]):
    """A batched environment that begins new episodes by itself, as Gymnasium's `SyncVectorEnv` does.

    - `NEXT_STEP`: the step after an episode's end ignores the world's action, begins its next episode and pays 0.
    - `SAME_STEP`: the step that ends an episode returns the first observation of the next one. The last observation is
      in `infos["final_obs"]`, the last info in `infos["final_info"]`.
    - `DISABLED`: an ended world waits for `reset(options={"reset_mask": mask})`.

    With `redraw`, each episode plays the next training task of its world (see `TaskDraws`); without it worlds keep
    their tasks. A given list of seeds gives the episodes of `SyncVectorEnv` around single environments, bit for bit.
    One seed for all is shared with the trial engine instead: it is not `seed + i` for world i.
    """

    def __init__(self, envs: BatchedEnv, mode: AutoresetMode, *, redraw: bool = False) -> None:
        self.envs, self.autoreset_mode, self.render_mode = envs, mode, envs.render_mode
        self.metadata = {**envs.metadata, "autoreset_mode": mode}
        self.num_envs = envs.num_envs
        self.single_observation_space, self.observation_space = envs.single_observation_space, envs.observation_space
        self.single_action_space, self.action_space = envs.single_action_space, envs.action_space
        self._draws = TaskDraws(envs.family, envs.num_envs) if redraw else None  # type: ignore[arg-type]
        self._ended = np.zeros(envs.num_envs, dtype=bool)

    @property
    def spec(self) -> EnvSpec | None:
        """Gymnasium's record of how the environment was made. Its `max_episode_steps` is the family's horizon."""
        return self.envs.spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self.envs.spec = spec

    @property
    def family(self) -> Any:
        """The family of the worlds."""
        return self.envs.family

    def task(self, world: int) -> dict[str, Any]:
        """Return the current task of a world, as numbers and lists by parameter name."""
        return self.envs.task(world)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes as `BatchedEnv.reset` does. A seed also restarts the lists of tasks that are drawn."""
        where = read_mask(options, self.num_envs)
        require_seeds(seed, self.num_envs)
        if self._draws is not None and seed is not None:
            self._draws.restart(seed, where)
        self._draw(where)
        self._ended &= ~where
        return self.envs.reset(seed=seed, options=options)

    def _draw(self, where: np.ndarray) -> None:
        """Give the marked worlds their next tasks, unless worlds keep their tasks."""
        if self._draws is not None and where.any():
            self.envs.change(where, self._draws.draw(where, self.envs.values))

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every world whose episode goes on, and begin new episodes as the autoreset mode says.

        Raises the errors of `BatchedEnv.step`.
        """
        if self.autoreset_mode is AutoresetMode.DISABLED:
            return self.envs.step(actions)
        waiting = self._ended if self.autoreset_mode is AutoresetMode.NEXT_STEP else np.zeros_like(self._ended)
        step = self.envs.advance(self.envs.read_actions(actions, ~waiting), ~waiting)
        ended = step.terminations | step.truncations
        observations, infos = step.observations, {}
        if waiting.any():
            observations = self._begin(waiting)
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            infos = self._final_infos(step.observations, write_infos(step, ended), ended)
            observations = self._begin(ended)
            infos |= write_infos(step, ~ended)
        else:
            infos |= write_infos(step, ~waiting)
        self._ended = ended
        return self.envs.layout.unflatten(observations), step.rewards, step.terminations, step.truncations, infos

    def _begin(self, where: np.ndarray) -> np.ndarray:
        """Begin episodes in the marked worlds, and return the observations of all as one array."""
        self._draw(where)
        return self.envs.restart(options={"reset_mask": where})

    def _final_infos(self, observations: np.ndarray, infos: dict[str, Any], ended: np.ndarray) -> dict[str, Any]:
        final = np.full(self.num_envs, None, dtype=object)
        for world in np.flatnonzero(ended):
            final[world] = self.envs.layout.unflatten(observations[world].copy())
        return {"final_obs": final, "_final_obs": ended.copy(), "final_info": infos, "_final_info": ended.copy()}

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return a picture of each world, as `BatchedEnv.render` does."""
        return self.envs.render()

    def close_extras(self, **kwargs: Any) -> None:
        """Release windows and simulation threads."""
        self.envs.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the constructor's arguments. The copy needs a reset."""
        return _rebuild, (self.envs, self.autoreset_mode, self._draws is not None)


def read_autoreset_mode(given: Any) -> AutoresetMode:
    """Return an autoreset mode from a member of Gymnasium's enum, its name or its value.

    Raises ArgumentValueError for anything else.
    """
    for mode in AutoresetMode:
        if given in (mode, mode.name, mode.value):
            return mode
    raise ArgumentValueError(
        f"autoreset_mode is {given!r}; it must be one of {', '.join(mode.name for mode in AutoresetMode)}"
    )


def _rebuild(envs: BatchedEnv, mode: AutoresetMode, redraw: bool) -> AutoresetVectorEnv:
    return AutoresetVectorEnv(envs, mode, redraw=redraw)
