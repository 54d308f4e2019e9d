"""Boxes in images: answers from a map of cells, of which each says how likely it is right, and where the box would be.

Outputs of a cell are a logit and four numbers, as in CenterNet (Zhou et al., 2019) and FCOS (Tian et al., ICCV 2019).
The cells' logits and a logit of 0, for nothing there, are one distribution. Right is the cell that holds the middle of
the right box:

    L = -log p(right cell, or nothing) + sum_c w_c (5 |b_c - b|_1 + 2 (1 - GIoU(b_c, b)))

The weights of the box's terms are those of DETR (Carion et al., ECCV 2020), and GIoU is that of Rezatofighi et al.
(CVPR 2019). Cells near the middle learn the box too: w is a normal density of their distance to it, and sums to 1.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..common.policy import Parameters
from ..common.ppo import masked_mean

L1_WEIGHT, GIOU_WEIGHT = 5.0, 2.0
"""Weights of the distance between corners and of one less GIoU."""
WIDTH = 0.7
"""Deviation of the weights of cells around the middle of a box, in cells."""
USUAL_SIDE = 0.25
"""Side of a box whose numbers are zero, as a share of the image's."""
MOST_LOG = 4.0
"""Largest logarithm of a side over `USUAL_SIDE`, in size: beyond it, a box is far larger than its image."""
NUMBERS, NUMBERS_BIAS, LOGIT_BIAS = "boxes", "boxes_bias", "logit_bias"
"""Names of the layer that tells the box of each cell, of its bias, and of the bias of the cells' logits."""


