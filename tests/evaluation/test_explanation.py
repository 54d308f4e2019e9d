"""Explanations agree with trials played one at a time, and say what is known of agents that are simple enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import metarl
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.evaluation.deletion import total_influence
from metarl.evaluation.explanation import explain, score_deletion
from metarl.families.family import TaskFamily
from metarl.families.layout import layout_of
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.registered import make_agent
from tests.evaluation.slow_loop import answers, asked, without
from tests.families.asked import Bindings, LeastSquares, Lines

SMALL_RL2 = {"learns_from": "targets", "memory": {"name": "gru", "hidden_size": 8}}
KINDS: dict[str, tuple[str, dict[str, Any], TaskFamily]] = {
    "maml, numbers": ("maml", {"hidden_sizes": [16], "inner_lr": 0.05, "num_inner_steps": 3}, Lines(shots=5)),
    "maml, classes": ("maml", {"hidden_sizes": [16], "inner_lr": 0.05, "num_inner_steps": 3}, Bindings()),
    "prototypes": ("prototypes", {"hidden_sizes": [4]}, Bindings()),
    "ridge": ("ridge", {"hidden_sizes": [32]}, Lines(shots=5)),
    "rl2, numbers": ("rl2", SMALL_RL2, Lines(shots=5, reveal="step")),
    "rl2, classes": ("rl2", SMALL_RL2, Bindings(reveal="step")),
    "nearest neighbour by step": ("nearest-neighbour", {}, Bindings(reveal="step")),
}


def loud(agent: Agent) -> Agent:
    """Return an agent whose weights are ten times as large, so that what it is shown tells: a new RL^2 hardly acts."""
    for value in getattr(agent, "network", torch.nn.Module()).parameters() if hasattr(agent, "network") else []:
        value.data.mul_(5.0)
    return agent


def made(kind: str) -> tuple[Agent, TaskFamily]:
    name, settings, family = KINDS[kind]
    agent = make_agent(name, family, settings, seed=1)
    return (loud(agent) if name == "rl2" else agent), family


def slow_influence(agent: Agent, family: TaskFamily, number: int) -> np.ndarray:
    """Return the influence of each example by trials one at a time, [example, query]."""
    examples, queries = asked(family, number)
    whole, sure = answers(agent, family, examples, queries)
    rows = []
    for gone in range(len(examples[0])):
        other, other_sure = answers(agent, family, without(examples, {gone}), queries)
        if whole.ndim == 1:
            ours = np.ones(len(whole)) if sure is None else sure
            theirs = np.ones(len(whole)) if other_sure is None else other_sure
            rows.append([ours[q] - (theirs[q] if whole[q] == other[q] else 0.0) for q in range(len(whole))])
        else:
            rows.append(
                [float(np.clip(whole[q, 0], -3, 3)) - float(np.clip(other[q, 0], -3, 3)) for q in range(len(whole))]
            )
    return np.array(rows)


@pytest.mark.parametrize("kind", KINDS)
def test_influence_is_that_of_trials_one_at_a_time_with_a_support_that_was_shortened_by_hand(kind: str) -> None:
    agent, family = made(kind)
    found = explain(agent, family, 2).influence
    expected = slow_influence(agent, family, 2)
    assert np.abs(expected).max() > 1e-3  # not a comparison of zeros
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("kind", ["maml, numbers", "prototypes", "rl2, numbers"])
def test_the_explanation_of_another_task_or_seed_is_another_one(kind: str) -> None:
    agent, family = made(kind)
    right = explain(agent, family, 2).influence
    for other in (
        explain(agent, family, 3),
        explain(agent, family, 2, seed=1),
        explain(agent, family, 2, split="train"),
    ):
        assert not np.allclose(other.influence, right, rtol=1e-3, atol=1e-5)


def test_answers_of_the_whole_trial_are_those_of_an_evaluation() -> None:
    agent, family = made("maml, classes")
    explanation = explain(agent, family, 3)
    right = np.array([answer.value == answer.asked.target for answer in explanation.answers])
    returns = metarl.evaluate(agent, family, num_tasks=5).returns
    assert right.mean() == pytest.approx(returns[3, 1])


def test_influence_on_prototypes_has_a_closed_form() -> None:
    agent, family = made("prototypes")
    (seen, labels), (queries, _) = asked(family, 1)
    layout = layout_of(family.observation_space)
    with torch.no_grad():
        points, at = (
            agent.embed(*agent.reader.observe(each.reshape(-1, 1, 1, *layout.shape)))[0, :, 0].double().numpy()  # type: ignore[attr-defined]
            for each in (seen, queries)
        )
        scale = float(agent.parameters["log_scale"].exp())  # type: ignore[attr-defined]

    def probabilities(kept: np.ndarray) -> np.ndarray:
        means = np.stack([points[kept & (labels == label)].mean(axis=0) for label in range(3)])
        likeness = np.exp(-scale * np.square(at[:, None] - means).sum(axis=-1))
        return likeness / likeness.sum(axis=1, keepdims=True)

    whole = probabilities(np.ones(len(seen), dtype=bool))
    best = whole.argmax(axis=1)
    expected = np.zeros((len(seen), len(queries)))
    for gone in range(len(seen)):
        other = probabilities(np.arange(len(seen)) != gone)
        given = np.where(other.argmax(axis=1) == best, other.max(axis=1), 0.0)
        expected[gone] = whole.max(axis=1) - given
    np.testing.assert_allclose(explain(agent, family, 1).influence, expected, rtol=1e-3, atol=1e-5)


def test_the_nearest_example_alone_moves_an_answer_by_its_distance_to_the_next() -> None:
    family = metarl.load("sinusoid", shots=6, queries=8)
    agent = make_agent("nearest-neighbour", family)
    (x, y), (at, _) = asked(family, 4)
    explanation = explain(agent, family, 4)
    expected = np.zeros((6, 8))
    for query in range(8):
        nearest, second = np.argsort(np.abs(x[:, 0].astype(float) - at[query, 0]))[:2]
        expected[nearest, query] = float(y[nearest, 0]) - float(y[second, 0])
        assert explanation.answers[query].value == [pytest.approx(float(y[nearest, 0]))]
    np.testing.assert_allclose(explanation.influence, expected, rtol=1e-6)
    # The most influential example goes, and the answers that were its own change: those alone.
    top = int(total_influence(explanation.influence).argmax())
    mine = explanation.influence[top] != 0
    changed, _ = answers(agent, family, without((x, y), {top}), (at, at))
    whole, _ = answers(agent, family, (x, y), (at, at))
    np.testing.assert_array_equal((changed != whole)[:, 0], mine)
    assert mine.any() and not mine.all()


class Diarist(Agent):
    """Answers the first round at random, and the second with a tenth of the sum of what it answered in the first."""

    def begin(self, streams: Streams) -> Learner:
        return DiaristLearner(streams)


class DiaristLearner(Learner):
    def __init__(self, streams: Streams) -> None:
        self.streams, self.total = streams, np.zeros((*streams.shape, 1))
        self.over = False

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        drawn = self.streams.where(timestep.active).normal((1,))
        return (self.total + drawn * 0.1 if self.over else drawn).astype(np.float32)

    def adapt(self, episodes: Episodes) -> None:
        self.over = True
        self.total = 0.1 * (episodes.actions * episodes.mask[..., None]).sum(axis=0)


@pytest.mark.parametrize("reveal", ["round", "step", "never"])
def test_random_numbers_of_the_other_examples_and_of_the_answers_stay_the_same(reveal: str) -> None:
    family = Lines(shots=4, reveal=reveal)  # type: ignore[arg-type]
    tasks = family.sample("test", 6, seed=0)[5:6]
    plan = metarl.TrialPlan(seed=0)
    streams = Streams.of(plan.trial_seed, "learner", tasks.index[:, None], np.arange(1))
    noise = streams.normal((4,))[0, 0]
    found = explain(Diarist(), family, 5).influence
    np.testing.assert_allclose(found, 0.1 * np.tile(noise[:, None], (1, 5)), rtol=1e-4, atol=1e-6)


def test_examples_do_not_move_an_agent_that_never_adapts() -> None:
    family = Lines()
    assert not explain(make_agent("random", family), family).influence.any()
    deletion = score_deletion(make_agent("random", family), family, range(3))
    assert not deletion.targeted.any() and not deletion.random.any()


def test_many_variants_are_played_a_few_at_a_time_and_moved_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    family = Lines(shots=6)
    whole = explain(LeastSquares(), family).influence
    monkeypatch.setattr("metarl.evaluation.replays.ASKED_BYTES", 1)
    np.testing.assert_allclose(explain(LeastSquares(), family).influence, whole, rtol=1e-6)


def test_an_explanation_leaves_the_agent_as_it_was() -> None:
    agent, family = made("maml, numbers")
    before = {name: value.clone() for name, value in agent.state_dict().items()}  # type: ignore[attr-defined]
    explain(agent, family)
    score_deletion(agent, family, [0], draws=2)
    assert all(torch.equal(value, before[name]) for name, value in agent.state_dict().items())  # type: ignore[attr-defined]


def test_deletion_of_several_examples_is_that_of_trials_one_at_a_time() -> None:
    agent, family = made("maml, numbers")
    deletion = score_deletion(agent, family, [2], draws=2)
    examples, queries = asked(family, 2)
    whole, _ = answers(agent, family, examples, queries)
    ranking = np.argsort(-np.abs(slow_influence(agent, family, 2)).mean(axis=1), kind="stable")
    assert deletion.sizes.tolist() == [1, 2, 3, 4]
    for size, found in zip(deletion.sizes, deletion.targeted[0], strict=True):
        other, _ = answers(agent, family, without(examples, set(ranking[:size].tolist())), queries)
        assert found == pytest.approx(np.abs(whole.clip(-3, 3) - other.clip(-3, 3)).mean(), rel=1e-4)


def test_a_task_scores_the_same_alone_as_among_others() -> None:
    agent, family = made("maml, numbers")
    both, alone = (score_deletion(agent, family, numbers, draws=3) for numbers in ([0, 1], [1]))
    np.testing.assert_allclose(both.targeted[1], alone.targeted[0], rtol=1e-5)
    np.testing.assert_allclose(both.random[1], alone.random[0], rtol=1e-5)


def test_a_file_has_every_number(tmp_path: Path) -> None:
    agent, family = made("prototypes")
    explanation, deletion = explain(agent, family, 1), score_deletion(agent, family, [1], draws=2)
    explanation.save(tmp_path / "e.json", deletion)
    read = json.loads((tmp_path / "e.json").read_text())
    (seen, labels), (queries, right) = asked(family, 1)
    np.testing.assert_array_equal(read["influence"], explanation.influence)
    assert [each["target"] for each in read["examples"]] == labels.tolist()
    np.testing.assert_array_equal(np.float32([each["observation"] for each in read["examples"]]), seen)
    assert [each["asked"]["target"] for each in read["answers"]] == right.tolist()
    np.testing.assert_array_equal(np.float32([each["asked"]["observation"] for each in read["answers"]]), queries)
    assert all(1 / 3 <= each["confidence"] <= 1 for each in read["answers"])
    assert read["deletion"]["sizes"] == [1, 2, 3, 4, 5] and read["influence_of"] == "confidence"
    assert read["task"] == explanation.task and read["number"] == 1


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"family": "point-dense"}, "'point-dense' asks no questions; take one that does"),
        ({"shots": 1}, "has 1 example; to leave one out takes at least 2"),
        ({"number": -1}, "task is -1; it must be at least 0"),
        ({"split": "tset"}, "split 'tset' is unknown; did you mean 'test'"),
    ],
)
def test_what_cannot_be_explained_is_told_in_a_line(how: dict[str, Any], told: str) -> None:
    settings = {"shots": how.pop("shots")} if "shots" in how else {}
    family = metarl.load(how.pop("family", "sinusoid"), **settings)
    with pytest.raises(MetarlError, match=told) as raised:
        explain(make_agent("random", family), family, how.pop("number", 0), **how)
    assert "\n" not in str(raised.value)


def test_random_deletion_takes_two_draws_for_an_interval() -> None:
    with pytest.raises(MetarlError, match="draws is 1; it must be at least 2"):
        score_deletion(make_agent("random", Lines()), Lines(), [0], draws=1)


class Shouter(LeastSquares):
    """Answers far outside of what the family takes, as much farther as its slope is high."""

    def begin(self, streams: Streams) -> Learner:
        learner = super().begin(streams)
        inner = learner.answer  # type: ignore[attr-defined]
        learner.answer = lambda observations, **how: 100 + inner(observations, **how)  # type: ignore[attr-defined]
        return learner


def test_answers_count_as_the_family_takes_them_within_its_bounds() -> None:
    family = Lines()
    assert explain(LeastSquares(), family).influence.any()
    explanation = explain(Shouter(), family)
    assert not explanation.influence.any() and {each.answer for each in explanation.answers} == {"3"}
