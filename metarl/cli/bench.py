"""`metarl bench`: how fast environments step and agents train on this machine."""

from __future__ import annotations

import argparse
from argparse import BooleanOptionalAction
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .arguments import add_agent_arguments, add_family_option, add_quiet_option, at_least, finite, one_choice
from .parser import Parser, add_command, is_no_option


def add_parser(commands: Any) -> None:
    """Add the command and its parts `sim`, `train`, `ranks`, `few-shot` and `serve`; without one it is `sim`."""
    parser = add_command(commands, "bench", run_sim, "measure how fast environments step and agents train")
    parser.default_part = "sim"
    parts = parser.add_subparsers(title="parts", metavar="PART", parser_class=Parser)
    _add_sim(parts)
    _add_train(parts)
    _add_ranks(parts)
    _add_few_shot(parts)
    _add_serve(parts)


def _add_sim(parts: Any) -> None:
    parser = add_command(parts, "sim", run_sim, "measure how fast environments step (the default)")
    parser.add_argument("--families", nargs="+", metavar="NAME", help="families to measure (default: all)")
    parser.add_argument(
        "--worlds", type=at_least(1, 1_000_000), default=64, metavar="N", help="worlds side by side (default: 64)"
    )
    parser.add_argument(
        "--seconds", type=_above_zero(finite), default=0.5, metavar="S", help="length of a measurement (default: 0.5)"
    )
    parser.add_argument("--repeats", type=at_least(1), default=5, metavar="N", help="measurements of each (default: 5)")
    parser.add_argument(
        "--rivals", action=BooleanOptionalAction, default=True, help="measure other libraries too (default: yes)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file too")
    add_quiet_option(parser)


def _add_train(parts: Any) -> None:
    parser = add_command(parts, "train", run_train, "measure how fast agents train")
    parser.add_argument(
        "configs", nargs="*", type=Path, metavar="CONFIG", help="configs to time (default: those in configs/bench)"
    )
    parser.add_argument("--agent", metavar="NAME", help="time the configs of this agent only")
    parser.add_argument("--device", metavar="auto|cpu|cuda", help="device of the networks (default: the config's)")
    parser.add_argument("--updates", type=at_least(1), default=5, metavar="N", help="meta-updates timed (default: 5)")
    parser.add_argument(
        "--loop", action=BooleanOptionalAction, default=True, help="time a loop over single tasks too (default: yes)"
    )
    add_quiet_option(parser)


def _add_ranks(parts: Any) -> None:
    parser = add_command(parts, "ranks", run_ranks, "measure how training speeds up with processes that share tasks")
    parser.add_argument("config", metavar="CONFIG", help="config to train")
    parser.add_argument(
        "--ranks", nargs="+", type=at_least(2, 10_000), default=[2, 4], metavar="N", help="ranks (default: 2 4)"
    )
    parser.add_argument("--updates", type=at_least(4), default=8, metavar="N", help="updates of each (default: 8)")
    parser.add_argument("--repeats", type=at_least(1), default=3, metavar="N", help="measurements of each (default: 3)")
    parser.add_argument("--plot", metavar="FILE", help="draw what was measured, and the model, to a .png or .svg file")
    add_quiet_option(parser)


def _add_few_shot(parts: Any) -> None:
    parser = add_command(
        parts, "few-shot", run_few_shot, "measure how fast few-shot agents train beside plain scripts of PyTorch"
    )
    parser.add_argument(
        "--tasks", type=at_least(1, 10_000), default=32, metavar="N", help="tasks of a meta-batch (default: 32)"
    )
    parser.add_argument(
        "--seconds", type=_above_zero(finite), default=5.0, metavar="S", help="length of a measurement (default: 5)"
    )
    parser.add_argument("--repeats", type=at_least(1), default=5, metavar="N", help="measurements of each (default: 5)")
    add_quiet_option(parser)


def _add_serve(parts: Any) -> None:
    parser = add_command(parts, "serve", run_serve, "measure what a new user costs an agent", is_no_option)
    add_agent_arguments(parser)
    add_family_option(parser, "measure")
    parser.add_argument(
        "--users", type=at_least(2, 100_000), default=200, metavar="N", help="users one by one (default: 200)"
    )
    parser.add_argument(
        "--batch", type=at_least(1, 10_000_000), default=10_000, metavar="N", help="users in a batch (default: 10,000)"
    )
    parser.add_argument(
        "--side-by-side", type=at_least(1), default=1000, metavar="N", help="users of it at a time (default: 1,000)"
    )
    add_quiet_option(parser)


