"""RL^2 learns from rewards: PPO over whole trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from metarl.base.schedule import Schedule
from metarl.trials.episodes import Trial

from ..common.advantage import explained_variance, generalized_advantages
from ..common.heads import ActionHead
from ..common.moments import ValueScale
from ..common.over_ranks import moments_of_all
from ..common.ppo import clipped_surrogate, masked_mean
from ..common.sequences import Sequences
from .config import RL2Config
from .lesson import Steps
from .network import RecurrentNetwork


class FromRewards:
    """The clipped surrogate, the value loss and the entropy bonus."""

    def __init__(self, config: RL2Config, network: RecurrentNetwork, head: ActionHead, num_updates: Tensor) -> None:
        self.config, self.network, self.head, self.num_updates = config, network, head, num_updates
        self.value_scale = ValueScale()

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Scale of the values."""
        return {f"value_scale.{name}": value for name, value in self.value_scale.tensors.items()}

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """Entropy bonus, discount and lambda."""
        config = self.config
        return {"ent_coef": config.ppo.ent_coef, "discount": config.discount, "gae_lambda": config.gae_lambda}

    def _tensor(self, array: np.ndarray) -> Tensor:
        like = self.network.policy.weight
        return torch.as_tensor(array, dtype=like.dtype, device=like.device)

    def reads_features(self, trial: Trial) -> bool:
        """Old log-probabilities and values are those before the update."""
        return True

    def prepare(
        self, trial: Trial, trials: Sequences, features: Tensor | None, tasks: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return actions, their log-probabilities, advantages and value targets."""
        assert features is not None  # it reads them
        actions = torch.as_tensor(trials.actions, device=features.device)
        with torch.no_grad():
            old_log_prob = self.head.log_prob(self.network.actions(features[:-1]), actions)
            old_values = self.value_scale.to_returns(self.network.values(features, tasks))
        values = old_values.double().cpu().numpy()
        advantages = self.advantages(trials, values)
        targets = advantages + values[:-1]
        self.value_scale.follow(targets[trials.own], cast(nn.Linear, self.network.value))
        chosen = moments_of_all(advantages[trials.own])
        told = {
            "actions": actions,
            "advantages": self._tensor((advantages - chosen.mean) / (np.sqrt(chosen.variance) + 1e-8)),
            "values": self._tensor(self.value_scale.from_returns(targets)),
            "old_log_prob": old_log_prob,
        }
        return told, {"explained_variance": explained_variance(values[:-1], targets, trials.own)}

    def advantages(self, trials: Sequences, values: np.ndarray) -> np.ndarray:
        """Return advantages over the trial, [time, trial]; `values` [time + 1, trial] in units of return.

        An episode that ends inside the trial is bootstrapped through, because the trial goes on. At the end of the
        trial a termination is worth zero, and a truncation the value of the true final observation; `trial_end:
        termination` counts both as terminations.
        """
        after_last = trials.mask.sum(axis=0)
        over = trials.terminated | (self.config.trial_end == "termination")
        bootstrap = np.where(over, 0.0, values[after_last, np.arange(values.shape[1])])
        return generalized_advantages(
            trials.rewards,
            values[:-1],
            trials.mask,
            bootstrap,
            discount=self.config.discount.at(int(self.num_updates)),
            gae_lambda=self.config.gae_lambda.at(int(self.num_updates)),
        )

    def loss(self, features: Tensor, tasks: Tensor, steps: Steps) -> tuple[Tensor, dict[str, float]]:
        """Return PPO's loss."""
        ppo, told, mask = self.config.ppo, steps.told, steps.mask
        outputs, values = self.network.actions(features), self.network.values(features, tasks)
        log_prob = self.head.log_prob(outputs, told["actions"])
        surrogate = clipped_surrogate(log_prob, told["old_log_prob"], told["advantages"], mask, ppo.clip_range)
        value_loss = 0.5 * masked_mean((values - told["values"]).square(), mask)
        entropy = masked_mean(self.head.entropy(outputs), mask)
        ent_coef = ppo.ent_coef.at(int(self.num_updates))
        loss = surrogate.loss + ppo.vf_coef * value_loss - ent_coef * entropy
        metrics = {
            "value_loss": value_loss.item(),
            "entropy": entropy.item(),
            "kl": surrogate.kl.item(),
            "clip_fraction": surrogate.clip_fraction.item(),
            "ratio_deviation": surrogate.ratio_deviation.item(),
        }
        return loss, metrics

    def log_first(self, first: Mapping[str, float]) -> dict[str, float]:
        """Return how far the ratios are from one before anything has changed."""
        return {"first_ratio_deviation": first["ratio_deviation"]}
