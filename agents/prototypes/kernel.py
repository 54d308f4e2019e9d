"""Numbers by comparison with the answered questions of a task: a kernel regression on learned features.

In the notation of Nadaraya (1964) and Watson (1964), with an answered question i at the point p_i = P z_i of features
z_i, and a value beside them that stands for no difference at all:

    w_i = exp(-s |P z - p_i|^2) / (c + sum_j exp(-s |P z - p_j|^2)),    answer = base(z) + sum_i w_i (y_i - base(z_i))

For a recommender, questions are items, and answers the ratings of a user. With s = 0 a user is one number, the mean of
what is left of its ratings, shrunken by n / (n + c): the user's offset. With more, ratings of items alike count most,
as in recommenders by neighbours (Koren, KDD 2008), with a likeness that is learned as in Matching Networks (Vinyals et
al., NeurIPS 2016).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.settings import Settings, Width
from metarl.trials.registered import register_agent

from ..common.over_ranks import TaskNoise
from ..common.policy import Parameters
from ..supervised.head_agent import ErrorSettings, HeadAgent
from ..supervised.support import Fitted, Support
from .comparison import compare

BASE, SHIFT, POINTS = "base", "shift", "points"
"""Names of the weights and the shift of the answer without examples, and of the projection to points."""
LOG_SCALE, LOG_PRIOR = "log_scale", "log_prior"
"""Names of the logarithms of s and c."""


class KernelRegressionConfig(ErrorSettings):
    """Settings of kernel regression on learned features."""

    point_size: Width = 16
    """Numbers of the point that a question is compared by."""


class KernelHead:
    """Compares questions with answered ones. Its "head" is these: mask, difference to the base, and point of each."""

    def __init__(self, size: int, num_outputs: int, point_size: int) -> None:
        self.size, self.num_outputs, self.point_size = size, num_outputs, point_size

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return Glorot-uniform weights; an example at no distance counts as much as no difference."""

        def uniform(rows: int) -> Tensor:
            drawn = torch.rand(rows, self.size, generator=generator, dtype=torch.float64)
            return (2 * drawn - 1) * math.sqrt(6 / (rows + self.size))

        values = {LOG_SCALE: -math.log(self.point_size), LOG_PRIOR: 0.0}
        single = {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
        shift = torch.zeros(self.num_outputs, dtype=torch.float64)
        return {BASE: uniform(self.num_outputs), SHIFT: shift, POINTS: uniform(self.point_size), **single}

    def num_held(self, known: int, asked: int) -> int:
        """Return points and differences of both, and the likeness of every question to all that is known."""
        return 2 * (known + asked) * (self.size + self.point_size + self.num_outputs) + 4 * asked * (known + 1)

    def base(self, parameters: Parameters, features: Tensor) -> Tensor:
        """Return the answers without examples, [..., num_outputs]."""
        return features @ parameters[BASE].T + parameters[SHIFT]

    def fit(self, parameters: Parameters, support: Support, noise: TaskNoise | None) -> Fitted:
        """Return the answered questions of each task, [task, question, 1 + num_outputs + point_size]."""
        difference = support.answers - self.base(parameters, support.features)
        points = support.features @ parameters[POINTS].T
        packed = torch.cat([support.mask[..., None], difference, points], dim=-1)
        return Fitted(packed, packed.new_zeros(()), {"scale": parameters[LOG_SCALE].exp()})

    def outputs(self, parameters: Parameters, weights: Tensor, features: Tensor) -> Tensor:
        """Return answers [task, question, num_outputs] of features [task, question, size]."""
        mask, difference, points = weights.split([1, self.num_outputs, self.point_size], dim=-1)
        asked = features @ parameters[POINTS].T
        likeness = compare(asked, points, "euclidean", parameters[LOG_SCALE].exp())
        likeness = likeness.masked_fill(mask.transpose(1, 2) == 0, -torch.inf)
        prior = parameters[LOG_PRIOR].expand(*likeness.shape[:-1], 1)
        shares = torch.cat([prior, likeness], dim=-1).softmax(-1)[..., 1:]
        return self.base(parameters, features) + shares @ difference


@register_agent("kernel-regression")
class KernelRegression(HeadAgent):
    """Answers with numbers of the answered questions that are most alike, in a learned space (Watson, 1964)."""

    Config: ClassVar[type[Settings]] = KernelRegressionConfig
    title = "kernel-regression"

    def make_head(self, size: int) -> KernelHead:
        """Return the head. Raises MetarlError for a family that asks for classes."""
        config, space = self.config, self.family.target_space
        assert isinstance(config, KernelRegressionConfig)
        if not isinstance(space, spaces.Box):
            raise MetarlError(
                f"agent 'kernel-regression' answers with numbers, and family {self.family.name!r} asks for {space}; "
                "take a family of numbers, such as sinusoid, or agent 'prototypes', which answers with classes"
            )
        return KernelHead(size, self.answers.num_outputs, config.point_size)

    def start(self, num_tasks: int) -> Tensor:
        """Return no answered question for each task: one that does not count, [task, 1, packed]."""
        assert isinstance(self.head, KernelHead)
        size = 1 + self.answers.num_outputs + self.head.point_size
        return torch.zeros(num_tasks, 1, size, dtype=getattr(torch, self.config.dtype), device=self.device)
