"""RecurrentPPO of sb3-contrib as an agent: a memory for a trial, the library's own update, the run's random numbers."""

from __future__ import annotations

import copy
import importlib.util
from typing import Any, cast

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecEnv

from metarl import load
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.checks.check import Subject, judge
from metarl.checks.probes import Press, Reach
from metarl.cli.main import main
from metarl.families.family import TaskFamily
from metarl.trials.episodes import Trial
from metarl.trials.registered import make_agent, what_to_install
from metarl.trials.rollout import run_trial
from tests.agents.sb3.draws import no_global_draws
from tests.probes import RightArm, UnequalEpisodes

installed = pytest.mark.skipif(importlib.util.find_spec("sb3_contrib") is None, reason="sb3-contrib is not installed")
SMALL = {"hidden_sizes": [8], "lstm_hidden_size": 8}


def new_agent(family: TaskFamily, **settings: Any) -> Any:
    return make_agent("sb3-recurrent-ppo", family, {**SMALL, **settings}, seed=0, device="cpu")


def a_trial(agent: Any, family: TaskFamily, rounds: int = 3, num_tasks: int = 4) -> Trial:
    return run_trial(agent, family.make_vec(family.sample("train", num_tasks, seed=1), 2), rounds, seed=3)


class Playback(VecEnv):
    """Plays trials back to the library one after the other, each as one episode, whatever it does."""

    def __init__(self, agent: Any, trial: Trial) -> None:
        self.episodes: list[list[tuple[np.ndarray, float, bool, dict[str, Any]]]] = []
        self.first: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []
        for task, replica in np.ndindex(trial.returns.shape[1:]):
            self._play(agent, trial, (task, replica))
        self.trial, self.t = 0, 0
        super().__init__(1, agent.model.observation_space, agent.model.action_space)

    def _play(self, agent: Any, trial: Trial, place: tuple[int, int]) -> None:
        told, space = (
            np.zeros(agent.model.observation_space.shape[0] - trial.rounds[0].observations.shape[-1]),
            agent.action_space,
        )
        seen, steps = [], []
        for episodes in trial.rounds:
            length = int(episodes.lengths[place])
            for t in range(length):
                seen.append(np.concatenate([episodes.observations[t][place], told]))
                action, reward = episodes.actions[t][place], float(episodes.rewards[t][place])
                ends = [float(episodes.terminations[t][place]), float(episodes.truncations[t][place])]
                if hasattr(space, "n"):
                    shown = np.eye(int(space.n))[action - space.start]
                    self.actions.append(np.asarray(action - space.start))
                else:
                    shown = np.clip(action, space.low, space.high)
                    self.actions.append(action)
                told = np.concatenate([shown, [reward], ends])
                steps.append((reward, ends[1]))
        # The true last observation, told as if the episode went on.
        after = np.concatenate([trial.rounds[-1].final_observations[place], told[:-2], [0.0, 0.0]])
        seen.append(after)
        self.first.append(seen[0].astype(np.float32))
        last = len(steps) - 1
        self.episodes.append(
            [
                (
                    seen[t + 1].astype(np.float32),
                    reward,
                    t == last,
                    {"TimeLimit.truncated": t == last and bool(cut_off)},
                )
                for t, (reward, cut_off) in enumerate(steps)
            ]
        )

    def reset(self) -> Any:
        return self.first[0][None]

    def step_async(self, actions: np.ndarray) -> None: ...

    def step_wait(self) -> Any:
        seen, reward, done, info = self.episodes[self.trial][self.t]
        self.t += 1
        if done:
            info = {**info, "terminal_observation": seen}
            self.trial, self.t = (self.trial + 1) % len(self.episodes), 0
            seen = self.first[self.trial]
        return seen[None], np.array([reward], dtype=np.float32), np.array([done]), [info]

    def close(self) -> None: ...

    def get_attr(self, attr_name: str, indices: Any = None) -> Any:
        return [None]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None: ...

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> Any: ...

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        return [False]