def generalized_iou(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return the generalized intersection over union of boxes [..., 4] of positive area, from -1 to 1, [...]."""
    sides = (torch.minimum(ours[..., 2:], theirs[..., 2:]) - torch.maximum(ours[..., :2], theirs[..., :2])).clamp(min=0)
    both = sides.prod(-1)
    union = _area(ours) + _area(theirs) - both
    hull = (torch.maximum(ours[..., 2:], theirs[..., 2:]) - torch.minimum(ours[..., :2], theirs[..., :2])).prod(-1)
    return both / union - (hull - union) / hull


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


class BoxAnswers:
    """Answers of `Boxes`: the box of the likeliest cell, with the probability of that cell as its confidence.

    A head of a task makes the cells' logits alone. The numbers of boxes come from a layer that all tasks share: where
    the edges of a thing are does not depend on what it is.
    """

    num_outputs, num_own, of_classes = 5, 1, True

    def __init__(self, grid: tuple[int, int]) -> None:
        self.grid = grid
        """Rows and columns of the map."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each answer, [...], of outputs [..., cell, 5] and right boxes [..., 5]."""
        right, there = targets[..., :4], targets[..., 4]
        middle = (right[..., :2] + right[..., 2:]) / 2
        log_probs = _log_probs(outputs)
        # Not F.one_hot: it looks at the values, which vmap cannot where another thread has entered one too.
        places = torch.arange(self.grid[0] * self.grid[1], device=outputs.device)
        found = (log_probs[..., :-1] * (self._cell(middle)[..., None] == places)).sum(-1)
        near = self._near(middle, outputs)
        boxes = self.corners(outputs[..., 1:])
        distance = (boxes - right[..., None, :]).abs().sum(-1)
        # A box of no area, as where nothing is there, has no GIoU; it counts for nothing.
        whole = torch.where(there[..., None] > 0.5, right, torch.ones_like(right).cumsum(-1))
        apart = 1 - generalized_iou(boxes, whole[..., None, :])
        off = (near * (L1_WEIGHT * distance + GIOU_WEIGHT * apart)).sum(-1)
        return there * (off - found) - (1 - there) * log_probs[..., -1]

    def _cell(self, middle: Tensor) -> Tensor:
        """Return the place of the cell that holds a point (x, y) [..., 2], int64 [...]."""
        rows, columns = self.grid
        column, row = (middle[..., 0] * columns).long(), (middle[..., 1] * rows).long()
        return row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)

    def _near(self, middle: Tensor, like: Tensor) -> Tensor:
        """Return the weights of all cells around points [..., 2], [..., cell]."""
        away = (self._middles(like) - middle[..., None, :]) * self._counts(like)
        return (-0.5 * (away / WIDTH).square().sum(-1)).softmax(-1)

    def _counts(self, like: Tensor) -> Tensor:
        """Return the number of columns and of rows, [2]."""
        return like.new_tensor(self.grid[::-1])

    def _middles(self, like: Tensor) -> Tensor:
        """Return the middle (x, y) of each cell, [cell, 2]."""
        rows, columns = self.grid
        places = torch.arange(rows * columns, device=like.device)
        return (torch.stack([places % columns, places // columns], dim=-1) + 0.5).to(like) / self._counts(like)

    def corners(self, numbers: Tensor) -> Tensor:
        """Return the boxes (left, top, right, bottom) [..., cell, 4] that the cells' numbers [..., cell, 4] stand for.

        The first two move the middle from that of the cell, in cells; the others are logarithms of the sides.
        """
        middle = self._middles(numbers) + numbers[..., :2] / self._counts(numbers)
        half = 0.5 * USUAL_SIDE * numbers[..., 2:].clamp(-MOST_LOG, MOST_LOG).exp()
        return torch.cat([middle - half, middle + half], dim=-1)

    def answer(self, outputs: Tensor) -> Tensor:
        """Return the box and the probability of the likeliest cell, [..., 5], of outputs [..., cell, 5]."""
        sure, cell = _log_probs(outputs)[..., :-1].exp().max(-1)
        boxes = self.corners(outputs[..., 1:]).clamp(0, 1)
        best = boxes.gather(-2, cell[..., None, None].expand(*cell.shape, 1, 4)).squeeze(-2)
        return torch.cat([best, sure[..., None]], dim=-1)

    def mean_loss(self, outputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Return the mean over the answers that `mask` [...] marks."""
        return masked_mean(self.loss(outputs, targets), mask)

    def weight(self, targets: Tensor, mask: Tensor) -> Tensor:
        """Return the number of answers that `mask` marks: `mean_loss` is the mean over them."""
        return mask.sum()

    def best(self, outputs: Tensor) -> np.ndarray:
        """Return the boxes of the likeliest cells with their probabilities, float32 [..., 5]."""
        return self.answer(outputs.detach()).float().cpu().numpy()

    def confidence(self, outputs: Tensor) -> np.ndarray:
        """Return the probability of the likeliest cell, [...]."""
        return self.answer(outputs.detach().double())[..., 4].cpu().numpy()

    def vectors(self, targets: Tensor) -> Tensor:
        """Return the confidence of right answers, [..., 1]: whether the one class that is looked for is there."""
        return targets[..., 4:]

    def focus(self, features: Tensor, targets: Tensor) -> Tensor:
        """Return the mean features in right boxes, [..., size], of maps [..., cell, size].

        A cell counts by the share of it that lies in the box. Where nothing is there, they are zeros.
        """
        half = 0.5 / self._counts(features)
        middles = self._middles(features)
        low = torch.maximum(middles - half, targets[..., None, :2])
        high = torch.minimum(middles + half, targets[..., None, 2:4])
        shares = (high - low).clamp(min=0).prod(-1)
        return (features * (shares / shares.sum(-1, keepdim=True).clamp(min=1e-9))[..., None]).sum(-2)

    def initial_parameters(self, size: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fresh parameters of the layer that tells boxes from `size` features of a cell, and of the biases."""
        uniform = 2 * torch.rand(4, size, generator=generator, dtype=torch.float64) - 1
        return {
            NUMBERS: math.sqrt(6 / (size + 4)) * uniform,
            NUMBERS_BIAS: torch.zeros(4, dtype=torch.float64),
            LOGIT_BIAS: torch.zeros(1, dtype=torch.float64),
        }

    def complete(self, parameters: Parameters, own: Tensor, features: Tensor) -> Tensor:
        """Return outputs [..., cell, 5] of a head's logits [..., cell, 1] and the features of the cells."""
        numbers = F.linear(features, parameters[NUMBERS], parameters[NUMBERS_BIAS])
        return torch.cat([own + parameters[LOGIT_BIAS], numbers], dim=-1)

    def exported(self, outputs: Tensor) -> dict[str, Tensor]:
        """Return the answer."""
        return {"action": self.answer(outputs).float()}


def _log_probs(outputs: Tensor) -> Tensor:
    """Return log-probabilities of each cell, and behind them of nothing, [..., cell + 1]."""
    logits = outputs[..., 0]
    return torch.cat([logits, torch.zeros_like(logits[..., :1])], dim=-1).log_softmax(-1)
