"""A family around a Gymnasium vector environment: one that steps many worlds itself, as simulators on a GPU do."""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv

from ..base.errors import MetarlError, first_line
from ..base.streams import Streams
from .batch import Step
from .family import TaskFamily, unchangeable
from .spaces import usable_spaces
from .task import Values

if TYPE_CHECKING:
    from .batch import Batch, Step

VecEnv = VectorEnv[Any, Any, Any]
"""Any Gymnasium vector environment."""


class VectorFamily(TaskFamily):
    """A family around a Gymnasium vector environment, whose world i plays the task of row i.

    The environment resets nothing by itself (`AutoresetMode.DISABLED` in its metadata) and takes
    `reset(seed=[one a world], options={"reset_mask": mask})`, which leaves worlds that are not marked as they are.
    Everything random in an episode follows from the seed of its reset; it takes and gives NumPy arrays; a success is
    what `infos["success"]` or `infos["is_success"]` says. Raises MetarlError where the environment is another.

    A vector environment steps all its worlds at once, so none can stand still in mid-episode while others go on
    (`pauses`). Worlds whose episode has ended are stepped along, and begin afresh with a new seed when they are reset.
    There is one of it at a time: training plays a meta-batch as a whole (`side_by_side`).
    """

    pauses: ClassVar[bool] = False
    side_by_side: ClassVar[bool] = False

    @abstractmethod
    def make(self, values: Values, render_mode: str | None) -> VecEnv:
        """Return the environment with one world for each row of `values`."""

    def change(self, envs: VecEnv, where: np.ndarray, values: Values) -> None:
        """Give running worlds another task in mid-episode. Raises MetarlError unless the family says how."""
        raise unchangeable(self.name, "change(envs, where, values)")

    def require_changeable(self) -> None:
        """Raise MetarlError unless the family says how running worlds change."""
        if type(self).change is VectorFamily.change:
            raise unchangeable(self.name, "change(envs, where, values)")

    @functools.cached_property
    def _spaces(self) -> tuple[spaces.Box, spaces.Box | spaces.Discrete]:
        envs = self._made(self.sample("train", 1, seed=0).values, None)
        envs.close()
        return usable_spaces(
            self.name, envs.single_observation_space, envs.single_action_space, "gymnasium.wrappers.vector"
        )

    @property
    def observation_space(self) -> spaces.Box:
        """Space of one world's observation."""
        return self._spaces[0]

    @property
    def action_space(self) -> spaces.Box | spaces.Discrete:
        """Space of one world's action."""
        return self._spaces[1]

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return the batch; how many threads or processes step it is the environment's own business."""
        return _VectorBatch(self, self._made(values, render_mode))

    def _made(self, values: Values, render_mode: str | None) -> VecEnv:
        envs = self.make(values, render_mode)
        if not isinstance(envs, VectorEnv):
            raise MetarlError(f"family {self.name!r} makes {envs!r}; `make` must return a gymnasium.vector.VectorEnv")
        fault = _fault_of(envs, len(next(iter(values.values()))))
        if fault:
            envs.close()
            raise MetarlError(f"the vector environment of family {self.name!r} {fault}")
        return envs


def _fault_of(envs: VecEnv, num_worlds: int) -> str:
    mode = (envs.metadata or {}).get("autoreset_mode")
    if mode not in (AutoresetMode.DISABLED, AutoresetMode.DISABLED.value):
        said = "does not say its autoreset mode" if mode is None else f"has autoreset mode {mode}"
        return f"{said}; it must be AutoresetMode.DISABLED in metadata['autoreset_mode']: no final observation is lost"
    if envs.num_envs != num_worlds:
        return f"has {envs.num_envs} worlds for {num_worlds} tasks; make one world for each row of `values`"
    return ""


class _VectorBatch:
    """Worlds of a VectorFamily."""

    def __init__(self, family: VectorFamily, envs: VecEnv) -> None:
        self.family, self.name, self.envs = family, family.name, envs
        shape = envs.single_observation_space.shape or ()
        self.latest = np.zeros((envs.num_envs, *shape), envs.single_observation_space.dtype)
        """What the environment last said of every world."""
        self.observations = self.latest.copy()
        """The same, but of a world that waits what it said before the wait."""
        self.begun = False
        self.over = np.zeros(envs.num_envs, dtype=bool)
        """Worlds that the environment will not step before a reset."""
        self.left = np.zeros(envs.num_envs, dtype=bool)
        """Worlds that were stepped along while they waited."""

    def begin(self) -> None:
        """Nothing of a trial is kept here beyond its episodes."""

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        # A fresh seed for every episode, from the world's own stream: what a world did while it waited is forgotten.
        self._reset(where if self.begun else np.ones_like(where), streams.integers(2**31))
        self.begun = True
        self.left &= ~where
        self.observations[where] = self.latest[where]
        return self.observations

    def _reset(self, where: np.ndarray, seeds: np.ndarray) -> None:
        if not where.any():
            return
        options = None if where.all() else {"reset_mask": where.copy()}
        try:
            observations, _ = self.envs.reset(seed=seeds.tolist(), options=options)
        except (TypeError, ValueError, gymnasium.error.Error) as error:
            raise MetarlError(
                f"the vector environment of family {self.name!r} fails in reset(seed=[one a world], options={options}): "
                f"{first_line(error)}; it must take both"
            ) from error
        observations = np.array(observations)
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
        # Gymnasium's SyncVectorEnv refuses to step an ended world, so those that wait begin an episode of no account.
        self._reset(self.over & ~where, np.zeros(len(where), dtype=np.int64))
        observations, rewards, terminations, truncations, infos = self.envs.step(actions)
        self.latest = np.array(observations)
        self.left |= ~where
        self.over = np.asarray(terminations, dtype=bool) | np.asarray(truncations, dtype=bool)
        self.observations[where] = self.latest[where]
        return Step(
            self.observations,
            np.asarray(rewards, dtype=np.float64),
            np.array(terminations, dtype=bool),
            np.array(truncations, dtype=bool),
            _successes(infos, where),
        )

    def change(self, where: np.ndarray, values: Values) -> None:
        self.family.change(self.envs, where, values)

    def render(self, world: int) -> np.ndarray | None:
        frames: Any = self.envs.render()
        return None if frames is None else frames[world]

    def close(self) -> None:
        self.envs.close()


def _successes(infos: dict[str, Any], where: np.ndarray) -> np.ndarray | None:
    """Return whether each world's step was a success, None where nothing is known of those in `where`."""
    key = "success" if "success" in infos else "is_success"
    known = where & np.asarray(infos.get(f"_{key}", key in infos), dtype=bool)
    return known & np.asarray(infos[key], dtype=bool) if known.any() else None
