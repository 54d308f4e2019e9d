"""What every task family must keep to. Each check yields one line for what it found: the fault, the rule, the remedy."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from gymnasium import spaces

from ..adapters.gymnasium import SingleEnv
from ..base.errors import MetarlError, first_line
from ..base.streams import Streams
from ..families.arrays import ArrayFamily
from ..families.family import FAMILIES, TaskFamily
from ..families.load import load
from ..families.mujoco.family import MujocoFamily
from ..families.spaces import bounds
from ..families.switching import SwitchingFamily
from ..families.task import Tasks
from ..families.vector import BatchedEnv
from ..trials.episodes import select_tasks
from .replay import BRIEF, LONG, SHORT, difference, play, played, shortened


def check_settings(family: TaskFamily) -> Iterator[str]:
    """A family is a frozen dataclass that its settings, written as JSON, give back."""
    if not getattr(getattr(type(family), "__dataclass_params__", None), "frozen", False):
        yield "the class can be changed after it is made; a family is one setting for good: @dataclass(frozen=True)"
        return
    try:
        settings = json.loads(json.dumps(family.settings))
    except TypeError as error:
        yield f"its settings are no JSON ({error}); results store them: use numbers, strings, booleans and tuples"
        return
    registered = family.name in FAMILIES and FAMILIES[family.name] is family.origin
    if not registered and family.origin is not type(family):
        return  # `load` alone puts the options of any family back
    again = load(family.name, **settings) if registered else type(family)(**settings)
    if again != family:
        yield f"its settings {settings} give another family back; keep everything that matters in dataclass fields"


def check_gymnasium(family: TaskFamily) -> Iterator[str]:
    """One world passes Gymnasium's own checker, without a warning except on unbounded or unnormalized spaces."""
    from gymnasium.utils.env_checker import check_env

    about_bounds = ("infinity", "symmetric and normalized", "spec")
    with contextlib.closing(SingleEnv(shortened(family, SHORT))) as env, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            check_env(env, skip_render_check=True)
        except Exception as error:  # the checker asserts and raises errors of many kinds
            yield f"gymnasium's check_env fails: {first_line(error)}; see gymnasium.farama.org/api/env"
    for warning in caught:
        text = str(warning.message)
        if not any(words in text for words in about_bounds):
            yield f"gymnasium's check_env warns: {text.splitlines()[0]}; see gymnasium.farama.org/api/env"


def check_seeds(family: TaskFamily) -> Iterator[str]:
    """The seed determines the episodes: in a new environment, in the same one again, and in one pickled."""
    family = shortened(family, SHORT)
    tasks = family.sample("train", 3, seed=0)
    with contextlib.closing(family.make_vec(tasks, 2, threads=0)) as envs:
        first = play(envs)
        again = play(envs)
        with contextlib.closing(pickle.loads(pickle.dumps(envs))) as copy:
            if name := difference(first, play(copy)):
                yield f"a pickled environment gives other {name}; it must carry the same task and nothing of the past"
    if name := difference(first, again):
        yield (
            f"reset(seed) gives other {name} the second time; the task stays over resets, and every random number "
            "comes from `streams`"
        )
    if name := difference(first, played(family, tasks)):
        yield f"the same seed gives other {name} in a new environment; draw every random number from `streams`"


def check_single(family: TaskFamily) -> Iterator[str]:
    """The single environment keeps its task over resets and pickling."""
    family = shortened(family, SHORT)
    task = family.sample("train", 1, seed=1)[0]
    with contextlib.closing(SingleEnv(family, task)) as env:
        rewards = _rewards(env)
        if env.task != task:
            yield f"the task {task} became {env.task} by playing; it stays for the environment's life"
        with contextlib.closing(pickle.loads(pickle.dumps(env))) as copy:
            if copy.task != task or _rewards(copy) != rewards:
                yield "a pickled single environment has another task or other rewards; keep nothing outside the task"


def _rewards(env: SingleEnv) -> list[float]:
    env.reset(seed=1)
    env.action_space.seed(1)
    rewards, ended = [], False
    while not ended:
        _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        rewards.append(reward)
        ended = terminated or truncated
    return rewards


