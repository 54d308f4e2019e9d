"""What the network of RL^2 reads at each step: the observation, and the outcome of the step before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metarl.trials.episodes import TimeStep, Trial

from ..common.encoders import ObservationEncoder
from ..common.heads import ActionHead
from ..common.moments import RunningMoments


class Inputs(NamedTuple):
    """Inputs of steps, as tensors."""

    numbers: Tensor
    """Vectors of the observation, previous reward, previous action, the two ways in which an episode may just have
    ended, and one-hot vectors of the observation. [..., num_numbers]"""
    pixels: Tensor
    """Images and sequences of tokens of the observation. [..., num_pixels]"""


class InputReader:
    """Makes inputs from time steps, scaled by the moments of what training has seen."""

    def __init__(self, encoder: ObservationEncoder, head: ActionHead, *, dtype: str, device: str) -> None:
        self.encoder, self.head, self.dtype, self.device = encoder, head, dtype, device
        self.moments = RunningMoments(encoder.num_scaled + 1)
        self.num_numbers = encoder.num_numbers + head.num_features + 3

    def __call__(self, timestep: TimeStep, first: np.ndarray) -> Inputs:
        """Return the inputs of a time step of any leading shape [...].

        `first` [...] marks the first step of a trial, which has no previous action or reward.
        """
        lead, seen = timestep.previous_rewards.shape, self.encoder.num_scaled
        raw = np.empty((*lead, seen + 1))
        raw[..., :seen] = self.encoder.scaled(timestep.observations)
        raw[..., seen] = timestep.previous_rewards
        # In one array, for one transfer to the device.
        numbers = np.empty((*lead, self.num_numbers), dtype=self.dtype)
        numbers[..., : seen + 1] = self.moments.normalize(raw)
        ends = seen + 1 + self.head.num_features
        numbers[..., seen + 1 : ends] = self.head.features(timestep.previous_actions)
        if first.any():
            numbers[..., seen:ends][first] = 0.0
        numbers[..., ends] = timestep.previous_terminations
        numbers[..., ends + 1] = timestep.previous_truncations
        numbers[..., ends + 2 :] = self.encoder.one_hot(timestep.observations)
        pixels = self.encoder.pixels(timestep.observations)
        return Inputs(torch.as_tensor(numbers, device=self.device), torch.as_tensor(pixels, device=self.device))

    def num_bytes(self, steps: int) -> int:
        """Return about how many bytes the inputs of `steps` steps take in an update, with the arrays they come from."""
        # Observations are put in order and packed; numbers are scaled in float64 and cut into pieces, pixels too.
        numbers = 8 * (self.encoder.num_scaled + 1) + 3 * self.num_numbers * np.dtype(self.dtype).itemsize
        return steps * (2 * self.encoder.layout.num_bytes + numbers + 3 * self.encoder.num_pixel_bytes)

    def observe(self, trial: Trial) -> None:
        """Add the trial's vectors and rewards to the moments, which scale the inputs of the next trial."""
        for episodes in trial.rounds:
            seen = self.encoder.scaled(episodes.observations[episodes.mask])
            rewards = episodes.rewards[episodes.mask][:, None]
            self.moments.add(np.concatenate([seen, rewards], axis=1))
