"""LEO from rewards: an encoder of steps begins a latent vector, and inner steps move it (Rusu et al., ICLR 2019).

In the notation of the paper's algorithm 1, for a task whose first round was played by the policy decoded from s:

    z = s + mu + sigma * noise,   (mu, sigma) = mean over i, j of relate(encode(step i), encode(step j))     begin
    theta(z) = theta_0 + D z                                                                             Latent
    z' = z - alpha * grad_z L_inner(theta(z), round)                                                     steps
    L_outer(theta(z'), last round) + beta KL + gamma |stop(z') - z|^2 + R                                outer_loss

The prior of a code is N(s, 1): what is known without data. Learners take the mean of a code; the outer loss draws it
by `Round.noise`, and the probability ratio corrects for the policy of the mean having acted.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metarl.trials.episodes import Episodes

from ..common.codes import Code, glorot, orthogonality
from ..common.encoders import ObservationEncoder
from ..common.moments import RunningMoments
from ..common.policy import Parameters
from .adaptation import CODE, DECODER, START, AdaptCode, Coded
from .objective import MetaObjective
from .one_by_one import GradientOf, functional_gradient
from .policy import ENCODER, EncodedPolicy
from .records import Measures, Outcome, Round

READ, READ_BIAS, ENCODE = "steps.read.weight", "steps.read.bias", "steps.encode"
"""Names of the layers that encode a step."""
RELATIONS = ("steps.relate.0", "steps.relate.1", "steps.relate.2")
"""Names of the layers of the relation network."""
FIRST_CODES = 0.01
"""Scale of the last layer at the start, so that the first codes are at the prior's mean, as first policies are."""


class OutcomeReader:
    """What an encoder of steps reads of episodes beside observations and actions: the reward and what came next."""

    def __init__(self, encoder: ObservationEncoder, code_size: int) -> None:
        self.code_size, self.num_outcomes = code_size, 1 + encoder.num_numbers
        self.rewards = RunningMoments(1)

    def __call__(self, episodes: Episodes, numbers: np.ndarray, final: np.ndarray) -> np.ndarray:
        """Return scaled rewards and next observations, [time, task, replica, 1 + d].

        `numbers` [time, task, replica, d] are those of the observations, `final` [task, replica, d] of the final ones.
        """
        last = np.arange(len(numbers))[:, None, None] == episodes.lengths - 1
        following = np.concatenate([numbers[1:], final[None]])
        rewards = self.rewards.normalize(episodes.rewards[..., None])
        return np.concatenate([rewards, np.where(last[..., None], final, following)], axis=-1)