def check_batch(family: TaskFamily) -> Iterator[str]:
    """Tasks in a batch give bit for bit what each gives alone, on any number of threads and in any order."""
    family = shortened(family, SHORT)
    tasks = family.sample("train", 5, seed=0)
    batch = played(family, tasks)
    for task in range(len(tasks)):
        if name := difference(batch, played(family, tasks[task : task + 1]), task):
            yield (
                f"task {task} of a batch of 5 gives other {name} alone; a world must not depend on those beside it: "
                "work on each row by itself, with operations that round alike for any number of rows"
            )
            break
    for threads in (1, 2):
        if name := difference(batch, played(family, tasks, threads=threads)):
            yield f"{threads} simulation threads give other {name} than none; threads must not change a result"
    backwards = played(family, tasks[::-1])
    if name := difference(batch, [select_tasks(episodes, slice(None, None, -1)) for episodes in backwards]):
        yield f"the tasks in another order give other {name}; a world must not depend on its place in the batch"


def check_neighbours(family: TaskFamily) -> Iterator[str]:
    """An environment is not touched by another one of the same family: tasks A, B, A give A again."""
    family = shortened(family, SHORT)
    tasks = family.sample("train", 8, seed=0)
    other = next((i for i in range(1, 8) if tasks[i] != tasks[0]), 1)
    a, b = tasks[:1], tasks[other : other + 1]
    fresh = played(family, a)
    played(family, b)
    if name := difference(fresh, played(family, a)):
        yield f"tasks A, B, A: the second A gives other {name}; leave nothing of a task in the class or a module"
    with contextlib.closing(family.make_vec(a, 2, threads=0)) as first:
        with contextlib.closing(family.make_vec(b, 2, threads=0)) as second:
            play(second)
        if name := difference(fresh, play(first)):
            yield f"an environment gives other {name} once another task's has been made; share nothing that changes"


def check_pauses(family: TaskFamily) -> Iterator[str]:
    """A world that waits for its neighbours stands still and uses up no random numbers."""
    if not family.pauses:
        return
    family = shortened(family, SHORT)
    tasks = family.sample("train", 2, seed=0)
    expected = played(family, tasks)[0]
    coin = np.random.default_rng(0)
    with contextlib.closing(family.make_vec(tasks, 2, threads=0)) as envs:
        observations, _ = envs.reset(seed=0)
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
                    "a world that waits moves, or goes on otherwise than without the wait; step only the worlds of "
                    "`where`, draw from `streams` only, and return new arrays"
                )
                return
            observations = step.observations
            clock += where


def _by_world(array: np.ndarray) -> np.ndarray:
    return array.reshape(len(array), -1, *array.shape[3:])


def check_arrays(family: TaskFamily) -> Iterator[str]:
    """The functions of an array family leave the state that they are given as it was."""
    if not isinstance(family, ArrayFamily):
        return
    tasks = family.sample("train", 4, seed=0)
    streams = Streams.of(0, "check", tasks.index)
    state = family.initial(tasks.values, streams)
    before = {name: array.copy() for name, array in state.items()}
    actions = np.stack([_middle(family.action_space)] * len(tasks))
    after = family.transition(state, actions, tasks.values, streams)
    family.reward(state, actions, after, tasks.values)
    for name, array in before.items():
        if not np.array_equal(array, state[name], equal_nan=True):
            yield f"transition or reward changes state {name!r} in place; return new arrays: `before` must stay before"


def _middle(space: spaces.Box | spaces.Discrete) -> np.ndarray:
    if isinstance(space, spaces.Discrete):
        return np.asarray(space.start)
    low, high = bounds(space)
    return (low + 0.75 * (high - low)).astype(space.dtype)


