"""From settings to the network of a supervised agent, and what scores its outputs."""

from __future__ import annotations

from metarl.families.family import TaskFamily

from ..common.encoders import ObservationEncoder
from ..sequences.config import EncoderDecoderSettings
from ..sequences.network import EncoderDecoder, SequenceAnswers
from .answers import NumberError, Scoring, answer_head, finds_boxes
from .config import NetworkSettings
from .network import AnsweringNetwork, EncodedNetwork


def make_network(
    agent: str,
    config: NetworkSettings,
    family: TaskFamily,
    *,
    error: NumberError = "squared",
    context_size: int = 0,
    device: str,
) -> tuple[AnsweringNetwork, Scoring]:
    """Return the network that settings describe, and its losses and answers.

    `error` is the loss of answers that are numbers; layers have a context vector of `context_size` beside their inputs.
    Raises MetarlError for a family that knows no right answers, and for one whose sequences the network cannot take.
    """
    encoder = ObservationEncoder(config.encoder, family.observation_space, maps=finds_boxes(family))
    head = answer_head(agent, family, error, grid=encoder.grid, device=device)
    if isinstance(config.network, EncoderDecoderSettings):
        network = EncoderDecoder(config.network, config.decoding, f"agent {agent!r}", family)
        return network, SequenceAnswers(family)
    return EncodedNetwork(encoder, head.num_outputs, config.hidden_sizes, context_size, config.activation), head
