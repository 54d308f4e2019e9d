"""First-order MAML with an encoder-decoder as a plain script of PyTorch has it: torch.nn's layers, task after task.

It shares no code with the agents. Nothing here samples, reads, decodes or logs: it is what training costs at least as
people write it. The network is a Transformer that may copy (See et al., 2017), of two blocks.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

WIDTH, HEADS, LAYERS, FEEDFORWARD = 64, 4, 2, 256
INNER_STEPS, INNER_LR = 5, 0.1


class Pairs(NamedTuple):
    """Questions and right answers of every task, as tokens; 0 ends a sequence."""

    questions: Tensor
    """int64 [task, pair, place]"""
    answers: Tensor
    """int64 [task, pair, place]"""


class Ready(NamedTuple):
    """Two rounds of a batch of tasks."""

    support: Pairs
    queries: Pairs

    @property
    def num_tokens(self) -> int:
        """Tokens of all questions and answers, and the end of each answer."""
        every = [part for pairs in self for part in pairs]
        ends = sum(pairs.answers.shape[0] * pairs.answers.shape[1] for pairs in self)
        return sum(int((part != 0).sum()) for part in every) + ends


class Transformer(nn.Module):
    """Log-probabilities of the tokens of an answer, each behind the right ones before it, or copied from the question.

    One array of embeddings serves questions, answers and outputs. Its last row is the beginning of a sequence.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.embedding = nn.Embedding(vocabulary + 1, WIDTH)
        nn.init.normal_(self.embedding.weight, std=WIDTH**-0.5)
        shape = (WIDTH, HEADS, FEEDFORWARD, 0.0)
        encoder = nn.TransformerEncoderLayer(*shape, batch_first=True, norm_first=True)
        decoder = nn.TransformerDecoderLayer(*shape, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(encoder, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.decoder = nn.TransformerDecoder(decoder, LAYERS, nn.LayerNorm(WIDTH))
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.query, self.gate = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, questions: Tensor, answers: Tensor) -> Tensor:
        """Return log-probabilities [pair, place, vocabulary]."""
        begun = F.pad(questions, (1, 0), value=self.vocabulary)
        nothing = F.pad(questions == 0, (1, 0), value=False)
        memory = self.encoder(self._vectors(begun), src_key_padding_mask=nothing)
        before = F.pad(answers[:, :-1], (1, 0), value=self.vocabulary)
        places = before.shape[1]
        later = torch.ones(places, places, dtype=torch.bool).triu(1)
        x = self.decoder(self._vectors(before), memory, tgt_mask=later, memory_key_padding_mask=nothing)
        logits = F.linear(x, self.embedding.weight[:-1], self.bias)
        scores = self.query(x) @ memory.transpose(1, 2) * WIDTH**-0.5
        weights = scores.masked_fill(nothing[:, None], -1e9).softmax(-1)
        # The token behind the place that is attended to.
        copied = weights @ F.one_hot(F.pad(questions, (0, 1)), self.vocabulary).to(weights.dtype)
        gate = self.gate(x).sigmoid()
        return ((1 - gate) * logits.softmax(-1) + gate * copied).clamp(min=1e-30).log()

    def _vectors(self, tokens: Tensor) -> Tensor:
        """Return embeddings with the waves of Vaswani et al. (2017), [pair, place, WIDTH]."""
        places = torch.arange(tokens.shape[1], dtype=self.bias.dtype)[:, None]
        angles = places * torch.exp(torch.arange(0, WIDTH, 2, dtype=self.bias.dtype) * (-math.log(10_000.0) / WIDTH))
        return self.embedding(tokens) * WIDTH**0.5 + torch.cat([angles.sin(), angles.cos()], dim=-1)


def loss(model: Transformer, parameters: dict[str, Tensor], questions: Tensor, answers: Tensor) -> Tensor:
    """Return the cross-entropy in nats, mean over the tokens of all answers and their ends."""
    log_probs: Tensor = functional_call(model, parameters, (questions, answers))
    asked = F.pad((answers != 0)[:, :-1], (1, 0), value=True)
    return F.nll_loss(log_probs[asked], answers[asked])


def maml_gradient(model: Transformer, data: Ready) -> float:
    """Add the first-order gradient of MAML to that of the model's parameters, and return the mean loss of queries."""
    losses = []
    for support, queries in zip(zip(*data.support, strict=True), zip(*data.queries, strict=True), strict=True):
        fast = {name: value.detach().requires_grad_(True) for name, value in model.named_parameters()}
        for _ in range(INNER_STEPS):
            gradients = torch.autograd.grad(loss(model, fast, *support), list(fast.values()))
            fast = {
                name: (value - INNER_LR * gradient).detach().requires_grad_(True)
                for (name, value), gradient in zip(fast.items(), gradients, strict=True)
            }
        losses.append(loss(model, fast, *queries))
        gradients = torch.autograd.grad(losses[-1], list(fast.values()))
        for value, gradient in zip(model.parameters(), gradients, strict=True):
            shared = gradient / len(data.support.questions)
            value.grad = shared if value.grad is None else value.grad + shared
    return float(torch.stack(losses).mean().detach())
