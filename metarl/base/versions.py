"""What produced a number: versions of the packages that move it, and the commit of this one."""

from __future__ import annotations

import functools
import os
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__version__ = "0.1.0"
"""Version of this package."""


def versions() -> dict[str, str]:
    """Return the installed versions of the packages that move numbers, by name."""
    return dict(_versions())


@functools.cache
def _versions() -> dict[str, str]:
    found = {"metarl": __version__}
    for package in ("gymnasium", "mujoco", "numpy", "scipy", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a package without metadata, such as one on PYTHONPATH
            found[package] = "unknown"
    return found


@functools.cache
def git_commit() -> str | None:
    """Return the commit that this package's source belongs to, 40 hex digits, or None outside a git checkout."""
    return commit_of(Path(__file__))


def commit_of(file: Path) -> str | None:
    """Return the commit checked out around `file`, or None where that commit does not hold the file.

    A package installed below somebody else's checkout is not part of it, so the folder alone does not tell.
    """
    # In a git hook, variables such as GIT_DIR point at the repository of the hook.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "rev-parse", "HEAD", f"HEAD:./{file.name}"]
    try:
        done = subprocess.run(
            command, cwd=file.parent, env=environment, capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.split()[0] if done.returncode == 0 else None
