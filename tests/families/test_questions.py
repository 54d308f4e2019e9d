"""Families of questions: rounds are drawn when they begin, answers change nothing of them, and targets stay apart."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

import metarl
from metarl.adapters.gymnasium import SingleEnv
from metarl.base.errors import MetarlError
from metarl.families.question_batch import Asked, QuestionBatch
from metarl.families.switching import SwitchingFamily
from tests.families.asked import Lines


def test_the_first_round_has_the_shots_and_each_later_one_the_queries() -> None:
    family = Lines()
    with contextlib.closing(family.make_vec(family.sample("train", 2, seed=0), 2)) as envs:
        for number, count in enumerate((3, 5, 5)):
            envs.restart(seed=None if number else 0)
            asked = envs.asked()
            assert asked is not None
            assert asked.mask.shape == (count, 4)
            assert asked.mask.all()
            envs.answer(np.zeros((count, 4, 1), dtype=np.float32), asked)


def test_a_masked_reset_begins_a_round_in_its_worlds_alone() -> None:
    family = Lines()
    with contextlib.closing(family.make_vec(family.sample("train", 3, seed=0))) as envs:
        first = envs.restart(seed=0)
        where, zeros = np.array([True, False, True]), np.zeros((3, 1), dtype=np.float32)
        for _ in range(3):
            step = envs.advance(zeros, where)
        assert step.terminations.tolist() == [True, False, True]
        again = envs.restart(options={"reset_mask": where})
        assert again[1] == first[1]
        assert (again[where] != first[where]).all()
        lengths = np.zeros(3, dtype=int)
        going = np.ones(3, dtype=bool)
        while going.any():
            step = envs.advance(zeros, going)
            lengths += going
            going &= ~step.terminations
        assert lengths.tolist() == [5, 3, 5]


def test_gymnasium_is_told_the_right_answer_after_the_act() -> None:
    family = Lines()
    with contextlib.closing(family.make_vec(family.tasks([{"slope": 0.5}, {"slope": -0.5}]))) as envs:
        observations, infos = envs.reset(seed=0)
        assert "target" not in infos
        _, rewards, _, _, infos = envs.step(np.zeros((2, 1), dtype=np.float32))
        np.testing.assert_allclose(infos["target"][:, 0], observations[:, 0] * [0.5, -0.5])
        np.testing.assert_allclose(rewards, -np.abs(infos["target"][:, 0]))
        assert infos["_target"].all()
    single = metarl.load("sinusoid")
    with contextlib.closing(SingleEnv(single)) as env:
        env.reset(seed=0)
        assert single.action_space.contains(env.step(single.action_space.sample())[4]["target"])


def test_a_family_of_questions_refuses_to_switch_tasks_in_mid_round() -> None:
    with pytest.raises(MetarlError, match="leave switch_at out"):
        SwitchingFamily(Lines(), (2,))


@pytest.mark.parametrize("name", ["observations", "targets"])
def test_questions_of_a_wrong_shape_are_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Lines.ask

    def short(self: Lines, *arguments: object) -> object:
        asked = ask(self, *arguments)  # type: ignore[arg-type]
        return asked._replace(**{name: getattr(asked, name)[:, 1:]})

    monkeypatch.setattr(Lines, "ask", short)
    family = Lines()
    words = rf"{name} .* have shape \(2, 2, 1\) in round 1; it must be \(2, 3, 1\)"
    with (
        contextlib.closing(family.make_vec(family.sample("train", 2, seed=0))) as envs,
        pytest.raises(MetarlError, match=words),
    ):
        envs.reset(seed=0)


def test_a_score_of_a_wrong_shape_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lines, "score", lambda self, answers, targets: answers - targets)
    family = Lines()
    with contextlib.closing(family.make_vec(family.sample("train", 2, seed=0))) as envs:
        envs.reset(seed=0)
        with pytest.raises(MetarlError, match=r"score .* has shape \(2, 1\); it must be \(2,\), one an answer"):
            envs.step(np.zeros((2, 1), dtype=np.float32))


def asked_without(left_out: list[list[bool]]) -> list[Asked]:
    """Return the first two rounds of `Lines` in two worlds that leave out questions of the first."""
    family, rounds = Lines(), []
    with contextlib.closing(family.make_vec(family.sample("train", 2, seed=0))) as envs:
        assert isinstance(envs.batch, QuestionBatch)
        envs.batch.leave_out(np.array(left_out))
        for number in range(2):
            envs.restart(seed=None if number else 0)
            asked = envs.asked()
            assert asked is not None
            envs.answer(np.zeros((len(asked.mask), 2, 1), dtype=np.float32), asked)
            rounds.append(asked)
    return rounds


def test_questions_that_are_left_out_shorten_the_first_round_and_change_nothing_else() -> None:
    whole, short = asked_without([[False] * 3] * 2), asked_without([[False, True, False], [True, False, True]])
    assert short[0].mask.tolist() == [[True, True], [True, False]]
    for name in ("observations", "targets"):
        full, found = (getattr(rounds[0], name) for rounds in (whole, short))
        np.testing.assert_array_equal(found[:2, 0], full[[0, 2], 0])
        np.testing.assert_array_equal(found[0, 1], full[1, 1])
        assert not found[1, 1].any()  # nothing stands behind the last question
        np.testing.assert_array_equal(getattr(short[1], name), getattr(whole[1], name))
    assert short[1].mask.all() and len(short[1].mask) == 5


def test_a_round_that_is_shorter_ends_earlier_step_by_step_too() -> None:
    family = Lines()
    with contextlib.closing(family.make_vec(family.sample("train", 2, seed=0))) as envs:
        assert isinstance(envs.batch, QuestionBatch)
        envs.batch.leave_out(np.array([[False, True, False], [True, False, True]]))
        envs.restart(seed=0)
        zeros = np.zeros((2, 1), dtype=np.float32)
        assert envs.advance(zeros, np.array([True, True])).terminations.tolist() == [False, True]
        assert envs.advance(zeros, np.array([True, False])).terminations.tolist() == [True, False]


@pytest.mark.parametrize(
    ("left_out", "told"),
    [([[True] * 3, [False] * 3], "all 3 questions of a world are left out"), ([[True] * 2] * 2, r"shape \(2, 2\)")],
)
def test_a_world_keeps_a_question(left_out: list[list[bool]], told: str) -> None:
    with pytest.raises(MetarlError, match=told):
        asked_without(left_out)


def test_questions_and_answers_are_told_in_words() -> None:
    family = metarl.load("sinusoid")
    assert family.tell(np.array([1.234])) == "x = 1.23" and family.tell_answer(np.array([-2.0])) == "y = -2.00"
    texts = metarl.load("text-classes")
    text = np.zeros(32, dtype=np.int64)
    text[:5] = list(b"Malta")
    assert texts.tell(text) == "Malta" and texts.tell_answer(np.int64(3)) == "label 3"


def test_few_numbers_are_words_enough_and_many_are_none() -> None:
    family = Lines()
    assert family.tell(np.array([0.123456], dtype=np.float32)) == "0.1235"
    assert family.tell({"user": np.array([1.0, 2.5]), "hour": np.int64(7)}) == "1, 2.5, 7"
    assert family.tell((np.zeros((2, 2)), np.float64(1.0))) == ""
    assert family.tell_answer(np.array([0.5, -1.0])) == "0.5, -1"
