"""What a teacher tells of its distribution, checked."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.trials.episodes import Imitation

from .heads import ActionHead


def require_comparable(outputs: np.ndarray | None, head: ActionHead, imitation: Imitation) -> None:
    """Raise MetarlError unless a teacher's `Learner.outputs` [..., n] define a distribution of a head.

    None is a teacher that tells none, NaN one of several that tells none: both go without a temperature, as do actions
    that are numbers.
    """
    silent = outputs is None or bool(np.isnan(outputs).any())
    if imitation.temperature != 1 and (silent or isinstance(head.space, spaces.Box)):
        raise MetarlError(
            f"teacher.temperature is {imitation.temperature:g}, but "
            + ("the teacher tells no distribution to soften" if silent else "actions are numbers, not choices")
            + "; leave it out"
        )
    if outputs is not None and outputs.shape[-1] != head.num_outputs:
        raise MetarlError(
            f"a teacher tells {outputs.shape[-1]} numbers of its distribution, but {head.num_outputs} define one over "
            f"{head.space}; see metarl.Learner.outputs"
        )


def divergence(head: ActionHead, advised: Tensor, outputs: Tensor, temperature: Tensor, otherwise: Tensor) -> Tensor:
    """Return T^2 KL(advised / T || outputs / T) in nats, [...], for logits [..., n] and T [...]; by T = 1 of any kind.

    Where a teacher tells none, `advised` is NaN, it is `otherwise` [...].
    """
    untold, wide = advised[..., 0].isnan(), temperature[..., None]
    softened = advised.nan_to_num() / wide, outputs / wide
    return torch.where(untold, otherwise, temperature.square() * head.kl(*softened))
