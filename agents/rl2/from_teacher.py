"""RL^2 learns from a teacher's advice, alone or beside rewards.

Alone it is DAgger in states of the student (Ross et al., AISTATS 2011); beside PPO it is Kickstarting Deep
Reinforcement Learning (Schmitt et al., 2018). The student's memory is trained to act as the teacher would, given what
the student has seen: what the teacher knows of the task beyond that must be found out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from metarl.base.schedule import Schedule
from metarl.trials.episodes import Trial

from ..common.advice import divergence, require_comparable
from ..common.heads import ActionHead
from ..common.ppo import masked_mean
from ..common.sequences import Sequences
from .config import RL2Config
from .from_rewards import FromRewards
from .lesson import Steps
from .network import RecurrentNetwork


class FromTeacher:
    """KL(teacher || student) where the teacher tells its distribution, else minus the log-probability of its action.

    At temperature T it is T^2 KL(teacher / T || student / T) of choices, by their logits (Hinton et al., 2015).
    A trial without a teacher leaves all to the rewards.
    """

    def __init__(self, config: RL2Config, network: RecurrentNetwork, head: ActionHead, num_updates: Tensor) -> None:
        self.rewards = FromRewards(config, network, head, num_updates)
        self.network, self.head = network, head

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Those of the rewards."""
        return self.rewards.tensors

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """Those of the rewards."""
        return self.rewards.schedules

    def reads_features(self, trial: Trial) -> bool:
        """Advice alone needs no old log-probabilities."""
        return reads_rewards(trial)

    def prepare(
        self, trial: Trial, trials: Sequences, features: Tensor | None, tasks: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return what rewards say if they count, and the advice with its weight."""
        told: dict[str, Tensor] = {}
        measures: dict[str, float] = {}
        if reads_rewards(trial):
            told, measures = self.rewards.prepare(trial, trials, features, tasks)
        if trial.imitation is None:
            return told, measures
        like = self.network.policy.weight
        told["advised"] = torch.as_tensor(trials.advised, device=like.device)
        told["advice_weight"] = like.new_full(trials.mask.shape, trial.imitation.weight)
        require_comparable(trials.advised_outputs, self.head, trial.imitation)
        if trials.advised_outputs is not None:
            told["advice_temperature"] = like.new_full(trials.mask.shape, trial.imitation.temperature)
            told["advised_outputs"] = torch.as_tensor(trials.advised_outputs, dtype=like.dtype, device=like.device)
        return told, {**measures, "advice_weight": trial.imitation.weight}

    def loss(self, features: Tensor, tasks: Tensor, steps: Steps) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of the rewards, if they count, and of the advice."""
        loss = features.new_zeros(())
        metrics: dict[str, float] = {}
        if "advantages" in steps.told:
            loss, metrics = self.rewards.loss(features, tasks, steps)
        if "advised" not in steps.told:
            return loss, metrics
        outputs, advised = self.network.actions(features), steps.told["advised"]
        distance = -self.head.log_prob(outputs, advised)
        if "advised_outputs" in steps.told:
            told = steps.told
            distance = divergence(self.head, told["advised_outputs"], outputs, told["advice_temperature"], distance)
        imitation = masked_mean(distance, steps.mask)
        loss = loss + masked_mean(distance * steps.told["advice_weight"], steps.mask)
        return loss, {**metrics, "imitation_loss": imitation.item(), "agreement": self._agreement(outputs, steps)}

    @torch.no_grad()
    def _agreement(self, outputs: Tensor, steps: Steps) -> float:
        """Return the share of steps whose likeliest action is the advice; of a box, within a tenth of its range."""
        own, advised = self.head.likeliest(outputs), steps.told["advised"]
        gaps = self.head.features_of(own).double() - self.head.features_of(advised).double()
        same = (gaps.abs() <= TOLERANCE).all(-1)
        return float(masked_mean(same.to(steps.mask.dtype), steps.mask))

    def log_first(self, first: Mapping[str, float]) -> dict[str, float]:
        """Return what is logged of the first step alone."""
        return self.rewards.log_first(first) if "ratio_deviation" in first else {}


TOLERANCE = 0.2
"""Difference of two actions, each coordinate scaled to [-1, 1], up to which they count as the same."""


def reads_rewards(trial: Trial) -> bool:
    """Return whether the rewards of a trial count."""
    return trial.imitation is None or trial.imitation.loss == "kickstart"


def learned_from(trial: Trial, trials: Sequences) -> np.ndarray:
    """Return the steps that are learned from, [time, trial]: with advice alone all, else the agent's own."""
    return trials.own if reads_rewards(trial) else trials.mask
