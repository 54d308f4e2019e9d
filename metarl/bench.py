"""How fast environments step and agents train on this machine, beside what the machine could do and what others do."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import platform
import time
from argparse import BooleanOptionalAction, Namespace
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from .bench_sim import Comparison, aligned, bench_sim
from .errors import MetarlError
from .files import require_writable, write_atomically
from .mujoco_family import MujocoFamily
from .physics import available_threads
from .progress import say
from .rivals import raw_limit
from .versions import git_commit, versions


def main(argv: Sequence[str] = ()) -> int:
    """Run a benchmark and print its tables; the exit status is 0 whatever the figures. Raises MetarlError for bad options."""
    from .cli import Parser

    parser = Parser(prog="metarl bench", description="Measure how fast environments step and agents train.")
    parser.add_argument("what", nargs="?", choices=("sim", "train"), default="sim", help="default: sim")
    parser.add_argument(
        "configs", nargs="*", type=Path, metavar="CONFIG", help="train: configs (default: configs/demo)"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="train: where networks run")
    parser.add_argument("--updates", type=int, default=5, metavar="N", help="train: meta-updates timed (default: 5)")
    parser.add_argument("--families", nargs="+", metavar="NAME", help="sim: which families (default: all)")
    parser.add_argument("--worlds", type=int, default=64, metavar="N", help="sim: worlds side by side (default: 64)")
    parser.add_argument("--seconds", type=float, default=0.5, metavar="S", help="sim: length of a measurement")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="sim: measurements of each (default: 5)")
    parser.add_argument(
        "--rivals", action=BooleanOptionalAction, default=True, help="sim: what else steps environments (default: yes)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="sim: write every figure there too")
    arguments = parser.parse_args(argv)
    if min(arguments.updates, arguments.repeats, arguments.seconds, arguments.worlds) <= 0:
        raise MetarlError(
            "--updates, --worlds, --repeats and --seconds must be above 0; leave them out for the defaults"
        )
    if arguments.json is not None:
        require_writable(arguments.json)
    say(machine())
    if arguments.what == "train":
        _bench_train(arguments)
        return 0
    comparisons = bench_sim(arguments)
    if arguments.json is not None:
        write_atomically(arguments.json, _as_json(comparisons))
    return 0


def _as_json(comparisons: Sequence[Comparison]) -> bytes:
    """Return all figures, and what they were measured with and on."""
    rows = [{**dataclasses.asdict(row), "ratio": row.ratio, "met": row.met} for row in comparisons]
    about = {"cpu": _cpu(), "cores": available_threads(), "commit": git_commit(), "versions": _versions()}
    return (json.dumps({**about, "comparisons": rows}, indent=1) + "\n").encode()


def _versions() -> dict[str, str]:
    rivals = ("stable_baselines3", "envpool")
    installed = {name: version(name) for name in rivals if importlib.util.find_spec(name)}
    return {"python": platform.python_version(), **versions(), **installed}


def _cpu() -> str:
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith("model name")).split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def machine() -> str:
    """Return the hardware and the versions, in a line each."""
    packages = ", ".join(f"{name} {version}" for name, version in _versions().items())
    return f"{_cpu()}, {available_threads()} cores to use\n{packages}"


# Training.


def _bench_train(arguments: Namespace) -> None:
    paths = arguments.configs or sorted(Path("configs/demo").glob("*.yaml"))
    if not paths:
        raise MetarlError("no config given and none in configs/demo; write `metarl bench train CONFIG`")
    header = ("", "steps/s", "rollout", "update", "seconds an update", "limit", "share")
    rows = [_train_row(path, arguments.device, arguments.updates) for path in paths]
    say(
        "\nMeta-training: environment steps per second over everything, where the time goes, and what share that is of "
        f"the limit,\nraw mj_step, {available_threads()} processes, measured between the updates\n{aligned([header, *rows])}"
    )


def _train_row(path: Path, device: str | None, updates: int) -> tuple[str, ...]:
    """Return the row of one config: as `meta_train` does it, without logging, evaluation and checkpoints."""
    from .config import load_config, make_family

    config = load_config(path)
    family, update = make_family(config), _updater(path, device)
    limits: list[float] = []
    spent, env_steps = np.zeros(2), 0
    with contextlib.ExitStack() as stack:
        limit = stack.enter_context(raw_limit(family)) if isinstance(family, MujocoFamily) else None
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
