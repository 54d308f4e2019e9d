"""`metarl bench`: how fast environments step and agents train on this machine."""

from __future__ import annotations

from argparse import BooleanOptionalAction, Namespace
from collections.abc import Sequence
from pathlib import Path

from ..base.errors import MetarlError
from ..base.files import require_writable, write_atomically
from ..base.progress import say
from ..bench.machine import describe_machine, figures_json
from ..bench.simulation import bench_simulation
from ..bench.training import bench_training


def main(argv: Sequence[str] = ()) -> int:
    """Run a benchmark and print its tables; the exit status does not depend on the figures.

    Raises MetarlError for bad options.
    """
    from .parser import Parser

    parser = Parser(prog="metarl bench", description="Measure how fast environments step and agents train.")
    parser.add_argument("what", nargs="?", choices=("sim", "train"), default="sim", help="default: sim")
    parser.add_argument(
        "configs", nargs="*", type=Path, metavar="CONFIG", help="train: configs (default: those in configs/bench)"
    )
    parser.add_argument("--agent", metavar="NAME", help="train: only configs of this agent")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), help="train: where networks run")
    parser.add_argument("--updates", type=int, default=5, metavar="N", help="train: meta-updates timed (default: 5)")
    parser.add_argument(
        "--loop", action=BooleanOptionalAction, default=True, help="train: the same, one task after the other too"
    )
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
    if arguments.what == "train" and arguments.json is not None:
        raise MetarlError("--json is of `metarl bench sim`; leave it out, the table has every figure of `train`")
    if arguments.what == "sim" and (arguments.configs or arguments.agent):
        raise MetarlError("configs and --agent are of `metarl bench train`; leave them out, or write `train`")
    if arguments.json is not None:
        require_writable(arguments.json)
    say(describe_machine())
    if arguments.what == "train":
        _train(arguments)
    else:
        _simulate(arguments)
    return 0


def _train(arguments: Namespace) -> None:
    table = bench_training(
        arguments.configs,
        agent=arguments.agent,
        device=arguments.device,
        updates=arguments.updates,
        loop=arguments.loop,
    )
    say(f"\n{table}")


def _simulate(arguments: Namespace) -> None:
    comparisons = bench_simulation(
        arguments.families or (),
        worlds=arguments.worlds,
        seconds=arguments.seconds,
        repeats=arguments.repeats,
        rivals=arguments.rivals,
    )
    if arguments.json is not None:
        write_atomically(arguments.json, figures_json(comparisons))
