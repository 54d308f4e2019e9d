"""The folder in which this user's copies and computed files are kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def cache_folder(name: str) -> Path:
    """Return the folder `name` of this user's cache: in METARL_CACHE, or where the system keeps caches."""
    if given := os.environ.get("METARL_CACHE"):
        return Path(given).absolute() / name
    folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "metarl" / name
    existing = next((each for each in (folder, *folder.parents) if each.exists()), None)
    if folder.is_absolute() and existing is not None and os.access(existing, os.W_OK):
        return folder
    return Path(tempfile.gettempdir()) / f"metarl-{os.getuid() if hasattr(os, 'getuid') else 'user'}" / name
