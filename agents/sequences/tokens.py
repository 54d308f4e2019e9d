"""Tokens as vectors: embeddings, positions, and where a sequence ends."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from metarl.base.errors import MetarlError
from metarl.families.family import TaskFamily
from metarl.families.spaces import Tokens

from ..common.policy import Parameters
from .config import SequenceSettings

SOURCE, TARGET, BOTH = "embedding.source", "embedding.target", "embedding.both"
"""Names of the arrays of embeddings."""


class Languages(NamedTuple):
    """The sequences of a family: those of questions, and those of answers."""

    source_length: int
    """Tokens of the longest question."""
    source_vocabulary: int
    """Number of different tokens of questions, with 0 for none."""
    target_length: int
    """Tokens of the longest answer."""
    target_vocabulary: int
    """Number of different tokens of answers, with 0 for none."""


def languages_of(agent: str, family: TaskFamily) -> Languages:
    """Return the sequences of a family. Raises MetarlError where questions or answers are not sequences of tokens."""
    sizes: list[int] = []
    for title, space in (("questions", family.observation_space), ("answers", family.target_space)):
        if not isinstance(space, Tokens):
            raise MetarlError(
                f"{agent} turns sequences of tokens into sequences of tokens, and family {family.name!r} has {title} "
                f"of {space}; take a family of kind Tokens, such as scan"
            )
        sizes += [len(space.nvec), int(space.nvec[0])]
    return Languages(*sizes)


class Embedding:
    """Vectors of tokens with their positions, behind a vector for the beginning, which every sequence has.

    An array of embeddings has a row for each token, then one for the beginning.
    """

    def __init__(self, settings: SequenceSettings, languages: Languages) -> None:
        self.settings, self.languages = settings, languages
        if settings.embeddings == "tied" or settings.copies:
            require_one_vocabulary(settings, languages)
        self.tied = settings.embeddings == "tied"
        self.source, self.target = (BOTH, BOTH) if self.tied else (SOURCE, TARGET)
        self.length = 1 + max(languages.source_length, languages.target_length)

    def initial_parameters(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Return fresh parameters in float64: normal, of a variance of 1 / width, as outputs share them."""
        width, languages = self.settings.width, self.languages
        rows = {self.source: languages.source_vocabulary + 1, self.target: languages.target_vocabulary + 1}
        if self.settings.positions == "learned":
            rows["positions"] = self.length
        return {
            name: torch.randn(count, width, generator=generator, dtype=torch.float64) * width**-0.5
            for name, count in rows.items()
        }

    def encode(self, parameters: Parameters, name: str, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return a beginning and `tokens` [..., place] as vectors [..., 1 + place, width], and whether each is there.

        A sequence ends at its first 0.
        """
        begun = self.begin(parameters, name, tokens)
        places = self.places(parameters, tokens.shape[-1] + 1)
        there = F.pad(before_end(tokens), (1, 0), value=True)
        return self.vectors(parameters, name, begun) + places, there

    def begin(self, parameters: Parameters, name: str, tokens: Tensor) -> Tensor:
        """Return tokens [..., place] behind the beginning, [..., 1 + place]."""
        return F.pad(tokens, (1, 0), value=parameters[name].shape[-2] - 1)

    def vectors(self, parameters: Parameters, name: str, tokens: Tensor) -> Tensor:
        """Return vectors of variance one, [..., width], without positions."""
        return F.embedding(tokens, parameters[name]) * self.settings.width**0.5

    def places(self, parameters: Parameters, end: int, begin: int = 0) -> Tensor:
        """Return the vectors of places `begin` to `end`, [place, width]."""
        width = self.settings.width
        if self.settings.positions == "learned":
            return parameters["positions"][begin:end] * width**0.5
        like = next(iter(parameters.values()))
        places = torch.arange(begin, end, dtype=like.dtype, device=like.device)[:, None]
        waves = torch.arange(0, width, 2, dtype=like.dtype, device=like.device)
        angles = places * torch.exp(waves * (-math.log(10_000.0) / width))
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


def before_end(tokens: Tensor) -> Tensor:
    """Return whether each token stands before the first 0, bool [..., place]."""
    return (tokens != 0).long().cumprod(-1) > 0


def following(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the token behind the beginning and behind each of `tokens` [..., place], and whether it may be copied.

    Behind the last one the end follows, a 0. Nothing is copied from a sequence without tokens. [..., 1 + place]
    """
    own = before_end(tokens)
    there = F.pad(own, (1, 0), value=True) & own[..., :1]
    return F.pad(tokens * own, (0, 1)), there


def with_end(tokens: Tensor) -> Tensor:
    """Return whether each place stands before the first 0 or at it, bool [..., place]: what an answer has to say."""
    return F.pad(before_end(tokens)[..., :-1], (1, 0), value=True)


def trim(tokens: Tensor, least: int = 1) -> Tensor:
    """Return tokens [..., place] without the places at the end where none stands; at least `least` are left."""
    used = (tokens != 0).flatten(0, -2).any(0)
    return tokens[..., : max(least, int(used.nonzero().max()) + 1 if bool(used.any()) else 0)]


def require_one_vocabulary(settings: SequenceSettings, languages: Languages) -> None:
    """Raise MetarlError unless questions and answers have as many different tokens."""
    source, target = languages.source_vocabulary, languages.target_vocabulary
    if source != target:
        key = "copies: false" if settings.copies else "embeddings: separate"
        raise MetarlError(
            f"questions have {source} different tokens and answers {target}; to copy tokens or to tie embeddings they "
            f"must be the same: take {key}"
        )
