"""What the steps of trials teach a belief, beside what they teach the policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from metarl.base.schedule import Schedule
from metarl.base.streams import generator
from metarl.trials.episodes import Trial

from ..common.over_ranks import place_of
from ..common.sequences import Sequences
from ..rl2.inputs import InputReader
from ..rl2.lesson import Lesson, Steps
from .config import BeliefSettings
from .elbo import Draws, Transitions, bound
from .network import BeliefNetwork

INPUTS, OUTCOMES, TAKEN, PREFIXES, DECODED, NOISE = (
    f"belief_{name}" for name in ("inputs", "outcomes", "taken", "prefixes", "decoded", "noise")
)
"""Names of what the lesson says of the steps."""


class TransitionReader:
    """Makes numbers of what each step of a trial did."""

    def __init__(self, inputs: InputReader, *, observations: bool) -> None:
        """Read them as `inputs` scales them; with `observations` the next observation is an outcome as well."""
        self.inputs, self.observations = inputs, observations
        seen = inputs.encoder.num_scaled + inputs.encoder.num_one_hot
        self.num_outcomes = 1 + (seen if observations else 0)
        self.num_inputs = seen + inputs.head.num_features + (0 if observations else seen)

    def __call__(self, trial: Trial, trials: Sequences) -> tuple[np.ndarray, np.ndarray]:
        """Return what a decoder is told of each step, and what it is to tell, both [time, trial, n].

        It is told of observation and action, and of the next observation unless it is to tell it. That of an episode's
        last step is the one it ended in, not the first of the next episode.
        """
        now, _ = self._numbers(trials.timesteps.observations[:-1], trials.rewards)
        after, rewards = self._numbers(_following(trial, trials), trials.rewards)
        told = [now, self.inputs.head.features(trials.actions)]
        if self.observations:
            return np.concatenate(told, axis=-1), np.concatenate([rewards, after], axis=-1)
        return np.concatenate([*told, after], axis=-1), rewards

    def _numbers(self, observations: np.ndarray, rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors and one-hot vectors of observations, and rewards [..., 1], all in units of their spread."""
        encoder = self.inputs.encoder
        raw = np.concatenate([encoder.scaled(observations), rewards[..., None]], axis=-1)
        scaled = self.inputs.moments.normalize(raw)
        seen = np.concatenate([scaled[..., :-1], encoder.one_hot(observations)], axis=-1)
        return seen, scaled[..., -1:]


def _following(trial: Trial, trials: Sequences) -> np.ndarray:
    """Return the observation after each step, that which an episode ended in after its last, [time, trial, ...]."""
    following = trials.timesteps.observations[1:].copy()
    ends = np.zeros(trials.mask.shape[1], dtype=np.int64)
    for episodes in trial.rounds:
        ends = ends + episodes.lengths.reshape(-1)
        finals = episodes.final_observations
        following[ends - 1, np.arange(len(ends))] = finals.reshape(-1, *finals.shape[2:])
    return following


class BeliefLesson:
    """The lesson of the policy, and the evidence lower bound of beliefs."""

    def __init__(
        self,
        lesson: Lesson,
        network: BeliefNetwork,
        settings: BeliefSettings,
        reader: TransitionReader,
        draw: Callable[[], int],
    ) -> None:
        """Add to `lesson`. `draw` names the random numbers of an update."""
        self.lesson, self.network, self.settings, self.reader, self.draw = lesson, network, settings, reader, draw

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Those of the policy's lesson."""
        return self.lesson.tensors

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """Those of the policy's lesson."""
        return self.lesson.schedules

    def reads_features(self, trial: Trial) -> bool:
        """Return whether the policy's lesson does."""
        return self.lesson.reads_features(trial)

    def prepare(
        self, trial: Trial, trials: Sequences, features: Tensor | None, tasks: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return what the policy is told, the transitions, and random numbers."""
        told, measures = self.lesson.prepare(trial, trials, features, tasks)
        inputs, outcomes = self.reader(trial, trials)
        # Drawn for the trials of all processes, so that it does not matter which of them has a trial.
        rng, (first, total) = generator(self.draw(), "belief"), place_of(trials.mask.shape[1])
        shape, own = (len(trials.mask), total), slice(first, first + trials.mask.shape[1])
        arrays = {
            INPUTS: inputs,
            OUTCOMES: outcomes,
            TAKEN: trials.mask,
            PREFIXES: rng.random(shape)[:, own],
            DECODED: rng.random(shape)[:, own],
            NOISE: rng.standard_normal((*shape, self.settings.size))[:, own],
        }
        like = self.network.policy.weight
        made = {name: torch.as_tensor(value, dtype=like.dtype, device=like.device) for name, value in arrays.items()}
        return {**told, **made}, measures

    def loss(self, features: Tensor, tasks: Tensor, steps: Steps) -> tuple[Tensor, dict[str, float]]:
        """Return the policy's loss and minus the bound."""
        loss, metrics = self.lesson.loss(features, tasks, steps)
        told, settings = steps.told, self.settings
        found = bound(
            self.network.belief(features),
            Transitions(told[INPUTS], told[OUTCOMES], told[TAKEN]),
            Draws(told[PREFIXES], told[DECODED], told[NOISE]),
            self.network.decoder,
            noise=settings.noise,
            kl_coef=settings.kl_coef,
            fixed_prior=settings.prior == "fixed",
            num_prefixes=settings.num_prefixes,
            num_decoded=settings.num_decoded,
            weight=steps.mask.sum(0),
        )
        measured = {"reconstruction": found.reconstruction.item(), "belief_kl": found.kl.item()}
        return loss + settings.coef * found.loss, {**metrics, **measured}

    def log_first(self, first: Mapping[str, float]) -> dict[str, float]:
        """Return what the policy's lesson does."""
        return self.lesson.log_first(first)
