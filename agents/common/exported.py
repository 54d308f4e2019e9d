"""Parts of steps that are exported: what the agents do with arrays of NumPy before their networks, as tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metarl.families.layout import Layout, Part

from .heads import ActionHead
from .moments import RunningMoments

Inputs = Mapping[str, Tensor]
"""Inputs of an exported step by name, each [batch, ...]."""

BATCH = 2
"""Size of the examples: torch takes a batch of one for a constant."""


class ObservationInputs:
    """The parts of an observation as inputs: `observation`, or `observation_KEY` for each part of a Dict or Tuple."""

    def __init__(self, layout: Layout) -> None:
        self.parts = layout.parts
        self._names: dict[tuple[str | int, ...], str] = {}
        for number, part in enumerate(layout.parts):
            name = re.sub(r"\W", "_", "_".join(["observation", *map(str, part.path)]))
            # Keys such as 'a.b' and 'a_b' read the same.
            self._names[part.path] = f"{name}_{number}" if name in self._names.values() else name

    def examples(self) -> dict[str, Tensor]:
        """Return zeros for every part, [BATCH, *part], in the type that the space has."""
        return {self._names[part.path]: zeros_of(part.space) for part in self.parts}

    def numbers(self, inputs: Inputs, parts: Sequence[Part]) -> Tensor:
        """Return some of the parts, one behind the other, float64 [batch, number]."""
        return torch.cat([self.rows(inputs, part).double() for part in parts], dim=-1)

    def rows(self, inputs: Inputs, part: Part) -> Tensor:
        """Return one part as rows, [batch, size], in its own type."""
        values = inputs[self._names[part.path]]
        return values.reshape(values.shape[0], part.size)


def zeros_of(space: Any) -> Tensor:
    """Return zeros for elements of a space that is neither Dict nor Tuple, [BATCH, *element]."""
    return torch.from_numpy(np.zeros((BATCH, *(space.shape or ())), dtype=space.dtype))


class Scaling(nn.Module):
    """Shifts and scales as `RunningMoments.normalize` does, by the moments of now; None leaves numbers as they are."""

    def __init__(self, moments: RunningMoments | None) -> None:
        super().__init__()
        self.mean: Tensor
        self.factor: Tensor
        self.active = moments is not None and bool(moments.count > 0)
        if moments is not None:
            self.register_buffer("mean", moments.mean.clone())
            # Of a column without a scale it is zero.
            self.register_buffer("factor", torch.from_numpy(1 / moments.scale))

    def forward(self, values: Tensor) -> Tensor:
        """Return float64 `values` [batch, number] shifted and scaled."""
        return ((values - self.mean) * self.factor).clamp(-10.0, 10.0) if self.active else values


def action_outputs(head: ActionHead, outputs: Tensor) -> dict[str, Tensor]:
    """Return the deterministic action, and what defines the distribution of samples, each [batch, ...]."""
    return {"action": head.likeliest(outputs), **head.described(outputs)}
