"""Bugs put into metarl on purpose, for the fuzzer to find. `python -m tests.fuzz.planted NAME train ...` runs one."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import yaml
from metarl.agents.common import policy

from metarl.base import files, terminal
from metarl.cli.main import main
from metarl.families.vector import BatchedEnv
from metarl.runs import checkpoint
from metarl.trials.episodes import Episodes


def _take_keys_twice() -> Any:
    return patch("metarl.base.yaml_text.parse_yaml", yaml.safe_load)


def _skip_the_checksum() -> Any:
    def verify(state: Any, text: str, path: object) -> checkpoint.Meta:
        return checkpoint.Meta(**{key: value for key, value in json.loads(text).items() if key != "checksum"})

    return patch.object(checkpoint, "_verify", verify)


def _follow_links() -> Any:
    inside = files.path_inside

    def follow(folder: str | Path, name: str | Path) -> Path:
        path = Path(folder) / name
        return path if path.is_symlink() else inside(folder, name)

    return patch.object(files, "path_inside", follow)


def _write_raw_text() -> Any:
    return patch.object(terminal, "visible", lambda text: text)


def _let_errors_pass() -> Any:
    return patch("metarl.base.errors.user_code", lambda where: contextlib.nullcontext())


def _share_a_buffer() -> Any:
    shared = np.zeros(1)

    def sample(self: policy.GaussianHead, outputs: Any, streams: Any) -> np.ndarray:
        nonlocal shared
        mean, log_std = np.split(outputs.cpu().numpy(), 2, axis=-1)
        shared = mean + streams.normal((self.dim,)) * np.exp(log_std)
        time.sleep(0.002)  # the other thread's turn
        return self._from_unit_box(np.broadcast_to(shared[: len(mean)], mean.shape))

    return patch.object(policy.GaussianHead, "sample", sample)


def _reset_all_worlds() -> Any:
    reset = BatchedEnv.reset

    def without_mask(self: BatchedEnv, *, seed: Any = None, options: Any = None) -> Any:
        return reset(self, seed=seed)

    return patch.object(BatchedEnv, "reset", without_mask)


def _write_in_two_goes() -> Any:
    def write(path: str | Path, data: bytes) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("wb") as file:
            file.write(data[: len(data) // 2])
            file.flush()
            time.sleep(0.05)
            file.write(data[len(data) // 2 :])

    return patch.object(files, "write_atomically", write)


def _keep_every_episode() -> Any:
    kept, init = [], Episodes.__init__

    def keep(self: Episodes, *arguments: Any, **named: Any) -> None:
        init(self, *arguments, **named)
        kept.append(np.ones(2**16))

    return patch.object(Episodes, "__init__", keep)


def _ignore_signals() -> Any:
    handle = signal.signal
    deaf = {signal.SIGTERM, signal.SIGINT}
    return patch.object(signal, "signal", lambda number, handler: None if number in deaf else handle(number, handler))


def _advise_what_is_not_there() -> Any:
    return patch("metarl.base.errors.did_you_mean", lambda name, options: "see `metarl trian --help`")


PLANTED: dict[str, tuple[str, Callable[[], Any]]] = {
    "a key given twice is taken": ("keys twice", _take_keys_twice),
    "checksums are not compared": ("flipped bits", _skip_the_checksum),
    "links lead out of a run": ("run folders", _follow_links),
    "hidden characters are written": ("command lines", _write_raw_text),
    "errors of an author pass": ("agents", _let_errors_pass),
    "threads share a buffer": ("threads", _share_a_buffer),
    "a reset ignores its mask": ("masked resets", _reset_all_worlds),
    "a remedy is no command": ("overrides", _advise_what_is_not_there),
}
"""Bugs, with the kind of input that finds them."""

IN_A_PROCESS: dict[str, Callable[[], Any]] = {
    "files are written in two goes": _write_in_two_goes,
    "signals do nothing": _ignore_signals,
    "episodes are kept": _keep_every_episode,
}
"""Bugs that only kills and long runs show."""


@contextlib.contextmanager
def planted(bug: Callable[[], Any]) -> Iterator[None]:
    """Put a bug into metarl for a while, in every module that has the function by name already."""
    patcher = bug()
    name, original = patcher.attribute, None
    with contextlib.ExitStack() as stack:
        original, _ = patcher.get_original()
        replacement = stack.enter_context(patcher)
        for module in [module for key, module in sys.modules.items() if key.startswith("metarl")]:
            if vars(module).get(name) is original:
                stack.enter_context(patch.object(module, name, replacement))
        yield


if __name__ == "__main__":
    with planted(IN_A_PROCESS[sys.argv[1]]):
        sys.exit(main(sys.argv[2:]))
