"""Films of trials: pictures of chosen tasks, taken while an agent plays them just as it does when it is measured."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..base.errors import MetarlError
from ..base.progress import warn
from ..base.streams import Streams
from ..evaluation.evaluate import trial_seed
from ..families.batch import Batch, Step
from ..families.family import TaskFamily
from ..families.task import Tasks, Values
from ..families.vector import BatchedEnv
from ..trials.agent import Agent, Oracle
from ..trials.episodes import Episodes, Trial
from ..trials.rollout import run_trial
from .drawing import drawing, nothing_drawn

MOST_PICTURES = 100
"""How many pictures of an episode are taken, at most, unless the user says how often."""


@dataclass(frozen=True)
class Shot:
    """A picture of a world."""

    step: int
    """Steps that the episode had made."""
    shape: tuple[int, ...]
    """(height, width, 3)"""
    packed: bytes
    """The picture; hundreds are kept, and most of each is background."""

    @property
    def picture(self) -> np.ndarray:
        """The picture, uint8 [height, width, 3]."""
        return np.frombuffer(zlib.decompress(self.packed), dtype=np.uint8).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Take:
    """One episode, filmed."""

    shots: tuple[Shot, ...]
    """Pictures from the start (step 0) to the last step, which is always among them."""
    rewards: np.ndarray
    """Reward of each of its steps. [time]"""
    total: float
    """Undiscounted return, as `metarl evaluate` has it."""
    mean_return: float
    """Mean of the returns of all replicas in this task and round."""
    ending: str
    """How it ended before the time limit, in words; '' where it did not."""
    success: bool
    """Whether any step was a success, as far as the family knows."""

    @property
    def length(self) -> int:
        """Number of steps."""
        return len(self.rewards)

    @cached_property
    def running(self) -> np.ndarray:
        """Return after each number of steps, from 0 to all. [time + 1]"""
        return np.concatenate([[0.0], np.cumsum(self.rewards)]) + 0.0

    def shot(self, step: int) -> Shot:
        """Return the latest picture at a step; after the end, the last."""
        return next(shot for shot in reversed(self.shots) if shot.step <= step)


@dataclass(frozen=True, eq=False)
class Film:
    """Episodes of chosen tasks, round after round."""

    family: TaskFamily
    """The family."""
    agent: str
    """Name of the agent."""
    pooled: bool
    """Whether the agent learns from all replicas of a task between rounds; else each goes on by itself."""
    split: str
    """Split that the tasks are from."""
    seed: int
    """Seed of the tasks and the episodes."""
    numbers: tuple[int, ...]
    """Place of each task in the evaluation's list, from 0."""
    tasks: Tasks
    """The tasks."""
    replicas: int
    """Episodes side by side in each task and round; the first of them is seen."""
    every: int
    """Steps from one picture to the next."""
    takes: tuple[tuple[Take, ...], ...]
    """The episodes. [task][round]"""

    @property
    def rounds(self) -> int:
        """Number of rounds; the agent adapted between them."""
        return len(self.takes[0])

    @cached_property
    def times(self) -> list[int]:
        """Steps of which there is a picture, ascending; the last is the longest episode's end."""
        end = max(take.length for row in self.takes for take in row)
        return [*range(0, end, self.every), end]


