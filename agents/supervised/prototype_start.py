"""Outputs of classes that begin at their prototypes: Proto-MAML (Triantafillou et al., Meta-Dataset, ICLR 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.policy import Parameters
from .answered import Answered, Encoded
from .answers import ClassAnswers
from .network import EncodedNetwork


class PrototypeStart:
    """Makes the last layer of one task a nearest-mean classifier on the features before it.

    With c_k the mean of the features of class k, -|x - c_k|^2 is, but for |x|^2, 2 c_k^T x - |c_k|^2 (Snell et al.,
    2017, section 2.4): weights and bias from which inner steps go on. Meta-gradients run through the means.
    """

    def __init__(self, network: EncodedNetwork, answers: ClassAnswers) -> None:
        self.network, self.answers = network, answers
        self.weight, self.bias = network.last_layers(1)

    def __call__(self, parameters: Parameters, data: Answered | Encoded) -> dict[str, Tensor]:
        """Return weight and bias of the last layer from the answers of a round; classes without one keep theirs."""
        features = self.network.features_before_last(parameters, data).flatten(0, -2)
        ours = self.answers.vectors(data.targets).flatten(0, -2) * data.mask.flatten()[:, None]
        count = ours.sum(0)[:, None]
        means = ours.T @ features / count.clamp(min=1.0)
        weight = torch.where(count > 0, 2.0 * means, parameters[self.weight])
        bias = torch.where(count[:, 0] > 0, -means.square().sum(-1), parameters[self.bias])
        return {self.weight: weight, self.bias: bias}
