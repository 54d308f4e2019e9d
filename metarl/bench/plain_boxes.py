"""Prototypes on a map of cells as a plain script of PyTorch has them: boxes of a letter that five examples show.

It shares no code with the agents. Nothing here samples, reads or logs: it is what training costs at least as people
write it. The network is that of configs/glyph-boxes/prototypes.yaml.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS, STRIDES = (1, 32, 48, 64, 64), (2, 2, 1, 1)
SIDE = 0.25
"""Side of a box whose numbers are zero, as a share of the image's."""


class Seen(NamedTuple):
    """Images, and the box of the letter in each."""

    images: Tensor
    """Floats from 0 to 1. [task, image, 1, height, width]"""
    boxes: Tensor
    """Left, top, right and bottom from 0 to 1, and 1 where there is a box. [task, image, 5]"""


class Ready(NamedTuple):
    """Two rounds of a batch of tasks."""

    support: Seen
    queries: Seen

    @property
    def num_images(self) -> int:
        """Images of both rounds."""
        return sum(part.images.shape[0] * part.images.shape[1] for part in self)


class Detector(nn.Module):
    """Features of each cell by convolutions, the box that each would tell, and how alike a cell is to the examples."""

    def __init__(self) -> None:
        super().__init__()
        pairs = zip(itertools.pairwise(CHANNELS), STRIDES, strict=True)
        layers = [(nn.Conv2d(*pair, 3, stride=stride, padding=1), nn.ReLU()) for pair, stride in pairs]
        self.convolutions = nn.Sequential(*itertools.chain(*layers))
        self.numbers = nn.Linear(CHANNELS[-1], 4)
        self.log_scale, self.bias = nn.Parameter(torch.tensor(10.0).log()), nn.Parameter(torch.zeros(()))

    def cells(self, images: Tensor) -> Tensor:
        """Return the features of each cell, [task, image, row, column, feature], of images as in `Seen`."""
        found: Tensor = self.convolutions(images.flatten(0, 1))
        return found.unflatten(0, images.shape[:2]).movedim(2, -1)


def shares(boxes: Tensor, rows: int, columns: int) -> Tensor:
    """Return how much of each cell lies in boxes [..., 4], [..., row, column]."""

    def along(low: Tensor, high: Tensor, count: int) -> Tensor:
        edges = torch.arange(count + 1, dtype=boxes.dtype) / count
        return (torch.minimum(high[..., None], edges[1:]) - torch.maximum(low[..., None], edges[:-1])).clamp(min=0)

    left, top, right, bottom = boxes.unbind(-1)
    return along(top, bottom, rows)[..., :, None] * along(left, right, columns)[..., None, :]


def loss(model: Detector, data: Ready) -> Tensor:
    """Return the loss of the queries: the right cell or nothing, and the box by DETR's terms near its middle."""
    support, queries = data
    both = model.cells(torch.cat([support.images, queries.images], dim=1))
    shown, cells = both.split([support.images.shape[1], queries.images.shape[1]], dim=1)
    rows, columns = cells.shape[2:4]
    inside = shares(support.boxes[..., :4], rows, columns)
    means = (shown * inside[..., None]).sum((2, 3)) / inside.sum((2, 3)).clamp(min=1e-9)[..., None]
    there = support.boxes[..., 4:]
    prototype = (means * there).sum(1) / there.sum(1).clamp(min=1)
    likeness = F.cosine_similarity(cells, prototype[:, None, None, None], dim=-1)
    logits = (model.log_scale.exp() * likeness + model.bias).flatten(2)
    log_probs = torch.cat([logits, torch.zeros_like(logits[..., :1])], dim=-1).log_softmax(-1)
    right, there = queries.boxes[..., :4], queries.boxes[..., 4]
    middle = (right[..., :2] + right[..., 2:]) / 2
    column, row = (middle[..., 0] * columns).long(), (middle[..., 1] * rows).long()
    cell = row.clamp(max=rows - 1) * columns + column.clamp(max=columns - 1)
    place = torch.where(there > 0.5, cell, rows * columns)
    missed = -log_probs.gather(-1, place[..., None])[..., 0]
    return (missed + there * _box_loss(model.numbers(cells), right, middle)).mean()


def _box_loss(numbers: Tensor, right: Tensor, middle: Tensor) -> Tensor:
    """Return 5 |b - b'|_1 + 2 (1 - GIoU), mean over the cells near the middle of the right box, [task, image]."""
    rows, columns = numbers.shape[2:4]
    y, x = torch.meshgrid((torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns, indexing="ij")
    places, counts = torch.stack([x, y], dim=-1).to(numbers), numbers.new_tensor([columns, rows])
    away = ((places - middle[:, :, None, None]) * counts / 0.7).square().sum(-1)
    near = (-0.5 * away.flatten(2)).softmax(-1)
    centre, half = places + numbers[..., :2] / counts, 0.5 * SIDE * numbers[..., 2:].clamp(-4, 4).exp()
    boxes, right = torch.cat([centre - half, centre + half], dim=-1).flatten(2, 3), right[:, :, None]
    apart = (boxes - right).abs().sum(-1)
    both = (torch.minimum(boxes[..., 2:], right[..., 2:]) - torch.maximum(boxes[..., :2], right[..., :2])).clamp(min=0)
    hull = torch.maximum(boxes[..., 2:], right[..., 2:]) - torch.minimum(boxes[..., :2], right[..., :2])
    areas = [(each[..., 2:] - each[..., :2]).prod(-1) for each in (boxes, right)]
    common, whole = both.prod(-1), hull.prod(-1).clamp(min=1e-12)
    union = areas[0] + areas[1] - common
    giou = common / union - (whole - union) / whole
    return (near * (5 * apart + 2 * (1 - giou))).sum(-1)
