"""Films of trials: pictures of some tasks, taken while the agent plays as it does in an evaluation."""

from __future__ import annotations

import contextlib
import itertools
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..base.errors import MetarlError
from ..base.streams import Streams
from ..evaluation.evaluate import require_noise, warn_of_unstable
from ..families.batch import Batch, Step
from ..families.family import TaskFamily
from ..families.task import Tasks, Values
from ..families.vector import BatchedEnv
from ..trials.agent import Agent, require_agent
from ..trials.episodes import Episodes
from ..trials.memory import require_plan_memory
from ..trials.plan import TrialPlan
from ..trials.rollout import rounds_of
from .drawing import drawing, nothing_drawn

MOST_PICTURES = 100
"""Most pictures of an episode, unless `every` is given."""
MOST_BYTES = 2**32
"""Most bytes of all pictures of a film, compressed."""


@dataclass(frozen=True)
class Shot:
    """A picture of a world."""

    step: int
    """Steps of the episode before it."""
    shape: tuple[int, ...]
    """(height, width, 3)"""
    packed: bytes
    """The picture, compressed: a film keeps hundreds, and most of each is background."""

    @property
    def picture(self) -> np.ndarray:
        """The picture, uint8 [height, width, 3]."""
        return np.frombuffer(zlib.decompress(self.packed), dtype=np.uint8).reshape(self.shape)


@dataclass(frozen=True, eq=False)
class Take:
    """One episode, filmed."""

    shots: tuple[Shot, ...]
    """Pictures from step 0 to the last step, both included."""
    rewards: np.ndarray
    """Reward of each of its steps. [time]"""
    total: float
    """Undiscounted return."""
    mean_return: float
    """Mean return of all replicas in this task and round."""
    ending: str
    """How it ended before the time limit, such as 'terminated'; '' at the time limit."""
    success: bool
    """Whether any step was a success; False if the family does not define success."""

    @property
    def length(self) -> int:
        """Number of steps."""
        return len(self.rewards)

    @cached_property
    def running(self) -> np.ndarray:
        """Return so far after each number of steps, from 0 to `length`. [time + 1]"""
        return np.concatenate([[0.0], np.cumsum(self.rewards)]) + 0.0

    def shot(self, step: int) -> Shot:
        """Return the latest picture at or before a step."""
        return next(shot for shot in reversed(self.shots) if shot.step <= step)


@dataclass(frozen=True, eq=False)
class Film:
    """Episodes of chosen tasks, round after round."""

    family: TaskFamily
    """The family."""
    agent: str
    """Name of the agent."""
    pooled: bool
    """Whether the agent learns from all replicas of a task together."""
    plan: TrialPlan
    """The trials; the film shows the first replica of some of its tasks."""
    numbers: tuple[int, ...]
    """Number of each task shown in the plan's list, from 0."""
    tasks: Tasks
    """The tasks shown."""
    every: int
    """Steps from one picture to the next."""
    takes: tuple[tuple[Take, ...], ...]
    """The episodes. [task][round]"""

    @cached_property
    def times(self) -> list[int]:
        """Steps that the film shows, ascending; the last ends the longest episode."""
        end = max(take.length for row in self.takes for take in row)
        return [*range(0, end, self.every), end]


