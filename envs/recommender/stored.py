"""Arrays that take seconds to compute: kept in the process, and in the user's cache."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from metarl.base.cache import cache_folder
from metarl.base.errors import MetarlError
from metarl.base.files import write_atomically
from metarl.base.progress import warn

Arrays = Mapping[str, np.ndarray]

_made: dict[str, Arrays] = {}
_lock = threading.Lock()


def stored(key: Any, make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays that `key`, ready for JSON, stands for: those in the cache, or else those of `make`."""
    name = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).hexdigest()
    with _lock:
        if name not in _made:
            _made[name] = _read(name) or _make(name, make)
        return _made[name]


def _make(name: str, make: Callable[[], Arrays]) -> Arrays:
    arrays = make()
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    try:
        write_atomically(cache_folder("ratings") / f"{name}.npz", file.getvalue())
    except MetarlError as error:
        warn(f"numbers of items are computed anew in each process: {error}")
    return arrays


def _read(name: str) -> Arrays | None:
    """Return arrays from the user's cache; None where there are none, or none that can be read."""
    try:
        data = (cache_folder("ratings") / f"{name}.npz").read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {each: arrays[each] for each in arrays.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
