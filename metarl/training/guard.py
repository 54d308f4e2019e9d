"""Calls of a program that may stop to answer: they run on a thread of their own, which can be left behind."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Guard:
    """Runs calls one after another on a daemon thread, so that the caller waits only as long as it wants to."""

    def __init__(self, name: str) -> None:
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._since: float | None = None
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def send(self, call: Callable[[], T]) -> Future[T]:
        """Run a call after those before it, and return its future result at once."""
        future: Future[T] = Future()
        self._calls.put((call, future))
        return future

    def wait(self, call: Callable[[], T], seconds: float) -> T:
        """Run a call after those before it, and return its result. Raises TimeoutError if it takes too long."""
        return self.send(call).result(seconds)

    @property
    def busy(self) -> float:
        """Seconds that the running call has taken so far; 0 between calls."""
        since = self._since
        return 0.0 if since is None else time.monotonic() - since

    def close(self) -> None:
        """End the thread after the calls that were sent."""
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            call, future = item
            self._since = time.monotonic()
            try:
                future.set_result(call())
            except BaseException as error:  # whoever waits for the result gets it
                future.set_exception(error)
            finally:
                self._since = None
            del item, call, future


def abandon_wandb() -> None:
    """Kill W&B's service process and forget it, so that this process ends without waiting for it or complaining.

    W&B has no function for a service that does not answer: its own teardown waits for it.
    """
    with contextlib.suppress(Exception):  # parts of W&B that may change: at worst it complains at the end
        from wandb.sdk import wandb_setup

        setup = wandb_setup.singleton()
        connection, setup._connection = setup._connection, None
        if connection is None:
            return
        if connection._cleanup is not None:
            connection._cleanup()
        os.environ.pop("WANDB_SERVICE", None)  # its address, which a later run would try
        if connection._proc is not None:
            connection._proc._process.kill()
            connection._proc._process.wait(5)
