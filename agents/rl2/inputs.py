"""What the network of RL^2 reads at each step: the observation, and the outcome of the step before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metarl.families.spaces import ActionSpace
from metarl.trials.episodes import TimeStep, Trial

from ..common.encoders import ObservationEncoder
from ..common.heads import ActionHead, action_head
from ..common.moments import RunningMoments


class Inputs(NamedTuple):
    """Inputs of steps, as tensors."""

    numbers: Tensor
    """Vectors of the observation, previous reward if it is read, previous action, the two ways in which an episode may
    just have ended, and one-hot vectors of the observation. Who learns from targets has the previous target in place of
    reward and action. [..., num_numbers]"""
    raw: Tensor
    """Images and sequences of tokens of the observation. [..., num_raw]"""


class InputReader:
    """Makes inputs from time steps, scaled by the moments of what training has seen."""

    def __init__(
        self,
        encoder: ObservationEncoder,
        head: ActionHead,
        targets: ActionSpace | None,
        *,
        rewards: bool = True,
        dtype: str,
        device: str,
    ) -> None:
        """Read observations, and actions with or without `rewards`; or the answers in the space `targets` alone."""
        self.encoder, self.dtype, self.device = encoder, dtype, device
        self.reads_targets = targets is not None
        self.head = head if targets is None else action_head(targets)
        self.reads_rewards = rewards and not self.reads_targets
        self.num_scaled = encoder.num_scaled + (1 if self.reads_rewards else 0)
        self.moments = RunningMoments(self.num_scaled)
        self.num_numbers = self.num_scaled + self.head.num_features + 2 + encoder.num_one_hot

    @property
    def observed(self) -> Tensor:
        """Places of the present observation in `Inputs.numbers`, int64 [n]."""
        seen, one_hot = self.encoder.num_scaled, self.encoder.num_one_hot
        return torch.cat([torch.arange(seen), torch.arange(self.num_numbers - one_hot, self.num_numbers)])

    def __call__(self, timestep: TimeStep, first: np.ndarray) -> Inputs:
        """Return the inputs of a time step of any leading shape [...].

        `first` [...] marks the first step of a trial, which has no previous action, reward or target.
        """
        lead, seen = timestep.previous_rewards.shape, self.encoder.num_scaled
        raw = np.empty((*lead, self.num_scaled))
        raw[..., :seen] = self.encoder.scaled(timestep.observations)
        if self.reads_rewards:
            raw[..., seen] = timestep.previous_rewards
        # In one array, for one transfer to the device.
        numbers = np.empty((*lead, self.num_numbers), dtype=self.dtype)
        numbers[..., : self.num_scaled] = self.moments.normalize(raw)
        ends = self.num_scaled + self.head.num_features
        before = timestep.previous_targets if self.reads_targets else timestep.previous_actions
        assert before is not None  # a family that reveals targets step by step shows them
        numbers[..., self.num_scaled : ends] = self.head.features(before)
        if first.any():
            numbers[..., seen:ends][first] = 0.0
        numbers[..., ends] = timestep.previous_terminations
        numbers[..., ends + 1] = timestep.previous_truncations
        numbers[..., ends + 2 :] = self.encoder.one_hot(timestep.observations)
        flat = self.encoder.raw(timestep.observations)
        return Inputs(torch.as_tensor(numbers, device=self.device), torch.as_tensor(flat, device=self.device))

    def num_bytes(self, steps: int) -> int:
        """Return about how many bytes the inputs of `steps` steps take in an update, with the arrays they come from."""
        # Observations are put in order and packed; numbers are scaled in float64 and cut into pieces, raw parts too.
        numbers = 8 * self.num_scaled + 3 * self.num_numbers * np.dtype(self.dtype).itemsize
        return steps * (2 * self.encoder.layout.num_bytes + numbers + 3 * self.encoder.num_raw_bytes)

    def observe(self, trial: Trial) -> None:
        """Add the trial's vectors, and the rewards if they are read, to the moments, which scale the next trial."""
        for episodes in trial.rounds:
            seen = self.encoder.scaled(episodes.observations[episodes.mask])
            rewards = episodes.rewards[episodes.mask][:, None]
            self.moments.add(np.concatenate([seen, rewards], axis=1) if self.reads_rewards else seen)
