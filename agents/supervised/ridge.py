"""Ridge regression on learned features, in closed form (R2-D2: Bertinetto et al., ICLR 2019)."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor

from metarl.base.settings import Positive, Settings
from metarl.trials.registered import register_agent

from ..common.over_ranks import TaskNoise
from ..common.policy import Parameters
from .answers import NumberAnswers
from .head_agent import ErrorSettings, HeadAgent
from .support import Fitted, Support

LOG_LAMBDA, SCALE, BIAS = "log_lambda", "scale", "bias"
"""Names of the head's parameters."""


class RidgeConfig(ErrorSettings):
    """Settings of ridge regression on learned features."""

    initial_lambda: Positive = 1.0
    """Weight of the squared head at the start; it is learned, as its logarithm."""
    initial_scale: Positive | None = None
    """Factor of the head's outputs at the start; it is learned, and a shift as well. None takes 10 for classes, whose
    outputs of about 0 and 1 become logits, and 1 for numbers."""


def ridge_weights(features: Tensor, answers: Tensor, penalty: Tensor) -> Tensor:
    """Return the heads that minimise |features w - answers|^2 + penalty |w|^2, [task, num_outputs, size].

    `features` is [task, question, size], `answers` [task, question, num_outputs]. Where there are fewer questions than
    features, the system has the size of the questions, by Woodbury's identity: equation 5 of the paper.
    """
    questions, size = features.shape[1:]
    transposed = features.transpose(1, 2)
    if questions < size:
        system = features @ transposed + penalty * _eye(questions, features)
        weights = transposed @ torch.linalg.solve(system, answers)
    else:
        system = transposed @ features + penalty * _eye(size, features)
        weights = torch.linalg.solve(system, transposed @ answers)
    return weights.transpose(1, 2)


def _eye(size: int, like: Tensor) -> Tensor:
    return torch.eye(size, dtype=like.dtype, device=like.device)


class RidgeHead:
    """Solves for the head; the strength of the penalty, a scale and a shift of its outputs are meta-learned."""

    def __init__(self, size: int, num_outputs: int, initial_lambda: float, initial_scale: float) -> None:
        self.size, self.num_outputs = size, num_outputs
        self.initial_lambda, self.initial_scale = initial_lambda, initial_scale

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return penalty, scale and shift."""
        values = {LOG_LAMBDA: math.log(self.initial_lambda), SCALE: self.initial_scale, BIAS: 0.0}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}

    def num_held(self, known: int, asked: int) -> int:
        """Return the system and its factors, and what it is made from."""
        return 4 * min(known, self.size) ** 2 + 2 * known * self.size + 8 * asked * self.num_outputs

    def fit(self, parameters: Parameters, support: Support, noise: TaskNoise | None) -> Fitted:
        """Return the solution. A question that was not asked counts as one of zeros, which changes nothing."""
        features, answers = (each * support.mask[..., None] for each in (support.features, support.answers))
        penalty = parameters[LOG_LAMBDA].exp()
        weights = ridge_weights(features, answers, penalty)
        return Fitted(weights, weights.new_zeros(()), {"lambda": penalty, SCALE: parameters[SCALE]})

    def outputs(self, parameters: Parameters, weights: Tensor, features: Tensor) -> Tensor:
        """Return scale * features w + shift."""
        return parameters[SCALE] * features @ weights.transpose(1, 2) + parameters[BIAS]


@register_agent("ridge")
class Ridge(HeadAgent):
    """Solves a ridge regression on learned features, through the solution (R2-D2, Bertinetto et al., ICLR 2019)."""

    Config: ClassVar[type[Settings]] = RidgeConfig
    title = "ridge"

    def make_head(self, size: int) -> RidgeHead:
        """Return the head."""
        config = self.config
        assert isinstance(config, RidgeConfig)
        default = 1.0 if isinstance(self.answers, NumberAnswers) else 10.0
        return RidgeHead(size, self.answers.num_outputs, config.initial_lambda, config.initial_scale or default)
