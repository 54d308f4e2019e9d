"""Sets of images that were made once."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from metarl.base.meter import Report, meter
from metarl.base.stored import Arrays, Store

from .image_set import ImageSet


def _pack(images: ImageSet) -> Arrays:
    words = {"origin": images.origin, "classes": images.classes, "groups": images.groups, "given": images.given}
    return {"images": images.images, "counts": images.counts, "words": np.array(json.dumps(words))}


def _unpack(arrays: Arrays) -> ImageSet:
    words = json.loads(str(arrays["words"]))
    classes, groups, given = (tuple(words[key]) for key in ("classes", "groups", "given"))
    return ImageSet(words["origin"], arrays["images"], arrays["counts"], classes, groups, given)


STORE = Store("images", "images", _pack, _unpack)
"""Every set of images that this process has made or read."""


def stored(key: Any, make: Callable[[Report], ImageSet]) -> ImageSet:
    """Return the set of images that `key`, ready for JSON, stands for: a kept one, or else that of `make`."""

    def measured() -> ImageSet:
        with meter("images") as report:
            return make(report)

    return STORE.get(key, measured)