@installed
@pytest.mark.parametrize(
    "family",
    [UnequalEpisodes(), Reach(), Press(), load("bernoulli-bandit", horizon=4)],
    ids=["terminations", "continuous", "discrete", "bandit"],
)
def test_update_is_that_of_the_library_on_what_it_collects_itself(family: TaskFamily) -> None:
    """Its own `collect_rollouts`, in an environment whose episodes are our trials, leads to the same weights."""
    agent = new_agent(family, batch_size=13, n_epochs=2)
    trial = a_trial(agent, family)
    theirs = copy.deepcopy(agent.model)
    env = Playback(agent, trial)
    theirs.set_env(env)
    policy, played = cast(Any, theirs.policy), iter(env.actions)
    original = policy.forward

    def forward(observations: torch.Tensor, states: Any, starts: torch.Tensor, deterministic: bool = False) -> Any:
        action = torch.as_tensor(np.asarray(next(played)))[None]
        values, log_prob, _ = policy.evaluate_actions(observations, action, states, starts)
        return action, values, log_prob, original(observations, states, starts)[3]

    steps = len(env.actions)
    from sb3_contrib.common.recurrent.buffers import RecurrentRolloutBuffer

    theirs.rollout_buffer = RecurrentRolloutBuffer(
        steps, theirs.observation_space, theirs.action_space, (steps, 1, 1, 8), "cpu", theirs.gae_lambda, theirs.gamma
    )
    policy.forward = forward
    _, callback = theirs._setup_learn(steps, None)
    assert theirs.collect_rollouts(env, callback, theirs.rollout_buffer, steps)
    policy.forward = original
    mine, buffer = agent.buffer(trial), theirs.rollout_buffer
    for name in (
        "observations",
        "actions",
        "rewards",
        "episode_starts",
        "values",
        "log_probs",
        "advantages",
        "returns",
    ):
        np.testing.assert_allclose(getattr(mine, name), getattr(buffer, name), rtol=1e-4, atol=1e-5, err_msg=name)
    rng = generator(5)
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002 -- the library cuts its minibatches by it
    theirs.train()
    agent.update(trial, generator(5))
    for (name, parameter), other in zip(agent.policy.named_parameters(), policy.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=1e-4, atol=1e-6, msg=name)


@installed
def test_it_learns_to_remember_which_arm_pays_and_forgets_between_trials() -> None:
    family = RightArm(horizon=6)
    agent = new_agent(family, learning_rate=1e-2, n_epochs=5, gamma=0.9, lstm_hidden_size=16, batch_size=384)
    scores = []
    for update in range(20):
        envs = family.make_vec(family.sample("train", 32, seed=0, start=32 * update), 1)
        trial = run_trial(agent, envs, 2, seed=update)
        scores.append(trial.returns.mean(axis=(1, 2)))
        agent.update(trial, generator(0, update))
    first, second = np.mean(scores[-3:], axis=0)
    # Chance is 3 in each round. In the second nothing is left to find out: memory went on through the first one's end.
    assert first > 4.5
    assert second > first + 0.2


@installed
def test_numbers_that_are_not_finite_stop_it_and_leave_it_as_it_was() -> None:
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family, learning_rate=1e30)
    trial = a_trial(agent, family)
    before = agent.state_dict()
    with pytest.raises(MetarlError, match="take a lower agent"):
        agent.update(trial, generator(0))
    for name, value in agent.state_dict().items():
        assert torch.equal(value, before[name]), name


@installed
def test_update_draws_nothing_from_the_random_numbers_of_the_process() -> None:
    family = load("navigation-2d", horizon=6)
    agent = new_agent(family)
    trial = a_trial(agent, family)
    with no_global_draws():
        agent.update(trial, generator(0))
        agent.begin(Streams.of(0, "learner", np.arange(2)[:, None], np.arange(2)))


def test_without_the_package_it_is_listed_skipped_and_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_: None if name == "sb3_contrib" else find(name))
    remedy = "agent 'sb3-recurrent-ppo' needs package 'sb3-contrib', which is not installed; pip install sb3-contrib"
    assert what_to_install("sb3-recurrent-ppo") == remedy
    with pytest.raises(MetarlError, match="pip install sb3-contrib"):
        new_agent(load("navigation-2d"))
    verdict = judge(Subject("agent", "sb3-recurrent-ppo"))
    assert (verdict.seconds, verdict.skipped) == (None, remedy)
    assert main(["agents"]) == 0
    assert "(needs sb3-contrib)" in capsys.readouterr().out
    assert main(["check", "sb3-recurrent-ppo"]) == 2
    assert remedy in capsys.readouterr().err
    assert what_to_install("sb3-ppo") == ""
