"""RL^2 that learns from right answers: what it sees, its gradient against a loop, and a stream that it learns."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.memories.config import GRUSettings
from metarl.agents.rl2.agent import RL2
from metarl.agents.rl2.config import RL2Config
from torch.nn import functional as F

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.checks.check import check_agent
from metarl.checks.questions import Guess, Sort
from metarl.evaluation.evaluate import evaluate
from metarl.families.batch import State
from metarl.families.distributions import Choice
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.families.question_batch import Questions
from metarl.families.questions import QuestionFamily
from metarl.families.task import Measure, Parameter, Reveal, Values
from metarl.trials.episodes import Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.agents.rl2.settings import nest
from tests.agents.rl2.test_agent import Witness
from tests.families.asked import Lines

BINDINGS = np.array(list(itertools.permutations(range(3))))


@dataclass(frozen=True)
class Stream(QuestionFamily):
    """Noisy vectors of three kinds, in one round; each task binds the kinds to the labels in a way of its own."""

    parameters = {"binding": Parameter(Choice(tuple(float(n) for n in range(6))))}
    observation_space = spaces.Box(-9.0, 9.0, (3,), np.float32)
    action_space = spaces.Discrete(3, start=5)
    reveal: Reveal = "step"

    def num_questions(self, number: int) -> int:
        return 9

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        kinds = np.floor(3 * streams.uniform((9,))).astype(int)
        bound = BINDINGS[task["binding"].astype(int)]
        vectors = np.eye(3)[kinds] + 0.1 * streams.normal((9, 3))
        return Questions(vectors.astype(np.float32), 5 + np.take_along_axis(bound, kinds, axis=1))

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        return (answers == targets).astype(np.float64)


def made(family: TaskFamily, **settings: Any) -> RL2:
    flat = {"dtype": "float64", "hidden_size": 8, "learns_from": "targets", **settings}
    agent = make_agent("rl2", family, nest(flat), seed=3, device="cpu")
    assert isinstance(agent, RL2)
    return agent


def trial_of(agent: Any, family: TaskFamily, *, training: bool = True, rounds: int = 2, seed: int = 0) -> Trial:
    with contextlib.closing(family.make_vec(family.sample("train", 4, seed=seed), 2)) as envs:
        return run_trial(agent, envs, rounds, seed=seed, training=training)


class OfTargets(RL2Config):
    """The settings of an agent that learns from targets."""

    learns_from: Any = "targets"
    memory: Any = GRUSettings(hidden_size=8)


class ByTargets(RL2):
    """RL^2 by targets, as `check_agent` makes it: from its defaults."""

    Config = OfTargets


def test_it_keeps_every_rule_of_agents() -> None:
    assert not check_agent(ByTargets, [Sort()])
    assert check_agent(ByTargets, [Guess()])[0].count("reveals them by 'round'; set family.reveal to step")


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.parametrize(("memory", "bptt_steps"), [("lstm", None), ("lstm", 5), ("transformer", None)])
def test_the_gradient_is_that_of_a_loop_over_trials_and_steps(kind: str, memory: str, bptt_steps: int | None) -> None:
    family = Stream() if kind == "classes" else Lines(reveal="step")
    plain = {"num_epochs": 1, "num_minibatches": 1, "max_grad_norm": 1e9, "learning_rate": 1e-15}
    heads = {"num_heads": 2} if memory == "transformer" else {}
    agent = made(family, memory=memory, bptt_steps=bptt_steps, num_shards=3, normalize_inputs=False, **plain, **heads)
    trial = trial_of(agent, family)
    agent.update(trial, generator(0))
    losses = []
    for task, replica in np.ndindex(4, 2):
        seen, right = [], []
        for episodes in trial.rounds:
            assert episodes.targets is not None
            for t in range(len(episodes.mask)):
                ended = float(t == 0 and len(right) > 0)
                shown = np.zeros(3 if kind == "classes" else 1)
                if right:
                    shown = np.eye(3)[right[-1] - 5] if kind == "classes" else right[-1] / 3.0
                seen.append(np.concatenate([episodes.observations[t, task, replica], shown, [ended, 0.0]]))
                right.append(episodes.targets[t, task, replica])
        state = agent.network.memory.initial_state(1)
        for t, (row, target) in enumerate(zip(seen, right, strict=True)):
            if bptt_steps and t % bptt_steps == 0:
                state = {name: value.detach() for name, value in state.items()}
            features, state = agent.network.memory.sequence(torch.tensor(row)[None, None], state)
            output = agent.network.actions(features)[0, 0]
            if kind == "classes":
                losses.append(F.cross_entropy(output, torch.tensor(target - 5)))
            else:
                losses.append((output - torch.as_tensor(target)).square().mean())
    named = dict(agent.network.named_parameters())
    expected = torch.autograd.grad(torch.stack(losses).mean(), list(named.values()))
    for (name, parameter), gradient in zip(named.items(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-6, atol=1e-7, msg=name)


def test_learning_reads_what_acting_saw_and_a_played_trial_is_scored_as_one_that_was_not() -> None:
    family = Stream()
    agent = made(family, memory="lstm", num_epochs=1, num_minibatches=1, num_shards=1)
    with torch.no_grad():
        agent.network.policy.weight *= 100
    witness = Witness(agent)
    played = trial_of(witness, family, training=False)
    acted = torch.stack(witness.features)
    asked = trial_of(agent, family)
    assert not asked.answered and not asked.rounds[0].rewards.any()
    seen: list[torch.Tensor] = []
    loss = agent.lesson.loss
    agent.lesson.loss = lambda *given: (seen.append(given[0]), loss(*given))[1]  # type: ignore[method-assign]
    rng = SimpleNamespace(permutation=np.arange)  # trials stay in their order
    metrics = agent.update(asked, cast(np.random.Generator, rng))
    torch.testing.assert_close(seen[0], acted, rtol=0, atol=1e-12)
    scores = played.scores(family.measure).mean(axis=(1, 2))
    assert [metrics["return_before"], metrics["return_after"]] == pytest.approx(scores.tolist())


@pytest.mark.parametrize("per_step", [True, False])
def test_a_round_that_was_not_played_is_scored_by_its_own_length(per_step: bool) -> None:
    @dataclass(frozen=True)
    class Uneven(Lines):
        measure = Measure("score", per_step=per_step)

    family = Uneven(shots=1, queries=4, reveal="step")
    agent = made(family, num_epochs=1, num_minibatches=2, learning_rate=1e-15)
    played, metrics = trial_of(agent, family, training=False), agent.update(trial_of(agent, family), generator(0))
    scores = [episodes.scores(family.measure).mean() for episodes in played.rounds]
    assert [metrics["return_before"], metrics["return_after"]] == pytest.approx(scores)


def test_a_new_binding_of_labels_is_learned_within_a_trial() -> None:
    family = Stream()
    agent = made(family, memory="lstm", dtype="float32", hidden_size=32, learning_rate=1e-2, num_minibatches=1)
    for update in range(60):
        with contextlib.closing(family.make_vec(family.sample("train", 32, seed=0, start=32 * update))) as envs:
            agent.update(run_trial(agent, envs, 1, seed=update, training=True), generator(update))
    with contextlib.closing(family.make_vec(family.sample("test", 200, seed=1))) as envs:
        right = run_trial(agent, envs, 1, seed=0).rounds[0].rewards[..., 0].mean(axis=1)
    assert abs(right[0] - 1 / 3) < 0.15  # nothing tells the first label
    assert right[-3:].mean() > 0.9


@pytest.mark.parametrize(
    ("family", "match"),
    [
        (load("navigation-2d"), "agent 'rl2' learns from right answers, and family 'navigation-2d' knows none"),
        (load("sinusoid"), "family 'sinusoid' reveals them by 'round'; set family.reveal to step"),
        (load("sinusoid", reveal="never"), "reveals them by 'never'; set family.reveal to step, or agent.learns_from"),
    ],
)
def test_families_that_do_not_reveal_by_step_are_refused(family: TaskFamily, match: str) -> None:
    with pytest.raises(MetarlError, match=match):
        made(family)


@pytest.mark.parametrize(
    "settings",
    [
        {"critic": "informed"},
        {"trial_end": "termination"},
        {"exploring_starts": {"share": 0.5}},
        {"discount": 0.5},
        {"initial_std": 0.5},
        {"ent_coef": 0.1},
        {"clip_range": 0.1},
    ],
)
def test_settings_of_rewards_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(MetarlError, match=f"{next(iter(settings))} is .*, but learns_from is 'targets'"):
        made(Stream(), **settings)


def test_it_acts_by_the_best_answer_with_or_without_noise_and_is_measured_by_rewards() -> None:
    family = load("sinusoid", reveal="step")
    agent = made(family, memory="gru")
    noisy, still = (
        evaluate(agent, family, num_tasks=3, rounds=2, deterministic=deterministic).returns
        for deterministic in (False, True)
    )
    np.testing.assert_array_equal(noisy, still)


def test_an_export_is_refused() -> None:
    family = Stream()
    learner = made(family).begin(Streams.of(0, "learner", np.arange(1)[:, None], np.arange(1)))
    with pytest.raises(MetarlError, match="an agent that learns from targets cannot be exported"):
        learner.exported_step()
