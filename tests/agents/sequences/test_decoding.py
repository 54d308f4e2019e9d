"""Free-running decoding against loops over one hypothesis at a time, and without any right answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.sequences import network as networks
from metarl.agents.sequences.decoding import Decoded, penalty
from metarl.agents.sequences.network import SequenceAnswers

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.checks.questions import Respell
from metarl.families.question_batch import Asked, QuestionBatch, Questions
from metarl.trials.agent import AnsweringLearner
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.agents.sequences.small import (
    One,
    all_answers,
    drawn,
    encoder_decoder,
    filled,
    log_probs_of,
    slow_beam,
    slow_greedy,
)

QUESTIONS = torch.tensor([[1, 2, 3], [2, 0, 0], [3, 3, 0], [1, 1, 2]])


def decoded(
    network: networks.EncoderDecoder, seed: int, questions: torch.Tensor = QUESTIONS
) -> tuple[list[list[int]], list[float]]:
    """Return the answers to questions and their log-probabilities."""
    outputs = network.free(One(drawn(network, seed)), questions[None, :, None].double(), questions)
    answers = SequenceAnswers(Respell()).best(outputs)
    return answers[0, :, 0].tolist(), outputs[0, :, 0, -1].tolist()


@pytest.mark.parametrize("seed", range(2))
def test_greedy_answers_are_those_of_a_loop_that_computes_every_prefix_anew(seed: int) -> None:
    network = encoder_decoder(copies=seed == 1)
    answers, totals = decoded(network, seed)
    for row, question in enumerate(QUESTIONS[:3]):
        answer, total = slow_greedy(network, drawn(network, seed), question)
        assert answers[row] == filled(answer, 4)
        assert totals[row] == pytest.approx(total, rel=1e-9)


@pytest.mark.parametrize(("seed", "beam_size", "length_penalty"), [(0, 2, 0.6), (1, 3, 0.0), (2, 3, 2.0)])
def test_a_beam_keeps_the_best_hypotheses_of_a_slow_loop(seed: int, beam_size: int, length_penalty: float) -> None:
    network = encoder_decoder(beam_size, length_penalty)
    answers, totals = decoded(network, seed)
    for row, question in enumerate(QUESTIONS[:2]):
        answer, total = slow_beam(network, drawn(network, seed), question)
        assert answers[row] == filled(answer, 4)
        assert totals[row] == pytest.approx(total, rel=1e-9)


def test_a_beam_as_wide_as_there_are_answers_finds_the_best_of_all() -> None:
    every = all_answers(4, 4)
    network = encoder_decoder(beam_size=len(every), length_penalty=0.6, encoder_layers=1, decoder_layers=1)
    parameters, question = drawn(network, 1), QUESTIONS[0]
    lengths = torch.tensor([len(answer) for answer in every])
    totals = log_probs_of(network, parameters, question, every)
    assert float(totals.exp().sum()) == pytest.approx(1.0)
    best = int((totals / penalty(lengths, 0.6)).argmax())
    answers, found = decoded(network, 1, QUESTIONS[:1])
    assert answers == [filled(every[best], 4)]
    assert found == pytest.approx([float(totals[best])], rel=1e-6)


class Told(Respell):
    """The same questions with all right answers of later rounds turned into one."""

    def ask(self, task: Any, trial: Any, number: int, streams: Streams) -> Questions:
        asked = super().ask(task, trial, number, streams)
        return asked._replace(targets=np.full_like(asked.targets, 2)) if number else asked


SMALL = {"name": "encoder-decoder", "width": 8, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1}
AGENTS: dict[str, dict[str, Any]] = {
    "maml": {"network": SMALL, "inner_lr": 0.1},
    "from-scratch": {"network": SMALL, "num_steps": 2},
    "fine-tuned": {"network": SMALL, "fine_tuning": {"num_steps": 2}},
    "in-context": {
        "network": {"width": 8, "num_heads": 2, "meaning_layers": 1, "encoder_layers": 1, "decoder_layers": 1}
    },
}


def answers_depend_on_right_ones(name: str) -> bool:
    """Return whether answers to queries change with what would have been right."""
    played = []
    for family in (Respell(), Told()):
        agent = make_agent(name, family, AGENTS[name], seed=0, device="cpu")
        trial = run_trial(agent, family.make_vec(family.sample("test", 3, seed=0), 2), 2, seed=0)
        played.append([episodes.actions for episodes in trial.rounds])
    return not all(np.array_equal(*each) for each in zip(*played, strict=True))


@pytest.mark.parametrize("name", AGENTS)
def test_decoding_sees_no_right_answers(name: str) -> None:
    assert not answers_depend_on_right_ones(name)


@pytest.mark.parametrize("name", ["maml", "in-context"])
def test_a_decoder_that_is_fed_right_answers_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each token is chosen behind the right ones of the round that was asked last, a leak that is planted here."""
    right: list[Asked] = []
    asked = QuestionBatch.asked

    def listen(self: QuestionBatch) -> Asked:
        right.append(asked(self))
        return right[-1]

    def teach(step: Any, first: torch.Tensor, length: int) -> Decoded:
        tasks, rows = first.shape
        shown = torch.as_tensor(np.moveaxis(right[-1].targets.reshape(-1, tasks, 2, length), 1, 0).astype(np.int64))
        shown = shown.reshape(tasks, rows, length)
        before, cache, chosen = first, {}, []
        for place in range(length):
            scores, cache = step(cache, before, place)
            chosen.append(scores.argmax(-1))
            before = shown[..., place]
        return Decoded(torch.stack(chosen, dim=-1), torch.zeros(tasks, rows))

    monkeypatch.setattr(QuestionBatch, "asked", listen)
    monkeypatch.setattr(networks, "decode_greedily", teach)
    assert answers_depend_on_right_ones(name)


def test_the_confidence_of_an_answer_is_its_probability() -> None:
    family = Respell()
    agent: Any = make_agent("maml", family, {**AGENTS["maml"], "dtype": "float64"}, seed=0, device="cpu")
    learner: AnsweringLearner = agent.begin(Streams.of(0, "test", np.zeros((1, 1), dtype=int)))
    answers = learner.answer(QUESTIONS.numpy()[:, None, None], deterministic=True)
    parameters = {name: value.detach() for name, value in agent.parameters.items()}
    assert learner.confidences is not None
    for question, answer, sure in zip(QUESTIONS, answers[:, 0, 0].tolist(), learner.confidences, strict=True):
        told = (*answer[: answer.index(0)], 0) if 0 in answer else tuple(answer)
        total = log_probs_of(agent.objective.policy, parameters, question, [told])
        assert float(sure[0, 0]) == pytest.approx(float(total.exp()[0]))


def test_an_export_is_refused_in_one_line() -> None:
    family = Respell()
    agent: Any = make_agent("maml", family, AGENTS["maml"], seed=0, device="cpu")
    learner = agent.begin(Streams.of(0, "test", np.zeros((1, 1), dtype=int)))
    with pytest.raises(MetarlError, match="decodes one token after the other"):
        learner.exported_step()
