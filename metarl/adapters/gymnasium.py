"""Families behind `gymnasium.make` and `gymnasium.make_vec`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode

from ..base.errors import did_you_mean
from ..families.family import FAMILIES, TaskFamily
from ..families.faults import ArgumentTypeError, ArgumentValueError
from ..families.layout import map_arrays
from ..families.load import OPTIONS, load
from ..families.vector import BatchedEnv
from .autoreset import AutoresetVectorEnv, read_autoreset_mode
from .redraw import TaskDraws, read_task_on_reset, require_no_task
from .worlds import share_worlds


class SingleEnv(gymnasium.Env[Any, Any]):
    """One world of one task as a Gymnasium `Env`. It keeps its task over resets and pickling.

    Without `task` it plays the first training task of seed 0. With `redraw` every episode plays the next training task
    instead, and a seed begins the list of that seed (see `metarl.adapters.redraw.TaskDraws`).
    """

    def __init__(
        self,
        family: TaskFamily,
        task: Mapping[str, Any] | None = None,
        render_mode: str | None = None,
        *,
        redraw: bool = False,
    ) -> None:
        self.family = family
        self.render_mode = render_mode
        self._given = None if task is None else dict(task)
        self._draws = TaskDraws(family, 1) if redraw else None
        tasks = family.sample("train", 1, seed=0) if task is None else family.tasks(task)
        # On the calling thread: for one world a thread pool costs more time than it saves.
        self._envs = BatchedEnv(family, tasks, 1, threads=0, render_mode=render_mode)
        self.metadata = {name: value for name, value in self._envs.metadata.items() if name != "autoreset_mode"}
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space

    @property
    def spec(self) -> EnvSpec | None:
        """Gymnasium's record of how the environment was made. Its `max_episode_steps` is the family's horizon."""
        return self._envs.spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._envs.spec = spec

    @property
    def task(self) -> dict[str, Any]:
        """Parameter values of the task, by name."""
        return self._envs.task(0)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin a new episode. A seed restarts the random stream, and the list of tasks that are drawn."""
        super().reset(seed=seed)
        # The seed of one world, as `BatchedEnv.reset` takes it for each of its worlds: alone it plays the same.
        seeds = None if seed is None else [seed]
        if self._draws is not None:
            here = np.ones(1, dtype=bool)
            if seeds is not None:
                self._draws.restart(seeds, here)
            self._envs.change(here, self._draws.draw(here, self._envs.values))
        observations, _ = self._envs.reset(seed=seeds)
        if self.render_mode == "human":
            self.render()
        return map_arrays(_first, observations), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the world. Raises MetarlError where the episode has ended."""
        actions = np.asarray(action)[None]
        observations, rewards, terminations, truncations, infos = self._envs.step(actions)
        if self.render_mode == "human":
            self.render()
        info = {name: value[0] for name, value in infos.items() if not name.startswith("_")}
        info = {name: bool(value) if isinstance(value, np.bool_) else value for name, value in info.items()}
        return map_arrays(_first, observations), float(rewards[0]), bool(terminations[0]), bool(truncations[0]), info

    def render(self) -> np.ndarray | None:
        """Return a picture, uint8 [height, width, 3], in mode 'rgb_array'. Mode 'human' shows it instead."""
        return None if self.render_mode is None else self._envs.render_world(0)

    def close(self) -> None:
        """Release the window."""
        self._envs.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the constructor's arguments. The copy has the same task and needs a reset."""
        redraws = self._draws is not None
        return _rebuild, (self.family, self._given if redraws else self.task, self.render_mode, redraws)


def _first(array: np.ndarray) -> Any:
    return array[0]


def make_single(
    family: str,
    task: Mapping[str, Any] | None = None,
    preset: str | None = None,
    render_mode: str | None = None,
    task_on_reset: str = "keep",
    **settings: Any,
) -> SingleEnv:
    """Return one world of `task` (default: the first training task of seed 0). Entry point of `gymnasium.make`.

    With `task_on_reset="redraw"` every episode plays the next training task. Raises ArgumentTypeError, which is a
    TypeError, for an unknown keyword argument.
    """
    redraw = read_task_on_reset(task_on_reset)
    if redraw:
        require_no_task(task, "task")
    return SingleEnv(_load(family, preset, settings, "task={{{}}}"), task, render_mode, redraw=redraw)


def make_batched(
    family: str,
    num_envs: int = 1,
    tasks: Sequence[Mapping[str, Any]] | None = None,
    preset: str | None = None,
    threads: int | None = None,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.DISABLED,
    task_on_reset: str = "keep",
    **settings: Any,
) -> BatchedEnv | AutoresetVectorEnv:
    """Return `num_envs` worlds, shared equally among `tasks`. Entry point of `gymnasium.make_vec`.

    Without `tasks`, each world has its own training task of seed 0. `max_episode_steps` replaces the horizon.
    `autoreset_mode` is a member of Gymnasium's `AutoresetMode`, its name or its value. With `task_on_reset="redraw"`
    every episode plays the next training task of its world. A world that keeps its task and waits for its reset is a
    `BatchedEnv`; the others are an `AutoresetVectorEnv`. Raises ArgumentTypeError, which is a TypeError, for an unknown
    keyword argument, and MetarlError where `num_envs` is not a multiple of the number of tasks.
    """
    mode, redraw = read_autoreset_mode(autoreset_mode), read_task_on_reset(task_on_reset)
    if redraw:
        require_no_task(tasks, "tasks")
    if max_episode_steps is not None:
        if not isinstance(max_episode_steps, int) or max_episode_steps < 1:
            raise ArgumentValueError(f"max_episode_steps is {max_episode_steps!r}; it must be at least 1")
        settings["horizon"] = max_episode_steps
    loaded = _load(family, preset, settings, "tasks=[{{{}}}]")
    batch = loaded.sample("train", num_envs, seed=0) if tasks is None else loaded.tasks(tasks)
    envs = share_worlds(loaded, batch, num_envs, threads=threads, render_mode=render_mode)
    if mode is AutoresetMode.DISABLED and not redraw:
        return envs
    return AutoresetVectorEnv(envs, mode, redraw=redraw)


def _load(family: str, preset: str | None, settings: Mapping[str, Any], remedy: str) -> TaskFamily:
    """Return the family. `remedy` is the argument that takes a task, with a place for its parameters.

    Raises ArgumentTypeError for an unknown setting, in the words that other libraries look for in a TypeError.
    """
    known = [*(field.name for field in dataclasses.fields(FAMILIES[family])), *OPTIONS]  # type: ignore[arg-type]
    unknown = [name for name in settings if name not in known]
    loaded = load(family, preset, **{name: value for name, value in settings.items() if name in known})
    if not unknown:
        return loaded
    parameters = [name for name in unknown if name in loaded.parameters]
    if parameters:
        given = [f"{name!r}: {settings[name]!r}" for name in parameters]
        others = [f"{name!r}: ..." for name in loaded.parameters if name not in parameters]
        told = f"a task has this parameter: give {remedy.format(', '.join([*given, *others]))}"
    else:
        told = did_you_mean(unknown[0], known)
    raise ArgumentTypeError(
        f"family {family!r} got an unexpected keyword argument {(parameters or unknown)[0]!r}; {told}"
    )


def _rebuild(family: TaskFamily, task: Mapping[str, Any] | None, render_mode: str | None, redraw: bool) -> SingleEnv:
    return SingleEnv(family, task, render_mode, redraw=redraw)
