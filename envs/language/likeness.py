"""How close translations are: chrF and BLEU, as sacrebleu computes them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any


@functools.cache
def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF  # the family requires the package

    return CHRF()


@functools.cache
def _bleu() -> Any:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU()


@functools.lru_cache(maxsize=2**18)
def sentence_chrf(answer: str, right: str) -> float:
    """Return the chrF of an answer (Popovic, WMT 2015), from 0 to 1."""
    if answer == right:
        return 1.0
    score: float = _chrf().sentence_score(answer, [right]).score
    return score / 100.0


def corpus_chrf(answers: Sequence[str], right: Sequence[str]) -> float:
    """Return the chrF of all answers together, from 0 to 100."""
    return float(_chrf().corpus_score(answers, [right]).score)


def corpus_bleu(answers: Sequence[str], right: Sequence[str]) -> float:
    """Return the BLEU of all answers together (Papineni et al., ACL 2002), from 0 to 100."""
    return float(_bleu().corpus_score(answers, [right]).score)
