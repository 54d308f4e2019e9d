"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

from .errors import MetarlError


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all, and make the folders it needs; the file survives a kill and a power cut.

    An old file at `path` stays until the new one is complete on disk. Raises MetarlError if the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # the same folder: a rename must not cross devices
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _unwritable(path, error) from None
    _sync_folder(path.parent)


_LONGEST_NAME = 220
"""Longest name of a file, in bytes: file systems take 255, of which the temporary file needs some."""


def require_writable(path: str | Path) -> None:
    """Raise MetarlError if `path` could not be written. Call it before long work; it leaves nothing behind."""
    path = Path(path)
    if len(path.name.encode()) > _LONGEST_NAME:
        raise MetarlError(f"{path.name[:40]}... is too long for the name of a file; give it a name of your own")
    if path.is_dir():
        raise MetarlError(f"{path} is a folder; give the path of a file")
    try:
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        # Tried, because permission bits say nothing of root, /proc and read-only disks.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> MetarlError:
    return MetarlError(f"{path} cannot be written ({error.strerror}); free some space, or take a path you may write to")


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove temporary files that killed writers of `names` left in the folder. No other writer may be active there."""
    leftover = re.compile(rf"\.({'|'.join(map(re.escape, names))})\.\d+\.tmp")
    for path in folder.iterdir():
        if leftover.fullmatch(path.name):
            with contextlib.suppress(OSError):  # it takes room, but harms nothing
                path.unlink()


def _sync_folder(folder: Path) -> None:
    """Sync the folder's entry to disk, if the system can."""
    with contextlib.suppress(OSError):  # not every file system opens folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
