"""Sets of images that were made once: kept in the process, and in the user's cache."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from metarl.base.cache import cache_folder
from metarl.base.errors import MetarlError
from metarl.base.files import write_atomically
from metarl.base.meter import Report, meter
from metarl.base.progress import warn

from .image_set import ImageSet

_made: dict[str, ImageSet] = {}
_lock = threading.Lock()


def stored(key: Any, make: Callable[[Report], ImageSet]) -> ImageSet:
    """Return the set of images that `key`, ready for JSON, stands for: a made one, or else that of `make`."""
    name = hashlib.blake2b(json.dumps(key).encode(), digest_size=16).hexdigest()
    with _lock:
        if name not in _made:
            _made[name] = _read(name) or _make(name, make)
        return _made[name]


def _make(name: str, make: Callable[[Report], ImageSet]) -> ImageSet:
    with meter("images") as report:
        images = make(report)
    file = io.BytesIO()
    words = {"origin": images.origin, "classes": images.classes, "groups": images.groups, "given": images.given}
    np.savez(file, images=images.images, counts=images.counts, words=np.array(json.dumps(words)))
    path = cache_folder("images") / f"{name}.npz"
    try:
        write_atomically(path, file.getvalue())
    except MetarlError as error:
        warn(f"images are made anew in each process: {error}")
    return images


def _read(name: str) -> ImageSet | None:
    """Return a set from the user's cache; None where there is none, or none that can be read."""
    try:
        data = (cache_folder("images") / f"{name}.npz").read_bytes()
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            words = json.loads(str(arrays["words"]))
            classes, groups, given = (tuple(words[key]) for key in ("classes", "groups", "given"))
            return ImageSet(words["origin"], arrays["images"], arrays["counts"], classes, groups, given)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None