def run_serve(arguments: argparse.Namespace) -> None:
    """Measure what a new user costs, and print the table."""
    from ..base.meter import meter
    from ..base.progress import say
    from ..bench.machine import describe_machine
    from ..bench.serving import bench_serving
    from ..trials.plan import TrialPlan
    from .resolve import resolve_agent

    plan = TrialPlan(split=arguments.split, num_tasks=arguments.batch, rounds=2, seed=arguments.seed)
    choice = one_choice(arguments, "metarl bench serve")
    resolved = resolve_agent(choice, choice.config(), plan)
    say(describe_machine())
    with meter("bench serve", shown=not arguments.quiet) as report:
        found = bench_serving(
            resolved.agent,
            resolved.family,
            name=resolved.record.name,
            users=arguments.users,
            batch=arguments.batch,
            task_chunk_size=arguments.side_by_side,
            split=plan.split,
            seed=plan.seed,
            report=report,
        )
    say(f"\n{found.table()}")


def run_sim(arguments: argparse.Namespace) -> None:
    """Measure how fast environments step, and print the tables."""
    from ..base.files import require_writable, write_atomically
    from ..base.meter import meter
    from ..base.progress import say
    from ..bench.machine import describe_machine, figures_json
    from ..bench.simulation import bench_simulation

    if arguments.json is not None:
        require_writable(arguments.json)
    say(describe_machine())
    with meter("bench sim", shown=not arguments.quiet) as report:
        comparisons = bench_simulation(
            arguments.families or (),
            worlds=arguments.worlds,
            seconds=arguments.seconds,
            repeats=arguments.repeats,
            rivals=arguments.rivals,
            report=report,
        )
    if arguments.json is not None:
        write_atomically(arguments.json, figures_json(comparisons))


def run_train(arguments: argparse.Namespace) -> None:
    """Measure how fast agents train, and print the table."""
    from ..base.meter import meter
    from ..base.progress import say
    from ..bench.machine import describe_machine
    from ..bench.training import bench_training

    say(describe_machine())
    with meter("bench train", shown=not arguments.quiet) as report:
        table = bench_training(
            arguments.configs,
            agent=arguments.agent,
            device=arguments.device,
            updates=arguments.updates,
            loop=arguments.loop,
            report=report,
        )
    say(f"\n{table}")


def run_ranks(arguments: argparse.Namespace) -> None:
    """Measure how training speeds up with processes, and print the tables."""
    from ..base.figures import picture_suffix, save_figure
    from ..base.meter import meter
    from ..base.progress import say
    from ..bench.machine import describe_machine
    from ..bench.ranks import bench_ranks
    from ..bench.scaling import scaling_figure, scaling_tables

    if arguments.plot is not None:
        picture_suffix(arguments.plot)  # a wrong one is told before minutes are spent
    say(describe_machine())
    with meter("bench ranks", shown=not arguments.quiet) as report:
        scaling = bench_ranks(
            arguments.config,
            arguments.ranks,
            updates=arguments.updates,
            repeats=arguments.repeats,
            report=report,
        )
    say(f"\n{scaling_tables(scaling)}")
    if arguments.plot is not None:
        save_figure(scaling_figure(scaling), arguments.plot)


def run_few_shot(arguments: argparse.Namespace) -> None:
    """Measure how fast few-shot agents train beside plain scripts, and print the table."""
    from ..base.meter import meter
    from ..base.progress import say
    from ..bench.few_shot import bench_few_shot, few_shot_table
    from ..bench.machine import describe_machine

    say(describe_machine())
    with meter("bench few-shot", shown=not arguments.quiet) as report:
        found = bench_few_shot(
            tasks=arguments.tasks, seconds=arguments.seconds, repeats=arguments.repeats, report=report
        )
    say(f"\n{few_shot_table(found)}")


def _above_zero(read: Callable[[str], float]) -> Callable[[str], float]:
    """Return a reader of numbers above zero."""

    def number(text: str) -> float:
        if (value := read(text)) <= 0:
            raise argparse.ArgumentTypeError(f"{text} is too small: it must be above 0")
        return value

    return number
