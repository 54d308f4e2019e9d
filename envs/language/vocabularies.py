"""Vocabularies: texts as tokens from 1 on. 0 is no token, and fills the end."""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from metarl.base.errors import MetarlError
from metarl.base.stored import Arrays, Store

from .packages import needed

Kind = Literal["bytes", "characters", "subwords"]
"""Tokens of a text."""
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""Character that stands for those that a vocabulary lacks."""


class Vocabulary(ABC):
    """Maps texts to tokens and back."""

    size: int
    """Number of tokens, with 0."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts, each from 1 to `size - 1`."""

    @abstractmethod
    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens from 1 to `size - 1`."""

    @abstractmethod
    def content(self) -> bytes:
        """Return bytes that change with the vocabulary."""


class Bytes(Vocabulary):
    """The bytes of UTF-8: no vocabulary belongs to a run, and no character is unknown."""

    size = 256

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the bytes of texts."""
        return [list(text.encode()) for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of bytes, with replacement characters where they are no UTF-8."""
        return bytes(tokens).decode(errors="replace")

    def content(self) -> bytes:
        """Return nothing: all are alike."""
        return b""


class Characters(Vocabulary):
    """The characters of training texts, the most frequent first, behind token 1 for unknown ones."""

    def __init__(self, texts: Iterable[str], most: int) -> None:
        counts = Counter(character for text in texts for character in text)
        self.table = sorted(counts, key=lambda each: (-counts[each], each))[: most - 2]
        self.numbers = {character: number for number, character in enumerate(self.table, start=2)}
        self.size = 2 + len(self.table)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the characters of texts, 1 for unknown ones."""
        return [[self.numbers.get(character, 1) for character in text] for text in texts]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of characters, with replacement characters for unknown ones."""
        return "".join(UNKNOWN if token < 2 else self.table[token - 2] for token in tokens)

    def content(self) -> bytes:
        """Return the table."""
        return "".join(self.table).encode()


class Subwords(Vocabulary):
    """Pieces of words by byte-pair encoding (Sennrich et al., ACL 2016), learned by SentencePiece from training texts.

    Characters that are no piece are told by their bytes, so none is unknown.
    """

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self.model, self.processor = model, sentencepiece.SentencePieceProcessor(model_proto=model)
        self.size = int(self.processor.vocab_size())

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the pieces of texts."""
        return [list(pieces) for pieces in self.processor.encode(list(texts))]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of pieces, with replacement characters where their bytes are no UTF-8."""
        return str(self.processor.decode([int(token) for token in tokens]))

    def content(self) -> bytes:
        """Return SentencePiece's model."""
        return self.model


def make_vocabulary(kind: Kind, texts: Sequence[str], most: int) -> Vocabulary:
    """Return a vocabulary of at most `most` tokens, learned from training texts.

    Raises MetarlError where SentencePiece is missing, or cannot learn as many pieces.
    """
    if kind == "bytes":
        return Bytes()
    if kind == "characters":
        return Characters(texts, most)
    digest = hashlib.blake2b("\n".join(texts).encode(), digest_size=16).hexdigest()
    with needed("sentencepiece", "vocabulary 'subwords'"):
        import sentencepiece

    key = ["subwords", sentencepiece.__version__, digest, most]
    return Subwords(MODELS.get(key, lambda: _learn(texts, most)))


def _learn(texts: Sequence[str], most: int) -> bytes:
    import sentencepiece

    written = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=written,
            model_type="bpe",
            vocab_size=most,
            byte_fallback=True,
            character_coverage=0.9995,
            normalization_rule_name="identity",
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            num_threads=1,  # more would make the order of equals depend on the machine
            minloglevel=2,
        )
    except RuntimeError as error:
        # Its messages end with the reason, behind the file and the condition that failed.
        reason = str(error).rpartition("] ")[2].strip().rstrip(".") or "too few texts"
        raise MetarlError(
            f"vocabulary_size is {most:,}, and SentencePiece cannot learn it ({reason}); change vocabulary_size, or "
            "take vocabulary: bytes"
        ) from None
    return written.getvalue()


def _pack(model: bytes) -> Arrays:
    return {"model": np.frombuffer(model, dtype=np.uint8)}


def _unpack(arrays: Arrays) -> bytes:
    return arrays["model"].tobytes()


MODELS = Store("subwords", "subwords", _pack, _unpack)
"""Every model of subwords that this process has learned or read."""
