"""RL^2 learns from right answers, each of which its memory sees one step later.

With an LSTM this is the baseline of memory-augmented networks (Santoro et al., ICML 2016), with a Transformer it is
close to SNAIL (Mishra et al., ICLR 2018).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.families.family import TaskFamily
from metarl.trials.episodes import Trial

from ..common.ppo import masked_mean
from ..common.schedule import Schedule
from ..common.sequences import Sequences
from ..supervised.answers import AnswerHead, mean_score, target_type
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

    def prepare(
        self, trial: Trial, trials: Sequences, features: Tensor, tasks: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return the right answers, and the scores of the first and of the last round if none was given in the trial.

        Rounds of questions are equally long in all worlds, so they lie one behind the other.
        """
        kind = target_type(self.family.target_space, features.dtype)
        told = {"targets": torch.as_tensor(trials.targets, dtype=kind, device=features.device)}
        if trial.answered:
            return told, {}
        with torch.no_grad():
            answers = self.head.best(self.network.actions(features[:-1]))
        answers = answers.reshape(len(answers), *trial.exploring_steps.shape, *answers.shape[2:])
        first, last = trial.rounds[0], trial.rounds[-1]
        return told, {
            "return_before": mean_score(self.family, first, answers[: len(first.mask)]),
            "return_after": mean_score(self.family, last, answers[-len(last.mask) :]),
        }

    def loss(self, features: Tensor, tasks: Tensor, steps: Steps) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss of the answers."""
        losses = self.head.loss(self.network.actions(features), steps.told["targets"])
        return masked_mean(losses, steps.mask), {}

    def log_first(self, first: Mapping[str, float]) -> dict[str, float]:
        """Return the loss before anything has changed."""
        return {"first_loss": first["loss"]}