def film(
    agent: Agent,
    family: TaskFamily,
    plan: TrialPlan,
    numbers: Sequence[int],
    *,
    agent_name: str,
    every: int | None = None,
    threads: int | None = None,
    report: Callable[[int, int], None] = lambda taken, most: None,
) -> Film:
    """Return the film of the tasks `numbers` of an evaluation with the same plan.

    All tasks of the plan are played: a network rounds by the size of its batch, so that only then the episodes shown
    are those measured, to the last bit. `every` is the number of steps between pictures, by default 100 pictures an
    episode; `report` is called after each with the number taken and the most there can be. Raises MetarlError for a
    number outside the plan, an `every` below one, a budget above one, a split that does not exist, a family that
    cannot be drawn, and, at the first picture, a film of more than `MOST_BYTES`.
    """
    require_agent(agent)
    numbers = require_numbers(numbers, plan)
    require_noise(agent, agent_name, plan)
    if every is not None and every < 1:
        raise MetarlError(f"every is {every}; it must be at least 1 step from one picture to the next")
    every = every or usual_every(family)
    require_plan_memory(family, plan)
    tasks = plan.tasks(family)
    most = len(numbers) * plan.rounds * count_times(family, every)
    with (
        drawing(family),
        contextlib.closing(BatchedEnv(family, tasks, plan.replicas, threads=threads, render_mode="rgb_array")) as envs,
    ):
        camera = _Camera(envs, [number * plan.replicas for number in numbers], every, most, report)
        envs.batch = camera
        played = rounds_of(agent, envs, seed=plan.trial_seed, deterministic=plan.deterministic)
        rounds = tuple(itertools.islice(played, plan.rounds))
    if num_unstable := sum(episodes.num_unstable for episodes in rounds):
        warn_of_unstable(num_unstable, plan)
    takes = tuple(_takes(rounds, camera, number, plan.replicas) for number in numbers)
    return Film(family, agent_name, agent.pools_replicas, plan, numbers, tasks[list(numbers)], every, takes)


def usual_every(family: TaskFamily) -> int:
    """Return the steps between pictures that give an episode of full length at most `MOST_PICTURES`."""
    return -(-family.horizon // MOST_PICTURES)


def count_times(family: TaskFamily, every: int) -> int:
    """Return the most steps that a film shows: the start, every few steps, and the end."""
    return 1 + -(-family.horizon // every)


def _require_memory(most: int, size: int) -> None:
    """Raise MetarlError if `most` pictures of `size` bytes, as the first has, do not fit into `MOST_BYTES`."""
    if most * size > MOST_BYTES:
        raise MetarlError(
            f"the film would have {most:,} pictures, about {most * size / 2**30:,.0f} GiB, and the most is "
            f"{MOST_BYTES / 2**30:.0f} GiB; take more steps between pictures (--every), fewer tasks (--tasks) or rounds"
        )


def require_numbers(numbers: Sequence[int], plan: TrialPlan) -> tuple[int, ...]:
    """Return the numbers of the tasks to show, each once. Raises MetarlError for one that the plan does not have."""
    if plan.budget > 1:
        raise MetarlError(f"budget is {plan.budget}; a film shows every round: take a budget of 1")
    for number in numbers:
        if not 0 <= number < plan.num_tasks:
            raise MetarlError(
                f"task {number} is not among the {plan.num_tasks} tasks of the evaluation, which are 0 to "
                f"{plan.num_tasks - 1}; take one of them, or more tasks (--among)"
            )
    return tuple(dict.fromkeys(numbers))


def _takes(rounds: Sequence[Episodes], camera: _Camera, number: int, replicas: int) -> tuple[Take, ...]:
    return tuple(
        _take(episodes, number, camera.family.horizon, tuple(reel[number * replicas]))
        for episodes, reel in zip(rounds, camera.reels, strict=True)
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
    """A batch that takes pictures of some of its worlds: at the start, every few steps, and at the end."""

    def __init__(
        self, envs: BatchedEnv, worlds: Sequence[int], every: int, most: int, report: Callable[[int, int], None]
    ) -> None:
        self.family, self.worlds, self.every, self.most, self.report = envs.family, worlds, every, most, report
        self.batch: Batch = envs.batch
        self.reels: list[dict[int, list[Shot]]] = []
        """Pictures of each world, by round."""
        self.step_number = self.taken = 0

    @property
    def render_fps(self) -> int:
        return self.batch.render_fps

    def begin(self, where: np.ndarray) -> None:
        self.batch.begin(where)

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
            if not self.taken:
                _require_memory(self.most, len(packed))
            self.reels[-1][world].append(Shot(self.step_number, picture.shape, packed))
            self.taken += 1
            self.report(self.taken, self.most)

    def change(self, where: np.ndarray, values: Values) -> None:
        self.batch.change(where, values)

    def render(self, world: int) -> np.ndarray | None:
        return self.batch.render(world)

    def close(self) -> None:
        self.batch.close()
