"""Families of every kind of space: the rules of families hold, and users see Gymnasium's own spaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import SyncVectorEnv

from metarl.adapters.gymnasium import SingleEnv
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.checks.check import check_family
from metarl.families.actions import ActionRange
from metarl.families.layout import layout_of, map_arrays
from metarl.families.spaces import action_at, draw_actions, require_actions
from tests.families.kinds import ACTIONS, OBSERVATIONS, ArrayMeters, Meter, Meters

PAIRS = [*((seen, "box") for seen in OBSERVATIONS), *(("vector", acted) for acted in ACTIONS), ("dict", "multi-binary")]


@pytest.mark.parametrize(("seen", "acted"), PAIRS)
@pytest.mark.parametrize("family", [Meters, ArrayMeters])
def test_a_family_of_every_kind_of_space_keeps_every_rule(family: Any, seen: str, acted: str) -> None:
    assert check_family(family(seen=seen, acted=acted)) == []


@pytest.mark.parametrize("seen", OBSERVATIONS)
def test_a_batch_gives_what_gymnasiums_own_gives(seen: str) -> None:
    family = Meters(seen=seen)
    tasks = family.sample("train", 3, seed=0)
    ours = family.make_vec(tasks)
    theirs = SyncVectorEnv([lambda t=t: Meter(seen, "box", t["wanted"]) for t in (tasks[i] for i in range(3))])
    assert ours.observation_space == theirs.observation_space
    observations, _ = ours.reset(seed=0)
    assert observations in ours.observation_space
    # The seeds of the episodes are the engine's own, so the classes are put into the same state.
    for world, env in enumerate(theirs.envs):
        env.reset(seed=0)
        env.unwrapped.level = ours.batch.envs[world].level  # type: ignore[attr-defined]
    actions = draw_actions(family.action_space, Streams.of(0, np.arange(3)))
    theirs._env_obs = [None] * 3
    stepped, expected = ours.step(actions)[0], theirs.step(actions)[0]
    map_arrays(np.testing.assert_array_equal, stepped, expected)
    map_arrays(lambda a, b: np.testing.assert_equal(a.dtype, b.dtype), stepped, expected)


@pytest.mark.parametrize("seen", OBSERVATIONS)
def test_a_single_environment_shows_the_first_world_of_the_batch(seen: str) -> None:
    family = Meters(seen=seen)
    env = SingleEnv(family, family.sample("train", 1, seed=0)[0])
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert env.step(env.action_space.sample())[0] in env.observation_space


@pytest.mark.parametrize("seen", ["dict", "tuple"])
def test_the_engine_holds_one_array_and_returned_observations_are_copies(seen: str) -> None:
    envs = ArrayMeters(seen=seen).make_vec(ArrayMeters().sample("train", 2, seed=0))
    flat = envs.restart(seed=0)
    assert flat.shape == (2, *envs.layout.shape) and flat.dtype == envs.layout.dtype
    before = flat.copy()
    map_arrays(lambda part: part.fill(0) if part.shape else None, envs.reset(seed=0)[0])
    assert np.array_equal(envs.restart(seed=0), before)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Dict({"a": ACTIONS["box"]}), "must be a Box, Discrete, MultiDiscrete or MultiBinary"),
        (spaces.Tuple([ACTIONS["box"]]), r"turn them into one with gymnasium\.wrappers\.TransformAction"),
        (spaces.Text(3), "must be a Box"),
        (spaces.Box(0, 3, (1,), dtype=np.int64), "whole numbers; take MultiDiscrete"),
        (spaces.Box(-np.inf, 1.0, (1,)), "no bounds; give finite ones"),
    ],
)
def test_actions_of_other_kinds_are_refused_in_one_line_with_the_remedy(space: Any, message: str) -> None:
    with pytest.raises(MetarlError, match=message) as caught:
        require_actions("x", space)
    assert "\n" not in str(caught.value)

    @dataclass(frozen=True)
    class Odd(ArrayMeters):
        @property
        def action_space(self) -> Any:
            return space

    family = Odd()
    with pytest.raises(MetarlError, match=message):
        family.make_vec(family.sample("train", 1, seed=0))


@pytest.mark.parametrize(
    ("acted", "outside"), [("discrete", 0), ("multi-discrete", [[0, 0], [2, 0]]), ("multi-binary", [0, 1, 2])]
)
def test_an_action_outside_its_space_is_refused(acted: str, outside: Any) -> None:
    family = Meters(acted=acted)
    envs = family.make_vec(family.sample("train", 2, seed=0))
    envs.reset(seed=0)
    inside = action_at(family.action_space, 1.0)
    with pytest.raises(gymnasium.error.InvalidAction, match="is not in"):
        envs.step(np.stack([inside, np.asarray(outside)]))
    envs.step(np.stack([inside, inside]))


@pytest.mark.parametrize(
    ("space", "named"),
    [
        (spaces.Box(-1, 1, (0,)), "(0,), float32), which"),
        (
            spaces.Dict({"seen": spaces.Discrete(2), "none": spaces.Box(0, 1, (0,))}),
            "(0,), float32) of part 'none'",
        ),
    ],
)
def test_observations_without_a_number_are_refused_before_an_agent_reads_them(space: Any, named: str) -> None:
    with pytest.raises(MetarlError) as caught:
        layout_of(space, "blind")
    assert named in str(caught.value) and "which holds no number; leave it out" in str(caught.value)


def test_actions_without_a_number_are_refused() -> None:
    with pytest.raises(MetarlError, match=r"'still' has action space .* which holds no number; give it one"):
        require_actions("still", spaces.Box(-1, 1, (2, 0)))


@pytest.mark.parametrize("acted", ACTIONS)
def test_random_actions_reach_all_of_the_space_and_nothing_else(acted: str) -> None:
    space = ACTIONS[acted]
    drawn = draw_actions(space, Streams.of(0, np.arange(2000)))
    assert ActionRange(space).holds(drawn)
    assert all(action in space for action in drawn[:20])
    if isinstance(space, spaces.Box):
        np.testing.assert_allclose([drawn.min(), drawn.max()], [-1.0, 1.0], atol=0.01)
    else:
        low, high = action_at(space, 0.0), action_at(space, 1.0)
        assert np.array_equal(drawn.min(axis=0), low) and np.array_equal(drawn.max(axis=0), high)
        np.testing.assert_allclose(drawn.mean(axis=0), (low + high) / 2, atol=0.15)
