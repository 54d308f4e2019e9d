"""The encoder-decoder of supervised agents as functions of its parameters: taught by right answers, or decoding freely.

With x the tokens of a question and y those of an answer (Vaswani et al., 2017):

    log p(y | x) = sum_t log softmax(decoder(y_1 ... y_t-1, encoder(x)))[y_t]        y ends with the first 0

With `related`, a question has several parts: the phrase, and its translations by related languages. Each is encoded by
itself, plus a vector that tells which part it is; the decoder attends to the places of all, and copies from them.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Rounds
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from metarl.base.errors import MetarlError
from metarl.families.family import TaskFamily
from metarl.families.spaces import Tokens
from metarl.trials.export import ExportedStep

from ..common.encoders import ObservationEncoder, VectorEncoder
from ..common.policy import Parameters
from ..maml.exported import Outputs
from ..supervised.answered import Answered
from ..supervised.network import EachTask
from .config import DecodingSettings, EncoderDecoderSettings, SequenceSettings
from .decoder import Copied, Decoder, Memory, token_losses
from .decoding import Decoded, Step, decode_by_beam, decode_greedily
from .layers import Cache, Sequence, Sizes, Stack, hide
from .related import Related
from .tokens import Embedding, before_end, following, languages_of, trim, with_end

PARTS = "parts"
"""Name of the array of a vector for each part of a question."""
Run = Callable[..., Any]
"""Calls a function of parameters and more with the parameters of every task; more is [task, ...]."""


class EncoderDecoder:
    """A Transformer from the tokens of a question to those of an answer.

    Questions come as numbers, [..., part * source_length], as a `VectorEncoder` has them. Outputs of an answer are the
    loss of each place, the token that the network chose at each place, and the log-probability of its answer,
    [..., 2 * place + 1].
    """

    def __init__(
        self, settings: EncoderDecoderSettings, decoding: DecodingSettings, agent: str, family: TaskFamily
    ) -> None:
        self.settings, self.decoding, self.languages = settings, decoding, languages_of(agent, family)
        self.related = Related(agent, family, settings.related) if settings.related else None
        self.parts = 1 + settings.related
        """Sequences of a question."""
        asked = Tokens(self.parts * self.languages.source_length, self.languages.source_vocabulary)
        self.encoder = ObservationEncoder(VectorEncoder(), asked)
        self.embedding = Embedding(settings, self.languages)
        sizes = Sizes(settings.width, settings.num_heads, settings.feedforward)
        self.source = Stack("encoder", sizes, settings.encoder_layers)
        self.decoder = Decoder(settings, self.embedding)

    @property
    def num_activations(self) -> int:
        """Floats that a gradient through the answer to one question holds."""
        return num_activations(self.settings, self.languages.source_length, self.languages.target_length, self.parts)

    def initial_parameters(self, generator: torch.Generator, *, dtype: torch.dtype, device: str) -> dict[str, Tensor]:
        """Return fresh parameters."""
        parts = (self.embedding, self.source, self.decoder)
        drawn = {name: value for part in parts for name, value in part.initial_parameters(generator).items()}
        if self.related is not None:
            drawn[PARTS] = torch.zeros(self.parts, self.settings.width, dtype=torch.float64)
        return {name: value.to(device=device, dtype=dtype) for name, value in drawn.items()}

    def last_layers(self, count: int) -> tuple[str, ...]:
        """Return the names of the layer of the outputs and of the last blocks of the decoder, `count` in all."""
        stack = self.decoder.stack
        blocks = range(max(0, stack.depth - count + 1), stack.depth)
        return tuple(name for each in blocks for name in stack.block_names(each)) + self.decoder.output_names

    def remember(self, parameters: Parameters, numbers: Tensor) -> Memory:
        """Return what the decoder reads of questions [..., question, part * place]."""
        tokens = self._by_part(numbers.long())
        x, there = self.embedding.encode(parameters, self.embedding.source, tokens)
        x = self.source(parameters, x, hide(there)[..., None, None, :])
        if self.related is not None:
            x = x + parameters[PARTS][:, None]
        behind, copied = following(tokens)
        joined, follow = (x.flatten(-3, -2), there.flatten(-2)), (behind.flatten(-2), copied.flatten(-2))
        return self.decoder.remember(parameters, joined, follow)

    def _by_part(self, numbers: Tensor) -> Tensor:
        """Return questions [..., part * place] as [..., part, place]."""
        return numbers.unflatten(-1, (self.parts, -1))

    def _trim(self, numbers: Tensor) -> Tensor:
        """Return questions [..., part * place] without places at the end of parts that none of them has."""
        return trim(self._by_part(numbers)).flatten(-2)

    def cut(self, data: Answered) -> Answered:
        """Return a round without places behind its longest question, and behind the end of its longest answer."""
        places = int((with_end(data.targets) & (data.mask > 0)[..., None]).sum(-1).max())
        return data._replace(observations=self._trim(data.observations), targets=data.targets[..., : max(1, places)])

    def read(self, parameters: Parameters, rounds: Rounds[Answered]) -> Rounds[Answered]:
        """Return the rounds: an inner step of the last layers runs through the whole network again."""
        return rounds

    def taught(self, parameters: Parameters, data: Answered) -> Tensor:
        """Return the outputs of a round's answers, each token chosen behind the right ones before it."""
        lead, right = data.mask.shape, data.targets.long().flatten(0, -2)
        memory = self.remember(parameters, data.observations.flatten(0, -2))
        log_probs = self.decoder.taught(parameters, memory, right)
        return taught_outputs(log_probs, right, self.settings.label_smoothing).unflatten(0, lead)

    def __call__(self, parameters: Parameters, numbers: Tensor, raw: Tensor) -> Tensor:
        """Raise MetarlError: there are no outputs in one pass."""
        raise MetarlError("network 'encoder-decoder' has no outputs in one pass; decode, or teach it right answers")

    def exported(self, outputs: Outputs, parameters: Parameters) -> ExportedStep:
        """Raise MetarlError: an exported step has one pass, and decoding has one for each token."""
        raise MetarlError(
            "network 'encoder-decoder' cannot be exported: it decodes one token after the other, and an exported step "
            "has one pass; load the run with metarl.load_policy instead"
        )

    def free(self, tasks: EachTask, numbers: Tensor, raw: Tensor) -> Tensor:
        """Return the outputs of free-running answers to questions [task, time, replica, part * source_length].

        No right answer is known, so the losses are zero.
        """
        rows = self._trim(numbers.flatten(1, -2))
        memory = tasks.run(self.remember, rows)
        found = decode(self.decoding, self.decoder, tasks.run, memory, rows.long())
        return free_outputs(found, rows.dtype).unflatten(1, numbers.shape[1:-1])


