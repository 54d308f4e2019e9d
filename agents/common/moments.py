"""Running means and deviations, kept as tensors so that they travel with an agent's checkpoint."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .over_ranks import moments_of_all

_FLOOR = 1e-6


class RunningMoments:
    """Mean and standard deviation of everything seen so far, in each of `size` columns (Chan et al., 1979)."""

    def __init__(self, size: int) -> None:
        self.count = torch.zeros((), dtype=torch.float64)
        self.mean = torch.zeros(size, dtype=torch.float64)
        self.squares = torch.zeros(size, dtype=torch.float64)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors that a checkpoint holds."""
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def add(self, rows: np.ndarray) -> None:
        """Add `rows` [n, size] to what was seen, and those of all processes that train together."""
        found = moments_of_all(np.asarray(rows, dtype=np.float64))
        n, mean = found.num_rows, torch.as_tensor(found.mean)
        total = self.count + n
        shift = mean - self.mean
        self.squares += torch.as_tensor(found.squares) + shift.square() * self.count * n / total
        self.mean += shift * n / total
        self.count.copy_(total)

    def normalize(self, values: np.ndarray) -> np.ndarray:
        """Return `values` [..., size] shifted and scaled, clipped at 10 deviations; unchanged before the first `add`.

        A column that has never varied becomes zero: it has no scale.
        """
        if self.count == 0:
            return values
        return np.clip((values - self.mean.numpy()) / self.scale, -10.0, 10.0)

    @property
    def scale(self) -> np.ndarray:
        """Standard deviation of each column, infinite where it has never varied. [size]"""
        variance = (self.squares / self.count.clamp(min=1)).numpy()
        return np.where(variance > _FLOOR**2, np.sqrt(np.maximum(variance, _FLOOR**2)), np.inf)


class ValueScale:
    """Scale of a value head: it keeps the targets near unit size, whatever the size of the returns.

    When the scale moves, the head is corrected so that its predictions stay (PopArt, van Hasselt et al., 2016).
    Targets on the scale of the returns would take all of a gradient clip that the policy shares.
    """

    def __init__(self, rate: float = 0.1) -> None:
        self.rate = rate
        self.mean = torch.zeros((), dtype=torch.float64)
        self.square = torch.zeros((), dtype=torch.float64)
        self.seen = torch.zeros((), dtype=torch.float64)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Tensors that a checkpoint holds."""
        return {"mean": self.mean, "square": self.square, "seen": self.seen}

    @property
    def std(self) -> float:
        """Standard deviation of recent targets; 1 before there are any."""
        variance = float(self.square - self.mean.square())
        return max(variance, _FLOOR) ** 0.5 if self.seen else 1.0

    def follow(self, targets: np.ndarray, head: torch.nn.Linear) -> None:
        """Move the scale toward `targets` [n], those of all processes, and correct the head for it."""
        mean, std = float(self.mean), self.std
        seen = moments_of_all(targets)
        rate = self.rate if self.seen else 1.0
        self.mean += rate * (float(seen.mean) - self.mean)
        self.square += rate * (float(seen.variance + seen.mean**2) - self.square)
        self.seen.fill_(1.0)
        with torch.no_grad():
            head.weight *= std / self.std
            head.bias.copy_((std * head.bias + mean - float(self.mean)) / self.std)

    def to_returns(self, outputs: Tensor) -> Tensor:
        """Return the head's outputs in units of return."""
        return outputs * self.std + float(self.mean)

    def from_returns(self, targets: np.ndarray) -> np.ndarray:
        """Return targets in units of the head."""
        return (targets - float(self.mean)) / self.std
