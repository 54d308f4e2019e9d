"""Latent embedding optimisation: a head is decoded from a code of the support, and both are adapted.

In the notation of Rusu et al. (ICLR 2019), algorithm 1, for each output n of the head (each class):

    z_n ~ q(z_n | support) = N(mu_n, sigma_n^2)          encode: equations 1 to 3
    w_n ~ p(w | z_n) = N(mu_d(z_n), sigma_d(z_n)^2)      decode: equation 4
    z_n' = z_n - alpha * grad_z L(support)               steps in the space of codes: equation 5
    w_n' = w_n - alpha_w * grad_w L(support)             steps of fine-tuning
    L(queries) + beta KL(q || p) + gamma |stop(z') - z|^2 + R      equations 6 and 7

An evaluation takes the means in place of samples. Losses of the support are means over its questions. Deviations of
heads are those of Glorot times an exponential, so they are above zero; the published code subtracts from an exponential
and cuts at 1e-10. There is no dropout.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from ..common.codes import Code, glorot, orthogonality
from ..common.over_ranks import TaskNoise
from ..common.policy import Parameters
from ..supervised.answers import AnswerHead
from ..supervised.support import Fitted, Support, linear

if TYPE_CHECKING:
    from .config import LEOConfig

ENCODE, DECODE, LATENT_LR, FINETUNE_LR = "encode", "decode", "inner_lr", "finetune_lr"
"""Names of the head's parameters."""
RELATIONS = ("relate.0", "relate.1", "relate.2")
"""Names of the layers of the relation network."""


def encode(parameters: Parameters, support: Support, of_classes: bool, log_std_shift: float) -> Code:
    """Return the distribution of the code of each output; the shift is added to the logarithms of deviations.

    Each question is encoded linearly, and related to every question by a network; what belongs to an output is
    averaged. To a class belong its questions; of numbers all questions belong to each, with the right number as a
    further input.
    """
    features, answers, mask = support.focus, support.answers, support.mask
    if of_classes:
        inputs = features[:, None]
    else:
        shared = features[:, None].expand(-1, answers.shape[2], -1, -1)
        inputs = torch.cat([shared, answers.transpose(1, 2)[..., None]], dim=-1)
    codes = inputs @ parameters[ENCODE].T  # [task, group, question, latent]
    questions = codes.shape[2]
    left = codes[:, :, :, None].expand(-1, -1, -1, questions, -1)
    right = codes[:, :, None].expand(-1, -1, questions, -1, -1)
    related = torch.cat([left, right], dim=-1)
    for name in RELATIONS:
        related = related @ parameters[name].T
        related = F.relu(related) if name != RELATIONS[-1] else related
    seen = mask / mask.sum(1, keepdim=True).clamp(min=1)
    means = (related * seen[:, None, None, :, None]).sum(3)  # [task, group, question, 2 latent]
    members = answers * mask[..., None] if of_classes else mask[..., None].expand_as(answers)
    shares = (members / members.sum(1, keepdim=True).clamp(min=1)).transpose(1, 2)  # [task, output, question]
    pooled = (means * shares[..., None]).sum(2) if not of_classes else shares @ means[:, 0]
    mean, log_std = pooled.chunk(2, dim=-1)
    return Code(mean, log_std + log_std_shift)


def decode(parameters: Parameters, codes: Tensor, noise: Tensor | None) -> Tensor:
    """Return heads [task, num_outputs, size] of codes [task, num_outputs, latent]: samples, or means without noise."""
    mean, log_std = (codes @ parameters[DECODE]).chunk(2, dim=-1)
    if noise is None:
        return mean
    return mean + math.sqrt(2 / (mean.shape[1] + mean.shape[2])) * log_std.exp() * noise


