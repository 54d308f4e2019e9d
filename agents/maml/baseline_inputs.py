"""What the baselines of the advantages see of an observation: numbers, and few of them for an image."""

from __future__ import annotations

import numpy as np

from metarl.trials.episodes import Episodes

from ..common.encoded import EncodedPart
from ..common.encoders import ObservationEncoder

MOST_FEATURES = 256
"""Longest observation that the linear baseline takes as it is. Memory and time grow with the square of the length."""


class BaselineInputs:
    """Turns observations of any space into rows of numbers.

    Vectors stay as they are, and discrete parts are one-hot. Images are scaled to [-1, 1], and of a sequence the tokens
    are counted; more than `MOST_FEATURES` numbers of either are projected to as many random directions, which are the
    same in every run.
    """

    def __init__(self, encoder: ObservationEncoder) -> None:
        self.encoder = encoder
        self.size = encoder.num_numbers + sum(min(each.num_viewed, MOST_FEATURES) for each in encoder.encoded)
        """Numbers of one observation."""

    def __call__(self, episodes: Episodes) -> tuple[np.ndarray, np.ndarray]:
        """Return observations [time, task, replica, size] and final ones [task, replica, size]."""
        return self._rows(episodes.observations), self._rows(episodes.final_observations)

    def _rows(self, observations: np.ndarray) -> np.ndarray:
        """Return the rows of observations [..., task, replica, *observation]."""
        rows = self.encoder.observe(observations).numbers
        if not self.encoder.encoded:
            return np.asarray(rows)
        flat = [self.encoder.layout.part(each.part, observations) for each in self.encoder.encoded]
        lead = rows.shape[:-1]
        seen = [
            _view(each, part.reshape(*lead, each.part.size))
            for each, part in zip(self.encoder.encoded, flat, strict=True)
        ]
        return np.concatenate([rows.astype(np.float32), *seen], axis=-1)


def _view(encoded: EncodedPart, values: np.ndarray) -> np.ndarray:
    """Return numbers of an image or a sequence for a baseline, float32 [..., n], of its `values` [..., size]."""
    size = encoded.num_viewed
    seen = np.empty((*values.shape[:-1], min(size, MOST_FEATURES)), dtype=np.float32)
    # One index at a time: a batch of images as floats would fill the memory.
    for index in range(len(values)):
        scaled = encoded.view(values[index])
        seen[index] = scaled @ _directions(size) if size > MOST_FEATURES else scaled
    return seen


def _directions(size: int) -> np.ndarray:
    """Return a Gaussian random projection (Johnson and Lindenstrauss, 1984), float32 [size, MOST_FEATURES]."""
    drawn = np.random.default_rng(size).normal(size=(size, MOST_FEATURES))
    return np.asarray(drawn.astype(np.float32) / np.sqrt(size))


def project(observations: np.ndarray, final: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return observations [time, task, replica, d] and final ones [task, replica, d] in `MOST_FEATURES` directions.

    Each task's observations are first scaled by the mean and the deviation of all numbers in them.
    """
    directions = _directions(observations.shape[-1])
    projected = np.zeros((*observations.shape[:-1], MOST_FEATURES), dtype=np.float32)
    projected_final = np.zeros((*final.shape[:-1], MOST_FEATURES), dtype=np.float32)
    for task in range(observations.shape[1]):  # one at a time: a batch of images as floats would fill the memory
        taken = mask[:, task]
        seen = observations[:, task][taken].astype(np.float32)
        mean, deviation = seen.mean(dtype=np.float64), max(seen.std(dtype=np.float64), 1e-6)
        projected[:, task][taken] = ((seen - mean) / deviation).astype(np.float32) @ directions
        projected_final[task] = ((final[task] - mean) / deviation).astype(np.float32) @ directions
    return projected, projected_final