def check_parameters(family: TaskFamily) -> Iterator[str]:
    """Each parameter of a task, varied alone, changes the dynamics or the reward."""
    if isinstance(family, SwitchingFamily):
        # A phase may be too short, or begin too late, for anything to show: the first is tried as if it never ended,
        # and of the others, which are all alike, the next as if it began at once.
        later = [name.removesuffix("@1") for name in _idle(dataclasses.replace(family, switch_at=(1,)), "@1")]
        idle = [*_idle(family.base), *(f"{name}@{family.switch_at[0]}" for name in later)]
    else:
        idle = _idle(family)
    for name in idle:
        yield (
            f"parameter {name!r}, varied alone, changes neither observations nor rewards; use it in every step, "
            "and recompute whatever was derived from it"
        )


def _idle(family: TaskFamily, ending: str = "") -> list[str]:
    """Return the parameters whose name ends with `ending` and which, varied alone, change nothing."""
    return [name for name in family.parameters if name.endswith(ending) and not _acts(family, name)]


def _acts(family: TaskFamily, name: str) -> bool:
    if family.parameters[name].train.num_values == 1:
        return True
    tasks = family.sample("train", 8, seed=0)
    values = {other: np.repeat(value[:1], len(tasks), axis=0) for other, value in tasks.values.items()}
    values[name] = tasks.values[name]
    # One index for all: the same random numbers in every task.
    alike = Tasks(values, np.zeros(len(tasks), dtype=np.int64))
    # Most show at once; only what is rare needs long episodes.
    return any(_differ(shortened(family, horizon), alike) for horizon in (BRIEF, LONG))


def _differ(family: TaskFamily, tasks: Tasks) -> bool:
    """Return whether any task is played out otherwise than the first."""
    episodes = played(family, tasks, replicas=16)
    first = [select_tasks(played_round, slice(1)) for played_round in episodes]
    return any(difference(episodes, first, task) for task in range(1, len(tasks)))


def check_first_observation(family: TaskFamily) -> Iterator[str]:
    """The first observation does not reveal the task: the agent has to find out."""
    if family.shows_task:
        return
    tasks = family.sample("train", 8, seed=0)
    alike = Tasks(tasks.values, np.zeros(len(tasks), dtype=np.int64))
    with contextlib.closing(family.make_vec(alike, 1, threads=0)) as envs:
        observations, _ = envs.reset(seed=0)
    if not all(np.array_equal(row, observations[0], equal_nan=True) for row in observations):
        yield (
            "with the same random numbers, tasks differ in their first observation, which gives the task away; hide it, "
            "or say `shows_task = True` in the class where that is meant"
        )


def check_splits(family: TaskFamily) -> Iterator[str]:
    """Splits hold what they say, share no task, and a task does not depend on how many are drawn."""
    count = 64
    drawn = {split: family.sample(split, count, seed=0) for split in family.splits}
    for split, tasks in drawn.items():
        for name, parameter in family.parameters.items():
            value = tasks.values[name]
            if value.dtype != np.float64 or value.shape != (count, *parameter.train.shape):
                yield f"parameter {name!r} has {value.dtype} {value.shape}; a distribution gives float64 [n, *shape]"
                return
        if not family.contains(split, tasks).all():
            yield f"tasks of split {split!r} lie outside it; `contains` must be true of what `sample` gives"
        fewer = family.sample(split, 3, seed=0, start=2)
        if any(not np.array_equal(fewer.values[name], tasks.values[name][2:5]) for name in tasks.values):
            yield f"task 2 of split {split!r} depends on how many are drawn; draw each from its own stream"
    if "extrapolation" in drawn:
        if family.contains("train", drawn["extrapolation"]).any():
            yield "tasks of the extrapolation split lie in the range of training; give the parameter values outside it"
        if family.contains("extrapolation", drawn["train"]).any():
            yield "training tasks lie in the range of extrapolation; keep the two ranges apart"
    if family.num_tasks is None:
        rows = [row.tobytes() for tasks in drawn.values() for row in _matrix(tasks)]
        if len(set(rows)) < len(rows):
            yield "two splits share a task; the streams of the splits are apart, so the distribution must not round"


def _matrix(tasks: Tasks) -> np.ndarray:
    return np.concatenate([value.reshape(len(tasks), -1) for value in tasks.values.values()], axis=1)


