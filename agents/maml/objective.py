"""The meta-objective of one task: its loss after adaptation, as a function of the meta-parameters.

In the notation of Finn, Abbeel and Levine (ICML 2017), section 2.2, with one inner step:

    theta' = theta - inner_lr * grad_theta L_inner(theta, first round)      inner_step
    L(theta) = L_outer(theta', last round)                                  outer_loss

Nothing here knows of other tasks: over_tasks.py maps these functions over a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..common.policy import Parameters
from ..common.ppo import masked_mean
from .adaptation import Adaptation
from .config import MAMLConfig
from .inner_objectives import INNER_OBJECTIVES
from .one_by_one import GradientOf, functional_gradient
from .outer_objectives import OuterObjective
from .policy import EncodedPolicy
from .records import Measures, Outcome, Round
from .step_size import StepSize


class MetaObjective:
    """Inner loss, inner step and outer loss of one task."""

    def __init__(
        self,
        config: MAMLConfig,
        policy: EncodedPolicy,
        adaptation: Adaptation,
        step_size: StepSize,
        outer_objective: OuterObjective,
    ) -> None:
        self.policy, self.head = policy, policy.head
        self.adaptation, self.step_size = adaptation, step_size
        self.inner_objective = INNER_OBJECTIVES[config.inner_objective]
        self.outer_objective = outer_objective
        self.outer = outer = config.outer
        # Otherwise the earlier rounds are only measured, and need no second derivative.
        self._differentiates_measures = outer.rounds == "all" or outer.inner_kl_coef > 0 or outer.ent_coef > 0

    def outputs(self, meta: Parameters, fast: Parameters, observations: Tensor, raw: Tensor) -> Tensor:
        """Return the action distributions' parameters, [..., num_outputs], for observations [..., d]."""
        return self.policy(self.adaptation.policy(meta, fast), observations, raw)

    def inner_loss(self, fast: Parameters, meta: Parameters, data: Round) -> tuple[Tensor, Measures]:
        """Return the loss of an inner step on a round, and the round's measures at the same parameters."""
        outputs = self.outputs(meta, fast, data.observations, data.raw)
        log_prob = self.head.log_prob(outputs, data.actions)
        loss = self.inner_objective(log_prob, data.old_log_prob, data.advantages, data.mask)
        if not self._differentiates_measures:
            outputs, log_prob = outputs.detach(), log_prob.detach()
        kl = masked_mean(self.head.kl(data.old_outputs, outputs), data.mask)
        entropy = masked_mean(self.head.entropy(outputs), data.mask)
        return loss, Measures(kl, entropy, self.outer_objective(log_prob, data)[0])

    def inner_step(
        self, meta: Parameters, fast: Parameters, data: Round, gradient_of: GradientOf = functional_gradient
    ) -> tuple[dict[str, Tensor], Measures, Tensor]:
        """Return the fast parameters after one step, the measures before it, and the norm of the inner gradient."""
        gradients, measures = gradient_of(self.inner_loss)(fast, meta, data)
        if self.outer.meta_gradient == "first-order":
            gradients = {name: gradient.detach() for name, gradient in gradients.items()}
        norm = global_norm({name: gradient.detach() for name, gradient in gradients.items()})
        return self.step_size.step(meta, fast, gradients), measures, norm

    def adapt(
        self, meta: Parameters, rounds: tuple[Round, ...]
    ) -> tuple[dict[str, Tensor], list[Measures], list[Tensor]]:
        """Return the fast parameters after a step on each round, the rounds' measures, and the gradients' norms."""
        fast = self.adaptation.start(meta)
        history: list[Measures] = []
        norms: list[Tensor] = []
        for data in rounds:
            if fast:
                fast, measures, norm = self.inner_step(meta, fast, data)
                norms.append(norm)
            else:
                measures = self.inner_loss(fast, meta, data)[1]
            history.append(measures)
        return fast, history, norms

    def outer_loss(self, meta: Parameters, rounds: tuple[Round, ...]) -> tuple[Tensor, Outcome]:
        """Return the loss of a trial after adaptation, penalties included, and its outcome.

        It is the loss of the last round after adapting to the others. If `outer.rounds` is 'all', it is the mean loss
        of all rounds, each after adapting to the rounds before it.
        """
        *earlier, last = rounds
        fast, history, norms = self.adapt(meta, tuple(earlier))
        return self.last_loss(meta, fast, last, history, norms)

    def last_loss(
        self, meta: Parameters, fast: Parameters, last: Round, history: list[Measures], norms: list[Tensor]
    ) -> tuple[Tensor, Outcome]:
        """Return the loss of a trial and its outcome, given the parameters of its last round.

        `history` are the measures of the rounds before it, `norms` those of the inner gradients.
        """
        outputs = self.outputs(meta, fast, last.observations, last.raw)
        loss, clip_fraction, ratio_deviation = self.outer_objective(self.head.log_prob(outputs, last.actions), last)
        entropy = masked_mean(self.head.entropy(outputs), last.mask)
        zero = torch.zeros_like(loss)
        inner_kl = torch.stack([measures.kl for measures in history]).mean() if history else zero
        if self.outer.rounds == "all":
            loss = torch.stack([*(measures.loss for measures in history), loss]).mean()
        outcome = Outcome(
            loss=loss,
            kl=masked_mean(self.head.kl(last.old_outputs, outputs), last.mask),
            inner_kl=inner_kl,
            clip_fraction=clip_fraction,
            ratio_deviation=ratio_deviation,
            entropy=entropy,
            inner_gradient_norm=torch.stack(norms).mean() if norms else zero,
            of_code=zero.new_zeros(0),
        )
        loss = loss + self.outer.inner_kl_coef * inner_kl
        if self.outer.ent_coef:
            entropies = torch.stack([*(measures.entropy for measures in history), entropy])
            loss = loss - self.outer.ent_coef * entropies.mean()
        return loss, outcome


def global_norm(tensors: Parameters) -> Tensor:
    """Return the Euclidean norm of all tensors together."""
    if not tensors:
        return torch.zeros((), dtype=torch.float32)
    return torch.stack([value.square().sum() for value in tensors.values()]).sum().sqrt()
