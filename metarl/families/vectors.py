"""A family around a Gymnasium vector environment, which steps many worlds itself, such as a simulator on a GPU."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from ..base.errors import MetarlError, UserCodeError, first_line, user_code
from ..base.streams import Streams
from .batch import Step, fps_of
from .doors import RESET, STEP, WorldError, read_observation, read_result, read_row
from .layout import layout_of
from .opengl import prepare_opengl
from .successes import read_successes
from .task import Values
from .waiting import (
    VecEnv,
    close_within,
    end_processes,
    ending_silence,
    killing_after,
    killing_new_processes,
    limit_waits,
    processes_of,
)
from .wrapped import WrappedFamily

if TYPE_CHECKING:
    from .batch import Batch

MOST_SECONDS = 604_800
"""Longest time to wait for a process, a week."""


class VectorFamily(WrappedFamily):
    """A family around a Gymnasium vector environment, whose world i plays the task of row i.

    The environment must not reset worlds by itself: its metadata say `AutoresetMode.DISABLED`. It must take
    `reset(seed=[one a world], options={"reset_mask": mask})` and leave unmarked worlds as they are. All randomness of
    an episode must follow from the seed of its reset. Actions and results are NumPy arrays. `infos["success"]` or
    `infos["is_success"]` tells a success. An environment that breaks these rules raises MetarlError.

    A vector environment steps all its worlds at once, so no world can stand still in mid-episode (`pauses`). A world
    whose episode has ended is stepped along, and gets a new seed at its next reset. Training plays a meta-batch as a
    whole, because there is only one such environment at a time (`side_by_side`).
    """

    worker_timeout: ClassVar[float] = 120.0
    """Seconds to wait for an answer of the environment's processes, as `AsyncVectorEnv` has them.

    A longer silence of one of them, wherever it is waited for, kills all of them and is an error.
    """
    pauses = False
    side_by_side = False
    wrapper_module = "gymnasium.wrappers.vector"
    change_signature = "change(envs, where, values)"

    @abstractmethod
    def make(self, values: Values, render_mode: str | None) -> VecEnv:
        """Return the environment with one world for each row of `values`."""

    def change(self, envs: VecEnv, where: np.ndarray, values: Values) -> None:
        """Give running worlds another task in mid-episode. The default raises MetarlError."""
        raise self.refuse_change()

    def require_changeable(self) -> None:
        """Raise MetarlError unless the family has its own `change`."""
        if type(self).change is VectorFamily.change:
            raise self.refuse_change()

    def env_spaces(self) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
        """Return the spaces of one world of the first training task."""
        envs = self._make_checked(self.sample("train", 1, seed=0).values, None)
        close_within(self.worker_timeout, envs, self.name)
        return envs.single_observation_space, envs.single_action_space

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch. The environment itself decides on its threads and processes."""
        return _VectorBatch(self, self._make_checked(values, render_mode))

    def _make_checked(self, values: Values, render_mode: str | None) -> VecEnv:
        """Return the environment. Raises MetarlError unless it is a vector environment that keeps the rules above."""
        if render_mode is not None:
            prepare_opengl()
        timeout = self.worker_timeout
        if not (isinstance(timeout, (int, float)) and 0 < timeout <= MOST_SECONDS):
            raise MetarlError(
                f"worker_timeout of family {self.name!r} is {timeout!r}; it must be seconds above 0, at most "
                f"{MOST_SECONDS:,}"
            )
        try:
            with killing_new_processes(timeout), user_code(f"family {self.name!r}, make"):
                envs = self.make(values, render_mode)
        except WorldError as error:
            raise MetarlError(f"family {self.name!r}, make: {error}") from None
        if not isinstance(envs, VectorEnv):
            raise MetarlError(f"family {self.name!r} makes {envs!r}; `make` must return a gymnasium.vector.VectorEnv")
        fault = _find_fault(envs, len(next(iter(values.values()))))
        if fault:
            close_within(timeout, envs, self.name)
            raise MetarlError(f"the vector environment of family {self.name!r} {fault}")
        limit_waits(envs, timeout)
        return envs


def _find_fault(envs: VecEnv, num_worlds: int) -> str:
    """Return the rule that an environment breaks, as the end of a sentence, or '' where it keeps them."""
    mode = (envs.metadata or {}).get("autoreset_mode")
    if mode not in (AutoresetMode.DISABLED, AutoresetMode.DISABLED.value):
        said = "does not say its autoreset mode" if mode is None else f"has autoreset mode {mode}"
        return (
            f"{said}; metadata['autoreset_mode'] must be AutoresetMode.DISABLED, so that no final observation is lost"
        )
    if envs.num_envs != num_worlds:
        return f"has {envs.num_envs} worlds for {num_worlds} tasks; make one world for each row of `values`"
    return ""


