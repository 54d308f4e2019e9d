"""Random streams: independent of the batch, uniform, and still where their world waits."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from metarl.base.streams import Streams, generator

SEEDS = st.integers(min_value=0, max_value=2**63 - 1)


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, tasks=st.lists(st.integers(0, 10_000), min_size=1, max_size=20, unique=True), size=st.integers(1, 9))
def test_stream_alone_gives_what_it_gives_among_others(seed: int, tasks: list[int], size: int) -> None:
    index = np.array(tasks)
    together = Streams.of(seed, "word", index[:, None], np.arange(3))
    uniform, normal = together.uniform((size,)), together.normal((size,))
    for row, task in enumerate(tasks):
        alone = Streams.of(seed, "word", np.array([[task]]), np.arange(3))
        np.testing.assert_array_equal(alone.uniform((size,))[0], uniform[row])
        np.testing.assert_array_equal(alone.normal((size,))[0], normal[row])


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, moving=st.lists(st.booleans(), min_size=1, max_size=20))
def test_stream_that_waits_uses_up_no_numbers(seed: int, moving: list[bool]) -> None:
    index, mask = np.arange(len(moving)), np.array(moving)
    waited, fresh = Streams.of(seed, index), Streams.of(seed, index)
    waited.where(mask).uniform((5,))
    after, first = waited.uniform((2,)), fresh.uniform((7,))
    np.testing.assert_array_equal(after[~mask], first[~mask, :2])
    np.testing.assert_array_equal(after[mask], first[mask, 5:])


def test_drawing_one_by_one_equals_drawing_at_once() -> None:
    at_once, one_by_one = Streams.of(3, np.arange(4)), Streams.of(3, np.arange(4))
    np.testing.assert_array_equal(at_once.uniform((6,)), np.stack([one_by_one.uniform() for _ in range(6)], axis=1))


def test_numbers_are_uniform_and_normal_within_and_across_streams() -> None:
    for streams, size in ((Streams.of(1, np.arange(20_000)), ()), (Streams.of(1, np.arange(1)), (20_000,))):
        assert stats.kstest(streams.uniform(size).ravel(), "uniform").pvalue > 1e-3
        assert stats.kstest(streams.normal(size).ravel(), "norm").pvalue > 1e-3
        counts = np.bincount(streams.integers(7, size).ravel(), minlength=7)
        assert stats.chisquare(counts).pvalue > 1e-3


def test_neighbouring_seeds_words_and_indices_are_uncorrelated() -> None:
    def draw(*address: int | str) -> np.ndarray:
        return Streams.of(*address, np.arange(1)).uniform((5_000,))[0]  # type: ignore[arg-type]

    base = draw(0, "world", 0)
    for other in (draw(1, "world", 0), draw(0, "learner", 0), draw(0, "world", 1), draw(0, 0, "world")):
        assert abs(np.corrcoef(base, other)[0, 1]) < 0.06
        assert not np.array_equal(base, other)


def test_normal_is_finite_at_the_ends_of_the_range() -> None:
    streams = Streams.of(0, np.arange(1))
    for word in (0, 2**64 - 1):
        streams._draw = lambda size, word=word: np.full((1, *size), word, dtype=np.uint64)  # type: ignore[method-assign]
        assert np.isfinite(streams.normal((3,))).all()
        assert (streams.uniform((3,)) < 1).all()


def test_generator_is_a_function_of_its_address() -> None:
    assert generator(1, "update", 5).random() == generator(1, "update", 5).random()
    assert generator(1, "update", 5).random() != generator(1, "update", 6).random()


def test_only_streams_that_move_use_up_numbers_when_some_rows_are_drawn_from() -> None:
    streams, reference = Streams.of(0, "x", np.arange(4)), Streams.of(0, "x", np.arange(4))
    drawn = streams.where(np.array([True, False, True, True])).at(np.array([1, 2]), lambda some: some.uniform())
    expected = reference.uniform()
    np.testing.assert_array_equal(drawn, expected[1:3])
    np.testing.assert_array_equal(streams.uniform(), [expected[0], expected[1], reference.uniform()[2], expected[3]])
