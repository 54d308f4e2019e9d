"""Bounded waits for the processes of a vector environment: one that hangs is killed, and told with its world."""

from __future__ import annotations

import contextlib
import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

from gymnasium.vector import AsyncVectorEnv, VectorEnv

from ..base.errors import MetarlError
from .doors import WorldError

VecEnv = VectorEnv[Any, Any, Any]
"""Any Gymnasium vector environment."""


def limit_waits(envs: VecEnv, seconds: float) -> None:
    """Let an `AsyncVectorEnv`, in wrappers or not, wait for an answer no longer than `seconds`.

    Its `step`, `reset` and `call` then raise `multiprocessing.TimeoutError`, which `ending_silence` tells.
    """
    inner = envs.unwrapped
    if isinstance(inner, AsyncVectorEnv):
        for name in ("step_wait", "reset_wait", "call_wait"):
            setattr(inner, name, _limited(getattr(inner, name), seconds))


def _limited(wait: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    def limited(timeout: float | None = None) -> Any:
        return wait(timeout=seconds if timeout is None else timeout)

    return limited


@contextlib.contextmanager
def ending_silence(envs: VecEnv, seconds: float) -> Iterator[None]:
    """Kill the processes of an environment that did not answer in time, and raise WorldError for the first such world.

    The limits of `limit_waits` are what ends the wait.
    """
    try:
        yield
    except multiprocessing.TimeoutError:
        # Whoever has answered has left something in the pipe: a wait that times out reads nothing.
        silent = [i for i, pipe in enumerate(getattr(envs.unwrapped, "parent_pipes", ())) if not pipe.poll(0)]
        end_processes(envs)
        raise WorldError(_silence(seconds), silent[0] if silent else None) from None


@contextlib.contextmanager
def killing_after(seconds: float, processes: Callable[[], Iterable[BaseProcess]]) -> Iterator[None]:
    """Kill `processes` where what is done inside takes longer, and raise WorldError.

    For waits that know no limit of their own: a killed process closes its pipe, and that ends them.
    """
    killed: list[BaseProcess] = []
    late = threading.Event()

    def kill() -> None:
        late.set()
        killed.extend(processes())
        for process in killed:
            process.kill()

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():
        timer.join()
        for process in killed:
            process.join(timeout=5)
        raise WorldError(_silence(seconds))


def _silence(seconds: float) -> str:
    return (
        f"its process did not answer within {seconds:g} s and was killed; repair what hangs, or, if it is only slow, "
        "set `worker_timeout` of the family's class to more seconds"
    )


@contextlib.contextmanager
def killing_new_processes(seconds: float) -> Iterator[None]:
    """Kill the processes that are started inside where that takes longer, and raise WorldError."""
    before = {process.pid for process in multiprocessing.active_children()}
    with killing_after(
        seconds, lambda: [process for process in multiprocessing.active_children() if process.pid not in before]
    ):
        yield


def close_within(seconds: float, envs: VecEnv, name: str) -> None:
    """Close an environment of the family `name`. Raises MetarlError where one of its processes had to be killed."""
    try:
        with killing_after(seconds, lambda: processes_of(envs)):
            envs.close()
    except WorldError as error:
        end_processes(envs)
        raise MetarlError(f"family {name!r}, close: {error}") from None


def processes_of(envs: VecEnv) -> list[BaseProcess]:
    """Return the processes of an environment that says which it has, as `AsyncVectorEnv` does; [] for others."""
    return list(getattr(envs.unwrapped, "processes", None) or ())


def end_processes(envs: VecEnv) -> None:
    """Release an environment that broke down in a step. Its own `close` may wait for a process that is gone."""
    processes = processes_of(envs)
    if not processes:
        envs.close()
        return
    for process in processes:
        process.kill()
    for process in processes:
        process.join(timeout=5)
    envs.unwrapped.closed = True
