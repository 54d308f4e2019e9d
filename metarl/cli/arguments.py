"""What arguments of several commands have in common: the kinds of number they take, and how a trial is asked for."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any


def at_least(least: int) -> Callable[[str], int]:
    """Return what reads a whole number of at least `least`."""

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is too small: it must be at least {least}")
        return value

    return number


def finite(text: str) -> float:
    """Return the finite number that a text holds."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is not finite: give a return")
    return value


def add_trial(parser: Any) -> None:
    """Add what says which agent plays which trials: the same words name the same episodes in every command."""
    parser.add_argument(
        "overrides", nargs="*", metavar="agent.key=value", help="settings of the agent from here on: agent.adapts=true"
    )
    parser.add_argument("--split", default="test", metavar="S", help="split the tasks are from (default: test)")
    parser.add_argument("--rounds", type=at_least(1), metavar="K", help="rounds in each task (default: as in training)")
    parser.add_argument("--replicas", type=at_least(1), metavar="N", help="episodes a round (default: as in training)")
    parser.add_argument(
        "--seed", type=at_least(0), default=0, metavar="N", help="names tasks and episodes (default: 0)"
    )
    parser.add_argument("--threads", type=at_least(0), metavar="N", help="simulation threads (default: one a core)")
    parser.add_argument("--device", metavar="auto|cpu|cuda", help="where networks run (default: as in training)")
    parser.add_argument("--checkpoint", metavar="best|last", help="checkpoint (default: best)")
    parser.add_argument("--agent", metavar="NAME", help="take this agent untrained instead, such as random: the floor")


def add_wandb(parser: Any) -> None:
    """Add the wish to have the result in W&B as well."""
    parser.add_argument(
        "--wandb", action="store_true", help="log the result to Weights & Biases too, in the group of its agent"
    )
