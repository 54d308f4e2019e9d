"""A run folder that one process alone writes: it is made, locked and looked into in one step."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..base.errors import MetarlError
from ..base.files import lock, path_inside
from ..runs.record import METRICS


class Claim:
    """A run folder that no other process may write until the claim is released, or this process ends in any way."""

    def __init__(self, run_dir: Path, metrics: int, made: tuple[Path, ...]) -> None:
        self.run_dir = run_dir
        """The folder."""
        self.metrics = metrics
        """Descriptor of its metrics file, open for reading and writing, which carries the lock."""
        self._made = made

    def release(self) -> None:
        """Let other processes write the folder. What was made for this claim and stayed empty is removed."""
        if self.metrics < 0:
            return  # it was released before
        if [path.name for path in self.run_dir.iterdir()] == [METRICS] and os.fstat(self.metrics).st_size == 0:
            for path in self._made:
                with contextlib.suppress(OSError):  # of a folder in which another process works now
                    path.unlink() if path.name == METRICS else path.rmdir()
        os.close(self.metrics)
        self.metrics = -1


@contextlib.contextmanager
def claimed(folders: Iterable[Path]) -> Iterator[Claim]:
    """Claim the first of `folders` that no other process writes, and release it after the block."""
    claim = claim_folder(folders)
    try:
        yield claim
    finally:
        claim.release()


def claim_folder(folders: Iterable[Path]) -> Claim:
    """Return a claim of the first folder that can be claimed.

    The last folder may exist, and raises MetarlError if another process writes it or it cannot be written; those before
    it are passed over unless they are new.
    """
    waiting = iter(folders)
    folder = next(waiting)
    while True:
        following = next(waiting, None)
        claim = _try_claim(folder, new=following is not None)
        if claim is not None:
            return claim
        if following is None:
            raise MetarlError(f"{folder} is being written by another process; wait for it or stop it")
        folder = following


def _try_claim(folder: Path, *, new: bool) -> Claim | None:
    """Return a claim of a folder, None if another process has it, or if it is not `new` and has to be."""
    while True:
        try:
            made = _make(folder)
        except OSError as error:
            raise _unwritable(folder, error) from None
        if new and folder not in made:
            return None
        path = path_inside(folder, METRICS)
        try:
            if not path.exists():
                made = (path, *made)
            metrics = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
        except FileNotFoundError:
            continue  # another process has just removed the folder that it made and did not use
        except OSError as error:
            raise _unwritable(path, error) from None
        if not lock(metrics):
            os.close(metrics)
            return None
        with contextlib.suppress(OSError):
            if os.path.samestat(path.stat(), os.fstat(metrics)):
                return Claim(folder, metrics, made)
        os.close(metrics)  # of a file that another process has just removed


def _make(folder: Path) -> tuple[Path, ...]:
    """Make a folder and return those that did not exist, the innermost first."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    made = []
    for each in reversed(missing):
        try:
            each.mkdir()
        except FileExistsError:
            if not each.is_dir():
                raise
        else:
            made.append(each)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    return tuple(reversed(made))


def _unwritable(path: Path, error: OSError) -> MetarlError:
    return MetarlError(f"{path} cannot be written ({error.strerror}); take another run folder")
