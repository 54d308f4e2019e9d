"""Sequences: their end, their score, and how they are drawn."""

from __future__ import annotations

import numpy as np
from metarl.envs.language.commands import draw_sequences
from metarl.envs.language.sequences import are_equal, draw_different, mean_over, right_share, until_end

from metarl.base.streams import Streams


def test_what_stands_behind_the_first_zero_does_not_count() -> None:
    target = np.array([3, 4, 0, 0])
    answers = np.array([[3, 4, 0, 7], [3, 4, 0, 0], [3, 4, 7, 0], [3, 0, 4, 0], [0, 3, 4, 0]])
    assert until_end(answers).tolist() == [[3, 4, 0, 0], [3, 4, 0, 0], [3, 4, 7, 0], [3, 0, 0, 0], [0, 0, 0, 0]]
    assert are_equal(answers, np.broadcast_to(target, answers.shape)).tolist() == [True, True, False, False, False]


def test_the_share_of_right_tokens_equals_a_loop() -> None:
    rng = np.random.default_rng(0)
    answers, targets = rng.integers(0, 4, (2, 200, 6))
    for answer, target, share in zip(answers, targets, right_share(answers, targets), strict=True):
        one, other = [], []
        for tokens, kept in ((answer, one), (target, other)):
            for token in tokens:
                if token == 0:
                    break
                kept.append(token)
        right = sum(a == b for a, b in zip(one, other, strict=False))
        assert share == (right / max(len(one), len(other)) if one or other else 1.0)


def test_numbers_are_drawn_without_repetition_each_as_often_at_every_place() -> None:
    counts = np.tile([3, 5, 40], 4000)
    drawn = draw_different(counts, 3, Streams.of(0, np.arange(len(counts))))
    assert (np.sort(drawn, axis=1)[:, 1:] > np.sort(drawn, axis=1)[:, :-1]).all()
    assert (drawn >= 0).all() and (drawn < counts[:, None]).all()
    for first, count in enumerate((3, 5, 40)):
        for place in range(3):
            shares = np.bincount(drawn[first::3, place], minlength=count) / 4000
            np.testing.assert_allclose(shares, 1 / count, atol=0.032)


def test_pseudo_sequences_differ_and_short_ones_are_as_likely_as_long_ones() -> None:
    sources = np.array([[1, 0, 0], [2, 0, 0], *([a, b, c] for a in (1, 2) for b in (1, 2) for c in (0, 1, 2))])
    drawn = draw_sequences(sources, 1, Streams.of(0, np.arange(8000)))[:, 0]
    lengths = (sources[drawn] != 0).sum(axis=1)
    assert not (lengths == 1).any()
    assert abs((lengths == 2).mean() - 0.5) < 0.02
    several = np.sort(draw_sequences(sources, 12, Streams.of(0, np.arange(5))), axis=1)
    np.testing.assert_array_equal(several, np.tile(np.arange(2, 14), (5, 1)))


def test_a_mean_over_nothing_is_not_a_number() -> None:
    values, mask = np.arange(12.0).reshape(3, 2, 2), np.zeros((3, 2, 2), dtype=bool)
    mask[:2, 0] = True
    found = mean_over(values, mask)
    assert found[0] == values[:2, 0].mean() and np.isnan(found[1])
