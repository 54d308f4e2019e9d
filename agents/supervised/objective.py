"""The supervised meta-objective of one task: its loss after adaptation, as a function of the meta-parameters.

In the notation of Finn, Abbeel and Levine (ICML 2017), algorithm 2:

    theta' = theta - inner_lr * grad_theta L(theta, support)       adapt
    L(theta) = L(theta', queries)                                  outer_loss

Nothing here knows of other tasks: agents/maml/over_tasks.py maps these functions over a batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..common.policy import Parameters
from ..maml.adaptation import Adaptation
from ..maml.objective import global_norm
from ..maml.one_by_one import GradientOf, functional_gradient
from ..maml.policy import ENCODER
from ..maml.step_size import StepSize
from .advice import round_loss
from .answered import Answered, Encoded
from .answers import Scoring
from .network import AnsweringNetwork
from .prototype_start import PrototypeStart


class Outcome(NamedTuple):
    """Loss of a trial, and what the network answered; each field has the axis of tasks in front."""

    loss: Tensor
    """Loss of the last round, or the mean over all."""
    inner_loss: Tensor
    """Loss of the first round before adaptation."""
    first: Tensor
    """Outputs in the first round, before adaptation. [time, replica, num_outputs]"""
    last: Tensor
    """Outputs in the last round, after adaptation. [time, replica, num_outputs]"""
    inner_gradient_norm: Tensor
    """Euclidean norm of the inner gradient, mean over inner steps."""


class SupervisedObjective:
    """Inner loss, inner steps and outer loss of one task."""

    def __init__(
        self,
        network: AnsweringNetwork,
        head: Scoring,
        adaptation: Adaptation,
        step_size: StepSize,
        *,
        num_inner_steps: int = 1,
        first_order: bool = False,
        all_rounds: bool = False,
        first_start: PrototypeStart | None = None,
    ) -> None:
        self.policy, self.head = network, head
        self.adaptation, self.step_size = adaptation, step_size
        self.num_inner_steps, self.first_order, self.all_rounds = num_inner_steps, first_order, all_rounds
        self.first_start = first_start
        """What the inner steps on the first round begin with, beside the meta-parameters."""

    def outputs(self, meta: Parameters, fast: Parameters, observations: Tensor, raw: Tensor) -> Tensor:
        """Return the outputs of the network, [..., num_outputs], for observations [..., d]."""
        return self.policy(self.adaptation.policy(meta, fast), observations, raw)

    def loss(self, fast: Parameters, meta: Parameters, data: Answered | Encoded) -> tuple[Tensor, Tensor]:
        """Return the mean loss of a round by its right answers, and the outputs."""
        outputs = self.policy.taught(self.adaptation.policy(meta, fast), data)
        return self.head.mean_loss(outputs, data.targets, data.mask), outputs

    def inner_step(
        self,
        meta: Parameters,
        fast: Parameters,
        data: Answered | Encoded,
        gradient_of: GradientOf = functional_gradient,
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return the fast parameters after one step, the outputs before it, and the norm of the inner gradient."""
        gradients, outputs = gradient_of(self.loss)(fast, meta, data)
        if self.first_order:
            gradients = {name: gradient.detach() for name, gradient in gradients.items()}
        norm = global_norm({name: gradient.detach() for name, gradient in gradients.items()})
        return self.step_size.step(meta, fast, gradients), outputs, norm

    def adapt(
        self, meta: Parameters, fast: Parameters, data: Answered | Encoded
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return the fast parameters after all inner steps on a round, the outputs before them, the mean norm."""
        fast, first, norm = self.inner_step(meta, fast, data)
        norms = [norm]
        for _ in range(self.num_inner_steps - 1):
            fast, _, norm = self.inner_step(meta, fast, data)
            norms.append(norm)
        return fast, first, torch.stack(norms).mean()

    def outer_loss(self, meta: Parameters, rounds: tuple[Answered, ...]) -> tuple[Tensor, Outcome]:
        """Return the loss of the last round after adapting to the others, and the outcome.

        With `all_rounds` it is the mean loss of all rounds, each after adapting to the rounds before it.
        """
        fast = self.adaptation.start(meta)
        moved = any(name.startswith(ENCODER) for name in fast)
        *earlier, last = rounds if moved else self.policy.read(self.adaptation.policy(meta, fast), rounds)
        losses: list[Tensor] = []
        answers: list[Tensor] = []
        norms = [torch.zeros((), dtype=last.mask.dtype, device=last.mask.device)]
        for number, data in enumerate(earlier):
            if number == 0 and self.first_start is not None:
                parameters = self.adaptation.policy(meta, fast)
                started = fast | self.first_start(parameters, data)
                adapted, _, norm = self.adapt(meta, started, data)
                outputs = self.policy.taught(parameters, data)
                norms.append(norm)
            elif fast:
                adapted, outputs, norm = self.adapt(meta, fast, data)
                norms.append(norm)
            else:
                adapted, outputs = {}, self.loss(fast, meta, data)[1]
            outputs = outputs if self.all_rounds else outputs.detach()  # otherwise they are only measured
            losses.append(round_loss(self.head, outputs, data, data.advice))
            answers.append(outputs)
            fast = adapted
        outputs = self.policy.taught(self.adaptation.policy(meta, fast), last)
        loss = round_loss(self.head, outputs, last, last.advice)
        losses.append(loss)
        answers.append(outputs)
        outer = torch.stack(losses).mean() if self.all_rounds else loss
        norm = torch.stack(norms[1:] or norms).mean()
        return outer, Outcome(outer, losses[0], answers[0], answers[-1], norm)
