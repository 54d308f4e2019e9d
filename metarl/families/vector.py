"""The batched environment, which steps all replicas of all tasks together."""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any, NoReturn, Protocol

import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from ..base.errors import AUTHOR_ERRORS, MetarlError, UserCodeError, first_line, is_lack_of_memory, user_code
from ..base.streams import Streams
from .actions import ActionRange, are_whole
from .arguments import read_mask, require_seeds
from .batch import Batch, Step, merge
from .doors import WorldError, describe, find_infinite, is_surely_finite
from .faults import InvalidActionError, ResetNeededError
from .infos import complete_spec, write_infos
from .layout import layout_of
from .question_batch import Asked, QuestionBatch
from .spaces import ActionSpace, require_actions, shape_of
from .task import Reveal, Tasks, Values


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
    def observation_space(self) -> spaces.Space[Any]:
        """Space of one observation."""
        ...

    @property
    def action_space(self) -> ActionSpace:
        """Space of one action."""
        ...

    @property
    def target_space(self) -> ActionSpace | None:
        """Space of the action that would have been right; None where none is known."""
        ...

    @property
    def reveal(self) -> Reveal:
        """When a learner is shown the targets."""
        ...

    def batch(self, values: Values, *, threads: int | None = None, render_mode: str | None = None) -> Batch:
        """Return a batch with one world for each row of `values`."""
        ...


