"""Right answers in a loop of the user's own: the numbers of `run_trial`, and what is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest

import metarl
from metarl.base.errors import MetarlError
from metarl.checks.questions import Sort
from metarl.trials.agent import Agent
from metarl.trials.episodes import Episodes, Trial
from metarl.trials.policy import Policy
from metarl.trials.rollout import run_trial
from tests.families.asked import LeastSquares, Lines, Watcher

ROUNDS, SEED = 3, 11


def played(agent: Agent, family: Lines, num_tasks: int, replicas: int = 1) -> Trial:
    with contextlib.closing(family.make_vec(family.sample("test", num_tasks, seed=4), replicas)) as envs:
        return run_trial(agent, envs, ROUNDS, seed=SEED)


def told(episodes: Episodes, t: int, envs: Any) -> Any:
    """Return the targets of a step of the environments, [env, *target]."""
    assert episodes.targets is not None
    return episodes.targets[t][envs]


def replay_single(policy: Policy, trial: Trial, replicas: int) -> list[np.ndarray]:
    """Play the questions of a trial of one task through a policy, replica after replica, and return the answers."""
    answers = []
    for episodes in trial.rounds:
        for replica in range(replicas):
            world, target = (0, replica), None
            for t in range(len(episodes.mask)):
                answers.append(policy.act(episodes.observations[t][world], target=target))
                target = told(episodes, t, world)
            policy.end_episode(episodes.final_observations[world], 0.0, True, target=target)
    return answers


@pytest.mark.parametrize("reveal", ["step", "round"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_a_single_policy_gives_the_answers_of_run_trial(reveal: Any, replicas: int) -> None:
    family = Lines(reveal=reveal)
    agent = LeastSquares() if reveal == "round" else learner_of_steps(family)
    trial = played(agent, family, 1, replicas)
    policy = Policy(agent, family, episodes_per_round=replicas)
    policy.reset(seed=SEED)
    expected = [e.actions[:, 0, replica] for e in trial.rounds for replica in range(replicas)]
    answers = replay_single(policy, trial, replicas)
    low, high = family.action_space.low, family.action_space.high
    np.testing.assert_allclose(np.stack(answers), np.concatenate(expected).clip(low, high), atol=1e-6)
    assert policy.rounds == ROUNDS
    assert not np.allclose(answers[-1], answers[0])


def learner_of_steps(family: Lines) -> Agent:
    agent = metarl.make_agent("rl2", family, {"learns_from": "targets", "memory": {"name": "gru", "hidden_size": 8}})
    weights = agent.state_dict()  # type: ignore[attr-defined]
    weights["policy.weight"] *= 100  # an answer that hardly depends on the memory would hide what the memory is told
    agent.load_state_dict(weights)  # type: ignore[attr-defined]
    return agent


@pytest.mark.parametrize("reveal", ["step", "round"])
def test_several_environments_give_the_answers_of_run_trial(reveal: Any) -> None:
    family = Lines(reveal=reveal)
    agent = LeastSquares() if reveal == "round" else learner_of_steps(family)
    trial = played(agent, family, 3)
    policy = Policy(agent, family, num_envs=3)
    policy.reset(seed=SEED)
    targets: Any = None
    for number, episodes in enumerate(trial.rounds):
        for t in range(len(episodes.mask)):
            answers = policy.act(episodes.observations[t, :, 0], target=targets if t else None)
            low, high = family.action_space.low, family.action_space.high
            np.testing.assert_allclose(answers, episodes.actions[t, :, 0].clip(low, high), atol=1e-6)
            targets = told(episodes, t, np.s_[:, 0])
        ends = np.ones(3, dtype=bool)
        if number == 0:
            policy.end_episode(episodes.final_observations[:, 0], 0.0, ends, target=targets)
        else:  # by Gymnasium's NEXT_STEP
            policy.act(episodes.final_observations[:, 0], 0.0, ends, target=targets)
    assert policy.rounds.tolist() == [ROUNDS] * 3  # type: ignore[union-attr]


def test_the_adapted_round_and_the_step_hold_what_was_shown() -> None:
    family, agent = Lines(reveal="step", shots=2), Watcher()
    policy = Policy(agent, family)
    policy.act([0.5])
    policy.act([0.25], target=[1.5])
    policy.end_episode([0.25], 0.0, True, target=[-1.0])
    policy.act([0.0])
    shown = [timestep.previous_targets for timestep in agent.timesteps]
    assert [float(each[0, 0, 0]) for each in shown if each is not None] == [0.0, 1.5, -1.0]
    (episodes,) = agent.rounds
    np.testing.assert_array_equal(np.ravel(episodes.targets), [1.5, -1.0])


def test_a_frozen_policy_answers_questions_whose_answers_nobody_knows() -> None:
    family = Lines(shots=2)
    policy = Policy(LeastSquares(), family)
    policy.act([0.5])
    policy.act([1.0], target=[1.0])
    policy.end_episode([1.0], 0.0, True, target=[2.0])
    policy.freeze()
    assert [float(policy.act([x])[0]) for x in (0.25, 0.75)] == pytest.approx([0.5, 1.5])
    policy.end_episode([0.75], 0.0, True)
    assert policy.rounds == 2


@pytest.mark.parametrize("num_envs", [None, 1])
def test_a_target_that_is_missing_or_in_vain_is_told(num_envs: int | None) -> None:
    lead = () if num_envs is None else (1,)
    x, y = np.zeros((*lead, 1)), np.ones((*lead, 1))
    policy = Policy(LeastSquares(), Lines(), num_envs=num_envs)
    if num_envs is None:
        with pytest.raises(MetarlError, match="at the first step of an episode, which has no step before; leave"):
            policy.act(x, target=y)
    policy.act(x)
    for forgotten in (lambda: policy.act(x), lambda: policy.end_episode(x, 0.0, True)):
        with pytest.raises(MetarlError, match=r"target is missing: family .* give that of the step before, such as"):
            forgotten()
    with pytest.raises(MetarlError, match=r"target has shape \(7,\); it must be"):
        policy.act(x, target=np.zeros(7))
    with pytest.raises(MetarlError, match=r"target is .*nan.*; it must be finite"):
        policy.act(x, target=y * np.nan)
    hidden = Policy(LeastSquares(), Lines(reveal="never"), num_envs=num_envs)
    hidden.act(x)
    with pytest.raises(MetarlError, match="reveals no right answers; leave target out"):
        hidden.act(x, target=y)


def test_a_class_outside_its_space_is_refused() -> None:
    policy = Policy(metarl.make_agent("random", Sort()), Sort())
    policy.act([0.0, 0.0])
    with pytest.raises(MetarlError, match=r"target is 3; it must be finite and lie in Discrete\(3\)"):
        policy.act([0.0, 0.0], target=3)
    with pytest.raises(MetarlError, match="target has type float64; it must be int64"):
        policy.act([0.0, 0.0], target=1.5)
