"""How fast environments step and agents train on this machine, beside what the machine could do and what others do."""

from __future__ import annotations

import contextlib
import functools
import math
import multiprocessing
import platform
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import SyncVectorEnv, VectorEnv

from .errors import MetarlError
from .families import ArrayFamily, MujocoFamily
from .physics import available_threads
from .progress import say
from .task import FAMILIES, load
from .vector import SingleEnv
from .versions import versions

PHYSICS_FAMILY = "half-cheetah-velocity"
GYMNASIUM_ID = "HalfCheetah-v5"
"""Gymnasium's own environment on the same model."""
COPIES = 256
"""Copies of an array family's environment."""

Rate = Callable[[float], float]
"""Runs for some seconds and returns environment steps per second."""


def main(argv: Sequence[str] = ()) -> int:
    """Run a benchmark and print its table; the exit status is 0 whatever the figures. Raises MetarlError for bad options."""
    from .cli import Parser

    parser = Parser(prog="metarl bench", description="Measure how fast environments step and agents train.")
    parser.add_argument("what", nargs="?", choices=("sim", "train"), default="sim", help="default: sim")
    parser.add_argument(
        "configs", nargs="*", type=Path, metavar="CONFIG", help="train: configs (default: configs/demo)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="train: where networks run")
    parser.add_argument("--updates", type=int, default=5, metavar="N", help="train: meta-updates timed (default: 5)")
    parser.add_argument("--seconds", type=float, default=0.8, metavar="S", help="sim: length of a measurement")
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="sim: measurements of each (default: 7)")
    arguments = parser.parse_args(argv)
    if min(arguments.updates, arguments.repeats, arguments.seconds) <= 0:
        raise MetarlError("--updates, --repeats and --seconds must be above 0; leave them out for the defaults")
    say(machine())
    (_bench_sim if arguments.what == "sim" else _bench_train)(arguments)
    return 0


def machine() -> str:
    """Return the hardware and the versions, in a line each."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
    packages = ", ".join(
        f"{name} {version}" for name, version in {"python": platform.python_version(), **versions()}.items()
    )
    return f"{cpu}, {available_threads()} cores to use\n{packages}"


# Stepping.


def _bench_sim(arguments: Namespace) -> None:
    seconds, repeats = arguments.seconds, arguments.repeats
    with contextlib.ExitStack() as stack:
        limit = stack.enter_context(raw_limit(PHYSICS_FAMILY))
        ours = {
            f"metarl, {n} worlds": (stack.enter_context(native(PHYSICS_FAMILY, n)), goal) for n, goal in PHYSICS_GOALS
        }
        theirs = {
            f"Gymnasium {mode}, 16": (stack.enter_context(gymnasium_vec(mode)), None) for mode in ("sync", "async")
        }
        rows = [_physics_row(*row, limit, seconds, repeats) for row in {**ours, **theirs}.items()]
    say(
        f"\nHalfCheetah, observations and rewards included, as a share of the limit: raw mj_step, {available_threads()} "
        f"processes\n{_aligned([('', 'steps/s', 'limit', 'share', 'range', 'goal'), *rows])}"
    )
    rows = [
        row for name in FAMILIES if isinstance(load(name), ArrayFamily) for row in _array_rows(name, seconds, repeats)
    ]
    say(
        f"\nArray families, {COPIES} copies, beside the same under Gymnasium's SyncVectorEnv\n"
        f"{_aligned([('', 'steps/s', 'SyncVectorEnv', 'ratio', 'range', 'goal'), *rows])}"
    )
    say("\nEach figure is a median; each ratio the median of ratios taken side by side, and their range.")


PHYSICS_GOALS = ((64, 0.7), (256, 0.8))
"""Numbers of worlds, and the share of the limit that they should reach."""
ARRAY_GOAL = 50.0
"""How many times SyncVectorEnv's rate array families should reach."""


def paired(ours: Rate, theirs: Rate, seconds: float, repeats: int) -> list[tuple[float, float]]:
    """Return rates of both measured in turn; theirs is the mean of the one before and the one after ours.

    Other work on the machine comes and goes: it weighs on neighbours in time alike.
    """
    pairs, before = [], theirs(seconds)
    for _ in range(repeats):
        now = ours(seconds)
        after = theirs(seconds)
        pairs.append((now, (before + after) / 2))
        before = after
    return pairs