def check_extremes(family: TaskFamily) -> Iterator[str]:
    """Under the largest actions observations stay in their space and rewards finite, and no array is used twice."""
    family = shortened(family, SHORT)
    with contextlib.closing(family.make_vec(family.sample("train", 3, seed=0), 1, threads=0)) as envs:
        for habit in range(3):
            observations, _ = envs.reset(seed=0)
            kept, active, t = [(observations, observations.copy())], np.ones(envs.num_envs, dtype=bool), 0
            while active.any():
                step = envs.advance(_extreme(envs, habit, t), active)
                kept.append((step.observations, step.observations.copy()))
                if not np.isfinite(step.rewards).all():
                    yield f"the reward is {step.rewards[~np.isfinite(step.rewards)][0]} under extreme actions; keep it finite"
                    return
                if outside := [row for row in step.observations if row not in envs.single_observation_space]:
                    yield f"observation {outside[0]} is not in {envs.single_observation_space}; widen the space or clip"
                    return
                active &= ~(step.terminations | step.truncations)
                t += 1
            if any(not np.array_equal(now, then) for now, then in kept):
                yield "an observation changes after it was handed out; return new arrays"
                return


def _extreme(envs: BatchedEnv, habit: int, t: int) -> np.ndarray:
    """Return the lowest actions, the highest, or both in turn."""
    high_now = habit == 1 or (habit == 2 and t % 2 == 1)
    space = envs.single_action_space
    if isinstance(space, spaces.Discrete):
        return np.full(envs.num_envs, space.start + (space.n - 1 if high_now else 0))
    low, high = bounds(space)  # type: ignore[arg-type]
    return np.stack([high if high_now else low] * envs.num_envs).astype(space.dtype)


def check_unstable(family: TaskFamily) -> Iterator[str]:
    """Physics that break down end an episode with a flag, not with numbers that are none."""
    if not issubclass(family.origin, MujocoFamily):
        return
    with contextlib.closing(family.make_vec(family.sample("train", 2, seed=0), 1, threads=0)) as envs:
        envs.reset(seed=0)
        batch: Any = envs.batch
        while hasattr(batch, "inner"):  # behind a switch
            batch = batch.inner
        batch.state["qvel"][1] = 1e12  # more than MuJoCo takes
        step = envs.advance(np.stack([_middle(family.action_space)] * 2), np.ones(2, dtype=bool))
        if step.unstable is None or step.unstable.tolist() != [False, True] or not step.truncations[1]:
            yield "a world whose physics break down goes on; leave `batch` as MujocoFamily has it"
        if not (np.isfinite(step.rewards).all() and np.isfinite(step.observations).all()):
            yield "a world whose physics break down has a reward or an observation that is no number; keep both finite"


def check_horizon(family: TaskFamily) -> Iterator[str]:
    """An episode that does not terminate is truncated at exactly `horizon` steps, and an ended world refuses a step."""
    with contextlib.closing(family.make_vec(family.sample("train", 2, seed=0), 1, threads=0)) as envs:
        episodes = play(envs, episodes=1)[0]
        lengths, horizon = episodes.lengths, family.horizon
        if (lengths[episodes.truncations.any(axis=0)] != horizon).any():
            yield (
                f"an episode is truncated after {lengths.min()} steps, the horizon is {horizon}; take the time limit out "
                "of the environment, or set `horizon` to it"
            )
        if (episodes.terminations.any(axis=0) == episodes.truncations.any(axis=0)).any():
            yield f"an episode does not end just once within the horizon of {horizon} steps; see BatchedEnv.advance"
        try:
            envs.step(np.stack([_middle(family.action_space)] * envs.num_envs))
        except MetarlError:
            return
        yield "a world whose episode has ended takes another step; it must refuse until it is reset"


FAMILY_CHECKS: tuple[Callable[[TaskFamily], Iterator[str]], ...] = (
    check_settings,
    check_splits,
    check_gymnasium,
    check_seeds,
    check_single,
    check_batch,
    check_neighbours,
    check_pauses,
    check_arrays,
    check_parameters,
    check_first_observation,
    check_extremes,
    check_unstable,
    check_horizon,
)
"""Every check of a family."""
