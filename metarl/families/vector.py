"""The batched environment: every replica of every task, stepped in lockstep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ..base.errors import MetarlError
from ..base.streams import Streams
from .batch import Simulated, Step, shape_of
from .task import Tasks


class BatchedEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """`replicas` worlds in each of a batch of tasks; world `task * replicas + replica`.

    A Gymnasium `VectorEnv` with autoreset disabled: an ended world waits for `reset(options={"reset_mask": mask})`,
    so that quotas of episodes are exact and no final observation is lost. The tasks stay for the environment's life.
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
        self.single_observation_space = family.observation_space
        self.single_action_space = family.action_space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        values = {name: np.repeat(value, replicas, axis=0) for name, value in tasks.values.items()}
        self.batch = family.batch(values, threads=threads, render_mode=render_mode)
        self._streams: Streams | None = None
        self._elapsed = np.zeros(self.num_envs, dtype=np.int64)
        self._ended = np.ones(self.num_envs, dtype=bool)

    @property
    def shape(self) -> tuple[int, int]:
        """(num_tasks, replicas), the shape behind the flat axis of worlds."""
        return self.num_tasks, self.replicas

    def _seeded(self, seed: int | Sequence[int | None]) -> Streams:
        if isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
            # By the task's place in its split, not in this batch: the task alone gets the same numbers.
            return Streams.of(int(seed), "world", self.tasks.index[:, None], np.arange(self.replicas)).reshape(-1)
        if len(seed) != self.num_envs:
            raise MetarlError(f"{len(seed)} seeds given for {self.num_envs} worlds; give one a world, or one number")
        drawn = [self.np_random.integers(2**63) if one is None else one for one in seed]
        return Streams.of(np.array(drawn, dtype=np.uint64), "world")

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin new episodes in all worlds, or in those of `options["reset_mask"]` (bool [world]).

        With a seed (one number, or one for each world) the random streams start afresh, and so does the trial; without,
        both go on.
        """
        if seed is not None:
            self._streams = self._seeded(seed)
            self.batch.begin()
        elif self._streams is None:
            self._streams = self._seeded(int(self.np_random.integers(2**63)))
        mask = (options or {}).get("reset_mask")
        where = np.ones(self.num_envs, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
        if where.shape != (self.num_envs,):
            raise MetarlError(f"reset_mask has shape {where.shape}; it must be ({self.num_envs},), one bool a world")
        observations = self.batch.reset(where, self._streams.where(where))
        self._elapsed[where] = 0
        self._ended[where] = False
        return self._as_observations(observations), {}

    def advance(self, actions: np.ndarray, where: np.ndarray) -> Step:
        """Step the worlds marked in `where`, bool [world]; the others stand still. `actions` is [world, *action].

        Raises MetarlError where a marked world's episode has ended.
        """
        if (self._ended & where).any() or self._streams is None:
            raise MetarlError("a world whose episode has ended was stepped; reset it first")
        step = self.batch.step(actions, where, self._streams.where(where))
        self._elapsed += where
        terminations = step.terminations & where
        truncations = step.truncations | (self._elapsed >= self.family.horizon)
        if step.unstable is not None:
            # Cut off, not terminated: that the simulation broke down says nothing about what would have come.
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
        """Step every world. Raises MetarlError where one has ended: see `reset(options={"reset_mask": ...})`."""
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
        # Always a copy: users keep what they are given, and families may hand out their own state.
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
        """Pickle the recipe, as Gymnasium's EzPickle does: the copy has the same tasks and is not yet reset."""
        return _rebuild, (self.family, self.tasks, self.replicas, self.threads, self.render_mode)


def _rebuild(family: Simulated, tasks: Tasks, replicas: int, threads: int | None, mode: str | None) -> BatchedEnv:
    return BatchedEnv(family, tasks, replicas, threads=threads, render_mode=mode)
