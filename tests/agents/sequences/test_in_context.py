"""In-context learning of sequences: what pairs tell, whatever their order, and what a probe learns from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.sequences import rows as row_groups
from metarl.agents.sequences.in_context import InContext, InContextLearner
from metarl.agents.sequences.rows import Rows, by_length

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.checks.questions import Respell
from metarl.trials.episodes import Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial

SMALL = {"width": 16, "num_heads": 2, "feedforward": 32, "encoder_layers": 1, "decoder_layers": 1, "meaning_layers": 1}


def made(**settings: Any) -> InContext:
    agent = make_agent("in-context", Respell(), {"network": SMALL, **settings}, seed=0, device="cpu")
    assert isinstance(agent, InContext)
    return agent


def trial_of(agent: InContext, seed: int = 0, tasks: int = 3) -> Trial:
    family = Respell()
    envs = family.make_vec(family.sample("train", tasks, seed=seed), 2)
    return run_trial(agent, envs, 2, seed=seed, training=True)


def begun(agent: InContext, tasks: int = 3) -> InContextLearner:
    return agent.begin(Streams.of(0, "learner", np.arange(tasks)[:, None], np.arange(2)))


def test_the_order_of_pairs_and_rounds_changes_no_answer() -> None:
    agent = made(dtype="float64")
    support, queries = (Rows.of(agent.reader.read(episodes)) for episodes in trial_of(agent).rounds)
    order = torch.tensor([5, 2, 0, 7, 1, 3, 4, 6])
    moved = Rows(*(each[:, order] for each in support))
    halves = [Rows(*(each[:, part] for each in moved)) for part in (slice(3), slice(3, None))]
    first = agent.answered(agent.parameters, agent.context(agent.parameters, [support]), queries)
    for pairs in ([moved], halves):
        other = agent.answered(agent.parameters, agent.context(agent.parameters, pairs), queries)
        torch.testing.assert_close(other.losses, first.losses)


def test_pairs_that_were_not_asked_are_not_read() -> None:
    agent = made(dtype="float64")
    support, queries = (Rows.of(agent.reader.read(episodes)) for episodes in trial_of(agent).rounds)
    masked = support._replace(mask=support.mask.clone())
    masked.mask[:, 5:] = 0
    disturbed = masked._replace(questions=masked.questions.clone(), targets=masked.targets.clone())
    disturbed.questions[:, 5:], disturbed.targets[:, 5:] = 3, 1
    short = Rows(*(each[:, :5] for each in support))
    losses = [
        agent.answered(agent.parameters, agent.context(agent.parameters, [each]), queries).losses
        for each in (short, masked, disturbed)
    ]
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(losses[2], losses[1], rtol=1e-12, atol=1e-12)


def test_groups_of_like_length_give_the_losses_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = made(dtype="float64")
    support, queries = (Rows.of(agent.reader.read(episodes)) for episodes in trial_of(agent).rounds)
    order, groups = by_length(queries)
    assert len(groups) == 3 and groups[0].targets.shape[-1] < groups[-1].targets.shape[-1]
    assert torch.equal(order.sort(1).values, torch.arange(12).expand(3, 12))
    context = agent.context(agent.parameters, [support])
    grouped = agent.answered(agent.parameters, context, queries)
    monkeypatch.setattr(row_groups, "NUM_GROUPS", 1)
    whole = agent.answered(agent.parameters, context, queries)
    torch.testing.assert_close(grouped.losses, whole.losses)
    assert torch.equal(grouped.chosen * (queries.targets != 0), whole.chosen * (queries.targets != 0))


def test_answers_in_chunks_of_tasks_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = made(dtype="float64")
    learner, (support, queries) = begun(agent), trial_of(agent).rounds
    learner.adapt(support)
    answers = learner.answer(queries.observations, deterministic=True)
    sure = learner.confidences
    monkeypatch.setattr("metarl.agents.sequences.in_context.CHUNK_FLOATS", 1)
    assert np.array_equal(learner.answer(queries.observations, deterministic=True), answers)
    np.testing.assert_allclose(learner.confidences, sure)


def test_a_right_answer_among_the_pairs_changes_what_is_answered_and_one_of_the_queries_does_not() -> None:
    agent = made(dtype="float64")
    support, queries = trial_of(agent).rounds
    learners = [begun(agent), begun(agent)]
    learners[0].adapt(support)
    assert support.targets is not None
    support.targets[:] = np.where(support.targets == 1, 2, support.targets)
    learners[1].adapt(support)
    sure = []
    for learner in learners:
        learner.answer(queries.observations, deterministic=True)
        sure.append(learner.confidences)
    assert np.abs(sure[0] - sure[1]).max() > 1e-6


def test_a_trial_of_one_round_is_refused() -> None:
    agent = made()
    trial = trial_of(agent)
    with pytest.raises(MetarlError, match="rounds is 1; it must be at least 2"):
        agent.update(replace(trial, rounds=trial.rounds[:1]), generator(0))


@pytest.mark.slow
def test_a_probe_reads_the_letters_of_new_alphabets() -> None:
    """Each letter of a new alphabet stands in its pairs; without them, a token has a loss of about 0.8."""
    agent = made(learning_rate=5e-3)
    for number in range(120):
        metrics = agent.update(trial_of(agent, number, tasks=8), generator(number))
    assert metrics["loss"] < 0.6 * metrics["loss_before"]
