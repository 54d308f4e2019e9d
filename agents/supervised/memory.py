"""How much memory an update of the agents that learn from right answers takes, as measured on a CPU."""

from __future__ import annotations

import torch

from metarl.families.family import TaskFamily
from metarl.families.questions import asks_questions, require_questions

from ..common.encoders import ObservationEncoder
from ..maml.adaptation import AdaptAll
from .config import SupervisedConfig
from .network import AnsweringNetwork

IMAGE_COPIES = 1.75
"""Copies of the activations of an encoder that a gradient holds of each observation."""
FEATURE_COPIES = 3
"""Copies of the features of a question, and of the layers before them, in an update of a head on features."""


def round_sizes(family: TaskFamily, replicas: int, rounds: int) -> list[int]:
    """Return the questions of each round of a trial in one task, those of all replicas."""
    if not asks_questions(family):
        return [replicas * family.horizon] * rounds
    questions = require_questions(family)
    return [replicas * questions.num_questions(number) for number in range(rounds)]


def itemsize(dtype: str) -> int:
    """Return the bytes of a number of the network."""
    return torch.finfo(getattr(torch, dtype)).bits // 8


def input_bytes(encoder: ObservationEncoder, dtype: str, questions: int) -> int:
    """Return the bytes of questions as tensors: numbers of `dtype`, raw parts as they are, targets and masks."""
    return questions * (2 * encoder.num_raw_bytes + 2 * itemsize(dtype) * encoder.num_numbers + 64)


def inner_steps_bytes(
    config: SupervisedConfig, network: AnsweringNetwork, num_parameters: int, tasks: int, at_once: int, sizes: list[int]
) -> int:
    """Return about how many bytes a meta-gradient through inner steps takes; `sizes` are those of `round_sizes`.

    `at_once` tasks at a time hold the activations of the last round. An exact gradient holds those of each inner step
    before it, with their backward passes, and the parameters of each step. An encoder that no step moves reads all
    rounds once.
    """
    size, moved = itemsize(config.dtype), isinstance(config.adapts, AdaptAll)
    of_images, of_layers = network.encoder.num_activations, network.num_activations
    read = sizes[-1] if moved else sum(sizes)
    held, copies = read * IMAGE_COPIES * of_images + sizes[-1] * of_layers, 3.0
    if config.outer.meta_gradient != "first-order":
        in_steps = (1.5 * of_images if moved else 0.0) + 3.5 * of_layers
        held += config.num_inner_steps * sum(sizes[:-1]) * in_steps
        copies = 2.0 + 3.0 * config.num_inner_steps * len(sizes[:-1])
    return size * round(at_once * (held + copies * num_parameters) + tasks * num_parameters)


def heads_bytes(
    encoder: ObservationEncoder, layers: int, dtype: str, *, rounds: list[int], heads: int, learned: bool
) -> int:
    """Return about how many bytes an update of heads on features takes.

    `layers` are the units of all layers behind the encoder, `rounds` the questions of each round in all tasks, and
    `heads` the numbers that heads hold. With many questions, the encoder computes its activations again when the heads
    have let go of theirs.
    """
    questions, seen = sum(rounds), sum(map(encoder.held, rounds))
    encoded = seen * encoder.num_activations * (IMAGE_COPIES if learned else 1.0)
    held = max(encoded, heads) if seen < questions else encoded + heads
    return itemsize(dtype) * round(held + FEATURE_COPIES * questions * (encoder.num_encoded + layers))
