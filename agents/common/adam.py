"""Adam (Kingma and Ba, 2015), by torch's own update of tensors.

`torch.optim.Adam` is that update behind hooks which load torch's compiler when an optimiser is made: seconds of every
short process, for what no agent here uses.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam

from metarl.base.errors import MetarlError

BETAS = (0.9, 0.999)
EPS = 1e-8
MOMENTS = ("exp_avg", "exp_avg_sq")
"""Running means of a parameter's gradient and of its square."""


class Adam:
    """Moves parameters down their `grad`, where it is not None. Bits are those of `torch.optim.Adam`."""

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, *, foreach: bool | None = None) -> None:
        self.parameters, self.learning_rate = list(parameters), learning_rate
        self.foreach = foreach
        """Whether one call updates all parameters; None leaves it to torch."""
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        """Moments by parameter, and `step`, the number of its steps, a float32 of the CPU."""
        self.frozen: frozenset[Tensor] = frozenset()
        """Parameters that `receive` leaves without a gradient, so that they do not move."""

    def receive(self, gradients: Iterable[Tensor]) -> None:
        """Set the `grad` of every parameter, in their order; None for frozen ones."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = None if parameter in self.frozen else gradient

    def freeze(self, parameters: Mapping[str, Tensor], names: Collection[str]) -> None:
        """Freeze those of `parameters` that have these names, and no others. Raises MetarlError for other names."""
        if unknown := [name for name in names if name not in parameters]:
            raise MetarlError(f"{unknown[0]!r} is none of the parameters that can be frozen; leave it out")
        self.frozen = frozenset(parameters[name] for name in names)

    @torch.no_grad()
    def step(self) -> None:
        """Take a step."""
        moved = [parameter for parameter in self.parameters if parameter.grad is not None]
        for parameter in moved:
            if parameter not in self.state:
                self.state[parameter] = begin(parameter)
        slots = [self.state[parameter] for parameter in moved]
        means, squares = ([each[name] for each in slots] for name in MOMENTS)
        adam(
            moved,
            [gradient for parameter in moved if (gradient := parameter.grad) is not None],
            means,
            squares,
            [],
            [each["step"] for each in slots],
            foreach=self.foreach,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=EPS,
            maximize=False,
        )

    def zero_grad(self) -> None:
        """Set every `grad` to None."""
        for parameter in self.parameters:
            parameter.grad = None


class SGD:
    """Moves parameters down their `grad` by the step size times it."""

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        self.parameters, self.learning_rate = list(parameters), learning_rate

    @torch.no_grad()
    def step(self) -> None:
        """Take a step."""
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=self.learning_rate)


def begin(parameter: Tensor) -> dict[str, Tensor]:
    """Return the state of a parameter before its first step."""
    step = torch.zeros((), dtype=torch.float32, device="cpu")
    return {name: torch.zeros_like(parameter).detach() for name in MOMENTS} | {"step": step}
