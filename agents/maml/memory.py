"""How much memory a meta-update takes, as measured."""

from __future__ import annotations

import torch

from .adaptation import AdaptCode
from .config import MAMLConfig
from .policy import EncodedPolicy
from .trpo import TRPOConfig

TASK_COPIES = 6
"""Copies of a task's parameters: fast ones of each round, gradients, and what they are made of."""
IMAGE_COPIES = 1, 2, 4
"""Copies of the activations of convolutions that a gradient holds of each step: a first-order one, an exact one, and
the product with an exact Hessian."""
PAIR_COPIES = 24
"""Codes that a gradient holds of each pair of related steps: three layers of two, with their backward passes."""


def update_bytes(
    config: MAMLConfig,
    policy: EncodedPolicy,
    num_parameters: int,
    *,
    tasks: int,
    at_once: int,
    steps: int,
    rounds: int,
    device: str,
) -> int:
    """Return about how many bytes of the machine's memory a meta-update takes, beside its trial.

    `steps` are those of all replicas of one task in one round. `at_once` tasks at a time hold activations: a
    first-order gradient those of one round, an exact one those of all rounds with their backward passes, and TRPO's
    product with the Hessian of the KL several times as many. Inputs and parameters are held of every task. With
    observations of numbers, 2 to 5 rounds and layers of 32 to 256 units, this is from 10 % below to 50 % above what a
    process on a CPU takes.
    """
    itemsize = torch.finfo(getattr(torch, config.dtype)).bits // 8
    encoder = policy.encoder
    # The baseline computes in float64, and every round keeps its actions, outputs, advantages and mask.
    inputs = 2 * encoder.num_raw_bytes + (16 + itemsize) * encoder.num_numbers + 256
    of_inputs = tasks * rounds * steps * inputs
    if device != "cpu":
        return of_inputs
    of_images, of_layers = _copies(config, rounds)
    coded = config.adapts if isinstance(config.adapts, AdaptCode) else None
    units = policy.num_units + (0 if coded is None else coded.width + coded.size)
    held = of_images * encoder.num_activations + of_layers * units
    related = 0 if coded is None else PAIR_COPIES * coded.size * min(steps, coded.num_related) ** 2
    return of_inputs + itemsize * round(TASK_COPIES * tasks * num_parameters + at_once * (steps * held + related))


def _copies(config: MAMLConfig, rounds: int) -> tuple[float, float]:
    """Return how many times a gradient holds the outputs of convolutions, and of layers, of each step."""
    one, exact, product = (rounds * copies for copies in IMAGE_COPIES)
    has_product = isinstance(config.outer, TRPOConfig)
    if config.outer.meta_gradient == "first-order":
        return one, 15.0 if has_product else 5.2
    return (product, 12 + 42 * (rounds - 1)) if has_product else (exact, 9.5 * rounds)