class BatchedEnv(VectorEnv[Any, np.ndarray, np.ndarray]):
    """A Gymnasium vector environment with `replicas` worlds in each of a batch of tasks.

    World `task * replicas + replica` plays that task for the environment's life. Autoreset is disabled: an ended world
    waits for `reset(options={"reset_mask": mask})`, so episodes are counted exactly and no final observation is lost.
    `reset` and `step` return observations of a Dict or Tuple as Gymnasium batches them. `restart` and `advance` return
    one array for any space, as `layout` says.

    Raises MetarlError for fewer than one replica, a negative number of threads, an unknown render mode, and spaces that
    a family cannot have.
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
        self.autoreset_mode = AutoresetMode.DISABLED
        self.render_mode = render_mode
        require_actions(family.name, family.action_space)
        # Copies: a space holds the generator of its samples, and a family may share one space among environments.
        self.single_observation_space = copy.deepcopy(family.observation_space)
        self.single_action_space = copy.deepcopy(family.action_space)
        self.layout = layout_of(self.single_observation_space, family.name)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.values: Values = {name: np.repeat(value, replicas, axis=0) for name, value in tasks.values.items()}
        """Parameter values of the task of each world, by name. [world, *shape]"""
        with user_code(f"family {family.name!r}, making {self.num_envs} worlds"):
            self.batch = family.batch(self.values, threads=threads, render_mode=render_mode)
        self.metadata = {
            "autoreset_mode": self.autoreset_mode,
            "render_modes": ["human", "rgb_array"],
            "render_fps": self.batch.render_fps,
        }
        self._spec: EnvSpec | None = None
        self._streams: Streams | None = None
        self._elapsed, self._horizon = np.zeros(self.num_envs, dtype=np.int64), np.asarray(family.horizon)
        self._everywhere = np.ones(self.num_envs, dtype=bool)
        self._ended = self._everywhere.copy()

    @property
    def spec(self) -> EnvSpec | None:
        """Gymnasium's record of how the environment was made. Its `max_episode_steps` is the family's horizon."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._spec = complete_spec(spec, self.family.horizon)

    @functools.cached_property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one action: () for a discrete one."""
        return shape_of(self.single_action_space)

    @functools.cached_property
    def action_range(self) -> ActionRange:
        """The actions that a world takes."""
        return ActionRange(self.single_action_space)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (num_tasks, replicas) of the flat axis of worlds."""
        return self.num_tasks, self.replicas

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes in all worlds, or in those of `options["reset_mask"]`, bool [world].

        A seed (one number, or one for each world) restarts the random streams and the trial of those worlds. Without
        one, or with None for a world, they go on. Other worlds keep everything, whatever the seed. Raises MetarlError
        for a wrong number of seeds, a negative one, and a mask of a wrong shape or type.
        """
        return self.layout.unflatten(self.restart(seed=seed, options=options)), {}

    def restart(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Reset as `reset` does, and return the observations as one array, [world, *layout.shape]."""
        where = read_mask(options, self.num_envs)
        require_seeds(seed, self.num_envs)
        seeded = None if seed is None else self._restart_streams(seed, where)
        streams = self._ensure_streams()
        try:
            if seeded is not None:
                self.batch.begin(seeded)
            observations = self.batch.reset(where, streams.where(where))
        except AUTHOR_ERRORS as error:
            self._raise_told(error, "reset", where)
        self._require_finite("observation", observations, where, "reset")
        self._elapsed[where] = 0
        self._ended[where] = False
        return self._as_observations(observations)

    def _ensure_streams(self) -> Streams:
        """Return one random stream for each world, from unpredictable numbers where there was no seed."""
        if self._streams is None:
            self._streams = self._own_streams(int(self.np_random.integers(2**63)))
        return self._streams

    def _own_streams(self, seed: int) -> Streams:
        # A task's place in its split, not in this batch, names its streams: alone it gets the same numbers.
        return Streams.of(seed, "world", self.tasks.index[:, None], np.arange(self.replicas)).reshape(-1)

    def _restart_streams(self, seed: int | Sequence[int | None], where: np.ndarray) -> np.ndarray:
        """Restart the streams of the worlds in `where` that have a seed, and return which these are, bool [world].

        Before the first reset no world has a stream to keep, so all of them count as marked.
        """
        where = np.ones_like(where) if self._streams is None else where
        if isinstance(seed, (int, np.integer)):
            if np.count_nonzero(where) == self.num_envs:
                super().reset(seed=int(seed))  # sets `np_random`
            seeded, fresh = where, self._own_streams(int(seed))
        else:
            seeded = where & np.array([one is not None for one in seed])
            fresh = Streams.of(np.array([one or 0 for one in seed], dtype=np.uint64), "world")
        if np.count_nonzero(seeded) == self.num_envs:
            self._streams = fresh
        else:
            old = self._ensure_streams()
            self._streams = Streams(
                np.where(seeded, fresh.keys, old.keys), np.where(seeded, fresh.counters, old.counters)
            )
        return seeded

    def advance(self, actions: np.ndarray, where: np.ndarray) -> Step:
        """Step the worlds marked in `where`, bool [world], by `actions` [world, *action]. The others stand still.

        The observations of the result are one array, [world, *layout.shape].

        Raises MetarlError where the episode of a marked world has ended.
        """
        everywhere = np.count_nonzero(where) == self.num_envs  # then masks need not be applied
        if np.count_nonzero(self._ended if everywhere else self._ended & where) or self._streams is None:
            raise ResetNeededError("a world was stepped after its episode had ended; reset it first")
        try:
            step = self.batch.step(actions, where, self._streams.where(where))
        except AUTHOR_ERRORS as error:
            self._raise_told(error, "step", where)
        observations, rewards = self._as_observations(step.observations), step.rewards.astype(np.float64)
        if not everywhere:
            rewards[~where] = 0.0
        if not (is_surely_finite(rewards) and is_surely_finite(observations)):
            self._require_finite("reward", rewards, where, "step")
            self._require_finite("observation", observations, where, "step")
        self._elapsed += 1 if everywhere else where
        terminations = step.terminations & where  # a copy: a family may return its own state
        # The horizon is an array, too: it compares in half the time of an int.
        truncations = step.truncations | (self._elapsed >= self._horizon)
        if step.unstable is not None and np.count_nonzero(step.unstable):
            # Cut off, not terminated: a breakdown of the simulation says nothing about later rewards.
            truncations, terminations = truncations | step.unstable, terminations & ~step.unstable
        truncations = truncations > terminations  # and not terminated, in one operation
        if not everywhere:
            truncations &= where
        self._ended |= terminations | truncations
        return step._replace(
            observations=observations, rewards=rewards, terminations=terminations, truncations=truncations
        )

    def asked(self) -> Asked | None:
        """Return the questions of the episodes that a reset began in all worlds, to be answered at once.

        None for a family whose steps depend on the actions before them.
        """
        return self.batch.asked() if isinstance(self.batch, QuestionBatch) else None

    def answer(self, answers: np.ndarray, asked: Asked) -> np.ndarray:
        """End the episodes with the answers to all questions, and return the rewards, float64 [question, world].

        `answers` [question, world, *action] are actions as `advance` takes them.
        """
        if np.count_nonzero(self._ended) or not isinstance(self.batch, QuestionBatch):
            raise ResetNeededError("a world was asked after its episode had ended; reset it first")
        rewards = np.zeros(asked.mask.shape)
        try:
            scored = self.batch.finish(answers, asked)
        except AUTHOR_ERRORS as error:
            self._raise_told(error, "score", np.ones(self.num_envs, dtype=bool))
        np.copyto(rewards, scored, where=asked.mask)
        if not is_surely_finite(rewards):
            for row, mask in zip(rewards, asked.mask, strict=True):
                self._require_finite("reward", row, mask, "score")
        self._elapsed += asked.mask.sum(axis=0)
        self._ended[:] = True
        return rewards

    def step(self, actions: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step every world.

        Raises MetarlError where an episode has ended and was not reset, and for actions of a wrong shape or value.
        """
        everywhere = self._everywhere.copy()  # in an eighth of the time of `np.ones`
        step = self.advance(self.read_actions(actions, everywhere), everywhere)
        observations, infos = self.layout.unflatten(step.observations), write_infos(step, everywhere)
        return observations, step.rewards, step.terminations, step.truncations, infos

    def read_actions(self, given: Any, where: np.ndarray) -> np.ndarray:
        """Return actions as an array [world, *action], in which those of worlds outside `where` are harmless.

        Raises InvalidActionError for a wrong shape or type, and where an action of `where` is not finite, or not in a
        space other than a box.
        """
        actions, taken = np.asarray(given), self.action_range
        if actions.shape != (self.num_envs, *self.action_shape):
            raise InvalidActionError(
                f"actions have shape {actions.shape}; it must be {(self.num_envs, *self.action_shape)}"
            )
        if not taken.can_store(actions):
            if not are_whole(actions[where]):
                raise InvalidActionError(
                    f"actions have dtype {actions.dtype}; it must be {taken.dtype}, as in {taken.space}"
                )
            actions = taken.settle(actions, where)
        if not taken.holds(actions):
            if (outside := taken.first_outside(actions[where])) is not None:
                raise InvalidActionError(f"action {outside} is not in {taken.space}; give one that is")
            actions = taken.settle(actions, where)
        return taken.store(actions)

    def change(self, where: np.ndarray, values: Values) -> None:
        """Give the marked worlds, bool [world], the tasks of their rows of `values`, from now on."""
        self.values = merge(where, dict(values), dict(self.values))
        try:
            self.batch.change(where, self.values)
        except AUTHOR_ERRORS as error:
            self._raise_told(error, "change", where)

    def task(self, world: int) -> dict[str, Any]:
        """Return the current task of a world, as numbers and lists by parameter name."""
        return {name: value[world].tolist() for name, value in self.values.items()}

    def _raise_told(self, error: BaseException, doing: str, where: np.ndarray) -> NoReturn:
        """Raise an error of the family's code in `doing` with the family, the task and the step in front of it."""
        if isinstance(error, WorldError):
            kind = MetarlError if error.__cause__ is None else UserCodeError
            raise kind(f"{self._place(doing, where, error.world)}: {error.fault}") from error.__cause__
        if isinstance(error, MetarlError) or is_lack_of_memory(error):
            raise error
        raise UserCodeError(f"{self._place(doing, where, None)}: {first_line(error)}") from error

    def _place(self, doing: str, where: np.ndarray, world: int | None) -> str:
        marked = np.flatnonzero(where)
        if world is None and len(marked) == 1:
            world = int(marked[0])
        task = f"{len(marked)} worlds" if world is None else f"task {describe(self.task(world), 200)}"
        step = int(self._elapsed[marked[0] if world is None else world]) + 1 if len(marked) else 0
        return f"family {self.family.name!r}, {task}, " + (f"step {step} of an episode" if doing == "step" else doing)

    def _require_finite(self, name: str, array: np.ndarray, where: np.ndarray, doing: str) -> None:
        """Raise MetarlError where a world of `where` gave a number that is NaN or infinite."""
        infinite = find_infinite(array)
        if infinite is None:
            return
        worlds = np.flatnonzero(where & infinite.reshape(len(where), -1).any(axis=1))
        if worlds.size:
            found, at = array[worlds[0]], infinite[worlds[0]]
            number = found[at].flat[0] if at.ndim else found
            told = f"the {name} is {number}" + (f" at {np.argwhere(at)[0].tolist()}" if at.ndim else "")
            raise MetarlError(f"{self._place(doing, where, int(worlds[0]))}: {told}; keep it finite")

    def _as_observations(self, observations: np.ndarray) -> np.ndarray:
        # Always a copy: users keep observations, and a family may return its own state.
        return observations.astype(self.layout.dtype)

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Return a picture of each world, uint8 [height, width, 3], in render mode 'rgb_array'."""
        if self.render_mode is None:
            return None
        frames = [self.render_world(world) for world in range(self.num_envs)]
        return tuple(frame for frame in frames if frame is not None)

    def render_world(self, world: int) -> np.ndarray | None:
        """Return a picture of one world, as `render` does. Raises ResetNeededError before the first reset."""
        if self._streams is None:
            raise ResetNeededError("a world was rendered before its first reset; reset it first")
        try:
            return self.batch.render(world)
        except AUTHOR_ERRORS as error:
            self._raise_told(error, "render", np.arange(self.num_envs) == world)

    def close_extras(self, **kwargs: Any) -> None:
        """Release windows and simulation threads."""
        with user_code(f"family {self.family.name!r}, close"):
            self.batch.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the constructor's arguments. The copy has the same tasks and needs a reset."""
        return _rebuild, (self.family, self.tasks, self.replicas, self.threads, self.render_mode)


def _rebuild(family: Simulated, tasks: Tasks, replicas: int, threads: int | None, mode: str | None) -> BatchedEnv:
    return BatchedEnv(family, tasks, replicas, threads=threads, render_mode=mode)
