"""Codes of tasks: normal distributions in a latent space, and what is added to a loss for them (Rusu et al., 2019)."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from metarl.base.settings import Settings

Coefficient = Annotated[float, Field(ge=0)]
"""Weight of a term of a loss."""


class Penalties(Settings):
    """Weights of what is added to the loss of the queries, or of the rounds."""

    kl: Coefficient = 1e-3
    """Weight of the KL from the codes to their prior, a normal distribution of deviation one; beta in the paper."""
    encoder: Coefficient = 1e-3
    """Weight of the squared distance from a code to where its steps lead, which is held still; gamma in the paper."""
    orthogonality: Coefficient = 0.1
    """Weight of the correlations between the decoder's rows; lambda 2 in the paper."""
    squares: Coefficient = 1e-6
    """Weight of half the squares of all weights of encoder, relation network and decoder; lambda 1 in the paper."""


class Code(NamedTuple):
    """Normal distribution of codes."""

    mean: Tensor
    """[..., latent]; of classes and numbers, [task, num_outputs, latent]"""
    log_std: Tensor
    """[..., latent]"""

    def kl(self) -> Tensor:
        """Return KL(q || N(0, 1)), mean over codes and their dimensions: the cross-entropy less the entropy."""
        return (0.5 * (self.mean.square() + (2 * self.log_std).exp() - 1) - self.log_std).mean()

    def entropy(self) -> Tensor:
        """Return the entropy of a dimension in nats, mean over codes and their dimensions."""
        return (self.log_std + 0.5 * math.log(2 * math.pi * math.e)).mean()


def orthogonality(decoder: Tensor) -> Tensor:
    """Return the mean squared difference between the correlations of the decoder's rows and the identity."""
    rows = decoder / decoder.norm(dim=1, keepdim=True).clamp(min=1e-32)
    return (rows @ rows.T - torch.eye(len(rows), dtype=rows.dtype, device=rows.device)).square().mean()


def glorot(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """Return Glorot-uniform weights, float64 [rows, columns]."""
    uniform = 2 * torch.rand(rows, columns, generator=generator, dtype=torch.float64) - 1
    return math.sqrt(6 / (rows + columns)) * uniform
