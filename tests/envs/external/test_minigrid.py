"""MiniGrid: the layout stays with the task, the window hides the rest, and the reward is the original's."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from typing import Any

import gymnasium
import numpy as np
import pytest
from metarl.envs.external.minigrid import NUM_SEEDS, MiniGrid, Seeds

from metarl.adapters.gymnasium import SingleEnv
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.checks.check import check_family
from metarl.families.family import missing_requirement
from metarl.families.load import load

PRESETS = list(MiniGrid.presets)


@pytest.fixture
def minigrid() -> Any:
    return pytest.importorskip("minigrid")


def test_missing_package_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "minigrid", None)
    assert missing_requirement(MiniGrid).endswith("pip install minigrid")
    with pytest.raises(MetarlError, match="family 'minigrid' needs package 'minigrid'") as caught:
        _ = load("minigrid").observation_space
    assert "\n" not in str(caught.value)


def test_module_imports_and_draws_tasks_without_the_package() -> None:
    code = (
        "import sys; sys.modules['minigrid'] = None; from metarl.envs.external.minigrid import MiniGrid; "
        "print(len(MiniGrid().sample('test', 3, seed=0)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "3"


def test_seeds_are_whole_exact_and_too_many_to_meet() -> None:
    drawn = Seeds().sample(Streams.of(0, np.arange(10_000)))
    assert Seeds().contains(drawn).all()
    assert len(np.unique(drawn)) == 10_000
    np.testing.assert_array_equal(Seeds().contains(np.array([-1.0, 0.5, NUM_SEEDS])), False)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_keeps_the_rules(minigrid: Any, preset: str) -> None:
    assert check_family(load("minigrid", preset)) == []


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_has_the_steps_and_the_episode_of_the_original(minigrid: Any, preset: str) -> None:
    family = load("minigrid", preset)
    original: Any = gymnasium.make(family.env_id, disable_env_checker=True).unwrapped  # type: ignore[attr-defined]
    assert original.max_steps == family.horizon
    env = SingleEnv(family, {"layout": 7})
    observation, _ = env.reset(seed=1)
    seen, _ = original.reset(seed=7)
    rng, ended = np.random.default_rng(0), False
    while not ended:
        np.testing.assert_array_equal(observation[:-4].reshape(seen["image"].shape), seen["image"])
        assert observation[-4:].argmax() == seen["direction"] and observation[-4:].sum() == 1
        action = int(rng.integers(7))
        observation, reward, terminated, truncated, info = env.step(action)
        seen, *rest, _ = original.step(action)
        assert (reward, terminated, truncated) == (pytest.approx(rest[0]), rest[1], rest[2] and not rest[1])
        assert info["success"] == (rest[0] > 0)
        ended = terminated or truncated


def route(env: Any) -> list[int]:
    """Return the actions of a shortest way to the goal, found on the full map."""
    start = (*(int(x) for x in env.agent_pos), env.agent_dir)
    came: dict[tuple[int, ...], tuple[tuple[int, ...], int] | None] = {start: None}
    queue = deque([start])
    while queue:
        x, y, heading = at = queue.popleft()
        cell = env.grid.get(x, y)
        if cell is not None and cell.type == "goal":
            actions = []
            while (step := came[at]) is not None:
                at = step[0]
                actions.append(step[1])
            return actions[::-1]
        dx, dy = [(1, 0), (0, 1), (-1, 0), (0, -1)][heading]
        ahead = env.grid.get(x + dx, y + dy)
        free = ahead is None or ahead.type == "goal"
        nexts = [(x, y, (heading - 1) % 4), (x, y, (heading + 1) % 4), (x + dx * free, y + dy * free, heading)]
        for action, after in enumerate(nexts):
            if after not in came:
                came[after] = (at, action)
                queue.append(after)
    raise AssertionError("no way to the goal")


@pytest.mark.parametrize("preset", ["four-rooms", "simple-crossing"])
def test_shortest_way_is_a_success_in_unseen_layouts_and_the_layout_stays(minigrid: Any, preset: str) -> None:
    family = load("minigrid", preset)
    tasks = family.sample("test", 5, seed=0)
    for task in tasks:
        env = SingleEnv(family, task)
        env.reset(seed=0)
        maze: Any = env._envs.batch.envs[0].env  # type: ignore[attr-defined]
        way = route(maze)
        for seed in (0, 1):
            env.reset(seed=seed)
            for action in way:
                _, reward, terminated, _, info = env.step(action)
            assert terminated and info["success"]
            assert reward == pytest.approx(1 - 0.9 * len(way) / family.horizon)


def test_splits_hold_other_layouts(minigrid: Any) -> None:
    family = load("minigrid")

    def maps(split: str) -> set[str]:
        envs = family.make_vec(family.sample(split, 50, seed=0))
        envs.reset(seed=0)
        return {maze.env.hash() for maze in envs.batch.envs}  # type: ignore[attr-defined]

    train, test = maps("train"), maps("test")
    assert len(train) == len(test) == 50
    assert not train & test


def test_what_moves_by_itself_differs_between_episodes(minigrid: Any) -> None:
    family = load("minigrid", env_id="MiniGrid-Dynamic-Obstacles-8x8-v0")
    envs = family.make_vec(family.tasks({"layout": 3}), 20)
    first, _ = envs.reset(seed=0)
    assert (first == first[0]).all()
    turned = [envs.step(np.ones(20, dtype=np.int64))[0] for _ in range(4)]
    assert not all((seen == seen[0]).all() for seen in turned)


@pytest.mark.parametrize(
    ("settings", "layout", "words"),
    [
        ({"env_id": "MiniGrid-FourRoom-v0"}, 1, "did you mean 'MiniGrid-FourRooms-v0'?"),
        ({}, 0.5, "whole number"),
        ({}, -1, "whole number"),
    ],
)
def test_bad_environment_or_layout_is_told_in_one_line(
    minigrid: Any, settings: dict[str, Any], layout: float, words: str
) -> None:
    family = load("minigrid", **settings)
    with pytest.raises(MetarlError) as caught:
        SingleEnv(family, {"layout": layout})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_picture_is_minigrids_own(minigrid: Any) -> None:
    env = SingleEnv(load("minigrid"), {"layout": 7}, render_mode="rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture is not None and picture.dtype == np.uint8 and picture.std() > 0
