"""Episodes of a random player, and their first difference: the checks of families compare them."""

from __future__ import annotations

import contextlib

import numpy as np

from ..base.streams import Streams
from ..families.family import TaskFamily
from ..families.spaces import ActionSpace, draw_actions
from ..families.task import Tasks
from ..families.vector import BatchedEnv
from ..trials.agent import Learner
from ..trials.episodes import Episodes, TimeStep
from ..trials.rollout import rollout


class Player(Learner):
    """A learner that acts at random. Every other replica repeats its first action.

    A random walk stays near its start, and a repeated action goes far: together they find sparse rewards.
    """

    def __init__(self, space: ActionSpace, streams: Streams) -> None:
        self.space, self.streams = space, streams
        self.first: np.ndarray | None = None

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return actions [task, replica, *action], each drawn from its world's own stream."""
        actions = draw_actions(self.space, self.streams.where(timestep.active))
        self.first = actions if self.first is None else self.first
        repeats = (np.arange(actions.shape[1]) % 2 == 1).reshape(1, -1, *(1,) * (actions.ndim - 2))
        return np.where(repeats, self.first, actions)


def shorten(family: TaskFamily, horizon: int) -> TaskFamily:
    """Return the family with episodes of at most `horizon` steps."""
    return family.with_horizon(min(family.horizon, horizon))


def play(envs: BatchedEnv, seed: int = 0, episodes: int = 2) -> list[Episodes]:
    """Return `episodes` rounds of a `Player`. Its actions depend on the task's index and the replica alone."""
    address = Streams.of(seed, "check", envs.tasks.index[:, None], np.arange(envs.replicas))
    player = Player(envs.family.action_space, address)
    rounds = [rollout(envs, player, seed=seed)]
    while len(rounds) < episodes:
        rounds.append(rollout(envs, player, rounds[-1]))
    return rounds


def play_new(family: TaskFamily, tasks: Tasks, replicas: int = 2, *, threads: int | None = 0) -> list[Episodes]:
    """Return two rounds of a `Player` in a new environment."""
    with contextlib.closing(family.make_vec(tasks, replicas, threads=threads)) as envs:
        return play(envs)


def difference(ours: list[Episodes], theirs: list[Episodes], task: int | slice = slice(None)) -> str:
    """Return the first array in which the episodes of `task` in `ours` differ from `theirs` in a bit, '' for none."""
    at = slice(task, task + 1) if isinstance(task, int) else task
    for a, b in zip(ours, theirs, strict=True):
        end, mask = len(b.mask), b.mask
        if len(a.mask) < end or a.mask[end:, at].any() or not np.array_equal(a.mask[:end, at], mask):
            return "lengths of episodes"
        for name in ("observations", "rewards", "terminations", "truncations", "targets"):
            one, other = getattr(a, name), getattr(b, name)
            # Both have targets, or neither: they come from one family.
            if one is not None and not np.array_equal(one[:end, at][mask], other[mask], equal_nan=True):
                return name
        if not np.array_equal(a.final_observations[at], b.final_observations, equal_nan=True):
            return "final observations"
        if a.successes is not None and b.successes is not None and not np.array_equal(a.successes[at], b.successes):
            return "successes"
    return ""
