"""Actions that callers give: which are taken, which are refused, and whose do not count."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from metarl.base.errors import MetarlError
from metarl.families.actions import ActionRange
from metarl.families.load import load
from metarl.families.vector import BatchedEnv
from metarl.trials.agent import Learner
from metarl.trials.episodes import TimeStep
from metarl.trials.rollout import rollout
from tests.probes import UnequalEpisodes

SPACES = {
    "box": spaces.Box(-1, 1, (2,)),
    "discrete": spaces.Discrete(5),
    "discrete from -2": spaces.Discrete(5, start=-2),
    "multi-discrete": spaces.MultiDiscrete([3, 5]),
    "multi-binary": spaces.MultiBinary(3),
}


def make(name: str, num_envs: int = 2) -> BatchedEnv:
    envs = load(name).make_vec(load(name).sample("train", num_envs, seed=0))
    envs.reset(seed=0)
    return envs


@pytest.mark.parametrize("name", SPACES)
def test_range_holds_what_its_space_holds(name: str) -> None:
    space = SPACES[name]
    wanted = ActionRange(space)
    space.seed(0)
    actions = np.stack([space.sample() for _ in range(50)])
    assert wanted.holds(actions) and wanted.first_outside(actions) is None
    if name == "box":
        wrong = [np.full(2, value) for value in (np.nan, np.inf, -np.inf)]
    else:
        wrong = [np.asarray(wanted.low - 1, dtype=np.int64), np.asarray(wanted.high + 1, dtype=np.int64)]
    for one in wrong:
        for place in (0, 17, 49):
            changed = actions.astype(one.dtype)
            changed[place] = one
            assert not wanted.holds(changed)
            np.testing.assert_array_equal(wanted.first_outside(changed), one)


@pytest.mark.parametrize("name", ["cartpole-physics", "acrobot-physics", "bernoulli-bandit"])
@pytest.mark.parametrize("actions", [[0.5, 0.0], [np.nan, 0.0], ["a", "b"], [None, 0], [0j, 0j]])
def test_actions_that_are_no_whole_numbers_are_refused_in_a_discrete_space(name: str, actions: list[object]) -> None:
    with pytest.raises(gymnasium.error.InvalidAction, match=r"actions have dtype .*; it must be int64, as in Disc"):
        make(name).step(np.array(actions))


def test_whole_numbers_in_another_type_are_the_same_actions() -> None:
    given = (np.array([1, 0]), np.array([1.0, 0.0], dtype=np.float32), np.array([True, False]), [1, 0])
    results = [make("bernoulli-bandit").step(actions)[1] for actions in given]  # type: ignore[arg-type]
    for rewards in results[1:]:
        np.testing.assert_array_equal(rewards, results[0])


@pytest.mark.parametrize("name", ["point-sparse", "half-cheetah-velocity"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_action_that_is_not_finite_is_refused_and_not_blamed_on_the_family(name: str, number: float) -> None:
    envs = make(name)
    actions = np.zeros(envs.action_space.shape or ())
    actions[1, 0] = number
    with pytest.raises(gymnasium.error.InvalidAction, match=rf"action \[{number} .* is not in Box"):
        envs.step(actions)


@pytest.mark.parametrize(("name", "number"), [("bernoulli-bandit", 99), ("gridnavi", -7), ("point-sparse", np.nan)])
def test_action_of_a_world_that_waits_does_not_count(name: str, number: float) -> None:
    results = []
    for unused in (0, number):
        envs = make(name, 3)
        actions = np.zeros(envs.action_space.shape or (), dtype=np.result_type(envs.action_space.dtype, number))  # type: ignore[arg-type]
        actions[1] = unused
        where = np.array([True, False, True])
        results.append(envs.advance(envs.read_actions(actions, where), where))
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_episodes_keep_finite_actions_of_worlds_that_wait(number: float) -> None:
    class Silent(Learner):
        """Says nothing for a world that waits."""

        def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
            actions = np.zeros((*timestep.active.shape, 2), dtype=np.float32)
            actions[~timestep.active] = number
            return actions

    family = UnequalEpisodes()
    episodes = rollout(family.make_vec(family.sample("train", 8, seed=0)), Silent(), seed=0)
    assert not episodes.mask.all()
    assert np.isfinite(episodes.actions).all()
    assert not episodes.actions[episodes.mask].any()


def test_world_that_was_never_reset_is_not_drawn() -> None:
    envs = gymnasium.make_vec("metarl/PointSparse-v0", num_envs=2, render_mode="rgb_array")
    with pytest.raises(gymnasium.error.ResetNeeded, match="rendered before its first reset; reset it first") as caught:
        envs.render()
    assert isinstance(caught.value, MetarlError)
