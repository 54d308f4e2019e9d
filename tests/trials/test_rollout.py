"""Rollouts and trials: exact quotas, true endings, and learners that see what they should."""

from __future__ import annotations

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.families.load import load
from metarl.families.task import Tasks
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.rollout import rollout, run_trial
from tests.probes import UnequalEpisodes


class Noisy(Agent, Learner):
    """Acts by its streams alone, and writes down what it was shown."""

    def __init__(self) -> None:
        self.timesteps: list[TimeStep] = []
        self.deterministic: list[bool] = []
        self.adapted: list[Episodes] = []

    def begin(self, streams: Streams) -> Noisy:
        self.streams = streams
        return self

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        self.timesteps.append(timestep)
        self.deterministic.append(deterministic)
        return self.streams.where(timestep.active).normal((2,)).astype(np.float32)

    def adapt(self, episodes: Episodes) -> None:
        self.adapted.append(episodes)


LENGTHS = Tasks({"length": np.array([1.0, 3.0, 8.0])}, np.array([5, 0, 3]))


def test_every_replica_plays_exactly_one_episode_a_round() -> None:
    trial = run_trial(Noisy(), UnequalEpisodes().make_vec(LENGTHS, 2), 3, seed=0)
    for episodes in trial.rounds:
        np.testing.assert_array_equal(episodes.lengths, [[1, 1], [3, 3], [6, 6]])
        ends = episodes.terminations.sum(axis=0) + episodes.truncations.sum(axis=0)
        np.testing.assert_array_equal(ends, 1)
        np.testing.assert_array_equal(episodes.truncations.any(axis=0), [[False] * 2, [False] * 2, [True] * 2])
    np.testing.assert_array_equal(trial.env_steps, [[2, 6, 12], [4, 12, 24], [6, 18, 36]])


def test_final_observation_is_what_the_last_step_led_to() -> None:
    trial = run_trial(Noisy(), UnequalEpisodes().make_vec(LENGTHS, 2), 2, seed=0)
    for episodes in trial.rounds:
        np.testing.assert_array_equal(episodes.final_observations[..., 0], episodes.lengths)
        # The family pays what it shows: the last reward is the final observation.
        np.testing.assert_array_equal(episodes.last_step.previous_rewards, episodes.final_observations[..., 1])


def test_learner_sees_the_step_before_also_across_rounds() -> None:
    agent = Noisy()
    trial = run_trial(agent, UnequalEpisodes().make_vec(LENGTHS, 2), 2, seed=0)
    first, second = trial.rounds
    start = agent.timesteps[0]
    for nothing in (
        start.previous_actions,
        start.previous_rewards,
        start.previous_terminations,
        start.previous_truncations,
    ):
        assert not nothing.any()
    for t in range(1, 6):
        shown, here = agent.timesteps[t], agent.timesteps[t].active
        np.testing.assert_array_equal(shown.previous_actions[here], first.actions[t - 1][here])
        np.testing.assert_array_equal(shown.previous_rewards[here], first.rewards[t - 1][here])
    later = agent.timesteps[6]
    np.testing.assert_array_equal(later.observations, second.observations[0])
    np.testing.assert_array_equal(later.previous_rewards, first.final_observations[..., 1])
    np.testing.assert_array_equal(later.previous_terminations, [[True] * 2, [True] * 2, [False] * 2])
    np.testing.assert_array_equal(later.previous_truncations, [[False] * 2, [False] * 2, [True] * 2])
    assert later.active.all()


def test_learner_adapts_between_rounds_and_explores_throughout() -> None:
    agent = Noisy()
    trial = run_trial(agent, UnequalEpisodes().make_vec(LENGTHS, 2), 3, seed=0)
    assert [id(episodes) for episodes in agent.adapted] == [id(episodes) for episodes in trial.rounds[:2]]
    assert not any(agent.deterministic)


def test_tasks_one_at_a_time_equal_all_at_once_bit_for_bit() -> None:
    family = UnequalEpisodes()
    tasks = family.sample("test", 40, seed=0)
    together = run_trial(Noisy(), family.make_vec(tasks, 2), 3, seed=4)
    for task in range(40):
        alone = run_trial(Noisy(), family.make_vec(tasks[task : task + 1], 2), 3, seed=4)
        for mine, theirs in zip(alone.rounds, together.rounds, strict=True):
            steps = len(mine.rewards)
            chosen = mine.mask
            np.testing.assert_array_equal(theirs.mask[:steps, task : task + 1], chosen)
            np.testing.assert_array_equal(theirs.rewards[:steps, task : task + 1], mine.rewards)
            np.testing.assert_array_equal(
                theirs.observations[:steps, task : task + 1][chosen], mine.observations[chosen]
            )
            np.testing.assert_array_equal(theirs.final_observations[task : task + 1], mine.final_observations)


def test_actions_are_clipped_for_the_environment_and_kept_for_the_learner() -> None:
    family = load("navigation-2d", horizon=3)

    class Wild(Noisy):
        def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
            return np.full((1, 1, 2), 9.0, dtype=np.float32)

    episodes = rollout(family.make_vec(family.tasks({"goal": [0.4, -0.4]})), Wild(), seed=0)
    assert (episodes.actions == 9.0).all()
    np.testing.assert_allclose(episodes.final_observations, [[[0.3, 0.3]]])


def test_successes_count_any_step_of_an_episode() -> None:
    family = load("point-sparse")

    class Passing(Noisy):
        """Walks up through the goal at (0, 1), and on."""

        def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
            return np.full((2, 1, 2), [0.0, 0.1], dtype=np.float32)

    episodes = rollout(family.make_vec(family.tasks([{"goal": [0, 1]}, {"goal": [1, 0]}])), Passing(), seed=0)
    assert episodes.successes is not None
    np.testing.assert_array_equal(episodes.successes, [[True], [False]])
    assert np.linalg.norm(episodes.final_observations[0, 0] - [0, 1]) > 0.2


def test_wrong_shape_of_actions_and_no_rounds_are_refused() -> None:
    family = load("navigation-2d")
    envs = family.make_vec(family.sample("train", 2, seed=0))

    class Flat(Noisy):
        def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
            return np.zeros((2, 2))

    with pytest.raises(MetarlError, match=r"act returned shape \(2, 2\); it must be \(2, 1, 2\)"):
        rollout(envs, Flat(), seed=0)
    with pytest.raises(MetarlError, match="rounds is 0"):
        run_trial(Noisy(), envs, 0, seed=0)


def test_episodes_whose_physics_broke_down_are_marked_and_counted() -> None:
    family = load("half-cheetah-direction", "promp", horizon=6)
    envs = family.make_vec(family.tasks([{"direction": 1}, {"direction": -1}]), 2)

    class Saboteur(Noisy):
        """Acts as if nothing were, and makes one world spin beyond what MuJoCo can compute."""

        def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
            envs.batch.state["qvel"][1, 2] = 1e11  # type: ignore[attr-defined]
            return np.zeros((2, 2, 6), dtype=np.float32)

    trial = run_trial(Saboteur(), envs, 2, seed=0)
    for episodes in trial.rounds:
        assert episodes.unstable is not None
        np.testing.assert_array_equal(episodes.unstable, [[False, True], [False, False]])
        np.testing.assert_array_equal(episodes.lengths, [[6, 1], [6, 6]])
        assert not episodes.terminations.any()
    assert trial.num_unstable == 2