def film(
    agent: Agent | Oracle,
    family: TaskFamily,
    numbers: Sequence[int],
    *,
    agent_name: str,
    split: str = "test",
    num_tasks: int = 40,
    rounds: int = 2,
    replicas: int = 1,
    seed: int = 0,
    every: int | None = None,
    threads: int | None = None,
    report: Callable[[int, int], None] = lambda taken, most: None,
) -> Film:
    """Return the film of the tasks `numbers` among the `num_tasks` that `evaluate` plays with the same arguments.

    All of them are played, so that the episodes seen are those measured, to the last bit: networks round by the size of
    the batch. `every` is the number of steps between pictures, by default so many that an episode has 100 at most;
    `report` hears how many pictures were taken, of how many at most. Raises MetarlError for a task that is not among
    them, an unknown split, a family that draws nothing, and where there is nothing to draw with.
    """
    for number in numbers:
        if not 0 <= number < num_tasks:
            raise MetarlError(
                f"task {number} is outside; the evaluation's {num_tasks} tasks are 0 to {num_tasks - 1}: take one of "
                "those, or more of them (--among)"
            )
    numbers = tuple(dict.fromkeys(numbers))
    every = every or -(-family.horizon // MOST_PICTURES)
    tasks = family.sample(split, num_tasks, seed=seed)
    most = len(numbers) * rounds * (1 + -(-family.horizon // every))
    with (
        drawing(family),
        contextlib.closing(BatchedEnv(family, tasks, replicas, threads=threads, render_mode="rgb_array")) as envs,
    ):
        camera = _Camera(envs, [number * replicas for number in numbers], every, lambda taken: report(taken, most))
        envs.batch = camera
        trial = run_trial(agent, envs, rounds, seed=trial_seed(seed, split))
    if trial.num_unstable:
        warn(f"the physics broke down in {trial.num_unstable} of {num_tasks * replicas * rounds} episodes")
    return Film(
        family=family,
        agent=agent_name,
        pooled=getattr(agent, "pools_replicas", True),
        split=split,
        seed=seed,
        numbers=numbers,
        tasks=tasks[list(numbers)],
        replicas=replicas,
        every=every,
        takes=tuple(_takes(trial, camera, number, replicas) for number in numbers),
    )


def _takes(trial: Trial, camera: _Camera, number: int, replicas: int) -> tuple[Take, ...]:
    return tuple(
        _take(episodes, number, camera.family.horizon, tuple(reel[number * replicas]))
        for episodes, reel in zip(trial.rounds, camera.reels, strict=True)
    )


def _take(episodes: Episodes, number: int, horizon: int, shots: tuple[Shot, ...]) -> Take:
    length = int(episodes.lengths[number, 0])
    return Take(
        shots=shots,
        rewards=episodes.rewards[:length, number, 0],
        total=float(episodes.returns[number, 0]),
        mean_return=float(episodes.returns[number].mean()),
        ending=_ending(episodes, number, length) if length < horizon else "",
        success=episodes.successes is not None and bool(episodes.successes[number, 0]),
    )


def _ending(episodes: Episodes, number: int, length: int) -> str:
    if episodes.unstable is not None and episodes.unstable[number, 0]:
        return "physics broke down"
    return "terminated" if episodes.terminations[length - 1, number, 0] else "cut off"


class _Camera:
    """Passes a batch on, and takes pictures of some of its worlds: at the start, every few steps, and at the end."""

    def __init__(self, envs: BatchedEnv, worlds: Sequence[int], every: int, report: Callable[[int], None]) -> None:
        self.family, self.worlds, self.every, self.report = envs.family, worlds, every, report
        self.batch: Batch = envs.batch
        self.reels: list[dict[int, list[Shot]]] = []
        """For each round the pictures of each world."""
        self.step_number = self.taken = 0

    def begin(self) -> None:
        self.batch.begin()

    def reset(self, where: np.ndarray, streams: Streams) -> np.ndarray:
        observations = self.batch.reset(where, streams)
        self.step_number = 0
        self.reels.append({world: [] for world in self.worlds})
        self._shoot(self.worlds)
        return observations

    def step(self, actions: np.ndarray, where: np.ndarray, streams: Streams) -> Step:
        step = self.batch.step(actions, where, streams)
        self.step_number += 1
        ended = step.terminations | step.truncations
        if step.unstable is not None:
            ended = ended | step.unstable
        due = self.step_number % self.every == 0 or self.step_number == self.family.horizon
        self._shoot([world for world in self.worlds if where[world] and (due or ended[world])])
        return step

    def _shoot(self, worlds: Sequence[int]) -> None:
        for world in worlds:
            picture = self.batch.render(world)
            if picture is None:
                raise nothing_drawn(self.family)
            picture = np.ascontiguousarray(picture[..., :3], dtype=np.uint8)
            packed = zlib.compress(picture.tobytes(), level=1)
            self.reels[-1][world].append(Shot(self.step_number, picture.shape, packed))
            self.taken += 1
            self.report(self.taken)

    def change(self, where: np.ndarray, values: Values) -> None:
        self.batch.change(where, values)

    def render(self, world: int) -> np.ndarray | None:
        return self.batch.render(world)

    def close(self) -> None:
        self.batch.close()