class _VectorBatch:
    """The `Batch` of a VectorFamily."""

    def __init__(self, family: VectorFamily, envs: VecEnv) -> None:
        self.family, self.name, self.envs = family, family.name, envs
        self.timeout = family.worker_timeout
        self.layout = layout_of(envs.single_observation_space, family.name)
        self.latest = self.layout.zeros((envs.num_envs,))
        """Latest observation of every world. [world, *observation]"""
        self.observations = self.latest.copy()
        """The same, but with the observation before the wait for worlds that wait. [world, *observation]"""
        self.broken = False
        """Whether a step or reset was begun and did not come back."""
        self.begun = False
        """Whether the environment was reset at least once."""
        self.over = np.zeros(envs.num_envs, dtype=bool)
        """Worlds that need a reset before their next step. bool [world]"""
        self.left = np.zeros(envs.num_envs, dtype=bool)
        """Worlds that were stepped along while they waited. bool [world]"""

    @property
    def render_fps(self) -> int:
        return fps_of(self.envs.metadata)

    def begin(self, where: np.ndarray) -> None:
        """Do nothing: all state belongs to the episodes."""

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        # Each episode has a fresh seed from the world's own stream, which forgets what the world did while it waited.
        self._reset(where if self.begun else np.ones_like(where), streams.integers(2**31))
        self.begun = True
        self.left &= ~where
        self.observations[where] = self.latest[where]
        return self.observations

    def _read_observations(self, observations: Any) -> np.ndarray:
        """Return observations as an array of our own: the environment may write into its arrays later."""
        found = read_observation(self.layout, observations, lead=(self.envs.num_envs,))
        return np.array(found, dtype=self.layout.dtype)

    def _reset(self, where: np.ndarray, seeds: np.ndarray) -> None:
        if not where.any():
            return
        options = None if where.all() else {"reset_mask": where.copy()}
        self.broken = True
        try:
            with ending_silence(self.envs, self.timeout):
                result = self.envs.reset(seed=seeds.tolist(), options=options)
        except (TypeError, ValueError, gymnasium.error.Error) as error:
            raise UserCodeError(
                f"the vector environment of family {self.name!r} fails in reset(seed=[one a world], "
                f"options={options}): {first_line(error)}; it must take both"
            ) from error
        self.broken = False
        observations = self._read_observations(read_result(result, RESET)[0])
        if not np.array_equal(observations[~where], self.latest[~where], equal_nan=True):
            raise MetarlError(
                f"the vector environment of family {self.name!r} changes observations of worlds that are not in "
                "options['reset_mask']; it must reset the marked ones alone and return the others' last observation"
            )
        self.latest = observations
        self.over &= ~where

    def step(self, actions: np.ndarray, where: np.ndarray, streams: Streams) -> Step:
        if (resumed := where & self.left).any():
            raise MetarlError(
                f"world {int(np.flatnonzero(resumed)[0])} of family {self.name!r} waited in mid-episode and is stepped "
                "again; a vector environment cannot hold a world still: reset it first, or write a ClassFamily"
            )
        # Gymnasium's SyncVectorEnv refuses to step an ended world, so ended worlds that wait begin an unused episode.
        self._reset(self.over & ~where, np.zeros(len(where), dtype=np.int64))
        self.broken = True  # until the step has come back: its processes may be gone
        with ending_silence(self.envs, self.timeout):
            result = self.envs.step(actions)
        self.broken = False
        observations, rewards, terminations, truncations, infos = read_result(result, STEP)
        count = len(where)
        rewards = read_row("rewards", rewards, count, "biuf").astype(np.float64)
        terminations = read_row("terminations", terminations, count, "b").copy()
        truncations = read_row("truncations", truncations, count, "b").copy()
        self.latest = self._read_observations(observations)
        self.left |= ~where
        self.over = terminations | truncations
        self.observations[where] = self.latest[where]
        successes, known = read_successes(infos, where) or (None, None)
        return Step(self.observations, rewards, terminations, truncations, successes, known=known)

    def change(self, where: np.ndarray, values: Values) -> None:
        try:
            # `set_attr` of an AsyncVectorEnv is the one wait of a change without a limit of its own.
            with (
                killing_after(2 * self.timeout, lambda: processes_of(self.envs)),
                ending_silence(self.envs, self.timeout),
            ):
                self.family.change(self.envs, where, values)
        except WorldError:
            self.broken = True
            raise

    def render(self, world: int) -> np.ndarray | None:
        with ending_silence(self.envs, self.timeout):
            frames: Any = self.envs.render()
        return None if frames is None else frames[world]

    def close(self) -> None:
        if self.broken:
            end_processes(self.envs)
            return
        close_within(self.timeout, self.envs, self.name)
