"""Rates of other steppers of many environments, and of the machine's limit."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from ..base.cores import available_threads
from ..families.family import TaskFamily
from ..families.layout import layout_of
from ..families.load import load
from ..families.mujoco.family import MujocoFamily

Rate = Callable[[float], float]
"""Runs for some seconds and returns environment steps per second."""

ACTIONS = 64
"""Batches of random actions, drawn before the clock starts and taken in turn."""
RESET_SEED = 0


def rate_of(step: Callable[[int], object], worlds: int) -> Rate:
    """Return the rate of `step(number)`, which steps `worlds` environments."""

    def rate(seconds: float) -> float:
        steps, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            step(steps)
            steps += 1
        return steps * worlds / spent

    rate(0.05)  # the first calls make what later ones use
    return rate


def stepping_rate(envs: VectorEnv[Any, Any, Any]) -> Rate:
    """Return the rate of stepping with random actions; ended episodes are reset as the autoreset mode says."""
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(ACTIONS)]
    envs.reset(seed=RESET_SEED)
    by_hand = envs.metadata["autoreset_mode"] == AutoresetMode.DISABLED

    def step(number: int) -> None:
        _, _, terminations, truncations, _ = envs.step(actions[number % ACTIONS])
        if by_hand and (ended := terminations | truncations).any():
            envs.reset(options={"reset_mask": ended})

    return rate_of(step, envs.num_envs)


@contextlib.contextmanager
def native(family: TaskFamily, num_envs: int, threads: int | None = None) -> Iterator[Rate]:
    """Give the rate of a family's batched environment, one training task a world."""
    with contextlib.closing(family.make_vec(family.sample("train", num_envs, seed=0), threads=threads)) as envs:
        yield stepping_rate(envs)


# Gymnasium's and others' vector environments.


@contextlib.contextmanager
def gymnasium_sync(makers: Sequence[Callable[[], gymnasium.Env[Any, Any]]]) -> Iterator[Rate]:
    """Give the rate of single environments in Gymnasium's SyncVectorEnv."""
    with _quiet_assets():
        envs = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    with contextlib.closing(envs):
        yield stepping_rate(envs)


@contextlib.contextmanager
def gymnasium_async(makers: Sequence[Callable[[], gymnasium.Env[Any, Any]]]) -> Iterator[Rate]:
    """Give the rate of single environments in Gymnasium's AsyncVectorEnv, a process each."""
    with _quiet_assets():
        envs = AsyncVectorEnv(makers, context=START_METHOD, autoreset_mode=AutoresetMode.SAME_STEP)
    with contextlib.closing(envs):
        yield stepping_rate(envs)


@contextlib.contextmanager
def sb3_subprocesses(makers: Sequence[Callable[[], gymnasium.Env[Any, Any]]]) -> Iterator[Rate]:
    """Give the rate of single environments in stable-baselines3's SubprocVecEnv, a process each."""
    from stable_baselines3.common.vec_env import SubprocVecEnv

    with _quiet_assets():
        envs = SubprocVecEnv(list(makers), start_method=START_METHOD)
    with contextlib.closing(envs):
        envs.action_space.seed(0)
        actions = [np.stack([envs.action_space.sample() for _ in makers]) for _ in range(ACTIONS)]
        envs.seed(RESET_SEED)
        envs.reset()
        yield rate_of(lambda number: envs.step(actions[number % ACTIONS]), len(makers))


@contextlib.contextmanager
def envpool(gymnasium_id: str, num_envs: int) -> Iterator[Rate]:
    """Give the rate of EnvPool's environment of the same name, on a thread a core."""
    import envpool  # type: ignore[import-untyped, unused-ignore]

    envs = envpool.make_gymnasium(
        gymnasium_id, num_envs=num_envs, batch_size=num_envs, num_threads=available_threads(), seed=RESET_SEED
    )
    with contextlib.closing(envs):
        generator = np.random.default_rng(0)
        low, high = envs.action_space.low, envs.action_space.high
        actions = [generator.uniform(low, high, (num_envs, *low.shape)) for _ in range(ACTIONS)]
        envs.reset()
        yield rate_of(lambda number: envs.step(actions[number % ACTIONS]), num_envs)


def has_envpool() -> bool:
    """Return whether EnvPool is installed; it comes with the extra `bench`."""
    return importlib.util.find_spec("envpool") is not None