class StepEncoder:
    """Encodes the steps of a task's round to the distribution of its code."""

    def __init__(self, config: AdaptCode, policy: EncodedPolicy) -> None:
        self.config, self.policy, self.head = config, policy, policy.head
        encoder = policy.encoder
        self.num_inputs = encoder.num_features + self.head.num_features + 1 + encoder.num_numbers
        """Features of the observation and of the action, the reward, and the next observation's numbers."""

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fresh parameters in float64."""
        size, width = self.config.size, self.config.width
        drawn = {
            READ: glorot(width, self.num_inputs, generator),
            READ_BIAS: torch.zeros(width, dtype=torch.float64),
            ENCODE: glorot(size, width, generator),
            **{name: glorot(2 * size, 2 * size, generator) for name in RELATIONS},
        }
        drawn[RELATIONS[-1]] *= FIRST_CODES
        return drawn

    def __call__(self, meta: Parameters, data: Round) -> Code:
        """Return the distribution of one task's code, relative to the start. Steps that were not taken do not count."""
        codes, shares = self._runs(self._encode(meta, data), data.mask)
        count = len(codes)
        left, right = codes[:, None].expand(-1, count, -1), codes[None].expand(count, -1, -1)
        related = torch.cat([left, right], dim=-1)
        for name in RELATIONS:
            related = related @ meta[name].T
            related = F.relu(related) if name != RELATIONS[-1] else related
        mean, log_std = torch.einsum("ijc,i,j->c", related, shares, shares).chunk(2)
        return Code(mean, log_std + math.log(self.config.initial_std))

    def _encode(self, meta: Parameters, data: Round) -> Tensor:
        """Return a code of every step, [time, replica, size]."""
        own = {name.removeprefix(ENCODER): value for name, value in meta.items() if name.startswith(ENCODER)}
        features = self.policy.encoder(own, data.observations, data.raw)
        inputs = torch.cat([features, self.head.features_of(data.actions).to(features), data.outcomes], dim=-1)
        # A step that was not taken may hold anything: no gradient may come through it.
        inputs = torch.where(data.mask[..., None] > 0, inputs, 0.0)
        return F.relu(F.linear(inputs, meta[READ], meta[READ_BIAS])) @ meta[ENCODE].T

    def _runs(self, codes: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean codes of at most `num_related` runs of steps, [run, size], and their shares of all steps, [run].

        A run is one step where there are no more. Otherwise the episodes, one behind the other, are cut evenly.
        """
        steps, taken = codes.transpose(0, 1).flatten(0, 1), mask.T.flatten()
        length = math.ceil(len(steps) / self.config.num_related)
        missing = -len(steps) % length
        steps = F.pad(steps * taken[:, None], (0, 0, 0, missing)).unflatten(0, (-1, length))
        counts = F.pad(taken, (0, missing)).unflatten(0, (-1, length)).sum(1)
        return steps.sum(1) / counts.clamp(min=1)[:, None], counts / counts.sum().clamp(min=1)


class CodedObjective:
    """The meta-objective of one task whose latent vector is begun by an encoder."""

    def __init__(self, base: MetaObjective, encoder: StepEncoder) -> None:
        """Wrap an objective whose adaptation is `Latent`: it takes the steps, and knows no encoder."""
        self.base, self.encoder, self.config = base, encoder, encoder.config
        self.policy, self.head = base.policy, base.head
        self.adaptation = Coded(self.config.size)

    def outputs(self, meta: Parameters, fast: Parameters, observations: Tensor, raw: Tensor) -> Tensor:
        """Return the action distributions' parameters, [..., num_outputs], for observations [..., d]."""
        return self.policy(self.adaptation.policy(meta, fast), observations, raw)

    def inner_step(
        self, meta: Parameters, fast: Parameters, data: Round, gradient_of: GradientOf = functional_gradient
    ) -> tuple[dict[str, Tensor], Measures, Tensor]:
        """Return the fast parameters after a round, the measures of the policy that played it, and the gradient's norm.

        The first round is encoded before the steps.
        """
        if CODE in fast:
            return self.steps(meta, fast[CODE], data, gradient_of)
        measures = self.base.inner_loss(fast, meta, data)[1]
        fast, _, norm = self.steps(meta, self.begin(meta, data)[0], data, gradient_of)
        return fast, measures, norm

    def begin(self, meta: Parameters, data: Round) -> tuple[Tensor, Code]:
        """Return a task's code, [size], and the distribution it is drawn from by the round's noise."""
        code = self.encoder(meta, data)
        return meta[START] + code.mean + code.log_std.exp() * data.noise, code

    def steps(
        self, meta: Parameters, code: Tensor, data: Round, gradient_of: GradientOf = functional_gradient
    ) -> tuple[dict[str, Tensor], Measures, Tensor]:
        """Return the code after all inner steps on a round, the measures before them, and the mean norm."""
        fast, measures, norm = self.base.inner_step(meta, {START: code}, data, gradient_of)
        norms = [norm]
        for _ in range(self.config.num_inner_steps - 1):
            fast, _, norm = self.base.inner_step(meta, fast, data, gradient_of)
            norms.append(norm)
        return {CODE: fast[START]}, measures, torch.stack(norms).mean()

    def outer_loss(self, meta: Parameters, rounds: tuple[Round, ...]) -> tuple[Tensor, Outcome]:
        """Return the loss of a trial of two rounds or more after adaptation, penalties included, and its outcome."""
        first, *later, last = rounds
        start = self.adaptation.start(meta)
        history = [self.base.inner_loss(start, meta, first)[1]]
        begun, code = self.begin(meta, first)
        fast, _, norm = self.steps(meta, begun, first)
        norms = [norm]
        for data in later:
            fast, measures, norm = self.steps(meta, fast[CODE], data)
            history.append(measures)
            norms.append(norm)
        loss, outcome = self.base.last_loss(meta, {START: fast[CODE]}, last, history, norms)
        moved = (fast[CODE].detach() - begun).square().mean()
        penalty, correlations = self._penalty(meta, code, moved)
        of_code = torch.stack([code.kl(), code.entropy(), moved, correlations])
        return loss + penalty, outcome._replace(of_code=of_code)

    def _penalty(self, meta: Parameters, code: Code, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is added to the loss, and the correlations of the decoder's rows."""
        weights = self.config.penalties
        decoder = torch.cat([each.flatten(0, -2) for name, each in meta.items() if name.startswith(DECODER)]).T
        correlations = orthogonality(decoder)
        squares = torch.stack([meta[name].square().sum() for name in (READ, ENCODE, *RELATIONS)]).sum()
        squares = squares + decoder.square().sum()
        penalty = weights.kl * code.kl() + weights.encoder * moved
        return penalty + weights.orthogonality * correlations + 0.5 * weights.squares * squares, correlations
