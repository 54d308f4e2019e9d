"""Adam whose step size may change over training, with the count of updates."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.schedule import Schedule
from metarl.trials.agent import NUM_UPDATES

from .adam import Adam
from .over_ranks import sum_over_ranks
from .state import StateDict, load_optimizer, optimizer_state


class ScheduledAdam:
    """Moves parameters down gradients by Adam. It leaves the parameters' own `grad` None."""

    def __init__(self, parameters: Mapping[str, Tensor], learning_rate: Schedule, max_grad_norm: float) -> None:
        self.parameters, self.learning_rate, self.max_grad_norm = parameters, learning_rate, max_grad_norm
        self.num_updates = 0
        self.optimizer = Adam(parameters.values(), learning_rate.start)

    def descend(self, gradients: Mapping[str, Tensor], *, ends_update: bool = True) -> float:
        """Take one step down `gradients`, scaled to a norm of at most `max_grad_norm`. Return their original norm.

        The step size is that of the update. `ends_update` says that no other step of the same update follows.
        """
        self.optimizer.receive(gradients[name].to(each.dtype) for name, each in self.parameters.items())
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.max_grad_norm))
        self.optimizer.learning_rate = self.learning_rate.at(self.num_updates)
        self.optimizer.step()
        self.optimizer.zero_grad()
        if ends_update:
            self.num_updates += 1
        return norm

    def descend_loss(self, loss: Tensor, setting: str) -> float:
        """Take one step down the gradients of the sum of `loss` over all processes that train together.

        Raises MetarlError, which names `setting` as the remedy, where their norm is not finite. The parameters are then
        spoilt.
        """
        gradients = torch.autograd.grad(loss, list(self.parameters.values()))
        norm = self.descend(dict(zip(self.parameters, sum_over_ranks(gradients), strict=True)))
        if not norm < float("inf"):
            raise MetarlError(f"the gradient's norm is {norm}; take a lower {setting}")
        return norm

    def freeze(self, names: Collection[str]) -> None:
        """Keep these parameters as they are until the next call. Raises MetarlError for other names."""
        self.optimizer.freeze(self.parameters, names)

    def state_dict(self) -> StateDict:
        """Return Adam's moments and the count of updates."""
        count = torch.tensor(self.num_updates, dtype=torch.int64, device="cpu")
        return {**optimizer_state(self.optimizer, self.parameters), NUM_UPDATES: count}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the result of `state_dict`."""
        load_optimizer(self.optimizer, self.parameters, state)
        self.num_updates = int(state[NUM_UPDATES])