START_METHOD = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
"""Start method of the rivals' processes; a fork, where the system has it, takes a tenth of the time."""


@contextlib.contextmanager
def _quiet_assets() -> Iterator[None]:
    """Keep MuJoCo from warning once a world, and into a file, that Gymnasium's models use a deprecated setting."""
    import mujoco

    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(None)


class Empty(gymnasium.Env[np.ndarray, Any]):
    """An environment with the spaces and horizon of a family that only counts its steps.

    No class that computes anything is faster under SyncVectorEnv.
    """

    def __init__(self, family: TaskFamily) -> None:
        self.observation_space, self.action_space = family.observation_space, family.action_space
        self.horizon, self.elapsed = family.horizon, 0
        self.observation = layout_of(self.observation_space).zeros()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Set the count to zero."""
        super().reset(seed=seed)
        self.elapsed = 0
        return self.observation, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Count."""
        self.elapsed += 1
        return self.observation, 0.0, False, self.elapsed >= self.horizon, {}


# The limit.


@contextlib.contextmanager
def raw_limit(family: MujocoFamily, num_tasks: int = 1) -> Iterator[Rate]:
    """Give the rate of bare `mj_step` in one process a core, summed: the limit of the machine.

    Each process steps its share of the tasks' models in turn, for an episode of random actions each.
    """
    context = multiprocessing.get_context("spawn")
    cores = available_threads()
    pipes = [context.Pipe() for _ in range(cores)]
    starts = [(family.name, family.settings, max(num_tasks // cores, 1), core) for core in range(cores)]
    workers = [
        context.Process(target=_raw_worker, args=(*start, end), daemon=True)
        for start, (_, end) in zip(starts, pipes, strict=True)
    ]
    for worker in workers:
        worker.start()
    ends = [end for end, _ in pipes]
    for end in ends:
        end.recv()  # ready

    def rate(seconds: float) -> float:
        for end in ends:
            end.send(seconds)
        return float(sum(end.recv() for end in ends))

    try:
        yield rate
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _raw_worker(name: str, settings: dict[str, Any], num_tasks: int, core: int, connection: Connection) -> None:
    import mujoco

    family = load(name, **settings)
    assert isinstance(family, MujocoFamily)
    models, episode = _models_and_episode(family, num_tasks, core * num_tasks)
    for model in models:
        model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_SENSOR  # ours, not the limit's
    data = mujoco.MjData(models[0])
    low, high = models[0].actuator_ctrlrange.T
    controls = np.random.default_rng(core).uniform(low, high, (ACTIONS, models[0].nu))
    connection.send(True)
    calls = 0
    while True:
        seconds = connection.recv()
        first, began = calls, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            if calls % episode == 0:
                model = models[calls // episode % len(models)]
                mujoco.mj_resetData(model, data)
            data.ctrl[:] = controls[calls % ACTIONS]
            mujoco.mj_step(model, data, family.frame_skip)
            calls += 1
        connection.send((calls - first) / spent)


def _models_and_episode(family: MujocoFamily, num_tasks: int, start: int) -> tuple[list[Any], int]:
    """Return the models of some tasks, and the mean length of their episodes under random actions.

    A step of a fallen body costs twice as much, so a limit without resets would be too low.
    """
    tasks = family.sample("train", num_tasks, seed=0, start=start)
    with contextlib.closing(family.make_vec(tasks, -(-32 // num_tasks), threads=0)) as envs:
        batch: Any = envs.batch
        models = list({id(model): model for model in batch.dynamics.worlds.models}.values())
        envs.action_space.seed(0)
        envs.reset(seed=0)
        steps = ended = 0
        while steps < family.horizon and ended < 10 * envs.num_envs:
            _, _, terminations, truncations, _ = envs.step(envs.action_space.sample())
            steps += 1
            if (over := terminations | truncations).any():
                ended += int(over.sum())
                envs.reset(options={"reset_mask": over})
        return models, max(round(steps * envs.num_envs / max(ended, 1)), 1)


def gymnasium_maker(gymnasium_id: str) -> Callable[[], gymnasium.Env[Any, Any]]:
    """Return a constructor of Gymnasium's own environment of that name."""
    return functools.partial(gymnasium.make, gymnasium_id, disable_env_checker=True)
