"""`--workers N`: torchrun on this machine, without its log."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext

from ..base.child import METARL
from ..base.errors import MetarlError
from ..base.ranks import is_launched

ELASTIC = "torch.distributed.elastic"
"""Logger of torchrun, which tells of a failed process over many lines."""


TAKEN = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals whose handlers torchrun replaces, and leaves so."""


def run_workers(words: Sequence[str], count: int, restarts: int = 0, command: Sequence[str] = METARL) -> int:
    """Run `command` with `words` in `count` processes that train together, and return the status to exit with.

    When one is lost, all begin again, `restarts` times at most.

    Raises MetarlError, which names the rank, for a process that a signal ended.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger(ELASTIC).setLevel(logging.CRITICAL)
    config = LaunchConfig(
        run_id=f"metarl-{os.getpid()}",
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=restarts,
        monitor_interval=0.1,
    )
    handlers = {number: signal.getsignal(number) for number in TAKEN}
    try:
        elastic_launch(config, command[0])(*command[1:], *words)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            raise MetarlError(
                f"rank {rank} was ended by signal {-failure.exitcode}, and all ranks with it; start again, or resume"
            ) from None
        return failure.exitcode
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    return 0


def joined_if_launched() -> AbstractContextManager[object]:
    """Work with the other ranks in the block, where torchrun started them."""
    if not is_launched():
        return nullcontext()
    from ..training.distributed import joined

    return joined()


def without(words: Iterable[str], options: Iterable[str]) -> list[str]:
    """Return the words of a command without options that take a word."""
    kept, skips = [], False
    for word in words:
        if word.partition("=")[0] in options:
            skips = "=" not in word
        elif skips:
            skips = False
        else:
            kept.append(word)
    return kept
