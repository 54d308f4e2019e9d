"""A trained agent in a user's own Gymnasium loop does what `run_trial` measures."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

import metarl
from metarl.runs.config import TrainConfig, resolve
from metarl.runs.run import load_run
from metarl.training.train import meta_train
from metarl.trials.policy import Policy
from tests.small_runs import config, trained

ROUNDS = 3


@pytest.fixture(scope="module", params=["maml-ppo", "rl2", "sb3-ppo", "sb3-ppo-adapting"])
def played(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("runs") / request.param
    if request.param in ("maml-ppo", "rl2"):
        return trained(run_dir, request.param)
    agent = {"name": "sb3-ppo", "adapts": request.param.endswith("adapting"), "batch_size": 4, "n_epochs": 1}
    return trained_as(run_dir, agent)


def trained_as(run_dir: Path, agent: dict[str, Any]) -> Path:
    settings = {**config(), "agent": agent, "rounds": 1, "num_updates": 2}
    return meta_train(TrainConfig.model_validate(resolve(TrainConfig(**settings))), run_dir, progress=False)


def expected(run_dir: Path, num_tasks: int, replicas: int, seed: int) -> metarl.Trial:
    run = load_run(run_dir)
    tasks = run.family.sample("test", num_tasks, seed=4)
    with contextlib.closing(run.family.make_vec(tasks, replicas, threads=0)) as envs:
        return metarl.run_trial(run.agent, envs, ROUNDS, seed=seed)


def play(policy: Policy, env: gymnasium.Env[Any, Any], episodes: int) -> tuple[list[np.ndarray], list[float]]:
    """Return the actions and the return of each episode, in the loop that the documentation shows."""
    actions, returns = [], []
    for _ in range(episodes):
        observation, _ = env.reset()
        reward, terminated, truncated = 0.0, False, False
        taken, total = [], 0.0
        while not (terminated or truncated):
            action = policy.act(observation, reward, terminated, truncated)
            observation, step_reward, terminated, truncated, _ = env.step(action)
            reward, total = float(step_reward), total + float(step_reward)
            taken.append(action)
        policy.end_episode(observation, reward, terminated, truncated)
        actions.append(np.stack(taken))
        returns.append(total)
    return actions, returns


def test_a_loop_of_ones_own_gives_the_actions_and_returns_of_run_trial(played: Path) -> None:
    policy = metarl.load_policy(played)
    replicas = policy.episodes_per_round
    trial = expected(played, 1, replicas, seed=11)
    env = gymnasium.make("metarl/Navigation2D-v0", task=trial.tasks[0], horizon=5)
    policy.reset(seed=11)
    actions, returns = play(policy, env, ROUNDS * replicas)
    low, high = env.action_space.low, env.action_space.high  # type: ignore[attr-defined]
    for number, (acted, total) in enumerate(zip(actions, returns, strict=True)):
        episodes, replica = trial.rounds[number // replicas], number % replicas
        np.testing.assert_allclose(acted, np.clip(episodes.actions[:, 0, replica], low, high), rtol=0, atol=1e-5)
        np.testing.assert_allclose(total, episodes.returns[0, replica], atol=1e-4)
    assert policy.rounds == ROUNDS
    # What is compared depends on the trial: another seed acts otherwise.
    policy.reset(seed=12)
    assert not np.allclose(play(policy, env, 1)[0][0], actions[0], atol=1e-3)


def test_several_environments_are_several_trials(played: Path) -> None:
    policy = metarl.load_policy(played, num_envs=3)
    replicas = policy.episodes_per_round
    trial = expected(played, 3, replicas, seed=5)
    envs = next_step_envs(trial)
    policy.reset(seed=5)
    observations, _ = envs.reset()
    rewards, terminations, truncations = np.zeros(3), np.zeros(3, dtype=bool), np.zeros(3, dtype=bool)
    returns: list[list[float]] = []
    total = np.zeros(3)
    while len(returns) < ROUNDS * replicas:
        actions = policy.act(observations, rewards, terminations, truncations)
        assert actions.shape == (3, 2)
        observations, rewards, terminations, truncations, _ = envs.step(actions)
        total += rewards
        if (terminations | truncations).all():
            returns.append(total.tolist())
            total = np.zeros(3)
    policy.end_episode(observations, rewards, terminations, truncations)
    np.testing.assert_array_equal(policy.rounds, [ROUNDS] * 3)
    wanted = np.stack([episodes.returns[:, replica] for episodes in trial.rounds for replica in range(replicas)])
    np.testing.assert_allclose(returns, wanted, atol=1e-4)


def next_step_envs(trial: metarl.Trial) -> gymnasium.vector.SyncVectorEnv:
    """Return the tasks of a trial in Gymnasium's default autoreset mode, which is NEXT_STEP."""

    def maker(index: int) -> Any:
        return lambda: gymnasium.make("metarl/Navigation2D-v0", task=trial.tasks[index], horizon=5)

    return gymnasium.vector.SyncVectorEnv([maker(index) for index in range(3)])


def test_a_deterministic_policy_repeats_itself_and_a_learner_from_noise_must_be_frozen(run: Path) -> None:
    policy = metarl.load_policy(run, deterministic=True)
    start = np.zeros(policy.family.observation_space.shape)
    if policy.agent.pools_replicas:
        with pytest.raises(metarl.MetarlError, match=r"learns between rounds from its exploration noise.*freeze"):
            policy.act(start)
        policy.freeze()
    first = policy.act(start)
    policy.reset()
    policy.freeze()
    np.testing.assert_array_equal(policy.act(start), first)
    policy.reset()
    policy.deterministic = False
    assert not np.array_equal(policy.act(start), first)


def test_a_frozen_policy_adapts_no_more(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", num_updates=1)
    policy = metarl.load_policy(run)
    env = gymnasium.make("metarl/Navigation2D-v0", horizon=5)
    start, episodes = np.zeros(2), policy.episodes_per_round

    def mode() -> np.ndarray:
        return policy._trials[0].learner.act(policy._trials[0]._timestep(start), deterministic=True)

    policy.freeze()
    frozen = mode()
    play(policy, env, episodes)
    np.testing.assert_array_equal(mode(), frozen)
    policy.reset()
    play(policy, env, episodes)
    assert not np.array_equal(mode(), frozen)


def test_an_oracle_is_refused(tmp_path: Path) -> None:
    agent = {"name": "sb3-ppo-oracle", "batch_size": 4, "n_epochs": 1}
    run = trained_as(tmp_path / "run", agent)
    with pytest.raises(metarl.MetarlError, match="is an oracle, which must be shown its tasks"):
        metarl.load_policy(run)
