"""What takes seconds to compute: kept in the process, and as arrays in the user's cache."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from .cache import cache_folder
from .errors import MetarlError
from .files import write_atomically
from .progress import warn

Arrays = Mapping[str, np.ndarray]
T = TypeVar("T")


class Store(Generic[T]):
    """Results by key. A file of the cache that cannot be read, or written, costs time alone."""

    def __init__(self, folder: str, what: str, pack: Callable[[T], Arrays], unpack: Callable[[Arrays], T]) -> None:
        """Make a store.

        Args:
            folder: Folder of the user's cache.
            what: What is computed, for the warning that the cache cannot be written, such as 'images'.
            pack: Returns a result as arrays.
            unpack: Returns arrays as a result; raises TypeError, ValueError or KeyError for those that are none.
        """
        self.folder, self.what, self.pack, self.unpack = folder, what, pack, unpack
        self.made: dict[str, T] = {}
        """Results of this process, by the name of their file."""
        self._lock = threading.Lock()

    @classmethod
    def of_json(cls, folder: str, what: str, read: Callable[[Any], T]) -> Store[T]:
        """Make a store of results that JSON can write; `read` turns what JSON reads into a result."""

        def pack(result: T) -> Arrays:
            return {"json": np.frombuffer(json.dumps(result, ensure_ascii=False).encode(), dtype=np.uint8)}

        return cls(folder, what, pack, lambda arrays: read(json.loads(arrays["json"].tobytes().decode())))

    def get(self, key: Any, make: Callable[[], T]) -> T:
        """Return the result that `key`, ready for JSON, stands for: a kept one, or else that of `make`."""
        name = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).hexdigest()
        with self._lock:
            if name not in self.made:
                found = self._read(name)
                self.made[name] = self._make(name, make) if found is None else found
            return self.made[name]

    def _make(self, name: str, make: Callable[[], T]) -> T:
        result, file = make(), io.BytesIO()
        np.savez(file, allow_pickle=False, **self.pack(result))
        try:
            write_atomically(cache_folder(self.folder) / f"{name}.npz", file.getvalue())
        except MetarlError as error:
            warn(f"{self.what} are made anew in each process: {error}")
        return result

    def _read(self, name: str) -> T | None:
        """Return a result from the user's cache; None where there is none, or none that can be read."""
        try:
            data = (cache_folder(self.folder) / f"{name}.npz").read_bytes()
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return self.unpack({each: arrays[each] for each in arrays.files})
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None