def _physics_row(
    name: str, row: tuple[Rate, float | None], limit: Rate, seconds: float, repeats: int
) -> tuple[str, ...]:
    rate, goal = row
    return _row(name, paired(rate, limit, seconds, repeats), "" if goal is None else f"{goal:.2f}", "{:.2f}")


def _array_rows(name: str, seconds: float, repeats: int) -> Iterator[tuple[str, ...]]:
    family = load(name)
    tasks = family.sample("train", COPIES, seed=0)
    rivals: dict[str, Callable[[dict[str, Any]], gymnasium.Env[Any, Any]]] = {
        name: lambda task: SingleEnv(family, task)
    }
    if name == "navigation-2d":
        rivals[f"{name}, by hand"] = lambda task: PlainNavigation(**task)
    for label, make in rivals.items():
        with native(name, COPIES) as ours, sync([functools.partial(make, task) for task in tasks]) as theirs:
            yield _row(label, paired(ours, theirs, seconds / 2, repeats), f"{ARRAY_GOAL:.0f}", "{:.0f}")


def _row(name: str, pairs: list[tuple[float, float]], goal: str, form: str) -> tuple[str, ...]:
    ratios = sorted(ours / theirs for ours, theirs in pairs)
    rates = [f"{statistics.median(column):,.0f}" for column in zip(*pairs, strict=True)]
    span = f"{form.format(ratios[0])}-{form.format(ratios[-1])}"
    return (name, *rates, form.format(statistics.median(ratios)), span, goal)


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


@contextlib.contextmanager
def native(name: str, num_envs: int) -> Iterator[Rate]:
    """Give the rate of a family's batched environment, one task a world."""
    family = load(name)
    with contextlib.closing(family.make_vec(family.sample("train", num_envs, seed=0))) as envs:
        yield _stepping(envs)


@contextlib.contextmanager
def sync(makers: Sequence[Callable[[], gymnasium.Env[Any, Any]]]) -> Iterator[Rate]:
    """Give the rate of single environments under SyncVectorEnv."""
    with contextlib.closing(SyncVectorEnv(makers, autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED)) as envs:
        yield _stepping(envs)


class PlainNavigation(gymnasium.Env[np.ndarray, np.ndarray]):
    """`navigation-2d` as one would write it for Gymnasium alone: a rival without the cost of our batches of one."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), dtype=np.float64)
    action_space = gymnasium.spaces.Box(-0.1, 0.1, (2,), dtype=np.float32)

    def __init__(self, goal: Sequence[float]) -> None:
        self.goal = np.array(goal)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin at the origin."""
        super().reset(seed=seed)
        self.position, self.elapsed = np.zeros(2), 0
        return self.position, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move."""
        self.position = self.position + np.clip(action, -0.1, 0.1)
        self.elapsed += 1
        x, y = self.position - self.goal
        return self.position, -math.hypot(x, y), abs(x) < 0.01 and abs(y) < 0.01, self.elapsed >= 100, {}


@contextlib.contextmanager
def gymnasium_vec(mode: str) -> Iterator[Rate]:
    """Give the rate of Gymnasium's own vector environment of 16 worlds."""
    import mujoco

    # Gymnasium's model file is deprecated in parts, which MuJoCo would say once a world, and in a file of the folder.
    mujoco.set_mju_user_warning(lambda message: None)
    options = {"autoreset_mode": gymnasium.vector.AutoresetMode.DISABLED}
    try:
        envs = gymnasium.make_vec(GYMNASIUM_ID, num_envs=16, vectorization_mode=mode, vector_kwargs=options)
    finally:
        mujoco.set_mju_user_warning(None)
    with contextlib.closing(envs):
        yield _stepping(envs)


def _stepping(envs: VectorEnv[Any, Any, Any]) -> Rate:
    """Return the rate of random actions drawn beforehand; ended worlds begin anew."""
    envs.action_space.seed(0)
    actions = [envs.action_space.sample() for _ in range(64)]
    envs.reset(seed=0)

    def rate(seconds: float) -> float:
        steps, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            _, _, terminations, truncations, _ = envs.step(actions[steps % 64])
            steps += 1
            if (ended := terminations | truncations).any():
                envs.reset(options={"reset_mask": ended})
        return steps * envs.num_envs / spent

    rate(0.05)  # the first calls make what later ones use
    return rate


