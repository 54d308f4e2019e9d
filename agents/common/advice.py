"""What a teacher tells of its distribution, checked."""

from __future__ import annotations

import numpy as np

from metarl.base.errors import MetarlError
from metarl.trials.episodes import Imitation

from .heads import ActionHead


def require_comparable(outputs: np.ndarray | None, head: ActionHead, imitation: Imitation) -> None:
    """Raise MetarlError unless a teacher's `Learner.outputs` [..., n] define a distribution of a head.

    None is a teacher that tells none, which goes without a temperature.
    """
    if outputs is None:
        if imitation.temperature != 1:
            raise MetarlError(
                f"teacher.temperature is {imitation.temperature:g}, but the teacher tells no distribution to soften; "
                "leave it out"
            )
    elif outputs.shape[-1] != head.num_outputs:
        raise MetarlError(
            f"a teacher tells {outputs.shape[-1]} numbers of its distribution, but {head.num_outputs} define one over "
            f"{head.space}; see metarl.Learner.outputs"
        )
