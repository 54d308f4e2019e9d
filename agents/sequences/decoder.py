"""The decoder: tokens of an answer, each from those before it and from what the decoder reads.

With `P` the probabilities of the next token, and a copying part where settings ask for one (See et al., 2017):

    P = softmax(E d)                                     E: the layer of the outputs, d: the decoder at a place
    P = (1 - g) softmax(E d) + g sum_i a_i onehot(x_i+1)   a = softmax(d K x), g = sigmoid(v d + c)

What is copied is the token behind the place that is attended to. The decoder has just written a token, so the place of
that token is like its own, and what follows there is what comes next; behind the last one the end comes. K begins as
the identity, so that this likeness counts from the start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..common.policy import Parameters
from .config import SequenceSettings
from .layers import Cache, Sequence, Sizes, Stack, glorot, hide, hide_later, linear, with_bias
from .tokens import BOTH, Embedding, with_end

QUESTION = "question"
"""Name of the sequence that every decoder reads; copied tokens come from it."""
LEAST = 1e-30
"""Least probability whose logarithm is taken where tokens are copied."""


class Copied(NamedTuple):
    """Tokens of the question that may be copied."""

    keys: Tensor
    """[..., question, place, width]"""
    seen: Tensor
    """Places that a token follows, bool [..., question, place]"""
    tokens: Tensor
    """One-hot vectors of the tokens that follow. [..., question, place, vocabulary]"""


class Memory(NamedTuple):
    """What a decoder reads while it writes one answer for each question."""

    read: dict[str, list[Sequence]]
    """Sequences by name, for each block."""
    copied: tuple[Copied, ...]
    """One, or none where nothing is copied."""


class Decoder:
    """Blocks over the answer, which read `QUESTION` and the `others`, and the layer of the outputs.

    All of `others` are shared by the questions of a task.
    """

    def __init__(self, settings: SequenceSettings, embedding: Embedding, others: tuple[str, ...] = ()) -> None:
        self.settings, self.embedding = settings, embedding
        self.length, self.vocabulary = embedding.languages.target_length, embedding.languages.target_vocabulary
        sizes = Sizes(settings.width, settings.num_heads, settings.feedforward)
        self.stack = Stack("decoder", sizes, settings.decoder_layers, (QUESTION, *others), others)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the parameters of the layer of the outputs."""
        return ("outputs.bias",) if self.embedding.tied else ("outputs.weight", "outputs.bias")

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fresh parameters in float64."""
        width, parameters = self.settings.width, self.stack.initial_parameters(generator)
        parameters["outputs.bias"] = torch.zeros(self.vocabulary, dtype=torch.float64)
        if not self.embedding.tied:
            drawn = torch.randn(self.vocabulary, width, generator=generator, dtype=torch.float64)
            parameters["outputs.weight"] = drawn * width**-0.5
        if self.settings.copies:
            parameters |= with_bias("copy.query", torch.eye(width, dtype=torch.float64))
            parameters |= with_bias("copy.gate", glorot(1, width, generator))
        return parameters

    def remember(
        self,
        parameters: Parameters,
        question: tuple[Tensor, Tensor],
        follow: tuple[Tensor, Tensor],
        others: Mapping[str, tuple[Tensor, Tensor]] | None = None,
    ) -> Memory:
        """Return what to read, given each sequence encoded, [..., place, width], and whether its places are there.

        `follow` are the tokens behind the places of the question, and whether there is one to copy, both [..., place].
        """
        every = {QUESTION: question, **(others or {})}
        read = {name: self.stack.remember(parameters, name, x, x, seen) for name, (x, seen) in every.items()}
        if not self.settings.copies:
            return Memory(read, ())
        tokens, there = follow
        one_hot = (tokens[..., None] == torch.arange(self.vocabulary, device=tokens.device)).to(question[0].dtype)
        return Memory(read, (Copied(question[0], there, one_hot),))

    def taught(self, parameters: Parameters, memory: Memory, targets: Tensor) -> Tensor:
        """Return log-probabilities [..., question, place, vocabulary], each given the right tokens before it."""
        before = self.embedding.begin(parameters, self.embedding.target, targets[..., :-1])
        x = self.embedding.vectors(parameters, self.embedding.target, before)
        x = x + self.embedding.places(parameters, targets.shape[-1])
        hidden = hide_later(targets.shape[-1], x.device)
        return self._log_probs(parameters, memory, self.stack(parameters, x, hidden, memory.read))

    def begin(self, tokens: Tensor) -> Tensor:
        """Return the first input of every answer, [..., question], for questions' tokens [..., question, place]."""
        return torch.full_like(tokens[..., 0], self.embedding.languages.target_vocabulary)

    def step(
        self, parameters: Parameters, memory: Memory, cache: Cache, tokens: Tensor, place: int
    ) -> tuple[Tensor, Cache]:
        """Return log-probabilities [..., question, vocabulary] at a place, given the tokens [..., question] before it.

        The cache returned holds the place as well.
        """
        cache = dict(cache)
        x = self.embedding.vectors(parameters, self.embedding.target, tokens[..., None])
        x = x + self.embedding.places(parameters, place + 1, place)
        x = self.stack(parameters, x, None, memory.read, cache)
        return self._log_probs(parameters, memory, x)[..., 0, :], cache

    def _log_probs(self, parameters: Parameters, memory: Memory, x: Tensor) -> Tensor:
        # Tied, the last row is that of the beginning, which no answer holds.
        weight = parameters[BOTH][: self.vocabulary] if self.embedding.tied else parameters["outputs.weight"]
        logits = F.linear(x, weight, parameters["outputs.bias"])
        if not memory.copied:
            return logits.log_softmax(-1)
        keys, seen, tokens = memory.copied[0]
        scores = linear(parameters, "copy.query", x) @ keys.transpose(-1, -2) * x.shape[-1] ** -0.5
        # A question without a token has nothing to copy: its weights are zeroed, and the gate closes.
        weights = (scores + hide(seen)[..., None, :]).softmax(-1) * seen[..., None, :]
        gate = linear(parameters, "copy.gate", x).sigmoid() * seen.any(-1)[..., None, None]
        mixed = (1 - gate) * logits.softmax(-1) + gate * (weights @ tokens)
        return mixed.clamp(min=LEAST).log()


def token_losses(log_probs: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Return the cross-entropy of each place, [..., place], of log-probabilities [..., place, vocabulary].

    It is zero behind the end of an answer, whose first 0 counts. With smoothing, a share asks for all tokens alike
    (Szegedy et al., 2016).
    """
    right = log_probs.gather(-1, targets[..., None])[..., 0]
    losses = -(1 - smoothing) * right
    if smoothing:
        losses = losses - smoothing * log_probs.mean(-1)
    return losses * with_end(targets)
