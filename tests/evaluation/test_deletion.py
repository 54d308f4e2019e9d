"""Changes of answers, sets of examples to delete, and the score of an explanation."""

from __future__ import annotations

import numpy as np
import pytest

from metarl.evaluation.deletion import Deletion, answer_changes, deletion_sizes, deletions, leave_one_out


def test_numbers_change_by_their_signed_difference_and_vectors_by_its_mean_size() -> None:
    one = np.array([[[2.0]], [[0.5]], [[3.0]]], dtype=np.float32)
    np.testing.assert_array_equal(answer_changes(one, None, classes=False), [[1.5], [-1.0]])
    two = np.array([[[2.0, 1.0]], [[0.5, 2.0]]])
    np.testing.assert_array_equal(answer_changes(two, None, classes=False), [[1.25]])
    scalar = np.array([[4.0, 1.0], [3.0, 1.0]])
    np.testing.assert_array_equal(answer_changes(scalar, None, classes=False), [[1.0, 0.0]])


def test_classes_change_by_the_confidence_in_the_answer_which_another_answer_loses_whole() -> None:
    labels = np.array([[1, 2], [1, 0], [1, 2]])
    sure = np.array([[0.75, 0.5], [0.5, 0.875], [0.875, 0.5]])
    np.testing.assert_array_equal(answer_changes(labels, sure, classes=True), [[0.25, 0.5], [-0.125, 0.0]])
    np.testing.assert_array_equal(answer_changes(labels, None, classes=True), [[0.0, 1.0], [0.0, 0.0]])
    several = np.array([[[1, 2]], [[1, 0]]])  # an answer of two choices is one answer
    np.testing.assert_array_equal(answer_changes(several, None, classes=True), [[1.0]])


def test_each_variant_leaves_one_example_out_and_the_first_none() -> None:
    assert leave_one_out(3).sum(axis=1).tolist() == [0, 1, 1, 1]
    assert leave_one_out(3)[2].tolist() == [False, True, False]


@pytest.mark.parametrize(("count", "sizes"), [(2, [1]), (5, [1, 2, 3, 4])])
def test_all_numbers_of_few_examples_are_deleted(count: int, sizes: list[int]) -> None:
    assert deletion_sizes(count).tolist() == sizes


def test_of_many_examples_some_numbers_are_deleted_from_one_to_all_but_one() -> None:
    sizes = deletion_sizes(101)
    assert len(sizes) == 20 and sizes[0] == 1 and sizes[-1] == 100 and (np.diff(sizes) > 0).all()


def test_a_curve_deletes_the_first_of_the_ranking_and_random_ones_as_often_each() -> None:
    ranking, sizes = np.array([2, 0, 3, 1]), np.array([1, 3])
    chosen = deletions(ranking, sizes, 4000, np.random.default_rng(0))
    assert chosen.shape == (4001, 2, 4)
    assert np.flatnonzero(chosen[0, 0]).tolist() == [2] and np.flatnonzero(chosen[0, 1]).tolist() == [0, 2, 3]
    assert (chosen.sum(axis=2) == sizes).all()
    assert (chosen[:, 0] <= chosen[:, 1]).all()  # a larger set holds the smaller one
    np.testing.assert_allclose(chosen[1:].mean(axis=0), [[0.25] * 4, [0.75] * 4], atol=0.03)


def test_fidelity_is_the_mean_difference_with_an_interval_over_tasks() -> None:
    rng = np.random.default_rng(0)
    random = rng.random((200, 3, 5))
    targeted = random.mean(axis=1) + [0.5, 0.4, 0.3, -0.2, -0.3] + 0.1 * rng.standard_normal((200, 5))
    deletion = Deletion(np.arange(1, 6), targeted, random)
    np.testing.assert_allclose(deletion.fidelity, (targeted - random.mean(axis=1)).mean(axis=0))
    margin = 1.96 * (targeted - random.mean(axis=1)).std(axis=0) / np.sqrt(200)
    np.testing.assert_allclose(deletion.interval[:, 1] - deletion.interval[:, 0], 2 * margin, rtol=0.15)
    assert deletion.scored.tolist() == [False, True, True, False, False]  # two and three of six examples
    assert deletion.area is not None
    mean, low, high = deletion.area
    assert mean == pytest.approx(deletion.fidelity[1:3].mean()) and low < mean < high


def test_the_interval_of_one_task_is_over_its_draws() -> None:
    random = np.random.default_rng(0).random((1, 50, 3))
    deletion = Deletion(np.arange(1, 4), np.ones((1, 3)), random)
    np.testing.assert_allclose(deletion.fidelity, 1 - random[0].mean(axis=0))
    margin = 1.96 * random[0].std(axis=0) / np.sqrt(50)
    np.testing.assert_allclose(deletion.interval[:, 1] - deletion.interval[:, 0], 2 * margin, rtol=0.2)


def test_two_examples_have_no_deletion_of_several() -> None:
    assert Deletion(np.array([1]), np.ones((1, 1)), np.ones((1, 2, 1))).area is None
