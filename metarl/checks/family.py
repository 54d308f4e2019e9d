"""Checks of the rules that every family follows. Each check yields one line a fault: fault, rule, remedy."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pickle
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..adapters.gymnasium import SingleEnv
from ..base.errors import MetarlError, first_line, reword
from ..base.streams import Streams
from ..families.arrays import ArrayFamily
from ..families.classes import ClassFamily
from ..families.family import FAMILIES, TaskFamily
from ..families.load import load
from ..families.mujoco.family import MujocoFamily
from ..families.spaces import action_at
from ..families.switching import SwitchingFamily
from ..families.task import Tasks
from ..families.vector import BatchedEnv
from ..trials.episodes import select_tasks
from .asking import check_labels, check_own_values, check_unanswered
from .declared import FamilyCheck
from .extent import BRIEF, FULL, Extent
from .replay import difference, play, play_new, shorten


def check_settings(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """A family is a frozen dataclass, and its settings, written as JSON, give an equal family."""
    if not getattr(getattr(type(family), "__dataclass_params__", None), "frozen", False):
        yield "a family can be changed after it is made; decorate the class with @dataclass(frozen=True)"
        return
    try:
        settings = json.loads(json.dumps(family.settings))
    except TypeError as error:
        yield f"its settings cannot be written as JSON ({error}); use numbers, strings, booleans and tuples"
        return
    registered = family.name in FAMILIES and FAMILIES[family.name] is family.origin
    if not registered and family.origin is not type(family):
        return  # only `load` restores the options of a family
    again = load(family.name, **settings) if registered else type(family)(**settings)
    if again != family:
        yield f"its settings {settings} give another family; keep everything that defines it in dataclass fields"


def check_gymnasium(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """One world passes Gymnasium's own checker; warnings of unbounded or unnormalized spaces are allowed."""
    from gymnasium.utils.env_checker import check_env

    about_bounds = ("infinity", "symmetric and normalized", "spec")
    with (
        contextlib.closing(SingleEnv(shorten(family, extent.steps))) as env,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        try:
            check_env(env, skip_render_check=True)
        except MetarlError:
            raise
        except Exception as error:  # the checker asserts and raises errors of many kinds
            yield f"gymnasium's check_env fails: {first_line(error)}; see gymnasium.farama.org/api/env"
    for warning in caught:
        text = str(warning.message)
        if not any(words in text for words in about_bounds):
            yield f"gymnasium's check_env warns: {text.splitlines()[0]}; see gymnasium.farama.org/api/env"


def check_seeds(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """The seed determines the episodes: in the same environment again, and in a pickled one."""
    family = shorten(family, extent.steps)
    tasks = family.sample("train", extent.few, seed=0)
    with contextlib.closing(family.make_vec(tasks, 2, threads=0)) as envs:
        first = play(envs)
        again = play(envs)
        with contextlib.closing(pickle.loads(pickle.dumps(envs))) as copy:
            if name := difference(first, play(copy)):
                yield f"a pickled environment gives other {name}; keep its task, and nothing of earlier episodes"
    if name := difference(first, again):
        yield (
            f"reset(seed) gives other {name} the second time; keep the task over resets, and draw every random number "
            "from `streams`"
        )


def check_single(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """A single environment keeps its task over resets and pickling."""
    family = shorten(family, extent.steps)
    task = family.sample("train", 1, seed=1)[0]
    with contextlib.closing(SingleEnv(family, task)) as env:
        rewards = _rewards(env)
        if env.task != task:
            yield f"an episode changed the task from {task} to {env.task}; an environment keeps its task"
        with contextlib.closing(pickle.loads(pickle.dumps(env))) as copy:
            if copy.task != task or _rewards(copy) != rewards:
                yield "a pickled single environment has another task or other rewards; keep its task, and nothing else"


def _rewards(env: SingleEnv) -> list[float]:
    env.reset(seed=1)
    env.action_space.seed(1)
    rewards, ended = [], False
    while not ended:
        _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        rewards.append(reward)
        ended = terminated or truncated
    return rewards


def check_batch(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """A task gives the same bits alone and in a batch, on any number of threads and in any order."""
    family = shorten(family, extent.steps)
    tasks = family.sample("train", extent.num_tasks, seed=0)
    batch = play_new(family, tasks)
    for task in range(len(tasks)):
        if name := difference(batch, play_new(family, tasks[task : task + 1]), task):
            yield (
                f"task {task} of a batch of {len(tasks)} gives other {name} alone; compute each row from itself alone, "
                "with operations that round the same for any number of rows"
            )
            break
    # A class of Gymnasium's plays on the calling thread, whatever it is told.
    for threads in () if family.origin.batch is ClassFamily.batch else (1, 2):
        if name := difference(batch, play_new(family, tasks, threads=threads)):
            yield f"{threads} simulation threads give other {name} than none; let no result depend on threads"
    backwards = play_new(family, tasks[::-1])
    if name := difference(batch, [select_tasks(episodes, slice(None, None, -1)) for episodes in backwards]):
        yield f"the tasks in another order give other {name}; compute a world without its place in the batch"


def check_neighbours(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """Environments of one family do not affect each other: of tasks A, B, A, both A give the same."""
    family = shorten(family, extent.steps)
    tasks = family.sample("train", 8, seed=0)
    other = next((i for i in range(1, 8) if tasks[i] != tasks[0]), 1)
    a, b = tasks[:1], tasks[other : other + 1]
    fresh = play_new(family, a)
    play_new(family, b)
    if name := difference(fresh, play_new(family, a)):
        yield f"of tasks A, B, A, the second A gives other {name}; keep nothing of a task in the class or a module"
    with contextlib.closing(family.make_vec(a, 2, threads=0)) as first:
        with contextlib.closing(family.make_vec(b, 2, threads=0)) as second:
            play(second)
        if name := difference(fresh, play(first)):
            yield f"an environment gives other {name} after one of another task was made; share nothing that changes"


def check_pauses(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """A world that waits for its neighbours stands still and draws no random numbers."""
    if not family.pauses:
        return
    family = shorten(family, extent.steps)
    tasks = family.sample("train", 2, seed=0)
    expected = play_new(family, tasks)[0]
    coin = np.random.default_rng(0)
    with contextlib.closing(family.make_vec(tasks, 2, threads=0)) as envs:
        observations = envs.restart(seed=0)
        clock, worlds = np.zeros(envs.num_envs, dtype=int), np.arange(envs.num_envs)
        actions, rewards, mask = (_by_world(a) for a in (expected.actions, expected.rewards, expected.mask))
        while (going := clock < mask.sum(axis=0)).any():
            where = going & (coin.random(envs.num_envs) < 0.5)
            now = np.minimum(clock, len(mask) - 1)
            step = envs.advance(actions[now, worlds], where)
            moved = where | np.array(
                [np.array_equal(*pair) for pair in zip(step.observations, observations, strict=True)]
            )
            if not moved.all() or (step.rewards != rewards[now, worlds])[where].any():
                yield (
                    "a world that waits moves, or plays on differently after it; step only the worlds of `where`, "
                    "draw from `streams` only, and return new arrays"
                )
                return
            observations = step.observations
            clock += where


def _by_world(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1, *array.shape[3:])


def check_arrays(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """The functions of an array family do not change the state that they are given."""
    if not isinstance(family, ArrayFamily):
        return
    tasks = family.sample("train", 4, seed=0)
    streams = Streams.of(0, "check", tasks.index)
    state = family.initial(tasks.values, streams)
    before = {name: array.copy() for name, array in state.items()}
    actions = np.stack([action_at(family.action_space, 0.75)] * len(tasks))
    after = family.transition(state, actions, tasks.values, streams)
    family.reward(state, actions, after, tasks.values)
    for name, array in before.items():
        if not np.array_equal(array, state[name], equal_nan=True):
            yield f"transition or reward changes state {name!r} in place; return new arrays, and leave `before` alone"


def check_parameters(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """Each parameter of a task, varied alone, changes observations, rewards or right answers."""
    if isinstance(family, SwitchingFamily):
        # A phase may be too short, or start too late, to show a parameter's effect. So the first phase is played as if
        # it never ended, and the second as if it started after one step; later ones are like the second.
        later = _idle(dataclasses.replace(family, switch_at=(1,)), extent, "@1")
        idle = [*_idle(family.base, extent), *(f"{n.removesuffix('@1')}@{family.switch_at[0]}" for n in later)]
    else:
        idle = _idle(family, extent)
    for name in idle:
        yield (
            f"parameter {name!r}, varied alone, changes neither observations, rewards nor right answers in "
            f"{min(extent.rare_steps, family.horizon)} steps of {2 * extent.rare_replicas} episodes of a task; vary "
            "another one, or use it in every step and recompute what was derived from it"
        )


def _idle(family: TaskFamily, extent: Extent, ending: str = "") -> list[str]:
    """Return the parameters whose names end with `ending` and that, varied alone, change nothing."""
    return [name for name in family.parameters if name.endswith(ending) and not _acts(family, name, extent)]


def _acts(family: TaskFamily, name: str, extent: Extent) -> bool:
    if family.parameters[name].train.num_values == 1:
        return True
    drawn = _spread(family.sample("train", 64, seed=0).values[name], extent.rare_tasks)
    usual = family.sample("train", extent.rare_tasks, seed=0).values

    def alike(base: int) -> Tasks:
        values = {other: np.repeat(value[base : base + 1], len(drawn), axis=0) for other, value in usual.items()}
        # All tasks have one index, and so the same random numbers.
        return Tasks(values | {name: drawn}, np.zeros(len(drawn), dtype=np.int64))

    # Most parameters show in a short episode of two tasks; rare effects need many long ones; some act only in those
    # tasks where another one lets them.
    plays = [(0, BRIEF, 2, 2), (0, BRIEF, len(drawn), 2), (0, extent.rare_steps, len(drawn), extent.rare_replicas)]
    plays += [(base, BRIEF, len(drawn), 2) for base in range(1, extent.rare_tasks)]
    return any(_differ(shorten(family, steps), alike(base)[:num], times) for base, steps, num, times in plays)


def _spread(values: np.ndarray, most: int) -> np.ndarray:
    """Return at most so many values that differ: two that lie far apart, then others as they come."""
    _, places = np.unique(values.reshape(len(values), -1), axis=0, return_index=True)
    return values[[places[0], places[-1], *sorted(places[1:-1])][: min(most, len(places))]]


def _differ(family: TaskFamily, tasks: Tasks, replicas: int) -> bool:
    """Return whether the episodes of any task differ from those of the first."""
    episodes = play_new(family, tasks, replicas)
    first = [select_tasks(one, slice(1)) for one in episodes]
    return any(difference(episodes, first, task) for task in range(1, len(tasks)))


def check_first_observation(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """The first observation does not reveal the task."""
    if family.shows_task:
        return
    tasks = family.sample("train", 8, seed=0)
    alike = Tasks(tasks.values, np.zeros(len(tasks), dtype=np.int64))
    with contextlib.closing(family.make_vec(alike, 1, threads=0)) as envs:
        observations = envs.restart(seed=0)
    if not all(np.array_equal(row, observations[0], equal_nan=True) for row in observations):
        yield (
            "with the same random numbers, tasks differ in their first observation, which gives the task away; hide "
            "it, or say that it is the intent: `shows_task = True` in the class, `shows_task: true` in YAML"
        )


def check_splits(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """Splits keep to their ranges and share no task, and a task does not depend on how many are drawn."""
    count = 64
    drawn = {split: family.sample(split, count, seed=0) for split in family.splits}
    for split, tasks in drawn.items():
        for name, parameter in family.parameters.items():
            value = tasks.values[name]
            if value.dtype != np.float64 or value.shape != (count, *parameter.train.shape):
                yield f"parameter {name!r} has {value.dtype} {value.shape}; return float64 [n, *shape] from `sample`"
                return
        if not family.contains(split, tasks).all():
            yield f"tasks of split {split!r} lie outside it; `contains` must be true of what `sample` returns"
        fewer = family.sample(split, 3, seed=0, start=2)
        if any(not np.array_equal(fewer.values[name], tasks.values[name][2:5]) for name in tasks.values):
            yield f"task 2 of split {split!r} depends on how many are drawn; draw each from its own stream"
    if "extrapolation" in drawn:
        if family.contains("train", drawn["extrapolation"]).any():
            yield "tasks of the extrapolation split lie in the range of training; move its range outside"
        if family.contains("extrapolation", drawn["train"]).any():
            yield "training tasks lie in the range of extrapolation; keep the two ranges apart"
    if family.num_tasks is None:
        rows = [row.tobytes() for tasks in drawn.values() for row in _matrix(tasks)]
        if len(set(rows)) < len(rows):
            yield "two splits share a task; draw values without rounding"


def _matrix(tasks: Tasks) -> np.ndarray:
    return np.concatenate([value.reshape(len(tasks), -1) for value in tasks.values.values()], axis=1)


def _inside(envs: BatchedEnv, row: np.ndarray) -> bool:
    return envs.layout.unflatten(row) in envs.single_observation_space


def check_extremes(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """Under the largest actions, observations stay in their space and rewards finite; no array is returned twice."""
    family = shorten(family, extent.steps)
    with contextlib.closing(family.make_vec(family.sample("train", extent.few, seed=0), 1, threads=0)) as envs:
        for habit in range(3):
            observations = envs.restart(seed=0)
            kept, active, t = [(observations, observations.copy())], np.ones(envs.num_envs, dtype=bool), 0
            while active.any():
                try:
                    step = envs.advance(_extreme(envs, habit, t), active)
                except MetarlError as error:
                    raise reword(error, f"under the largest actions, {error}") from error.__cause__
                kept.append((step.observations, step.observations.copy()))
                if outside := [row for row in step.observations if not _inside(envs, row)]:
                    yield f"observation {outside[0]} is not in {envs.single_observation_space}; widen the space or clip"
                    return
                active &= ~(step.terminations | step.truncations)
                t += 1
            if any(not np.array_equal(now, then) for now, then in kept):
                yield "an observation changes after it was returned; return new arrays"
                return


def _extreme(envs: BatchedEnv, habit: int, t: int) -> np.ndarray:
    """Return the lowest actions, the highest, or one after the other."""
    high_now = habit == 1 or (habit == 2 and t % 2 == 1)
    return np.stack([action_at(envs.family.action_space, float(high_now))] * envs.num_envs)


def check_unstable(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """Unstable physics end an episode with a flag, and leave finite numbers."""
    if not issubclass(family.origin, MujocoFamily):
        return
    with contextlib.closing(family.make_vec(family.sample("train", 2, seed=0), 1, threads=0)) as envs:
        envs.reset(seed=0)
        batch: Any = envs.batch
        while hasattr(batch, "inner"):  # behind a switch
            batch = batch.inner
        batch.state["qvel"][1] = 1e12  # beyond MuJoCo's limit
        try:
            step = envs.advance(np.stack([action_at(family.action_space, 0.75)] * 2), np.ones(2, dtype=bool))
        except MetarlError as error:
            raise reword(error, f"with unstable physics, {error}") from error.__cause__
        if step.unstable is None or step.unstable.tolist() != [False, True] or not step.truncations[1]:
            yield "a world with unstable physics plays on; do not override `batch` of MujocoFamily"


def check_horizon(family: TaskFamily, extent: Extent = FULL) -> Iterator[str]:
    """An episode that does not terminate is truncated after `horizon` steps, and then refuses another step."""
    family = shorten(family, family.horizon if extent.horizon is None else extent.horizon)
    with contextlib.closing(family.make_vec(family.sample("train", 2, seed=0), 1, threads=0)) as envs:
        episodes = play(envs, episodes=1)[0]
        lengths, horizon = episodes.lengths, family.horizon
        if (lengths[episodes.truncations.any(axis=0)] != horizon).any():
            yield (
                f"an episode is truncated after {lengths.min()} steps, and the horizon is {horizon}; take the time "
                "limit out of the environment, or set `horizon` to it"
            )
        if (episodes.terminations.any(axis=0) == episodes.truncations.any(axis=0)).any():
            yield f"an episode does not end exactly once within the horizon of {horizon} steps; see BatchedEnv.advance"
        try:
            envs.step(np.stack([action_at(family.action_space, 0.75)] * envs.num_envs))
        except MetarlError:
            return
        yield "a world whose episode has ended takes another step; refuse steps until a reset"


SINGLE: tuple[FamilyCheck, ...] = (
    check_settings,
    check_splits,
    check_own_values,
    check_labels,
    check_arrays,
    check_parameters,
    check_extremes,
    check_unstable,
    check_horizon,
)
"""The checks that look at one play, or at none."""

COMPARING: tuple[FamilyCheck, ...] = (
    check_gymnasium,
    check_seeds,
    check_single,
    check_batch,
    check_neighbours,
    check_pauses,
    check_first_observation,
    check_unanswered,
)
"""The checks that compare two plays. They say nothing of a family that does not repeat its episodes."""
