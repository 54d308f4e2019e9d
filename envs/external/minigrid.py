"""MiniGrid: gridworlds with an unknown layout, seen through a small window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import seeding

from metarl.base.errors import MetarlError, did_you_mean
from metarl.base.streams import Streams
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Distribution
from metarl.families.family import register, required_package
from metarl.families.task import Horizon, Parameter

NUM_SEEDS = 2**53
"""Number of seeds. A float64 holds all of them exactly."""


@dataclass(frozen=True)
class Seeds(Distribution):
    """Seeds: whole numbers from 0 to 2^53 - 1 with equal chances. They are too many for two splits to share one."""

    shape = ()

    def __str__(self) -> str:
        return "whole number from 0 to 2^53 - 1"

    def sample(self, streams: Streams) -> np.ndarray:
        """Return float64 [n]."""
        return streams.integers(NUM_SEEDS).astype(np.float64)

    def contains(self, values: np.ndarray) -> np.ndarray:
        """Return bool [n]."""
        return (values >= 0) & (values < NUM_SEEDS) & (values == np.floor(values))


class Maze(gymnasium.Env[np.ndarray, np.int64]):
    """One layout of a MiniGrid environment. Obstacles that move are drawn again in each episode."""

    def __init__(self, env: Any, layout: int) -> None:
        self.env, self.layout = env, layout
        self.render_mode = env.render_mode
        size = env.observation_space["image"].shape
        # The largest numbers of an object, a colour and a door's state in minigrid.core.constants.
        cells = np.broadcast_to(np.array([10, 5, 3], dtype=np.float32), size)
        self.observation_space = spaces.Box(0, np.append(cells, np.ones(4, dtype=np.float32)), dtype=np.float32)
        self.action_space = env.action_space

    def _observation(self, seen: Mapping[str, Any]) -> np.ndarray:
        heading = np.arange(4) == seen["direction"]
        return np.append(seen["image"], heading).astype(np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin a new episode in the same layout."""
        super().reset(seed=seed)
        seen, info = self.env.reset(seed=self.layout)
        self.env.np_random, _ = seeding.np_random(seed)
        return self._observation(seen), info

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Step the environment. An episode that ends with a reward is a success."""
        seen, reward, terminated, truncated, _ = self.env.step(action)
        return self._observation(seen), float(reward), terminated, truncated, {"success": terminated and reward > 0}

    def render(self) -> Any:
        """Return MiniGrid's picture."""
        return self.env.render()

    def close(self) -> None:
        """Close MiniGrid's window."""
        self.env.close()


@register("minigrid")
@dataclass(frozen=True)
class MiniGrid(ClassFamily):
    """A gridworld with an unknown layout, seen through a window of 7 x 7 cells.

    | observation | meaning |
    |---|---|
    | 0 .. 146 | 7 x 7 cells before the agent, three numbers each: object 0-10, colour 0-5, state of a door 0-3 |
    | 147 .. 150 | heading east, south, west or north, one-hot |

    | action | meaning |
    |---|---|
    | 0, 1, 2 | turn left, turn right, go forward |
    | 3, 4, 5 | pick up, drop, toggle the object ahead |
    | 6 | nothing |

    Reward: 1 - 0.9 t / horizon in the step t that reaches the goal, which is a success and terminates, else 0. The text
    of the mission is not observed. Where it names an object to fetch, the agent must learn which from its rewards.
    Task: `layout`, a whole number that seeds MiniGrid's generator. The layout, the agent's start and the mission belong
    to the task and stay over resets. Obstacles that move are drawn again in each episode. The splits draw different
    seeds, but an unseen seed may give a layout that was seen, because small environments have few: 2,000 seeds give
    2,000 layouts of `four-rooms`, 2,000 of `multi-room`, 1,780 of `door-key`, 1,570 of `simple-crossing`. Setting
    `env_id` takes any of MiniGrid's environments. Presets have MiniGrid's steps an episode; another `horizon` changes
    the reward too. Needs `pip install minigrid`.
    """

    source = "Chevalier-Boisvert et al., Minigrid & Miniworld, NeurIPS 2023, github.com/Farama-Foundation/Minigrid"
    requires = "minigrid"
    shows_task = True
    presets = {
        "four-rooms": {},
        "simple-crossing": {"env_id": "MiniGrid-SimpleCrossingS11N5-v0", "horizon": 484},
        "multi-room": {"env_id": "MiniGrid-MultiRoom-N2-S4-v0", "horizon": 40},
        "door-key": {"env_id": "MiniGrid-DoorKey-8x8-v0", "horizon": 640},
        "fetch": {"env_id": "MiniGrid-Fetch-5x5-N2-v0", "horizon": 125},
    }
    parameters = {"layout": Parameter(Seeds(), meaning="seed of the layout, start and mission")}
    env_id: str = "MiniGrid-FourRooms-v0"
    horizon: Horizon = 100

    def make(self, task: dict[str, Any], render_mode: str | None) -> Maze:
        """Return the environment with the task's layout. Raises MetarlError for an unknown id and a wrong seed."""
        required_package(type(self))  # importing it registers its environments with Gymnasium
        known = [name for name in gymnasium.registry if name.startswith(("MiniGrid-", "BabyAI-"))]
        if self.env_id not in known:
            raise MetarlError(f"env_id {self.env_id!r} is not one of MiniGrid's; {did_you_mean(self.env_id, known)}")
        if not Seeds().contains(np.array([task["layout"]]))[0]:
            raise MetarlError(f"layout is {task['layout']:g}; it must be a whole number from 0 to 2^53 - 1")
        env: Any = gymnasium.make(self.env_id, render_mode=render_mode, disable_env_checker=True).unwrapped
        env.max_steps = self.horizon
        return Maze(env, int(task["layout"]))