def taught_outputs(log_probs: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    """Return the outputs of answers, given log-probabilities [..., place, vocabulary], and right ones [..., place].

    Tokens are chosen up to the end of the right answer: behind it nothing right is left to stand behind.
    """
    best, chosen = log_probs.detach().max(-1)
    chosen, best = chosen * with_end(targets), best * with_end(targets)
    total = (best * with_end(chosen)).sum(-1, keepdim=True)
    losses = token_losses(log_probs, targets, smoothing)
    return torch.cat([losses, chosen.to(losses.dtype), total], dim=-1)


def free_outputs(found: Decoded, dtype: torch.dtype) -> Tensor:
    """Return the outputs of answers that were decoded."""
    tokens = found.tokens.to(dtype)
    return torch.cat([torch.zeros_like(tokens), tokens, found.log_prob[..., None].to(dtype)], dim=-1)


def decode(settings: DecodingSettings, decoder: Decoder, run: Run, memory: Memory, tokens: Tensor) -> Decoded:
    """Return answers by greedy decoding or a beam, as settings say, to questions [task, question, place]."""

    def steps_in(memory: Memory) -> Step:
        def step(cache: Cache, before: Tensor, place: int) -> tuple[Tensor, Cache]:
            def at_place(parameters: Parameters, memory: Memory, cache: Cache, before: Tensor) -> tuple[Tensor, Cache]:
                return decoder.step(parameters, memory, cache, before, place)

            found: tuple[Tensor, Cache] = run(at_place, memory, cache, before)
            return found

        return step

    first, size = decoder.begin(tokens), settings.beam_size
    if size == 1:
        return decode_greedily(steps_in(memory), first, decoder.length)
    steps = steps_in(repeated(memory, size, decoder.stack.shared))
    return decode_by_beam(steps, first, decoder.length, beam_size=size, length_penalty=settings.length_penalty)


def repeated(memory: Memory, size: int, shared: tuple[str, ...]) -> Memory:
    """Return a memory with each question `size` times, one behind the other; shared sequences stay as they are."""

    def every(part: Tensor) -> Tensor:
        return part.repeat_interleave(size, dim=1)

    read = {
        name: blocks if name in shared else [Sequence(*map(every, block)) for block in blocks]
        for name, blocks in memory.read.items()
    }
    return Memory(read, tuple(Copied(*map(every, each)) for each in memory.copied))


def num_activations(settings: SequenceSettings, source: int, target: int, parts: int = 1) -> int:
    """Return the floats that a gradient through one answer holds.

    Questions have `parts` sequences of `source` places, and answers `target` places.
    """
    width, heads, wide = settings.width, settings.num_heads, settings.feedforward
    encoded = parts * settings.encoder_layers * source * (9 * width + 2 * wide + 3 * heads * source)
    decoded = settings.decoder_layers * target * (13 * width + 2 * wide + 3 * heads * (parts * source + target))
    return encoded + decoded + (parts * source + target) * 2 * width


class SequenceAnswers:
    """Losses and answers of an `EncoderDecoder`'s outputs."""

    def __init__(self, family: TaskFamily) -> None:
        space = family.action_space
        assert isinstance(space, Tokens)  # the network refuses every other
        self.length, self.dtype = len(space.nvec), space.dtype

    def mean_loss(self, outputs: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
        """Return the cross-entropy in nats, mean over the tokens of the answers that `mask` [...] marks.

        Outputs are [..., 2 * place + 1], right answers [..., place]. The end of an answer is one of its tokens.
        """
        asked = with_end(targets) * mask[..., None]
        return (outputs[..., : targets.shape[-1]] * asked).sum() / asked.sum().clamp(min=1)

    def weight(self, targets: Tensor, mask: Tensor) -> Tensor:
        """Return the number of tokens of the answers that `mask` marks: `mean_loss` is the mean over them."""
        return (with_end(targets) * mask[..., None]).sum()

    def best(self, outputs: Tensor) -> np.ndarray:
        """Return the tokens that were chosen, to the first 0. [..., place]"""
        places = outputs.shape[-1] // 2
        return self.actions(outputs[..., places:-1].detach().long())

    def confidence(self, outputs: Tensor) -> np.ndarray:
        """Return the probability of the answer, over all its tokens."""
        return outputs[..., -1].detach().double().exp().cpu().numpy()

    def exported(self, outputs: Tensor) -> dict[str, Tensor]:
        """Return the tokens."""
        return {"action": outputs[..., outputs.shape[-1] // 2 : -1].long()}

    def actions(self, tokens: Tensor) -> np.ndarray:
        """Return tokens [..., place] as actions [..., target_length], zero behind the first 0."""
        kept = tokens * before_end(tokens)
        room = self.length - tokens.shape[-1]
        return F.pad(kept, (0, room)).cpu().numpy().astype(self.dtype)
