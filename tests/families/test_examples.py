"""Few-shot classification: examples and queries share nothing, and no place tells a label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.examples import Examples, draw_examples, require_examples, share_out, shuffle_places

COUNTS = np.array([[9, 20, 7], [11, 7, 30]])
"""Examples of each class of two tasks."""


@dataclass(frozen=True)
class Classes:
    """Classes without examples."""

    classes: Sequence[str]
    given: Sequence[str] = ()
    groups: Sequence[str] = ()
    counts: np.ndarray = field(default_factory=lambda: np.array([9, 9, 9]))
    origin: str = "the file"


def named(classes: Sequence[str], given: Sequence[str] = (), groups: Sequence[str] = ()) -> Classes:
    return Classes(classes, given or [""] * len(classes), groups or [""] * len(classes))


def rounds(counts: np.ndarray = COUNTS, seed: int = 0, tasks: tuple[int, ...] = (0, 1)) -> list[Examples]:
    """Return three rounds of 2 shots and 5 queries; `tasks` names the streams."""
    streams = Streams.of(seed, "test", np.array(tasks))
    order = shuffle_places(counts, 30, streams)
    return [draw_examples(order, counts, number, 2, 5, streams) for number in range(3)]


def test_each_round_has_every_label_equally_often_and_different_examples_below_the_count() -> None:
    for drawn, count in zip(rounds(), (2, 5, 5), strict=True):
        for world in range(2):
            pairs = set(zip(drawn.labels[world].tolist(), drawn.places[world].tolist(), strict=True))
            assert len(pairs) == 3 * count
            assert np.bincount(drawn.labels[world]).tolist() == [count] * 3
            assert all(0 <= place < COUNTS[world, label] for label, place in pairs)


def test_queries_are_never_examples_and_differ_from_round_to_round() -> None:
    first, second, third = rounds()
    for world in range(2):
        shown, asked, again = (
            set(zip(each.labels[world].tolist(), each.places[world].tolist(), strict=True))
            for each in (first, second, third)
        )
        assert not shown & asked and not shown & again and asked != again


def test_a_third_round_may_ask_what_the_second_has_asked() -> None:
    _, second, third = rounds()
    pairs = [set(zip(each.labels[0].tolist(), each.places[0].tolist(), strict=True)) for each in (second, third)]
    assert pairs[0] & pairs[1]


def test_places_of_questions_do_not_tell_their_labels() -> None:
    counts = np.full((2000, 3), 7)
    drawn = rounds(counts, tasks=tuple(range(2000)))[1]
    shares = np.stack([(drawn.labels == label).mean(axis=0) for label in range(3)])
    assert np.abs(shares - 1 / 3).max() < 0.05


def test_a_task_alone_has_the_examples_that_it_has_in_a_batch() -> None:
    for together, alone in zip(rounds(), rounds(COUNTS[1:], tasks=(1,)), strict=True):
        np.testing.assert_array_equal(together.places[1:], alone.places)
        np.testing.assert_array_equal(together.labels[1:], alone.labels)


def test_classes_are_shared_out_by_their_names_alone() -> None:
    names = [f"class {number}" for number in range(50)]
    shared = share_out(named(names))
    assert [len(shared[split]) for split in ("train", "validation", "test")] == [30, 10, 10]
    assert sorted(place for places in shared.values() for place in places) == list(range(50))
    backwards = share_out(named(names[::-1]))
    for split, places in shared.items():
        assert {names[place] for place in places} == {names[49 - place] for place in backwards[split]}


def test_names_that_are_no_unicode_are_shared_out_too() -> None:
    shared = share_out(named(["\ud800", "\udcff", "c", "d"]))
    assert sorted(place for places in shared.values() for place in places) == [0, 1, 2, 3]


def test_splits_that_are_given_stay_and_validation_comes_from_training() -> None:
    given = ["train"] * 10 + ["test"] * 4
    shared = share_out(named([f"class {number}" for number in range(14)], given))
    assert shared["test"] == (10, 11, 12, 13)
    assert len(shared["validation"]) == 2 and len(shared["train"]) == 8
    with pytest.raises(MetarlError, match=r"^the file has no class for split 'test'; add classes to it"):
        share_out(named(["a", "b"], ["train", "validation"]))


def test_groups_are_kept_whole_where_there_are_three_or_more() -> None:
    names = [f"class {number}" for number in range(40)]
    groups = [f"group {number % 10}" for number in range(40)]
    shared = share_out(named(names, groups=groups), "auto")
    sets = [{groups[place] for place in places} for places in shared.values()]
    assert [len(each) for each in sets] == [6, 2, 2] and len(set.union(*sets)) == 10
    single = share_out(named(names, groups=groups), "classes")
    assert any({groups[i] for i in single["test"]} & {groups[i] for i in single["train"]})
    with pytest.raises(MetarlError, match=r"has 2 groups; split_by 'groups' needs 3, so take 'classes'"):
        share_out(named(names, groups=["a", "b"] * 20), "groups")


def test_too_few_classes_and_too_few_examples_are_refused_in_one_line() -> None:
    shared = {"train": (0, 1), "test": (2,)}
    with pytest.raises(MetarlError, match=r"ways is 2, and split 'test' of the file has 1 class; lower ways, or add"):
        require_examples(Classes("abc"), shared, 2, 3, "text")
    with pytest.raises(MetarlError, match=r"class 'b' of the file has 2 texts, and shots \+ queries is 3; add texts"):
        require_examples(Classes("abc", counts=np.array([9, 2, 9])), shared, 1, 3, "text")
