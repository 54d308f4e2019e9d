"""What the baselines of the advantages see of an observation: numbers, and few of them for an image."""

from __future__ import annotations

import numpy as np

from metarl.trials.episodes import Episodes

from ..common.encoders import Image, ObservationEncoder

MOST_FEATURES = 256
"""Longest observation that the linear baseline takes as it is. Memory and time grow with the square of the length."""


class BaselineInputs:
    """Turns observations of any space into rows of numbers.

    Vectors stay as they are, and discrete parts are one-hot. Images are scaled to [-1, 1]; one of more than
    `MOST_FEATURES` pixels is projected to as many random directions, which are the same in every run.
    """

    def __init__(self, encoder: ObservationEncoder) -> None:
        self.encoder = encoder
        self.size = encoder.num_numbers + sum(min(image.part.size, MOST_FEATURES) for image in encoder.images)
        """Numbers of one observation."""

    def __call__(self, episodes: Episodes) -> tuple[np.ndarray, np.ndarray]:
        """Return observations [time, task, replica, size] and final ones [task, replica, size]."""
        return self._rows(episodes.observations), self._rows(episodes.final_observations)

    def _rows(self, observations: np.ndarray) -> np.ndarray:
        """Return the rows of observations [..., task, replica, *observation]."""
        rows = self.encoder.observe(observations).numbers
        if not self.encoder.images:
            return np.asarray(rows)
        flat = [self.encoder.layout.part(image.part, observations) for image in self.encoder.images]
        lead = rows.shape[:-1]
        seen = [
            _view(image, part.reshape(*lead, image.part.size))
            for image, part in zip(self.encoder.images, flat, strict=True)
        ]
        return np.concatenate([rows.astype(np.float32), *seen], axis=-1)


def _view(image: Image, pixels: np.ndarray) -> np.ndarray:
    """Return an image's numbers for a baseline, float32 [..., n], of `pixels` [..., size]."""
    low, high = image.limits
    size = image.part.size
    seen = np.empty((*pixels.shape[:-1], min(size, MOST_FEATURES)), dtype=np.float32)
    # One index at a time: a batch of images as floats would fill the memory.
    for index in range(len(pixels)):
        scaled = (pixels[index].astype(np.float32) - low) * (2 / (high - low)) - 1
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
