"""Trials of training that begin exploring, so that what follows is learned from where the policy would not go by itself."""

from __future__ import annotations

import numpy as np

from metarl.base.settings import Count, Fraction, Settings
from metarl.base.streams import Streams
from metarl.trials.agent import Learner
from metarl.trials.episodes import Episodes, TimeStep

from ..common.policy import ActionHead


class ExploringStarts(Settings):
    """How trials of training begin: a share of them with steps that explore, and are not learned from.

    After the exploring starts of Sutton and Barto (2018), section 5.3, by actions instead of states: a learner cannot be
    put into a state of knowledge, but can be led there.
    """

    share: Fraction = 0.0
    """Share of the training trials that begin exploring."""
    steps: Count = 50
    """Steps that explore at most; each number from one to this is as likely."""
    noise: Fraction = 0.25
    """Probability that one of these steps takes an action at random, each as likely, and not the policy's."""


class ExploringLearner(Learner):
    """A learner that is led astray at the start of some trials; afterwards it plays on with what it saw there."""

    def __init__(self, learner: Learner, head: ActionHead, starts: ExploringStarts, streams: Streams) -> None:
        self.learner, self.head, self.noise, self.streams = learner, head, starts.noise, streams
        chosen, steps = streams.uniform() < starts.share, 1 + streams.integers(starts.steps)
        self.exploring_steps: np.ndarray = np.where(chosen, steps, 0)
        """Steps of each trial that explore. int64 [task, replica]"""
        self.taken = np.zeros(streams.shape, dtype=np.int64)
        """Steps of each trial that were taken. [task, replica]"""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the learner's actions [task, replica, *action], some of those at the start drawn at random."""
        actions = self.learner.act(timestep, deterministic=deterministic)
        exploring = (self.taken < self.exploring_steps) & timestep.active
        self.taken += timestep.active
        if not exploring.any():
            return actions
        # Only who explores uses up numbers: a trial's draws do not depend on how long its neighbours explore.
        streams = self.streams.where(exploring)
        astray = exploring & (streams.uniform() < self.noise)
        drawn = self.head.uniform(streams)
        return np.where(astray.reshape(*astray.shape, *(1,) * (actions.ndim - astray.ndim)), drawn, actions)

    def adapt(self, episodes: Episodes) -> None:
        """Let the learner adapt."""
        self.learner.adapt(episodes)
