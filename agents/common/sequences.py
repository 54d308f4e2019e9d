"""Trials as unbroken sequences: what a memory learns from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from metarl.trials.episodes import Episodes, TimeStep, Trial


class Sequences(NamedTuple):
    """Whole trials, one after another in time without a gap: steps that were not taken stand at the end, masked."""

    timesteps: TimeStep
    """What the learner saw before each step, and last what follows a trial's last step: its true final observation, told as
    if the episode went on, which is what its value is to be of. [time + 1, trial, ...]"""
    actions: np.ndarray
    """[time, trial, *action]"""
    rewards: np.ndarray
    """[time, trial]"""
    mask: np.ndarray
    """Whether a step was taken. bool [time, trial]"""
    own: np.ndarray
    """Whether a step was taken, and by the agent's own policy: not one of those that explored. bool [time, trial]"""
    terminated: np.ndarray
    """Whether the trial's last step was a termination. bool [trial]"""


def sequences(trial: Trial) -> Sequences:
    """Return the rounds of a trial as unbroken sequences, one for each replica of each task."""
    rounds = trial.rounds
    seen = _timesteps(rounds)
    mask = np.concatenate([*(episodes.mask for episodes in rounds), np.ones_like(seen.active[:1])])
    actions, rewards = (
        np.concatenate([getattr(episodes, name) for episodes in rounds]) for name in ("actions", "rewards")
    )
    # Stable: steps keep their order, and what follows the last one comes right behind it.
    order, taken = np.argsort(~mask, axis=0, kind="stable"), np.argsort(~mask[:-1], axis=0, kind="stable")
    # The marked steps less the last: what follows a trial is no step of it.
    mask = _packed(mask, order)[1:]
    packed = {name: _packed(array, order) for name, array in vars(seen).items()}
    return Sequences(
        timesteps=TimeStep(**packed),
        actions=_packed(actions, taken),
        rewards=_packed(rewards, taken),
        mask=mask,
        own=mask & (np.arange(len(mask))[:, None] >= trial.exploring_steps.reshape(-1)),
        terminated=rounds[-1].last_step.previous_terminations.reshape(-1),
    )


def _timesteps(rounds: tuple[Episodes, ...]) -> TimeStep:
    """Return every time step of a trial along a new first axis, with what follows its last, [time + 1, task, replica]."""
    ends = [episodes.last_step for episodes in rounds]
    fields = {
        "previous_actions": [episodes.actions for episodes in rounds],
        "previous_rewards": [episodes.rewards for episodes in rounds],
        "previous_terminations": [episodes.terminations for episodes in rounds],
        "previous_truncations": [episodes.truncations for episodes in rounds],
    }
    shifted = {}
    for name, arrays in fields.items():
        before = [np.zeros_like(arrays[0][0]), *(getattr(end, name) for end in ends)]
        parts = [part for start, array in zip(before, arrays, strict=False) for part in (start[None], array[:-1])]
        # At a step that is taken, the flag of an end comes with the first observation of the next episode.
        after = np.zeros_like(before[-1]) if before[-1].dtype == np.bool_ else before[-1]
        shifted[name] = np.concatenate([*parts, after[None]])
    observations = np.concatenate([*(e.observations for e in rounds), ends[-1].observations[None]])
    return TimeStep(observations=observations, active=np.ones(observations.shape[:3], dtype=bool), **shifted)


def _packed(array: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return `array` [time, task, replica, ...], reordered in time by `order`, as [time, trial, ...]."""
    index = order.reshape(*order.shape, *(1,) * (array.ndim - 3))
    moved = np.take_along_axis(array, index, axis=0)
    return moved.reshape(len(moved), -1, *array.shape[3:])
