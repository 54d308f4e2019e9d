"""The batched environment, which steps all replicas of all tasks together."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ..base.errors import MetarlError
from ..base.streams import Streams
from .batch import Batch, Step
from .spaces import shape_of
from .task import Tasks, Values


class Simulated(Protocol):
    """The part of a family that `BatchedEnv` uses."""

    @property
    def name(self) -> str:
        """Name of the family in messages."""
        ...

    @property
    def horizon(self) -> int:
        """Steps after which an episode is cut off."""
        ...

    @property
    def observation_space(self) -> spaces.Box:
        """Space of one observation."""
        ...

    @property
    def action_space(self) -> spaces.Box | spaces.Discrete:
        """Space of one action."""
        ...

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return a batch with one world for each row of `values`."""
        ...


class BatchedEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """A Gymnasium vector environment with `replicas` worlds in each of a batch of tasks.

    World `task * replicas + replica` plays that task for the environment's life. Autoreset is disabled: an ended world
    waits for `reset(options={"reset_mask": mask})`, so episodes are counted exactly and no final observation is lost.
    Raises MetarlError for fewer than one replica, a negative number of threads, and an unknown render mode.
    """

    def __init__(
        self,
        family: Simulated,
        tasks: Tasks,
        replicas: int = 1,
        *,
        threads: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if replicas < 1:
            raise MetarlError(f"replicas is {replicas}; it must be at least 1")
        if threads is not None and threads < 0:
            raise MetarlError(f"threads is {threads}; it must be 0 (the calling thread) or more")
        if render_mode not in (None, "human", "rgb_array"):
            raise MetarlError(f"render_mode is {render_mode!r}; it must be 'human', 'rgb_array' or None")
        self.family, self.tasks, self.replicas, self.threads = family, tasks, replicas, threads
        self.num_tasks = len(tasks)
        self.num_envs = self.num_tasks * replicas
        self.metadata = {
            "autoreset_mode": AutoresetMode.DISABLED,
            "render_modes": ["human", "rgb_array"],
            "render_fps": 20,
        }
        self.render_mode = render_mode
        # Copies: a space holds the generator of its samples, and a family may share one space among environments.
        self.single_observation_space = copy.deepcopy(family.observation_space)
        self.single_action_space = copy.deepcopy(family.action_space)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        values = {name: np.repeat(value, replicas, axis=0) for name, value in tasks.values.items()}
        self.batch = family.batch(values, threads=threads, render_mode=render_mode)
        self._streams: Streams | None = None
        self._elapsed = np.zeros(self.num_envs, dtype=np.int64)
        self._ended = np.ones(self.num_envs, dtype=bool)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (num_tasks, replicas) of the flat axis of worlds."""
        return self.num_tasks, self.replicas

    def _make_streams(self, seed: int | Sequence[int | None]) -> Streams:
        """Return one random stream for each world, from one seed or from one for each world."""
        if isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
            # A task's place in its split, not in this batch, names its streams: alone it gets the same numbers.
            return Streams.of(int(seed), "world", self.tasks.index[:, None], np.arange(self.replicas)).reshape(-1)
        if len(seed) != self.num_envs:
            raise MetarlError(f"{len(seed)} seeds for {self.num_envs} worlds; give one number, or one for each world")
        drawn = [self.np_random.integers(2**63) if one is None else one for one in seed]
        return Streams.of(np.array(drawn, dtype=np.uint64), "world")

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new episodes in all worlds, or in those of `options["reset_mask"]`, bool [world].

        A seed (one number, or one for each world) restarts the random streams and the trial. Without one both go on.
        Raises MetarlError for a wrong number of seeds and a mask of a wrong shape.
        """
        if seed is not None:
            self._streams = self._make_streams(seed)
            self.batch.begin()
        elif self._streams is None:
            self._streams = self._make_streams(int(self.np_random.integers(2**63)))
        mask = (options or {}).get("reset_mask")
        where = np.ones(self.num_envs, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
        if where.shape != (self.num_envs,):
            raise MetarlError(f"reset_mask has shape {where.shape}; it must be ({self.num_envs},), one bool a world")
        observations = self.batch.reset(where, self._streams.where(where))
        self._elapsed[where] = 0
        self._ended[where] = False
        return self._as_observations(observations), {}

    def advance(self, actions: np.ndarray, where: np.ndarray) -> Step:
        """Step the worlds marked in `where`, bool [world], by `actions` [world, *action]. The others stand still.

        Raises MetarlError where the episode of a marked world has ended.
        """
        if (self._ended & where).any() or self._streams is None:
            raise MetarlError("a world was stepped after its episode had ended; reset it first")
        step = self.batch.step(actions, where, self._streams.where(where))
        self._elapsed += where
        terminations = step.terminations & where
        truncations = step.truncations | (self._elapsed >= self.family.horizon)
        if step.unstable is not None:
            # Cut off, not terminated: a breakdown of the simulation says nothing about later rewards.
            truncations, terminations = truncations | step.unstable, terminations & ~step.unstable
        truncations = truncations & where & ~terminations
        self._ended |= terminations | truncations
        return Step(
            self._as_observations(step.observations),
            np.where(where, step.rewards, 0.0),
            terminations,
            truncations,
            step.successes,
            step.unstable,
        )

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every world.

        Raises MetarlError where an episode has ended and was not reset, and for actions of a wrong shape or value.
        """
        actions = np.asarray(actions)
        self._check_actions(actions)
        step = self.advance(actions, np.ones(self.num_envs, dtype=bool))
        flags = {"success": step.successes, "unstable": step.unstable}
        infos = {name: flag for name, flag in flags.items() if flag is not None}
        return step.observations, step.rewards, step.terminations, step.truncations, infos

    def _check_actions(self, actions: np.ndarray) -> None:
        space = self.single_action_space
        if actions.shape != (self.num_envs, *shape_of(space)):
            raise MetarlError(f"actions have shape {actions.shape}; it must be {(self.num_envs, *shape_of(space))}")
        if isinstance(space, spaces.Discrete):
            outside = actions[(actions < space.start) | (actions >= space.start + space.n)]
            if outside.size:
                raise MetarlError(f"action {outside[0]} is not in {space}; give one that is")

    def _as_observations(self, observations: np.ndarray) -> np.ndarray:
        # Always a copy: users keep observations, and a family may return its own state.
        return np.array(observations, dtype=self.single_observation_space.dtype)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return a picture of each world, uint8 [height, width, 3], in render mode 'rgb_array'."""
        if self.render_mode is None:
            return None
        frames = [self.batch.render(world) for world in range(self.num_envs)]
        return tuple(frame for frame in frames if frame is not None)

    def close_extras(self, **kwargs: Any) -> None:
        """Release windows and simulation threads."""
        self.batch.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the constructor's arguments. The copy has the same tasks and needs a reset."""
        return _rebuild, (self.family, self.tasks, self.replicas, self.threads, self.render_mode)


def share_worlds(
    family: Simulated, tasks: Tasks, num_envs: int, *, threads: int | None = None, render_mode: str | None = None
) -> BatchedEnv:
    """Return `num_envs` worlds, shared equally among the tasks.

    Raises MetarlError where `num_envs` is not a multiple of the number of tasks.
    """
    if num_envs % len(tasks):
        raise MetarlError(
            f"num_envs is {num_envs} for {len(tasks)} tasks; it must be a multiple of the number of tasks"
        )
    return BatchedEnv(family, tasks, num_envs // len(tasks), threads=threads, render_mode=render_mode)


def _rebuild(family: Simulated, tasks: Tasks, replicas: int, threads: int | None, mode: str | None) -> BatchedEnv:
    return BatchedEnv(family, tasks, replicas, threads=threads, render_mode=mode)
