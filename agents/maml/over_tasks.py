"""The meta-objective over a batch of tasks: every task by itself, all of them in one vmapped call.

With images on a CPU, tasks are computed one by one instead, as many at a time as torch has threads. There, vmap makes
one grouped convolution of those of all tasks. It takes about 1.5 times the time of one convolution after the other, and
cores share the work on a single task badly.

A learner of a single task on a CPU, as a new user is served, needs no vmap either: for networks of a few small layers,
vmap and torch.func.grad take several times the time of the operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

from metarl.base.errors import MetarlError

from ..common.encoders import ObservationEncoder
from ..common.over_ranks import mean_over_tasks
from ..common.policy import Parameters
from .adaptation import Adaptation
from .one_by_one import GradientOf, functional_gradient, gradient_of_one, map_one_by_one


class Masked(Protocol):
    """Record of a round."""

    @property
    def mask(self) -> Tensor:
        """One for a step that was taken, else zero. [task, time, replica]"""
        ...


RoundT = TypeVar("RoundT", bound=Masked)
SeenT = TypeVar("SeenT", bound=Masked, contravariant=True)
OutcomeT = TypeVar("OutcomeT")
GivenT = TypeVar("GivenT", covariant=True)


class Encoded(Protocol):
    """A network behind an encoder of observations."""

    @property
    def encoder(self) -> ObservationEncoder:
        """The encoder."""
        ...


class TaskObjective(Protocol[SeenT, GivenT]):
    """The objective of one task, as `MetaObjective` is: a function of the meta-parameters."""

    @property
    def policy(self) -> Encoded:
        """The network."""
        ...

    @property
    def adaptation(self) -> Adaptation:
        """What adapts."""
        ...

    def outputs(self, meta: Parameters, fast: Parameters, observations: Tensor, raw: Tensor) -> Tensor:
        """Return the outputs of the network."""
        ...

    def inner_step(
        self, meta: Parameters, fast: Parameters, data: SeenT, gradient_of: GradientOf = functional_gradient
    ) -> tuple[dict[str, Tensor], Any, Tensor]:
        """Return the fast parameters after one step on a round, measures before it, the norm of the gradient."""
        ...

    def outer_loss(self, meta: Parameters, rounds: tuple[SeenT, ...]) -> tuple[Tensor, GivenT]:
        """Return the loss of a trial after adaptation, and its outcome."""
        ...


class OverTasks(Generic[RoundT, OutcomeT]):
    """Maps the functions of a task's objective over tasks, at the agent's meta-parameters.

    Fast parameters and rounds have an axis of tasks in front, [task, ...]; all tasks share the meta-parameters.
    """

    def __init__(
        self, objective: TaskObjective[RoundT, OutcomeT], parameters: dict[str, Tensor], chunk_size: int | None
    ) -> None:
        self.objective, self.parameters, self.chunk_size = objective, parameters, chunk_size

    @property
    def _on_cpu(self) -> bool:
        return next(iter(self.parameters.values())).device.type == "cpu"

    @property
    def one_by_one(self) -> bool:
        """Whether tasks are computed one by one, on a thread each: with images on a CPU."""
        return self._on_cpu and self.objective.policy.encoder.has_images

    def _lone(self, num_tasks: int) -> bool:
        """Whether there is a single task, and it is computed without vmap: on a CPU."""
        return num_tasks == 1 and self._on_cpu

    def at_once(self, num_tasks: int) -> int:
        """Return the number of tasks that are computed at a time."""
        most = min(num_tasks, self.chunk_size or num_tasks)
        return min(most, torch.get_num_threads()) if self.one_by_one else most

    def _map(self, function: Callable[..., Any], *shared: bool, apart: bool | None = None) -> Callable[..., Any]:
        """Map a function of one task over all, in chunks; `shared` marks the arguments that have no axis of tasks.

        `apart` says whether to do without vmap; None as `one_by_one` says.
        """
        if self.one_by_one if apart is None else apart:
            return lambda *arguments: map_one_by_one(function, shared, arguments, self.at_once)
        in_dims = tuple(None if same else 0 for same in shared)
        return torch.vmap(function, in_dims=in_dims, chunk_size=self.chunk_size)

    def start(self, num_tasks: int) -> dict[str, Tensor]:
        """Return the fast parameters that tasks begin with, a copy for each, [task, ...]."""
        start = self.objective.adaptation.start(_detach(self.parameters))
        return {name: value.expand(num_tasks, *value.shape).clone() for name, value in start.items()}

    def run(self, fast: Parameters, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(parameters, *arguments)` of every task, with its own parameters of the network.

        Arguments and results are tensors [task, ...], in mappings, lists and tuples of any depth.
        """

        def of_task(meta: Parameters, fast: Parameters, *own: Any) -> Any:
            return function(self.objective.adaptation.policy(meta, fast), *own)

        with torch.no_grad():
            return self._map(of_task, True, *(False for _ in (fast, *arguments)))(self.parameters, fast, *arguments)

    def outputs(self, fast: Parameters, observations: Tensor, raw: Tensor) -> Tensor:
        """Return the action distributions' parameters [task, step, ..., num_outputs].

        `observations` is [task, step, ..., d]; `raw`, beside them, is read in chunks of steps, so that memory does
        not grow with their number.
        """
        with torch.no_grad():
            if not raw.shape[-1]:
                if self._lone(len(observations)):
                    own = {name: value[0] for name, value in fast.items()}
                    return self.objective.outputs(self.parameters, own, observations[0], raw[0])[None]
                outputs: Tensor = torch.vmap(self.objective.outputs, in_dims=(None, 0, 0, 0))(
                    self.parameters, fast, observations, raw
                )
                return outputs
            mapped = self._map(self.objective.outputs, True, False, False, False)
            images = self.at_once(len(raw)) * math.prod(raw.shape[2:-1])
            size = max(1, self.objective.policy.encoder.chunk_size // images)
            parts = zip(observations.split(size, dim=1), raw.split(size, dim=1), strict=True)
            return torch.cat([mapped(self.parameters, fast, *part) for part in parts], dim=1)

    def adapt(self, fast: Parameters, data: RoundT) -> dict[str, Tensor]:
        """Return every task's fast parameters after one inner step. Raises MetarlError if one is not finite."""
        if not fast:
            return {}
        apart = self.one_by_one or self._lone(len(data.mask))
        gradient_of = gradient_of_one if apart else functional_gradient

        def step(meta: Parameters, own: Parameters, seen: RoundT) -> dict[str, Tensor]:
            return self.objective.inner_step(meta, own, seen, gradient_of)[0]

        with torch.no_grad():
            adapted = self._map(step, True, False, False, apart=apart)(_detach(self.parameters), fast, data)
        for name, value in adapted.items():
            wrong = ~torch.isfinite(value).flatten(1).all(1)
            if wrong.any():
                raise MetarlError(
                    f"an inner step made {name} not finite in {int(wrong.sum())} of {len(wrong)} tasks; take a lower "
                    "agent.inner_lr"
                )
        return dict(adapted)

    def adapt_to_all(self, rounds: tuple[RoundT, ...]) -> dict[str, Tensor]:
        """Return every task's fast parameters after an inner step on each of the rounds."""
        fast = self.start(len(rounds[0].mask))
        for data in rounds:
            fast = self.adapt(fast, data)
        return fast

    def task_gradients(self, rounds: tuple[RoundT, ...]) -> tuple[dict[str, Tensor], OutcomeT]:
        """Return every task's gradient of the outer loss by the meta-parameters [task, ...], and its outcome [task]."""
        loss = self.objective.outer_loss
        gradient = gradient_of_one(loss) if self.one_by_one else torch.func.grad(loss, has_aux=True)
        with torch.no_grad():
            gradients, outcome = self._map(gradient, True, False)(_detach(self.parameters), rounds)
        return gradients, outcome

    def outcomes(self, parameters: Parameters, rounds: tuple[RoundT, ...]) -> OutcomeT:
        """Return every task's outcome at the meta-parameters given, [task]."""

        def outcome(meta: Parameters, rounds: tuple[RoundT, ...]) -> OutcomeT:
            return self.objective.outer_loss(meta, rounds)[1]

        with torch.no_grad():
            outcomes: OutcomeT = self._map(outcome, True, False)(_detach(parameters), rounds)
        return outcomes

    def kl_products(
        self, rounds: tuple[RoundT, ...], damping: float
    ) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        """Return v -> (H + damping) v, with H the Hessian of the tasks' mean outer KL through the adaptation."""

        def kl_gradient(meta: Parameters, rounds: tuple[RoundT, ...]) -> Any:
            return torch.func.grad(lambda m: self.objective.outer_loss(m, rounds)[1].kl)(meta)  # type: ignore[attr-defined]

        def hessian_product(meta: Parameters, vector: Parameters, rounds: tuple[RoundT, ...]) -> Any:
            def slope(m: Parameters) -> Tensor:
                gradient = kl_gradient(m, rounds)
                return torch.stack([(gradient[name] * vector[name]).sum() for name in vector]).sum()

            return torch.func.grad(slope)(meta)

        products_of = self._map(hessian_product, True, True, False)

        def product(vector: dict[str, Tensor]) -> dict[str, Tensor]:
            with torch.no_grad():
                products = products_of(_detach(self.parameters), vector, rounds)
            means, _ = mean_over_tasks(products)
            return {name: value + damping * vector[name] for name, value in means.items()}

        return product


def _detach(parameters: Parameters) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in parameters.items()}


class AtTasks:
    """The network with the fast parameters of every task."""

    def __init__(self, over_tasks: OverTasks[Any, Any], fast: Parameters) -> None:
        self.over_tasks, self.fast = over_tasks, fast

    def outputs(self, numbers: Tensor, raw: Tensor) -> Tensor:
        """Return the outputs [task, step, ..., n] of one pass; see `OverTasks.outputs`."""
        return self.over_tasks.outputs(self.fast, numbers, raw)

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return `function(parameters, *arguments)` of every task; see `OverTasks.run`."""
        return self.over_tasks.run(self.fast, function, *arguments)
