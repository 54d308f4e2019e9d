"""Settings of networks that answer with a sequence of tokens."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from metarl.base.settings import Count, Depth, Settings, Width


class DecodingSettings(Settings):
    """How answers are written."""

    beam_size: Count = 1
    """Answers that decoding follows at a time; 1 takes the likeliest token each time."""
    length_penalty: Annotated[float, Field(ge=0)] = 0.6
    """Power of the length by which a beam divides log-probabilities (Wu et al., 2016, equation 14); 0 leaves it out."""


class SequenceSettings(Settings):
    """What every such network has."""

    width: Width = 64
    """Numbers at each place of a sequence."""
    num_heads: Count = 4
    """Heads of each attention; they share the width evenly."""
    encoder_layers: Depth = 2
    """Blocks over the question: self-attention and two layers."""
    decoder_layers: Depth = 2
    """Blocks over the answer: self-attention, attention to the question, and two layers."""
    feedforward: Width = 256
    """Units of the layer behind each attention."""
    embeddings: Literal["separate", "tied"] = "separate"
    """Whether tokens of questions, tokens of answers and the layer of the outputs have arrays of their own, or one for
    all three, which needs equal vocabularies."""
    positions: Literal["sinusoidal", "learned"] = "sinusoidal"
    """What tells places apart: waves of fixed lengths (Vaswani et al., 2017), or a learned vector for each place."""
    copies: bool = False
    """Whether an answer may take tokens from the question by attention (pointer-generator: See et al., 2017), such as
    names: those behind the places that are attended to. It needs equal vocabularies."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the loss that asks for every token alike."""

    @model_validator(mode="after")
    def _share_width(self) -> Self:
        if self.width % self.num_heads:
            raise ValueError(
                f"width is {self.width}, which {self.num_heads} heads cannot share; take a multiple of num_heads"
            )
        if self.width % 2:
            raise ValueError(f"width is {self.width}; positions need an even one")
        return self


class EncoderDecoderSettings(SequenceSettings):
    """A Transformer from sequences to sequences (Vaswani et al., 2017)."""

    name: Literal["encoder-decoder"] = "encoder-decoder"
    """Encoder and decoder, for answers that are sequences of tokens."""
    related: Annotated[int, Field(ge=0, le=16, strict=True)] = 0
    """Translations of a question by training languages that it is read with: those of the languages most like the pairs
    that were shown (multi-source translation: Zoph and Knight, 2016). For family phrases alone."""
