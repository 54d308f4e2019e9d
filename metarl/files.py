"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from .errors import MetarlError


def write_atomically(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all, with the folders it needs; it survives a kill and a power cut.

    What stood at `path` stays until the new file is complete on disk. Raises MetarlError where that cannot be done.
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
        raise MetarlError(
            f"{path} cannot be written ({error.strerror}); give it room and the right to be written"
        ) from None
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have the folder's entry on disk too, where the system can."""
    with contextlib.suppress(OSError):  # not every file system opens folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
