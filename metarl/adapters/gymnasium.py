"""Families behind `gymnasium.make` and `gymnasium.make_vec`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from ..families.family import TaskFamily
from ..families.layout import map_arrays
from ..families.load import load
from ..families.vector import BatchedEnv, share_worlds


class SingleEnv(gymnasium.Env[Any, Any]):
    """One world of one task as a Gymnasium `Env`. It keeps its task over resets and pickling.

    Without `task` it plays the first training task of seed 0.
    """

    def __init__(
        self, family: TaskFamily, task: Mapping[str, Any] | None = None, render_mode: str | None = None
    ) -> None:
        self.metadata = {"render_modes": ["human", "rgb_array"], "render_fps": 20}
        self.family = family
        self.render_mode = render_mode
        tasks = family.sample("train", 1, seed=0) if task is None else family.tasks(task)
        # On the calling thread: for one world a thread pool costs more time than it saves.
        self._envs = BatchedEnv(family, tasks, 1, threads=0, render_mode=render_mode)
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space

    @property
    def task(self) -> dict[str, Any]:
        """Parameter values of the task, by name."""
        return self._envs.tasks[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode of the same task. A seed restarts the random stream."""
        super().reset(seed=seed)
        # The seed of one world, as `BatchedEnv.reset` takes it for each of its worlds: alone it plays the same.
        observations, _ = self._envs.reset(seed=None if seed is None else [seed])
        if self.render_mode == "human":
            self.render()
        return map_arrays(_first, observations), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the world. Raises MetarlError where the episode has ended."""
        actions = np.asarray(action)[None]
        observations, rewards, terminations, truncations, infos = self._envs.step(actions)
        if self.render_mode == "human":
            self.render()
        info = {name: bool(value[0]) for name, value in infos.items()}
        return map_arrays(_first, observations), float(rewards[0]), bool(terminations[0]), bool(truncations[0]), info

    def render(self) -> np.ndarray | None:
        """Return a picture, uint8 [height, width, 3], in mode 'rgb_array'. Mode 'human' shows it instead."""
        return None if self.render_mode is None else self._envs.batch.render(0)

    def close(self) -> None:
        """Release the window."""
        self._envs.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the constructor's arguments. The copy has the same task and needs a reset."""
        return SingleEnv, (self.family, self.task, self.render_mode)


def _first(array: np.ndarray) -> Any:
    return array[0]


def make_single(
    family: str,
    task: Mapping[str, Any] | None = None,
    preset: str | None = None,
    render_mode: str | None = None,
    **settings: Any,
) -> SingleEnv:
    """Return one world of `task` (default: the first training task of seed 0). Entry point of `gymnasium.make`."""
    return SingleEnv(load(family, preset, **settings), task, render_mode)


def make_batched(
    family: str,
    num_envs: int = 1,
    tasks: Sequence[Mapping[str, Any]] | None = None,
    preset: str | None = None,
    threads: int | None = None,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    **settings: Any,
) -> BatchedEnv:
    """Return `num_envs` worlds, shared equally among `tasks`. Entry point of `gymnasium.make_vec`.

    Without `tasks`, each world has its own training task of seed 0. `max_episode_steps` replaces the horizon. Raises
    MetarlError where `num_envs` is not a multiple of the number of tasks.
    """
    horizon = {} if max_episode_steps is None else {"horizon": max_episode_steps}
    loaded = load(family, preset, **{**settings, **horizon})
    batch = loaded.sample("train", num_envs, seed=0) if tasks is None else loaded.tasks(tasks)
    return share_worlds(loaded, batch, num_envs, threads=threads, render_mode=render_mode)