@contextlib.contextmanager
def raw_limit(name: str) -> Iterator[Rate]:
    """Give the rate of bare `mj_step` in one process a core, summed: what the machine could do."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(available_threads())]
    workers = [context.Process(target=_raw_worker, args=(name, end), daemon=True) for _, end in pipes]
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


def _raw_worker(name: str, connection: Connection) -> None:
    import mujoco

    family = load(name)
    assert isinstance(family, MujocoFamily)
    model, data = family.model, mujoco.MjData(family.model)
    low, high = model.actuator_ctrlrange.T
    controls = np.random.default_rng(0).uniform(low, high, (64, model.nu))
    connection.send(True)
    while True:
        seconds = connection.recv()
        calls, began = 0, time.perf_counter()
        while (spent := time.perf_counter() - began) < seconds:
            if calls % family.horizon == 0:
                mujoco.mj_resetData(model, data)
            data.ctrl[:] = controls[calls % 64]
            mujoco.mj_step(model, data, family.frame_skip)
            calls += 1
        connection.send(calls / spent)


# Training.


def _bench_train(arguments: Namespace) -> None:
    paths = arguments.configs or sorted(Path("configs/demo").glob("*.yaml"))
    if not paths:
        raise MetarlError("no config given and none in configs/demo; write `metarl bench train CONFIG`")
    header = ("", "steps/s", "rollout", "update", "seconds an update", "limit", "share")
    rows = [_train_row(path, arguments.device, arguments.updates) for path in paths]
    say(
        "\nMeta-training: environment steps per second over everything, where the time goes, and what share that is of "
        f"the limit,\nraw mj_step, {available_threads()} processes, measured between the updates\n{_aligned([header, *rows])}"
    )


def _train_row(path: Path, device: str | None, updates: int) -> tuple[str, ...]:
    """Return the row of one config: as `meta_train` does it, without logging, evaluation and checkpoints."""
    from .config import load_config, make_family

    config = load_config(path)
    family, update = make_family(config), _updater(path, device)
    limits: list[float] = []
    spent, env_steps = np.zeros(2), 0
    with contextlib.ExitStack() as stack:
        limit = stack.enter_context(raw_limit(family.name)) if isinstance(family, MujocoFamily) else None
        update(0)  # warms up
        for number in range(1, updates + 1):
            if limit is not None:
                limits.append(limit(0.5))
            seconds, steps = update(number)
            spent, env_steps = spent + seconds, env_steps + steps
    rate, total = env_steps / spent.sum(), spent.sum()
    beside = (f"{np.mean(limits):,.0f}", f"{rate / np.mean(limits):.2f}") if limits else ("", "")
    return (str(path), f"{rate:,.0f}", *(f"{part / total:.0%}" for part in spent), f"{total / updates:.2f}", *beside)


def _updater(path: Path, device: str | None) -> Callable[[int], tuple[np.ndarray, int]]:
    """Return a function that makes an update of a config, and returns seconds in rollout and update, and its steps."""
    from .agent import make_agent
    from .config import load_config, make_family
    from .streams import generator
    from .trial import TrainableAgent, run_trial

    config = load_config(path)
    family, settings = make_family(config), {key: value for key, value in config.agent.items() if key != "name"}
    agent = make_agent(config.agent["name"], family, settings, seed=config.seed, device=device or config.device)
    if not isinstance(agent, TrainableAgent):
        raise MetarlError(f"{path}: agent {config.agent['name']!r} learns nothing in training; take one that does")

    def update(number: int) -> tuple[np.ndarray, int]:
        tasks = family.sample("train", config.meta_batch_size, seed=config.seed, start=number * config.meta_batch_size)
        began = time.perf_counter()
        with contextlib.closing(family.make_vec(tasks, config.replicas, threads=config.threads)) as envs:
            trial = run_trial(agent, envs, config.rounds, seed=number)
        played = time.perf_counter()
        agent.update(trial, generator(config.seed, "update", number))
        return np.array([played - began, time.perf_counter() - played]), int(trial.env_steps[-1].sum())

    return update
