"""Worlds as other libraries count them: a number of environments in all, shared among the tasks."""

from __future__ import annotations

from ..base.errors import MetarlError
from ..families.family import TaskFamily
from ..families.task import Tasks
from ..families.vector import BatchedEnv


def share_worlds(
    family: TaskFamily, tasks: Tasks, num_envs: int, *, threads: int | None = None, render_mode: str | None = None
) -> BatchedEnv:
    """Return `num_envs` worlds, shared equally among the tasks.

    Raises MetarlError where `num_envs` is not a multiple of the number of tasks.
    """
    if num_envs % len(tasks):
        raise MetarlError(
            f"num_envs is {num_envs} for {len(tasks)} tasks; it must be a multiple of the number of tasks"
        )
    return BatchedEnv(family, tasks, num_envs // len(tasks), threads=threads, render_mode=render_mode)
