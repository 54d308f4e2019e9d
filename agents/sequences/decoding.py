"""Free-running decoding: answers from a decoder that reads its own tokens, greedily or by a beam.

No right answer comes in here. Rows are [task, question]; those that have ended write 0 and wait for the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .layers import Cache

Step = Callable[[Cache, Tensor, int], tuple[Tensor, Cache]]
"""Returns log-probabilities [task, row, vocabulary] of the tokens at a place, and the cache with it.

It is given the cache of the places before, [task, row, ...], the tokens before [task, row], and the place."""


class Decoded(NamedTuple):
    """Answers, and how likely they are."""

    tokens: Tensor
    """Tokens, zeros behind the end. int64 [task, row, place]"""
    log_prob: Tensor
    """Log-probability of the answer, the sum over its tokens and its end. [task, row]"""


def decode_greedily(step: Step, first: Tensor, length: int) -> Decoded:
    """Return the answers of at most `length` tokens that take the likeliest token each time.

    `first` are the inputs of the first place, [task, row].
    """
    tokens, ended = first, torch.zeros_like(first, dtype=torch.bool)
    written, gained, cache = [], [], Cache()
    for place in range(length):
        log_probs, cache = step(cache, tokens, place)
        best, chosen = log_probs.max(-1)
        tokens = chosen.masked_fill(ended, 0)
        gained.append(best.masked_fill(ended, 0.0))
        written.append(tokens)
        ended = ended | (tokens == 0)
        if bool(ended.all()):
            break
    return Decoded(_filled(torch.stack(written, dim=-1), length), torch.stack(gained).sum(0))


def decode_by_beam(step: Step, first: Tensor, length: int, *, beam_size: int, length_penalty: float) -> Decoded:
    """Return the best answers that a beam finds; `step` gets `beam_size` rows for each row of `first` [task, row].

    An answer's score is its log-probability over ((5 + tokens) / 6)^length_penalty, its end among the tokens. Answers
    that have ended stay in the beam with their score.
    """
    tasks, rows = first.shape
    tokens = first.repeat_interleave(beam_size, dim=1)
    written = tokens.new_zeros(tasks, rows, beam_size, 0)
    ended = torch.zeros(tasks, rows, beam_size, dtype=torch.bool, device=first.device)
    # At the start all answers of a beam are the same: one of them goes on.
    total = torch.full(ended.shape, -torch.inf, dtype=torch.float64, device=first.device)
    total[..., 0], lengths, cache = 0.0, torch.zeros_like(ended, dtype=torch.int64), Cache()
    for place in range(length):
        log_probs, cache = step(cache, tokens, place)
        log_probs = log_probs.double().unflatten(1, (rows, beam_size))
        # An answer that has ended has one future: 0 at no cost.
        only = torch.full_like(log_probs[0, 0, 0], -torch.inf)
        only[0] = 0.0
        ahead = total[..., None] + torch.where(ended[..., None], only, log_probs)
        taken = lengths + ~ended
        scores = ahead / penalty(taken, length_penalty)[..., None]
        vocabulary = scores.shape[-1]
        best = scores.flatten(-2).topk(beam_size, dim=-1).indices
        parent, chosen = best // vocabulary, best % vocabulary
        total = ahead.flatten(-2).gather(-1, best)
        lengths, ended = taken.gather(-1, parent), ended.gather(-1, parent) | (chosen == 0)
        written = torch.cat([written.gather(2, parent[..., None].expand_as(written)), chosen[..., None]], dim=-1)
        tokens = chosen.flatten(1)
        if bool(ended.all()):
            break
        cache = _follow(cache, parent)
    winner = (total / penalty(lengths, length_penalty)).argmax(-1, keepdim=True)
    answers = written.gather(2, winner[..., None].expand(*winner.shape, written.shape[-1]))[:, :, 0]
    return Decoded(_filled(answers, length), total.gather(-1, winner)[..., 0])


def penalty(lengths: Tensor, power: float) -> Tensor:
    """Return ((5 + lengths) / 6)^power, by which a beam divides log-probabilities (Wu et al., 2016, equation 14)."""
    return ((5 + lengths.double()) / 6) ** power


def _follow(cache: Cache, parent: Tensor) -> Cache:
    """Return the cache [task, row * beam, ...] of the answers that the present ones go on from, [task, row, beam]."""
    tasks, rows, beam_size = parent.shape
    at = (torch.arange(rows, device=parent.device)[:, None] * beam_size + parent).flatten(1)
    task = torch.arange(tasks, device=parent.device)[:, None]
    return {name: value[task, at] for name, value in cache.items()}


def _filled(tokens: Tensor, length: int) -> Tensor:
    """Return tokens [..., place] with zeros up to `length` places."""
    return torch.cat([tokens, tokens.new_zeros(*tokens.shape[:-1], length - tokens.shape[-1])], dim=-1)
