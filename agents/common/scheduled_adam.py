"""Adam whose step size may change over training, with the count of its steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.trials.agent import NUM_UPDATES

from .schedule import Schedule
from .state import StateDict, load_optimizer, optimizer_state


class ScheduledAdam:
    """Lowers a loss by Adam."""

    def __init__(self, parameters: dict[str, Tensor], learning_rate: Schedule, max_grad_norm: float) -> None:
        self.parameters, self.learning_rate, self.max_grad_norm = parameters, learning_rate, max_grad_norm
        self.num_updates = 0
        self.optimizer = torch.optim.Adam(list(parameters.values()), lr=learning_rate.start)

    def descend(self, setting: str) -> float:
        """Take one step down the gradients that the parameters hold, and return their norm.

        They are scaled to a norm of at most `max_grad_norm`, and gone afterwards. Raises MetarlError, which names
        `setting` as the remedy, where the norm is not finite.
        """
        norm = float(torch.nn.utils.clip_grad_norm_(self.parameters.values(), self.max_grad_norm))
        if not norm < float("inf"):
            self.optimizer.zero_grad(set_to_none=True)
            raise MetarlError(f"the gradient's norm is {norm}; take a lower {setting}")
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate.at(self.num_updates)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.num_updates += 1
        return norm

    def state_dict(self) -> StateDict:
        """Return the parameters, Adam's moments and the count of steps."""
        state = {name: value.detach().clone() for name, value in self.parameters.items()}
        count = torch.tensor(self.num_updates, dtype=torch.int64, device="cpu")
        return {**state, **optimizer_state(self.optimizer, self.parameters), NUM_UPDATES: count}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the result of `state_dict`."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(state[name])
        load_optimizer(self.optimizer, self.parameters, state)
        self.num_updates = int(state[NUM_UPDATES])
