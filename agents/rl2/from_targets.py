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
from metarl.base.schedule import Schedule
from metarl.families.family import TaskFamily
from metarl.trials.episodes import Trial

from ..common.ppo import masked_mean
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

    def reads_features(self, trial: Trial) -> bool:
        """Answers are those of the steps of training."""
        return False

    def prepare(
        self, trial: Trial, trials: Sequences, features: Tensor | None, tasks: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return the right answers, and the lengths of first and last round if no answer was given in the trial."""
        like = self.network.policy.weight
        kind = target_type(self.family.target_space, like.dtype)
        told = {"targets": torch.as_tensor(trials.targets, dtype=kind, device=like.device)}
        if not trial.answered:
            lengths = self._lengths(trial, trials.own)
            told |= {name: torch.as_tensor(each, device=like.device) for name, each in lengths.items()}
        return told, {}

    def _lengths(self, trial: Trial, own: np.ndarray) -> dict[str, np.ndarray]:
        """Return by how much a reward counts in the score of the first and of the last round, 0 in other rounds.

        That is 1 for a mean over steps, and the round's length for a sum. Rounds of questions are equally long in all
        worlds, so they lie one behind the other. [time, trial]
        """
        time, first, last = np.arange(len(own))[:, None], len(trial.rounds[0].mask), len(trial.rounds[-1].mask)
        ends = {"before": (time < first, first), "after": (time >= len(own) - last, last)}
        per_step = self.family.measure.per_step
        return {name: (own & steps) * (1 if per_step else length) for name, (steps, length) in ends.items()}

    def loss(self, features: Tensor, tasks: Tensor, steps: Steps) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss of the answers, and their scores in the first and in the last round."""
        outputs = self.network.actions(features)
        loss = masked_mean(self.head.loss(outputs, steps.told["targets"]), steps.mask)
        if "before" not in steps.told:
            return loss, {}
        rewards = scores_of(self.family, self.head.best(outputs), steps.told["targets"].cpu().numpy())
        lengths = {name: (steps.told[name] * (steps.mask > 0)).cpu().numpy() for name in ("before", "after")}
        return loss, {f"return_{name}": float((rewards * each)[each > 0].mean()) for name, each in lengths.items()}

    def log_first(self, first: Mapping[str, float]) -> dict[str, float]:
        """Return the loss before anything has changed."""
        return {"first_loss": first["loss"]}
