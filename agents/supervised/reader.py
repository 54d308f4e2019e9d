"""From episodes to tensors: observations and right answers, by task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.families.family import TaskFamily
from metarl.trials.episodes import Episodes
from metarl.trials.shown import reveals_targets

from ..common.encoders import ObservationEncoder
from ..sequences.related import Related
from .answered import Answered
from .answers import mean_score, target_type


class Reader:
    """Makes rounds of tensors from episodes, and scores answers."""

    def __init__(
        self,
        encoder: ObservationEncoder,
        family: TaskFamily,
        *,
        dtype: str,
        device: str,
        adapts: bool = True,
        related: Related | None = None,
    ) -> None:
        """Read the rounds of a family, and with `related` what training languages say of its phrases.

        Raises MetarlError for an agent that adapts where answers are never revealed.
        """
        if adapts and not reveals_targets(family):
            raise MetarlError(
                f"family {family.name!r} reveals no right answers to learn from after a round; set family.reveal "
                "to round, or take an agent that learns from rewards"
            )
        self.encoder, self.family, self.related = encoder, family, related
        self.dtype, self.device = getattr(torch, dtype), device

    def observe(self, observations: np.ndarray, shown: Sequence[Episodes] = ()) -> tuple[Tensor, Tensor]:
        """Return observations [time, task, replica, ...] as numbers and raw parts, both [task, time, replica, ...].

        `shown` are the rounds so far, by whose answers related languages are found.
        """
        if self.related is not None:
            observations = self.related.widen(observations, shown)
        seen = self.encoder.observe(_task_first(observations))
        return self._tensor(seen.numbers), torch.as_tensor(seen.raw, device=self.device)

    def read_all(self, rounds: Sequence[Episodes]) -> list[Answered]:
        """Return the rounds of a trial. Each is seen with those before it shown, and the first with itself.

        So the first is as a learner reads it to adapt, and each later one as a learner is asked.
        """
        return [self.read(episodes, rounds[: max(1, number)]) for number, episodes in enumerate(rounds)]

    def read(self, episodes: Episodes, shown: Sequence[Episodes] = ()) -> Answered:
        """Return a round with its right answers, where the rounds `shown` are known."""
        assert episodes.targets is not None  # an update has them all, and a learner those that are revealed
        numbers, raw = self.observe(episodes.observations, shown)
        kind = target_type(self.family.target_space, self.dtype)
        targets = torch.as_tensor(_task_first(episodes.targets), dtype=kind, device=self.device)
        return Answered(numbers, raw, targets, self._tensor(_task_first(episodes.mask)))

    def score(self, episodes: Episodes, answers: np.ndarray) -> float:
        """Return the mean score that a round of questions has with `answers` [task, time, replica, *action]."""
        return mean_score(self.family, episodes, np.moveaxis(answers, 1, 0))

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)


def _task_first(array: np.ndarray) -> np.ndarray:
    """Return [time, task, ...] as a contiguous [task, time, ...]."""
    return np.ascontiguousarray(np.moveaxis(array, 1, 0))
