"""Files that are written whole or not at all, and folders whose files stay inside."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import stat
import sys
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path

from .errors import MetarlError
from .progress import warn


def path_inside(folder: str | Path, name: str | Path) -> Path:
    """Return the path of `name` in a folder that may come from a stranger. It need not exist.

    Raises MetarlError if a symbolic link leads out of the folder, and if `name` exists as anything but a regular file
    or a folder: a FIFO would block its reader, a device takes what is written. The folder itself may be a link.
    """
    path = _without_nul(Path(folder) / name)
    root, target = os.path.realpath(folder), os.path.realpath(path)
    if os.path.commonpath([root, target]) != root:
        raise MetarlError(
            f"{path} leads out of {folder}, to {target}; a run folder holds its own files: replace the link by a copy "
            "of the file, or remove it"
        )
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return path
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # no such file can exist; whoever writes it is told
            return path
        raise MetarlError(f"{path} cannot be read ({error.strerror}); remove it, or restore a copy") from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise MetarlError(f"{path} is {_kind(mode)}, not a file; remove it, or restore the file from a copy")
    return path


def read_inside(folder: str | Path, name: str | Path) -> bytes:
    """Return the content of a file in a folder that may come from a stranger; see `path_inside`. Raises OSError too."""
    return path_inside(folder, name).read_bytes()


def folder_inside(folder: str | Path, name: str, own_links: str | None = None) -> Path:
    """Return the path of the folder `name` in a run folder, for a program that writes there on its own.

    `own_links` is a pattern, relative to that folder, of links that the program makes itself and never writes through.
    Raises MetarlError as `path_inside` does, for whatever else lies in it at any depth.
    """
    path = path_inside(folder, name)
    for parent, folders, files in os.walk(path):
        for each in (*folders, *files):
            found = Path(parent) / each
            own = own_links is not None and found.is_symlink() and found.relative_to(path).match(own_links)
            if not own:
                path_inside(folder, found.relative_to(folder))
    return path


def keep_aside(path: str | Path, word: str) -> Path:
    """Copy a file to the next free name beside it, such as `evaluation.json.replaced-1`, and return that name.

    It is a copy, since the file may be rewritten in its place. Raises MetarlError if it cannot be written.
    """
    path = Path(os.path.realpath(path))
    for number in itertools.count(1):
        kept = path.with_name(f"{path.name}.{word}-{number}")
        try:
            data = path.read_bytes()
            kept.touch(exist_ok=False)  # takes the name, which another process may want too
            _replace(kept, data)
        except FileExistsError:
            continue
        except OSError as error:
            raise _unwritable(kept, error) from None
        return kept
    raise AssertionError("there is always a next number")


def require_regular(path: str | Path) -> None:
    """Raise MetarlError for a FIFO, a device or a socket, which would block a reader. Raises OSError if none exists."""
    mode = Path(path).stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise MetarlError(f"{path} is {_kind(mode)}; give the path of a file")


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a FIFO"
    return "a socket" if stat.S_ISSOCK(mode) else "a device"


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all, and make the folders it needs; the file survives a kill and a power cut.

    An old file at `path` stays until the new one is complete on disk. A link stays: the file it leads to is replaced. A
    device, a FIFO and the process's own standard output, such as /dev/stdout, are written to and never replaced.
    Raises MetarlError if the file cannot be written.
    """
    path = _without_nul(Path(path))
    try:
        if is_stream(path):
            _write_through(path, data)
        else:
            _replace(_target(path), data)
    except OSError as error:
        raise _unwritable(path, error) from None


def _target(path: Path) -> Path:
    """Return the file that a path leads to. Raises OSError for links in a circle."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


def _without_nul(path: Path) -> Path:
    if "\0" in str(path):
        raise MetarlError(f"{str(path)!r} holds a NUL character, which no path may; take another path")
    return path


def is_stream(path: str | Path) -> bool:
    """Return whether a path is a device, a FIFO, a socket, or a file that this process has as its standard output."""
    try:
        found = Path(path).stat()
    except OSError:
        return False
    return not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)) or _own_stream(found) is not None


def _own_stream(found: os.stat_result) -> int | None:
    """Return the descriptor of the standard stream that is this file, None if neither is."""
    for descriptor in (1, 2):
        with contextlib.suppress(OSError):  # closed
            if os.path.samestat(os.fstat(descriptor), found):
                return descriptor
    return None


def _write_through(path: Path, data: bytes) -> None:
    own = _own_stream(path.stat())
    if own is not None:  # opened anew, a file would be written from its start, over what was printed
        (sys.stdout if own == 1 else sys.stderr).flush()
    descriptor = os.dup(own) if own is not None else _open_stream(path)
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    finally:
        os.close(descriptor)


def _open_stream(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno != errno.ENXIO or not path.is_fifo():
            raise
        warn(f"{path} is a FIFO that nobody reads; waiting for a reader")
        return os.open(path, os.O_WRONLY)
    os.set_blocking(descriptor, True)
    return descriptor


def _replace(path: Path, data: bytes) -> None:
    # In the same folder, because a rename must not cross devices; two threads may write the same file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # Exclusive: what another process put under this name is not written through.
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


_LONGEST_NAME = 220
"""Longest name of a file, in bytes: file systems take 255, of which the temporary file needs some."""


def require_writable(path: str | Path) -> None:
    """Raise MetarlError if `path` could not be written. Call it before long work; it leaves nothing behind."""
    path = _without_nul(Path(path))
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise MetarlError(f"{path.name[:40]}... is too long for the name of a file; give it a name of your own")
    if path.is_dir():
        raise MetarlError(f"{path} is a folder; give the path of a file")
    try:
        if is_stream(path):
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return
        folder = next(parent for parent in _target(path).parents if parent.exists())
        # Tried, because permission bits say nothing of root, /proc and read-only disks.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> MetarlError:
    return MetarlError(f"{path} cannot be written ({error.strerror}); free some space, or take a path you may write to")


def sweep(folder: Path, names: Iterable[str]) -> None:
    """Remove temporary files that killed writers of `names` left in the folder. No other writer may be active there."""
    leftover = re.compile(rf"\.({'|'.join(map(re.escape, names))})\.\d+(-\d+)?\.tmp")
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


def lock(descriptor: int) -> bool:
    """Lock a file and return True; False if another process has. However this process ends, the lock ends with it."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # Some network file systems have no locks: go on without.
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True
