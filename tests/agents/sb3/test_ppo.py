"""PPO of stable-baselines3 as an agent: its advantages and update are those of the library, its numbers the run's."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest
import torch
from metarl.agents.sb3.ppo import SB3PPO

from metarl import load
from metarl.adapters.stable_baselines3 import make_sb3_vec
from metarl.base.errors import MetarlError
from metarl.base.stopwatch import Stopwatch
from metarl.base.streams import Streams, generator
from metarl.checks.at_once import check_threads
from metarl.checks.probes import Subject, probes
from metarl.evaluation.evaluate import evaluate
from metarl.families.family import TaskFamily
from metarl.runs.config import TrainConfig
from metarl.trials.episodes import Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from metarl.trials.shards import run_sharded_trial
from tests.agents.sb3.draws import no_global_draws
from tests.probes import UnequalEpisodes


def new_agent(family: TaskFamily, **settings: Any) -> SB3PPO:
    return cast(SB3PPO, make_agent("sb3-ppo", family, {"hidden_sizes": [8], **settings}, seed=0, device="cpu"))


def a_trial(agent: SB3PPO, family: TaskFamily, rounds: int = 2, num_tasks: int = 5) -> Trial:
    return run_trial(agent, family.make_vec(family.sample("train", num_tasks, seed=1), 2), rounds, seed=3)


@pytest.mark.parametrize(
    "family", [UnequalEpisodes(), load("bernoulli-bandit", horizon=7), load("navigation-2d", horizon=6)]
)
def test_buffer_equals_a_plain_loop_over_episodes(family: TaskFamily) -> None:
    agent = new_agent(family, gamma=0.9, gae_lambda=0.7)
    trial = a_trial(agent, family)
    buffer, step = agent.buffer(trial.rounds, agent.model), 0
    policy = agent.model.policy

    def value(observation: np.ndarray) -> float:
        with torch.no_grad():
            return float(policy.predict_values(torch.as_tensor(observation[None], dtype=torch.float32)))

    for episodes in trial.rounds:
        for place in np.ndindex(episodes.lengths.shape):
            length = int(episodes.lengths[place])
            seen = [episodes.observations[t][place] for t in range(length)] + [episodes.final_observations[place]]
            values = [value(observation) for observation in seen]
            if episodes.terminations[length - 1][place]:
                values[-1] = 0.0
            carry, advantages = 0.0, []
            for t in reversed(range(length)):
                carry = episodes.rewards[t][place] + 0.9 * values[t + 1] - values[t] + 0.9 * 0.7 * carry
                advantages.insert(0, carry)
            part = slice(step, step + length)
            np.testing.assert_allclose(buffer.advantages[part, 0], advantages, atol=1e-5)
            np.testing.assert_allclose(buffer.returns[part, 0], np.add(advantages, values[:-1]), atol=1e-5)
            np.testing.assert_array_equal(buffer.episode_starts[part, 0], np.arange(length) == 0)
            np.testing.assert_allclose(buffer.observations[part, 0], seen[:-1], rtol=1e-6)
            step += length
    assert step == buffer.buffer_size
    assert len({int(n) for e in trial.rounds for n in e.lengths.flat}) > 1 or not isinstance(family, UnequalEpisodes)


@pytest.mark.parametrize("name", ["navigation-2d", "bernoulli-bandit"])
def test_update_is_that_of_the_library_on_what_it_collects_itself(name: str) -> None:
    """Its own `collect_rollouts` on its own `VecEnv`, playing what our learner played, leads to the same weights."""
    family = load(name, horizon=6)
    agent = new_agent(family, batch_size=7, n_epochs=3)
    tasks = family.sample("train", 1, seed=1)
    trial = run_trial(agent, family.make_vec(tasks, 1), 3, seed=3)
    theirs = copy.deepcopy(agent.model)
    env = make_sb3_vec(family, 1, tasks=tasks, seed=3)
    theirs.observation_space = env.observation_space  # which it would refuse ours for, in single precision
    theirs.set_env(env)
    played = iter(np.concatenate([episodes.actions[:, 0, 0] for episodes in trial.rounds]))
    policy = theirs.policy
    original = policy.forward

    def forward(observations: torch.Tensor, deterministic: bool = False) -> tuple[torch.Tensor, ...]:
        action = torch.as_tensor(np.asarray(next(played)))[None]
        values, log_prob, _ = policy.evaluate_actions(observations, action)
        return action, values, log_prob

    policy.forward = forward  # type: ignore[method-assign]
    steps = sum(len(episodes.rewards) for episodes in trial.rounds)
    from stable_baselines3.common.buffers import RolloutBuffer

    theirs.rollout_buffer = RolloutBuffer(
        steps, theirs.observation_space, theirs.action_space, "cpu", theirs.gae_lambda, theirs.gamma
    )
    _, callback = theirs._setup_learn(steps, None)
    assert theirs.collect_rollouts(env, callback, theirs.rollout_buffer, steps)
    policy.forward = original  # type: ignore[method-assign]
    rng = generator(5)
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002 -- the library shuffles by it
    theirs.train()
    agent.update(trial, generator(5))
    for (parameter, mine), other in zip(agent.model.policy.named_parameters(), policy.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6, msg=parameter)


def test_update_draws_nothing_from_the_random_numbers_of_the_process() -> None:
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family)
    trial = a_trial(agent, family)
    with no_global_draws():
        agent.update(trial, generator(0))
        new_agent(family)


@pytest.mark.parametrize("adapts", [False, True], ids=["one policy", "fine-tuned"])
def test_learners_on_several_threads_play_what_each_plays_alone(adapts: bool) -> None:
    for family in probes():
        settings = {"adapts": adapts, "n_epochs": 2, "hidden_sizes": (8,)}
        assert list(check_threads(Subject(SB3PPO, family, settings))) == []


@pytest.mark.parametrize("name", ["sb3-ppo", "sb3-ppo-oracle", "sb3-recurrent-ppo", "sb3-sac"])
def test_shards_of_unequal_sizes_play_the_same_on_threads_as_in_turn(name: str) -> None:
    family = load("point-sparse", horizon=20)
    agent = make_agent(name, family, {}, seed=0, device="cpu")
    tasks = family.sample("train", 21, seed=1)

    def play(threads: int) -> Trial:
        config = TrainConfig(
            family={"name": "point-sparse"},
            agent={"name": name},
            rollout_shards=2,
            rounds=1,
            replicas=1,
            threads=threads,
        )
        return run_sharded_trial(agent, family, tasks, config, seed=0, stopwatch=Stopwatch())

    np.testing.assert_array_equal(play(0).rounds[0].actions, play(2).rounds[0].actions)


def test_it_learns_one_way_for_all_tasks_and_does_not_adapt() -> None:
    family = load("navigation-2d", horizon=20)
    agent = new_agent(family, learning_rate=3e-3, gamma=0.9, n_epochs=5)
    angles = np.linspace(0, np.pi / 2, 8)
    tasks = family.tasks([{"goal": [0.4 * float(np.cos(a)), 0.4 * float(np.sin(a))]} for a in angles])
    scores = []
    for update in range(25):
        trial = run_trial(agent, family.make_vec(tasks), 2, seed=update)
        scores.append(trial.returns.mean(axis=(1, 2)))
        agent.update(trial, generator(0, update))
    assert np.mean(scores[-3:]) > np.mean(scores[:3]) + 2.0
    assert np.mean(scores[-8:], axis=0)[0] == pytest.approx(np.mean(scores[-8:], axis=0)[1], rel=0.1)


@pytest.mark.parametrize("settings", [{}, {"n_epochs": 1, "batch_size": 10_000}], ids=["many steps", "one step"])
def test_numbers_that_are_not_finite_stop_it_and_leave_it_as_it_was(settings: dict[str, Any]) -> None:
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family, learning_rate=1e30, **settings)
    trial = a_trial(agent, family)
    before = agent.state_dict()
    with pytest.raises(MetarlError, match="take a lower agent"):
        agent.update(trial, generator(0))
    for name, value in agent.state_dict().items():
        assert torch.equal(value, before[name]), name
    a_trial(agent, family)


@pytest.mark.parametrize("judged_by_torch", [True, False])  # torchrl, imported anywhere, turns it off for all
@pytest.mark.parametrize("family", [load("navigation-2d", horizon=6), load("bernoulli-bandit")], ids=str)
def test_a_policy_that_is_not_finite_is_told_of_in_one_line(
    family: Any, judged_by_torch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", judged_by_torch)
    agent = new_agent(family)
    with torch.no_grad():
        for parameter in agent.model.policy.parameters():
            parameter.fill_(float("nan"))
    with pytest.raises(MetarlError, match="outputs are not finite numbers"):
        a_trial(agent, family)


def test_it_adapts_after_an_update_and_keeps_no_batch() -> None:
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family, adapts=True)
    size = agent.model.rollout_buffer.buffer_size
    trial = a_trial(agent, family)
    agent.update(trial, generator(0))
    assert agent.model.rollout_buffer.buffer_size == size
    learner = agent.begin(Streams.of(0, "learner", np.arange(5)[:, None], np.arange(2)))
    learner.adapt(trial.rounds[0])
    assert {model.rollout_buffer.buffer_size for model in learner.models} == {size}


def goals(num_tasks: int) -> Any:
    family = load("navigation-2d", horizon=20)
    angles = 2 * np.pi * np.arange(num_tasks) / num_tasks
    return family, family.tasks([{"goal": [0.4 * float(np.cos(a)), 0.4 * float(np.sin(a))]} for a in angles])


def test_where_it_adapts_each_task_s_copy_learns_its_own_way_and_the_agent_stays_as_it_was() -> None:
    family, tasks = goals(4)
    agent = new_agent(family, adapts=True, learning_rate=3e-3, gamma=0.9, n_epochs=5)
    before = agent.state_dict()
    trial = run_trial(agent, family.make_vec(tasks, 16), 12, seed=0)
    by_round = trial.returns.mean(axis=2)
    assert (by_round[-1] > by_round[0] + 1.0).all()
    for name, value in agent.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_a_task_alone_adapts_as_it_does_beside_others() -> None:
    family, tasks = goals(4)
    agent = new_agent(family, adapts=True, learning_rate=3e-3, n_epochs=2)
    together = run_trial(agent, family.make_vec(tasks, 3), 3, seed=5).returns
    for task in range(4):
        alone = run_trial(agent, family.make_vec(tasks[task : task + 1], 3), 3, seed=5).returns
        np.testing.assert_allclose(alone[:, 0], together[:, task], atol=1e-3)


def test_where_it_adapts_training_leaves_out_what_adapted_policies_played() -> None:
    family = load("navigation-2d", horizon=6)
    agent, plain = new_agent(family, adapts=True), new_agent(family)
    trial = a_trial(agent, family)
    agent.update(trial, generator(0))
    plain.update(replace(trial, rounds=trial.rounds[:1]), generator(0))
    for name, value in agent.state_dict().items():
        assert torch.equal(value, plain.state_dict()[name]), name


def test_an_evaluation_counts_the_steps_that_a_task_s_copy_learned_from() -> None:
    family = load("navigation-2d", horizon=6)
    for adapts, steps in ((False, [6, 12]), (True, [18, 36])):
        agent = new_agent(family, adapts=adapts, n_epochs=1)
        told = evaluate(agent, family, num_tasks=2, rounds=2, replicas=3)
        np.testing.assert_array_equal(told.env_steps, steps)
