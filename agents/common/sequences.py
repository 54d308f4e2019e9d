"""Trials as unbroken sequences, from which a memory learns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metarl.trials.episodes import Episodes, TimeStep, Trial


class Sequences(NamedTuple):
    """Whole trials without gaps in time; masked steps, which were not taken, stand at the end."""

    timesteps: TimeStep
    """What the learner saw before each step; the last entry holds the true final observation of the trial, whose value
    a truncated trial bootstraps from. [time + 1, trial, ...]"""
    actions: np.ndarray
    """[time, trial, *action]"""
    rewards: np.ndarray
    """[time, trial]"""
    mask: np.ndarray
    """Whether a step was taken. bool [time, trial]"""
    own: np.ndarray
    """Whether a step was taken by the agent's own policy, not by an exploring start. bool [time, trial]"""
    terminated: np.ndarray
    """Whether the trial's last step was a termination. bool [trial]"""
    targets: np.ndarray | None = None
    """Right answer of each step; None where nobody asked for them. [time, trial, *target]"""
    advised: np.ndarray | None = None
    """Action of a teacher in each step; None without one. [time, trial, *action]"""
    advised_outputs: np.ndarray | None = None
    """Numbers that define the teacher's distribution; None if it tells none. [time, trial, n]"""


def sequences(trial: Trial, *, with_targets: bool = False) -> Sequences:
    """Return the rounds of a trial as unbroken sequences, one for each replica of each task.

    With targets, the time steps show the right answer of the step before, as a family does that reveals step by step.
    """
    rounds = trial.rounds
    seen = _timesteps(rounds, with_targets)
    mask = np.concatenate([*(episodes.mask for episodes in rounds), np.ones_like(seen.active[:1])])
    actions, rewards = (
        np.concatenate([getattr(episodes, name) for episodes in rounds]) for name in ("actions", "rewards")
    )
    # Stable: steps keep their order, and what follows the last one comes right behind it.
    order, taken = np.argsort(~mask, axis=0, kind="stable"), np.argsort(~mask[:-1], axis=0, kind="stable")
    # The marked steps less the last: what follows a trial is no step of it.
    mask = _pack(mask, order)[1:]
    packed = {name: _pack(array, order) for name, array in vars(seen).items() if array is not None}

    def told(name: str) -> np.ndarray | None:
        arrays = [getattr(episodes, name) for episodes in rounds]
        return _pack(np.concatenate(arrays), taken) if all(array is not None for array in arrays) else None

    return Sequences(
        timesteps=TimeStep(**packed),
        actions=_pack(actions, taken),
        rewards=_pack(rewards, taken),
        mask=mask,
        own=mask & (np.arange(len(mask))[:, None] >= trial.exploring_steps.reshape(-1)),
        terminated=rounds[-1].last_step.previous_terminations.reshape(-1),
        targets=told("targets") if with_targets else None,
        advised=told("advised"),
        advised_outputs=told("advised_outputs"),
    )


def _timesteps(rounds: tuple[Episodes, ...], with_targets: bool) -> TimeStep:
    """Return the time steps of a trial and the one behind its last, [time + 1, task, replica]."""
    ends = [episodes.last_step for episodes in rounds]
    names = ("actions", "rewards", "terminations", "truncations", *(("targets",) if with_targets else ()))
    shifted = {}
    for name in (f"previous_{name}" for name in names):
        arrays = [getattr(episodes, name.removeprefix("previous_")) for episodes in rounds]
        before = [np.zeros_like(arrays[0][0]), *(getattr(end, name) for end in ends)]
        parts = [part for start, array in zip(before, arrays, strict=False) for part in (start[None], array[:-1])]
        # At a step that is taken, the flag of an end comes with the first observation of the next episode.
        after = np.zeros_like(before[-1]) if before[-1].dtype == np.bool_ else before[-1]
        shifted[name] = np.concatenate([*parts, after[None]])
    observations = np.concatenate([*(e.observations for e in rounds), ends[-1].observations[None]])
    return TimeStep(observations=observations, active=np.ones(observations.shape[:3], dtype=bool), **shifted)


def _pack(array: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return `array` [time, task, replica, ...], reordered in time by `order`, as [time, trial, ...]."""
    index = order.reshape(*order.shape, *(1,) * (array.ndim - 3))
    moved = np.take_along_axis(array, index, axis=0)
    return moved.reshape(len(moved), -1, *array.shape[3:])
