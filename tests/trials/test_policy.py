"""Agents in a loop of the user's own: what the learner is shown, and mistakes that are told."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from gymnasium import spaces

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.arrays import ArrayFamily
from metarl.families.distributions import Uniform
from metarl.families.task import Parameter
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import TimeStep
from metarl.trials.policy import Policy
from tests.probes import UnequalEpisodes
from tests.trials.test_rollout import Noisy

FAMILY = UnequalEpisodes()


def observe(number: float) -> np.ndarray:
    return np.full(FAMILY.observation_space.shape, number, dtype=np.float32)


def test_a_learner_is_shown_how_its_last_episode_ended() -> None:
    agent = Noisy()
    policy = Policy(agent, FAMILY)
    first = policy.act(observe(0.0))
    policy.act(observe(1.0), 0.5)
    policy.end_episode(observe(2.0), 0.25, terminated=True)
    policy.act(observe(0.0))
    told = [
        (float(t.previous_rewards[0, 0]), bool(t.previous_terminations[0, 0]), bool(t.previous_truncations[0, 0]))
        for t in agent.timesteps
    ]
    assert told == [(0.0, False, False), (0.5, False, False), (0.25, True, False)]
    np.testing.assert_array_equal(agent.timesteps[0].previous_actions, 0)
    # Shown as `act` returned it, not as the environment clips it.
    np.testing.assert_allclose(np.clip(agent.timesteps[1].previous_actions[0, 0], -1, 1), first, atol=1e-6)
    (episodes,) = agent.adapted
    np.testing.assert_array_equal(episodes.rewards[:, 0, 0], [0.5, 0.25])
    np.testing.assert_array_equal(episodes.terminations[:, 0, 0], [False, True])
    np.testing.assert_array_equal(episodes.observations[:, 0, 0, 0], [0.0, 1.0])
    np.testing.assert_array_equal(episodes.final_observations[0, 0], observe(2.0))


def test_a_round_of_several_episodes_is_adapted_to_at_its_end_and_padded() -> None:
    agent = Noisy()
    policy = Policy(agent, FAMILY, episodes_per_round=2)
    policy.act(observe(0.0))
    policy.end_episode(observe(1.0), 1.0, truncated=True)
    assert not agent.adapted and policy.rounds == 0
    policy.act(observe(0.0))
    policy.act(observe(1.0), 2.0)
    policy.end_episode(observe(2.0), 3.0, terminated=True)
    (episodes,) = agent.adapted
    np.testing.assert_array_equal(episodes.mask[:, 0], [[True, True], [False, True]])
    np.testing.assert_array_equal(episodes.rewards[:, 0], [[1.0, 2.0], [0.0, 3.0]])
    np.testing.assert_array_equal(episodes.truncations[:, 0], [[True, False], [False, False]])
    assert [t.active.tolist() for t in agent.timesteps] == [[[True, False]], [[False, True]], [[False, True]]]
    assert policy.rounds == 1


def test_a_task_changes_by_a_reset_of_one_environment_alone() -> None:
    policy = Policy(Noisy(), FAMILY, num_envs=2)
    rows = np.zeros((2, *FAMILY.observation_space.shape), dtype=np.float32)
    policy.act(rows)
    policy.end_episode(rows, [1.0, 1.0], [True, True], [False, False])
    kept = policy._trials[0]
    policy.reset(mask=[False, True])
    np.testing.assert_array_equal(policy.rounds, [1, 0])
    assert policy._trials[0] is kept


def test_trials_of_one_policy_have_random_numbers_of_their_own_and_a_new_policy_repeats_them() -> None:
    def firsts(policy: Policy) -> list[list[float]]:
        found = []
        for _ in range(2):
            found.append(policy.act(observe(0.0)).tolist())
            policy.reset()
        return found

    one = firsts(Policy(Noisy(), FAMILY))
    assert one[0] != one[1]
    assert firsts(Policy(Noisy(), FAMILY)) == one
    assert firsts(Policy(Noisy(), FAMILY, seed=1)) != one


def test_mistakes_in_a_loop_are_told() -> None:
    policy = Policy(Noisy(), FAMILY)
    with pytest.raises(MetarlError, match=r"the observation has shape \(7,\); it must be"):
        policy.act(np.zeros(7))
    with pytest.raises(MetarlError, match="the observation is not finite"):
        policy.act(observe(np.nan))
    with pytest.raises(MetarlError, match="ends before its first step"):
        policy.end_episode(observe(0.0), 0.0, terminated=True)
    policy.act(observe(0.0))
    with pytest.raises(MetarlError, match="the reward is nan; it must be finite"):
        policy.act(observe(1.0), np.nan)
    with pytest.raises(MetarlError, match="the episode is over; call end_episode"):
        policy.act(observe(1.0), 1.0, True)
    with pytest.raises(MetarlError, match="terminated and truncated are both False"):
        policy.end_episode(observe(1.0), 1.0)
    for _ in range(FAMILY.horizon - 1):
        policy.act(observe(1.0), 1.0)
    with pytest.raises(MetarlError, match=r"has 6 steps already.*call end_episode with truncated=True"):
        policy.act(observe(1.0), 1.0)
    with pytest.raises(MetarlError, match="num_envs is 0; it must be at least 1"):
        Policy(Noisy(), FAMILY, num_envs=0)


def test_an_environment_that_resets_in_the_same_step_is_told_from_one_that_resets_in_the_next() -> None:
    policy = Policy(Noisy(), FAMILY, num_envs=2)
    rows = np.zeros((2, *FAMILY.observation_space.shape), dtype=np.float32)
    policy.act(rows)
    policy.act(rows, [1.0, 1.0], [False, True], [False, False])
    with pytest.raises(MetarlError, match="environment 1 ended its episode in the step before, and now has reward 2"):
        policy.act(rows, [1.0, 2.0], [False, False], [False, False])


class Compass(ArrayFamily):
    """A place and a heading as a Dict, and actions of two choices."""

    name = "compass"
    horizon = 4
    parameters: ClassVar = {"pay": Parameter(Uniform(0.0, 1.0))}
    observation_space = spaces.Dict({"place": spaces.Box(-9.0, 9.0, (2,)), "heading": spaces.Discrete(4)})
    action_space = spaces.MultiDiscrete([2, 3], start=[1, 5])

    def initial(self, task: Any, streams: Any) -> Any:
        raise NotImplementedError

    transition = observation = reward = initial  # nothing steps it here


class Chooser(Agent, Learner):
    def begin(self, streams: Streams) -> Chooser:
        self.shape = streams.shape
        return self

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        self.seen = timestep.observations
        return np.broadcast_to([2, 7], (*self.shape, 2))


def test_composed_observations_and_actions_of_several_choices_are_taken_as_gymnasium_gives_them() -> None:
    agent = Chooser()
    place = np.array([1.5, -2.0], dtype=np.float32)
    policy = Policy(agent, Compass())
    assert policy.act({"place": place, "heading": 3}).tolist() == [2, 7]
    assert sorted(agent.seen[0, 0].tolist()) == [-2.0, 1.5, 3.0]
    with pytest.raises(MetarlError, match="no part 'heading'"):
        policy.act({"place": place})
    several = Policy(agent, Compass(), num_envs=2)
    both = {"place": np.stack([place, place]), "heading": np.array([3, 0])}
    several.act(both)
    # Where an episode has ended, an action that the space holds stands in for the one that is not used.
    actions = several.act(both, [1.0, 0.0], [True, False], [False, False])
    assert actions.tolist() == [[1, 5], [2, 7]]
