"""The memory that this process may still take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


def available_memory() -> int | None:
    """Return the bytes that are free on this machine and in this process's control groups; None if unknown."""
    found = [*_machine(_PROC / "meminfo"), *_groups(_PROC / "self" / "cgroup", _CGROUPS)]
    return min(found) if found else None


def _machine(meminfo: Path) -> Iterator[int]:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):  # macOS: all of it, as what is free is not told
            yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return
    yield from (int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def _groups(cgroup: Path, root: Path) -> Iterator[int]:
    """Yield what is free in each control group that the process is in, of both versions of them."""
    try:
        lines = cgroup.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            yield from _free(root, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            yield from _free(root / "memory", path, *names)


def _free(root: Path, path: str, limit_file: str, used_file: str, cache: str) -> Iterator[int]:
    """Yield what is free in a control group and in those around it. Files that are only cached can be dropped."""
    folder = root / path.strip("/")
    # In a container the group's path may be that of the machine outside, and only the root is there.
    for group in [folder, *(parent for parent in folder.parents if parent.is_relative_to(root))]:
        try:
            limit, used = (int((group / name).read_text(encoding="ascii")) for name in (limit_file, used_file))
            stat = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):  # no such group, or no limit: "max"
            continue
        cached = sum(int(line.split()[1]) for line in stat if line.startswith(f"{cache} "))
        yield max(limit - used + cached, 0)