class LatentHead:
    """Makes heads by codes, one for each output that a head makes."""

    def __init__(self, config: LEOConfig, answers: AnswerHead, size: int) -> None:
        self.config, self.answers, self.size = config, answers, size
        self.of_classes = answers.of_classes
        self.num_inner_steps = config.num_inner_steps or 5
        self.num_finetune_steps = config.of_targets.num_finetune_steps

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return Glorot-uniform weights, and the step sizes of each dimension."""
        latent, config = self.config.latent_size, self.config
        inner_lr = config.inner_lr or (1.0 if self.of_classes else 0.1)
        finetune_lr = config.of_targets.finetune_lr or (1.0 if self.of_classes else 0.01)

        return {
            ENCODE: glorot(latent, self.size + (0 if self.of_classes else 1), generator),
            **{name: glorot(2 * latent, 2 * latent, generator) for name in RELATIONS},
            DECODE: glorot(latent, 2 * self.size, generator),
            LATENT_LR: torch.full((latent,), inner_lr, dtype=torch.float64),
            **(
                {FINETUNE_LR: torch.full((self.size,), finetune_lr, dtype=torch.float64)}
                if self.num_finetune_steps
                else {}
            ),
            **self.answers.initial_parameters(self.size, generator),
        }

    def num_held(self, known: int, asked: int) -> int:
        """Return the related pairs of questions, the heads of each step, and the answers."""
        config, outputs = self.config, self.answers.num_own
        pairs = (1 if self.of_classes else outputs) * known**2
        steps = 1 + self.num_inner_steps + self.num_finetune_steps
        return 11 * config.latent_size * pairs + steps * outputs * (10 * self.size + 10 * known) + 8 * asked * outputs

    def fit(self, parameters: Parameters, support: Support, noise: TaskNoise | None) -> Fitted:
        """Return adapted heads; with `noise` as in an update: from samples, and with their penalties."""
        learning = noise is not None
        with torch.enable_grad():
            if not learning:
                parameters = {name: value.detach() for name, value in parameters.items()}
            code = encode(parameters, support, self.of_classes, math.log(self.config.initial_std))
            start = code.mean
            if noise is not None:
                start = start + code.log_std.exp() * noise.normal(start)
            codes = start if start.requires_grad else start.requires_grad_(True)
            weights = self._decode(parameters, codes, noise)
            for _ in range(self.num_inner_steps):
                gradient = self._gradient(parameters, codes, weights, support, learning=learning)
                codes = codes - parameters[LATENT_LR] * gradient
                weights = self._decode(parameters, codes, noise)
            for _ in range(self.num_finetune_steps):
                gradient = self._gradient(parameters, weights, weights, support, learning=learning)
                weights = weights - parameters[FINETUNE_LR] * gradient
        if not learning:
            return Fitted(weights.detach(), weights.new_zeros(()), {})
        return self._fitted(parameters, weights, code, start, codes)

    def _decode(self, parameters: Parameters, codes: Tensor, noise: TaskNoise | None) -> Tensor:
        """Return heads, in an update with a sample of its own at each step, as published."""
        like = codes.new_zeros(()).expand(*codes.shape[:2], self.size)
        return decode(parameters, codes, None if noise is None else noise.normal(like))

    def _gradient(
        self, parameters: Parameters, of: Tensor, weights: Tensor, support: Support, *, learning: bool
    ) -> Tensor:
        """Return the gradient of each task's loss on its support; with `learning`, one to differentiate again."""
        losses = self.answers.loss(self.outputs(parameters, weights, support.features), support.targets)
        means = (losses * support.mask).sum(1) / support.mask.sum(1).clamp(min=1)
        return torch.autograd.grad(means.sum(), of, create_graph=learning, retain_graph=True)[0]

    def _fitted(self, parameters: Parameters, weights: Tensor, code: Code, start: Tensor, codes: Tensor) -> Fitted:
        config, kl = self.config, code.kl()
        encoder_penalty = (codes.detach() - start).square().mean()
        orthogonal = orthogonality(parameters[DECODE])
        squares = torch.stack([parameters[name].square().sum() for name in (ENCODE, *RELATIONS, DECODE)]).sum()
        penalty = config.penalties.kl * kl + config.penalties.encoder * encoder_penalty
        penalty = penalty + config.penalties.orthogonality * orthogonal + 0.5 * config.penalties.squares * squares
        metrics = {
            "kl": kl,
            "code_entropy": code.entropy(),
            "encoder_penalty": encoder_penalty,
            "orthogonality": orthogonal,
            **{f"{name}_mean": parameters[name] for name in (LATENT_LR, FINETUNE_LR) if name in parameters},
        }
        return Fitted(weights, penalty, metrics)

    def outputs(self, parameters: Parameters, weights: Tensor, features: Tensor) -> Tensor:
        """Return features w, and what the answers add to them."""
        return self.answers.complete(parameters, linear(features, weights), features)
