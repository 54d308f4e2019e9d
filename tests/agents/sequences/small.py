"""Small networks of sequences in double precision, and slow loops that say what they compute."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from metarl.agents.sequences.config import DecodingSettings, EncoderDecoderSettings
from metarl.agents.sequences.network import EncoderDecoder
from torch import Tensor

from metarl.checks.questions import Respell

Parameters = dict[str, Tensor]
SMALL: dict[str, Any] = {"width": 8, "num_heads": 2, "feedforward": 12, "encoder_layers": 2, "decoder_layers": 2}


def encoder_decoder(beam_size: int = 1, length_penalty: float = 0.6, **settings: Any) -> EncoderDecoder:
    decoding = DecodingSettings(beam_size=beam_size, length_penalty=length_penalty)
    return EncoderDecoder(EncoderDecoderSettings(**{**SMALL, **settings}), decoding, "agent 'x'", Respell())


def drawn(network: EncoderDecoder, seed: int = 0) -> Parameters:
    """Return parameters, biases and norms among them, whose outputs differ a lot."""
    generator = torch.Generator().manual_seed(seed)
    parameters = network.initial_parameters(generator, dtype=torch.float64, device="cpu")
    return {
        name: value + 0.3 * torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in parameters.items()
    }


class One:
    """One task as a batch of tasks, whose functions see [question, ...]."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        every = {name: value[None] for name, value in self.parameters.items()}
        return torch.vmap(function)(every, *arguments)

    def outputs(self, numbers: Tensor, raw: Tensor) -> Tensor:
        raise AssertionError("an encoder-decoder has no outputs in one pass")


def next_log_probs(
    network: EncoderDecoder, parameters: Parameters, question: Tensor, prefix: tuple[int, ...]
) -> Tensor:
    """Return log-probabilities of the token behind a prefix, by the whole network on the whole prefix."""
    memory = network.remember(parameters, question[None].double())
    targets = torch.tensor([[*prefix, 0]])
    return network.decoder.taught(parameters, memory, targets)[0, -1]


def log_probs_of(
    network: EncoderDecoder, parameters: Parameters, question: Tensor, answers: list[tuple[int, ...]]
) -> Tensor:
    """Return log-probabilities of answers, whose end is one of their tokens unless they have the greatest length."""
    targets = torch.tensor([filled(answer, network.decoder.length) for answer in answers])
    memory = network.remember(parameters, question.expand(len(answers), -1).double())
    each = network.decoder.taught(parameters, memory, targets).gather(-1, targets[..., None])[..., 0]
    asked = torch.arange(targets.shape[1]) < torch.tensor([[len(answer)] for answer in answers])
    return (each * asked).sum(-1)


def all_answers(length: int, vocabulary: int) -> list[tuple[int, ...]]:
    """Return every answer with its end; those of the greatest length have none."""
    ended = [(*tokens, 0) for n in range(length) for tokens in itertools.product(range(1, vocabulary), repeat=n)]
    return ended + list(itertools.product(range(1, vocabulary), repeat=length))


def slow_greedy(network: EncoderDecoder, parameters: Parameters, question: Tensor) -> tuple[tuple[int, ...], float]:
    answer: tuple[int, ...] = ()
    total = 0.0
    while len(answer) < network.decoder.length and 0 not in answer:
        scores = next_log_probs(network, parameters, question, answer)
        answer, total = (*answer, int(scores.argmax())), total + float(scores.max())
    return answer, total


def slow_beam(network: EncoderDecoder, parameters: Parameters, question: Tensor) -> tuple[tuple[int, ...], float]:
    """Return the answer of a beam, one hypothesis after the other."""
    size, power = network.decoding.beam_size, network.decoding.length_penalty

    def score(each: tuple[tuple[int, ...], float]) -> float:
        return each[1] / ((5 + len(each[0])) / 6) ** power

    beam: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for _ in range(network.decoder.length):
        ahead = [each for each in beam if each[0] and each[0][-1] == 0]
        for answer, total in beam:
            if answer and answer[-1] == 0:
                continue
            scores = next_log_probs(network, parameters, question, answer)
            ahead += [((*answer, token), total + float(value)) for token, value in enumerate(scores)]
        beam = sorted(ahead, key=score, reverse=True)[:size]
    return max(beam, key=score)


def filled(answer: tuple[int, ...], length: int) -> list[int]:
    return [*answer, *[0] * (length - len(answer))]
