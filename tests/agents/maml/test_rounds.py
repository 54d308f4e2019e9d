"""Rounds from episodes: advantages, baselines, normalized observations and the acting policies' outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.common.advantage import baseline_features, discounted_returns, linear_baseline
from metarl.agents.maml.baselines import NetworkBaseline

from metarl.base.streams import Streams, generator
from metarl.families.load import load
from metarl.families.task import Tasks
from metarl.training.distributed import RankLostError
from metarl.trials.rollout import run_trial
from tests.agents.maml.problems import new_agent, play_trial
from tests.probes import UnequalEpisodes


def test_update_sees_the_rounds_as_the_learner_played_them() -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family)
    learner = agent.begin(Streams.of(8, "learner", np.arange(3)[:, None], np.arange(4)))
    trial = play_trial(agent, family, rounds=3)
    rounds, _ = agent.rounds.replay(trial)
    for data, episodes in zip(rounds, trial.rounds, strict=True):
        outputs = torch.vmap(agent.objective.outputs, in_dims=(None, 0, 0, 0))(
            agent.parameters, learner.fast, data.observations, data.raw
        )
        torch.testing.assert_close(data.old_outputs, outputs, rtol=0, atol=0)
        learner.adapt(episodes)


def test_a_lost_rank_stays_one_where_its_round_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    family = load("navigation-2d", horizon=5)
    agent = new_agent(family)
    trial = play_trial(agent, family, rounds=2)

    def lose(*_: Any) -> Any:
        raise RankLostError("rank 1: another rank has ended")

    monkeypatch.setattr(agent.rounds, "make", lose)
    with pytest.raises(RankLostError, match=r"^round 1: rank 1: another rank has ended$"):
        agent.rounds.replay(trial)


def test_advantages_bootstrap_at_the_time_limit_and_cut_at_termination() -> None:
    family = UnequalEpisodes(horizon=4)
    agent = new_agent(family, discount=0.9, gae_lambda=0.8)
    tasks = Tasks({"length": np.array([2.0, 9.0])}, np.arange(2))
    episodes = run_trial(agent, family.make_vec(tasks, 6), 1, seed=0).rounds[0]
    zeros = np.zeros((2, 6))
    returns = discounted_returns(episodes.rewards, episodes.mask, 0.9, zeros)
    values, final_values = linear_baseline(episodes.observations, episodes.final_observations, returns, episodes.mask)
    computed, _ = agent.rounds.advantages(episodes)
    for task, steps, terminated in ((0, 2, True), (1, 4, False)):
        expected = np.zeros((steps, 6))
        for replica in range(6):
            following = [*values[1:steps, task, replica], 0.0 if terminated else final_values[task, replica]]
            carry = 0.0
            for t in reversed(range(steps)):
                delta = episodes.rewards[t, task, replica] + 0.9 * following[t] - values[t, task, replica]
                carry = delta + 0.9 * 0.8 * carry
                expected[t, replica] = carry
        np.testing.assert_allclose(computed[:steps, task], (expected - expected.mean()) / expected.std(), atol=1e-6)


def test_observations_are_normalized_by_the_trials_before(monkeypatch: pytest.MonkeyPatch) -> None:
    family = UnequalEpisodes()
    agent = new_agent(family, normalize_observations=True)
    first = play_trial(agent, family, rounds=2)
    agent.update(first, generator(0))
    rows = np.concatenate([episodes.observations[episodes.mask] for episodes in first.rounds])
    second, seen, real = play_trial(agent, family, rounds=2), [], agent.over_tasks.task_gradients
    monkeypatch.setattr(agent.over_tasks, "task_gradients", lambda rounds: (seen.append(rounds), real(rounds))[1])
    agent.update(second, generator(1))
    for data, episodes in zip(seen[0], second.rounds, strict=True):
        expected = np.moveaxis((episodes.observations - rows.mean(0)) / rows.std(0), 1, 0)
        np.testing.assert_allclose(data.observations.numpy(), expected.clip(-10, 10), rtol=1e-9, atol=1e-9)


def test_linear_baseline_explains_returns_that_follow_from_the_state() -> None:
    family = load("navigation-2d")
    agent = new_agent(family)
    metrics = agent.update(play_trial(agent, family, rounds=2, replicas=10), generator(0))
    assert metrics["explained_variance"] > 0.5


def test_value_network_learns_to_explain_returns_from_one_update_to_the_next() -> None:
    """The network that is trained is the one that is used: garage's was not."""
    family = load("navigation-2d", horizon=30)
    agent = new_agent(family, baseline={"name": "network", "learning_rate": 1e-2}, outer={"learning_rate": 1e-6})
    explained = [
        agent.update(play_trial(agent, family, rounds=2, tasks=20, replicas=5), generator(0, i))["explained_variance"]
        for i in range(8)
    ]
    assert explained[0] < 0.1
    assert explained[-1] > 0.5


def test_value_network_learns_discounted_returns_of_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    family = UnequalEpisodes()
    agent = new_agent(family, baseline="network", discount=0.5)
    trial, seen, learn = play_trial(agent, family, rounds=3), [], agent.baseline.learn

    def record(rounds: Any, rng: Any) -> Any:
        seen.extend(rounds)
        return learn(rounds, rng)

    monkeypatch.setattr(agent.baseline, "learn", record)
    agent.update(trial, generator(0))
    assert [episodes for episodes, _ in seen] == list(trial.rounds)
    for episodes, returns in seen:
        following = np.zeros(returns.shape[1:])
        for t in reversed(range(len(returns))):
            following = np.where(episodes.mask[t], episodes.rewards[t] + 0.5 * following, following)
            np.testing.assert_allclose(returns[t], following * episodes.mask[t])


def test_value_network_values_final_observations_at_their_time_and_makes_its_epochs() -> None:
    family = UnequalEpisodes()
    agent = new_agent(family, baseline={"name": "network", "num_epochs": 3})
    trial = play_trial(agent, family, rounds=2)
    agent.update(trial, generator(0))
    network = agent.baseline
    assert isinstance(network, NetworkBaseline)
    steps = {float(v) for k, v in network.state_dict().items() if k.startswith("optimizer.") and k.endswith(".step")}
    assert steps == {24.0}  # 3 epochs of 8 minibatches
    episodes = trial.rounds[0]
    values = network.values(episodes, np.zeros(episodes.mask.shape))
    for task in range(3):
        for replica in range(4):
            length = int(episodes.mask[:, task, replica].sum())
            for t in range(length + 1):
                last = t == length
                o = episodes.final_observations[task, replica] if last else episodes.observations[t, task, replica]
                row = network.moments.normalize(baseline_features(o[None], np.array([t])))
                expected = network.scale.to_returns(network.network(torch.as_tensor(row))).item()
                got = values.final[task, replica] if last else values.steps[t, task, replica]
                assert got == pytest.approx(expected)


def test_the_value_networks_weights_leave_torchs_global_generator_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    new_agent(load("navigation-2d"), baseline="network")
    assert torch.equal(torch.rand(1), expected)
