"""Families around a plain Gymnasium environment class."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium import Env, spaces
from gymnasium.error import DependencyNotInstalled

from ..base.errors import AUTHOR_ERRORS, MetarlError, user_code
from ..base.streams import Streams
from .batch import Step, fps_of
from .doors import (
    RESET,
    STEP,
    describe,
    raise_in_world,
    read_flag,
    read_observation,
    read_result,
    read_reward,
)
from .layout import layout_of
from .opengl import prepare_opengl
from .successes import read_success
from .task import Values
from .wrapped import WrappedFamily

if TYPE_CHECKING:
    from .batch import Batch


class ClassFamily(WrappedFamily):
    """A family around a plain Gymnasium environment class. Each world is one object; they step one after the other."""

    wrapper_module = "gymnasium.wrappers"
    change_signature = "change(env, task)"

    @abstractmethod
    def make(self, task: dict[str, Any], render_mode: str | None) -> Env[Any, Any]:
        """Return the environment of one task, given as numbers and lists by parameter name."""

    def change(self, env: Env[Any, Any], task: dict[str, Any]) -> None:
        """Give a running environment another task in mid-episode. The default raises MetarlError."""
        raise self.refuse_change()

    def require_changeable(self) -> None:
        """Raise MetarlError unless the family has its own `change`."""
        if type(self).change is ClassFamily.change:
            raise self.refuse_change()

    def env_spaces(self) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
        """Return the spaces of the first training task's environment."""
        env = self.make_checked(self.sample("train", 1, seed=0)[0], None)
        with user_code(f"family {self.name!r}, close"):
            env.close()
        return env.observation_space, env.action_space

    def make_checked(self, task: dict[str, Any], render_mode: str | None) -> Env[Any, Any]:
        """Return the environment of one task.

        Raises UserCodeError where `make` fails, and MetarlError where it returns something else.
        """
        with user_code(lambda: f"family {self.name!r}, task {describe(task)}, make"):
            env = self.make(task, render_mode)
        if not (hasattr(env, "reset") and hasattr(env, "step")):
            raise MetarlError(f"family {self.name!r} makes {describe(env)}; `make` must return a gymnasium.Env")
        return env

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch. Plain classes run on the calling thread."""
        return _ClassBatch(self, values, render_mode)


class _ClassBatch:
    """The `Batch` of a ClassFamily."""

    def __init__(self, family: ClassFamily, values: Values, render_mode: str | None) -> None:
        self.family = family
        count = len(next(iter(values.values())))
        if render_mode is not None:
            prepare_opengl()
        self.tasks = [{name: value[i].tolist() for name, value in values.items()} for i in range(count)]
        self.envs = [family.make_checked(task, render_mode) for task in self.tasks]
        self.layout = layout_of(family.observation_space, family.name)
        self.observations = self.layout.zeros((count,))
        self.due = (None if self.layout.composed else self.layout.shape, self.layout.dtype)
        """Shape and type of an observation that is stored as it is; no array has shape None, of composed ones."""

    @property
    def render_fps(self) -> int:
        return fps_of(self.envs[0].metadata)

    def begin(self, where: np.ndarray) -> None:
        """Do nothing: all state belongs to the episodes."""

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        # Each episode has a fresh seed from the world's own stream, so the class draws nothing by itself.
        seeds = streams.integers(2**31)
        for i in np.flatnonzero(where).tolist():
            try:
                result = self.envs[i].reset(seed=int(seeds[i]))
            except AUTHOR_ERRORS as error:
                raise_in_world(error, i)
            seen, _ = read_result(result, RESET, i)
            self.observations[i] = read_observation(self.layout, seen, i)
        return self.observations

    def step(self, actions: np.ndarray, where: np.ndarray, streams: Streams) -> Step:
        shape, dtype = self.due
        rewards = np.zeros(len(where))
        terminations, truncations, successes, known = (np.zeros(len(where), dtype=bool) for _ in range(4))
        for i in np.flatnonzero(where).tolist():
            try:
                result = self.envs[i].step(actions[i])
            except AUTHOR_ERRORS as error:
                raise_in_world(error, i)
            seen, reward, terminated, truncated, info = read_result(result, STEP, i)
            if not isinstance(seen, np.ndarray) or seen.shape != shape or seen.dtype != dtype:
                seen = read_observation(self.layout, seen, i)
            self.observations[i] = seen
            rewards[i] = reward if type(reward) is float else read_reward(reward, i)
            if terminated is not False:
                terminations[i] = read_flag("terminated", terminated, i)
            if truncated is not False:
                truncations[i] = read_flag("truncated", truncated, i)
            if info and (success := read_success(info)) is not None:
                successes[i], known[i] = success, True
        told = (successes, None, known) if known.any() else (None, None, None)
        return Step(self.observations, rewards, terminations, truncations, *told)

    def change(self, where: np.ndarray, values: Values) -> None:
        for i in np.flatnonzero(where):
            try:
                self.family.change(self.envs[i], {name: value[i].tolist() for name, value in values.items()})
            except AUTHOR_ERRORS as error:
                raise_in_world(error, int(i))

    def render(self, world: int) -> np.ndarray | None:
        try:
            frame = self.envs[world].render()
        except NotImplementedError:  # Gymnasium's own, of a class that does not draw
            return None
        except DependencyNotInstalled as error:
            raise MetarlError(f"family {self.family.name!r} cannot be drawn: {error}") from None
        except AUTHOR_ERRORS as error:
            raise_in_world(error, world)
        return frame if isinstance(frame, np.ndarray) else None

    def close(self) -> None:
        for env in self.envs:
            env.close()
