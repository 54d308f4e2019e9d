"""RL^2 learns from right answers, each of which its memory sees one step later.

With an LSTM this is the baseline of memory-augmented networks (Santoro et al., ICML 2016), with a Transformer it is
close to SNAIL (Mishra et al., ICLR 2018).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.families.family import TaskFamily
from metarl.trials.episodes import Trial

from ..common.ppo import masked_mean
from ..common.schedule import Schedule
from ..common.sequences import Sequences
from ..supervised.answers import AnswerHead, scores_of, target_type
from .lesson import Steps
from .network import RecurrentNetwork


def require_steps(family: TaskFamily) -> None:
    """Raise MetarlError unless a family shows right answers step by step."""
    if family.reveal != "step":
        raise MetarlError(
            f"agent 'rl2' learns from targets that it sees one step later, and family {family.name!r} reveals them by "
            f"{family.reveal!r}; set family.reveal to step, or agent.learns_from to rewards"
        )


class FromTargets:
    """The loss of the answers: cross-entropy for classes, squared error for numbers."""

    def __init__(self, network: RecurrentNetwork, head: AnswerHead, family: TaskFamily) -> None:
        self.network, self.head, self.family = network, head, family

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """Nothing."""
        return {}

    @property
    def schedules(self) -> Mapping[str, Schedule]:
        """Nothing."""
        return {}

    @property
    def reads_features(self) -> bool:
        """Answers are those of the steps of training."""
        return False

    def prepare(
        self, trial: Trial, trials: Sequences, features: Tensor | None, tasks: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return the right answers, and the steps of the first and of the last round if no answer was given in them.

        Rounds of questions are equally long in all worlds, so they lie one behind the other.
        """
        like = self.network.policy.weight
        kind = target_type(self.family.target_space, like.dtype)
        told = {"targets": torch.as_tensor(trials.targets, dtype=kind, device=like.device)}
        if not trial.answered:
            time, own = np.arange(len(trials.own))[:, None], trials.own
            ends = {"before": time < len(trial.rounds[0].mask), "after": time >= len(own) - len(trial.rounds[-1].mask)}
            told |= {name: torch.as_tensor(own & steps, device=like.device) for name, steps in ends.items()}
        return told, {}

    def loss(self, features: Tensor, tasks: Tensor, steps: Steps) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss of the answers, and their scores in the first and in the last round."""
        outputs = self.network.actions(features)
        loss = masked_mean(self.head.loss(outputs, steps.told["targets"]), steps.mask)
        if "before" not in steps.told:
            return loss, {}
        rewards = scores_of(self.family, self.head.best(outputs), steps.told["targets"].cpu().numpy())
        asked = {f"return_{end}": ((steps.mask > 0) & steps.told[end]).cpu().numpy() for end in ("before", "after")}
        return loss, {name: self._measured(rewards, where) for name, where in asked.items()}

    def _measured(self, rewards: np.ndarray, where: np.ndarray) -> float:
        """Return what the rewards [time, trial] of a round's steps, those `where`, are by the family's measure."""
        length = 1 if self.family.measure.per_step else self.family.horizon
        return float(rewards[where].mean()) * length

    def log_first(self, first: Mapping[str, float]) -> dict[str, float]:
        """Return the loss before anything has changed."""
        return {"first_loss": first["loss"]}
