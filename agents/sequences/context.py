"""The network that reads answered pairs: what a token of a question means, it looks up in the pairs that were shown.

After Lake (Compositional generalization through meta sequence-to-sequence learning, NeurIPS 2019), with Transformers
and token by token. For answered pairs (x_i, y_i) and a question x, each a sequence:

    keys    K = encoder(x_i)              one for each token of each pair
    values  V = align(K, answers(y_i))    what its pair's answer says of the token, by attention
    meaning M = meaning(encoder(x); K, V) each token of the question finds tokens like it, and reads their values
    answer    = decoder(M, answers(y_i))  it reads the meaning, and all answers that were shown

A pair of two empty sequences is always there, so that a task without pairs has an answer too.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from metarl.base.settings import Depth
from metarl.families.family import TaskFamily

from ..common.encoders import ObservationEncoder, VectorEncoder
from ..common.policy import Parameters
from .config import SequenceSettings
from .decoder import Decoder, Memory, token_losses
from .layers import Sizes, Stack, hide
from .tokens import Embedding, following, languages_of, with_end

OWN, PAIRS = "own-answer", "pairs"
"""Names of what is read: the answer of a pair by its question; all pairs by a question and by the decoder."""


class ContextSettings(SequenceSettings):
    """Settings of the network that reads answered pairs."""

    meaning_layers: Depth = 2
    """Blocks over the question that read the pairs: self-attention, attention to the pairs, and two layers."""


class Context(NamedTuple):
    """Answered pairs of every task, as questions and the decoder read them."""

    keys: Tensor
    """[task, place, width]"""
    values: Tensor
    """[task, place, width]"""
    seen: Tensor
    """Places that there are, bool [task, place]."""
    answers: Tensor
    """[task, place of the answers, width]"""
    answers_seen: Tensor
    """bool [task, place of the answers]"""


class ContextNetwork:
    """Encoders of questions and answers, blocks that look tokens up, and a decoder, as functions of parameters.

    Questions are tokens [task, question, place]. Right answers come in with the pairs, and in `taught`, which compares.
    """

    def __init__(self, settings: ContextSettings, agent: str, family: TaskFamily) -> None:
        self.settings, self.languages = settings, languages_of(agent, family)
        self.encoder = ObservationEncoder(VectorEncoder(), family.observation_space)
        self.embedding = Embedding(settings, self.languages)
        sizes = Sizes(settings.width, settings.num_heads, settings.feedforward)
        self.source = Stack("encoder", sizes, settings.encoder_layers)
        self.answers = Stack("answers", sizes, settings.encoder_layers)
        self.align = Stack("align", sizes, 1, (OWN,))
        self.meaning = Stack("meaning", sizes, settings.meaning_layers, (PAIRS,), (PAIRS,))
        self.decoder = Decoder(settings, self.embedding, (PAIRS,))

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fresh parameters in float64."""
        parts = (self.embedding, self.source, self.answers, self.align, self.meaning, self.decoder)
        return {name: value for part in parts for name, value in part.initial_parameters(generator).items()}

    def read(self, parameters: Parameters, questions: Tensor, answers: Tensor, mask: Tensor) -> Context:
        """Return the pairs of every task: questions and answers [task, pair, place], of which `mask` marks some."""
        room = (0, 0, 1, 0)  # the empty pair comes first
        asked = F.pad(mask > 0, (1, 0), value=True)[..., None]
        keys, there = self._encode(parameters, self.embedding.source, self.source, F.pad(questions, room))
        told, told_there = self._encode(parameters, self.embedding.target, self.answers, F.pad(answers, room))
        own = {OWN: self.align.remember(parameters, OWN, told, told, told_there)}
        values = self.align(parameters, keys, hide(there)[..., None, None, :], own)
        rows = (keys, values, there & asked, told, told_there & asked)
        return Context(*(each.flatten(1, 2) for each in rows))

    def remember(self, parameters: Parameters, context: Context, questions: Tensor) -> Memory:
        """Return what the decoder reads of questions [task, question, place]."""
        x, there = self._encode(parameters, self.embedding.source, self.source, questions)
        pairs = self.meaning.remember(parameters, PAIRS, context.keys, context.values, context.seen)
        x = self.meaning(parameters, x, hide(there)[..., None, None, :], {PAIRS: pairs})
        shown = {PAIRS: (context.answers, context.answers_seen)}
        return self.decoder.remember(parameters, (x, there), following(questions), shown)

    def _encode(self, parameters: Parameters, name: str, stack: Stack, tokens: Tensor) -> tuple[Tensor, Tensor]:
        x, there = self.embedding.encode(parameters, name, tokens)
        return stack(parameters, x, hide(there)[..., None, None, :]), there

    def taught(self, parameters: Parameters, context: Context, questions: Tensor, targets: Tensor) -> Taught:
        """Return what the network says of right answers [task, question, place], each token behind those before it."""
        log_probs = self.decoder.taught(parameters, self.remember(parameters, context, questions), targets)
        losses = token_losses(log_probs, targets, self.settings.label_smoothing)
        return Taught(losses, log_probs.detach().argmax(-1) * with_end(targets))


class Taught(NamedTuple):
    """Answers whose every token is chosen behind the right ones before it."""

    losses: Tensor
    """Cross-entropy of each place, zero behind the end. [task, question, place]"""
    chosen: Tensor
    """Tokens of the greatest probability, up to the end of the right answer. int64 [task, question, place]"""
