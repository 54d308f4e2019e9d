"""Models that users trained on images and other spaces: measured as the library's own loop measures them."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.torch_layers import NatureCNN
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecTransposeImage

from metarl.adapters.gymnasium import SingleEnv
from metarl.adapters.stable_baselines3 import make_sb3_vec
from metarl.base.streams import Streams
from metarl.cli.main import main
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.record import Evaluation
from metarl.families.batch import State
from metarl.families.task import Values
from metarl.trials.registered import make_agent
from tests.agents.sb3.sights import FLOATS, SIGHTS, Sights
from tests.families.kinds import ACTIONS

SMALL: dict[str, Any] = {"policy_kwargs": {"net_arch": [8]}}
OFF_POLICY: dict[str, Any] = {**SMALL, "buffer_size": 10}
APART: dict[str, Any] = {"share_features_extractor": False, "features_extractor_kwargs": {"features_dim": 16}}
UNSCALED: dict[str, Any] = {"policy_kwargs": {"normalize_images": False}}
NAMED: dict[str, Any] = {"policy_kwargs": {"features_extractor_class": NatureCNN, "net_arch": [8]}}


@dataclass(frozen=True)
class Certain(Sights):
    """The same without chance: the task says where an episode begins."""

    name: ClassVar[str] = "certain"

    def initial(self, task: Values, streams: Streams) -> State:
        return {"level": 0.8 * task["wanted"], "place": np.zeros(streams.shape)}


def own_env(family: Certain, task: Mapping[str, Any] | None = None) -> VecEnv:
    """Return a user's own environment: channels last become channels first by the library's wrapper."""
    if family.seen in ("discrete", "multi-discrete", "tuple", "dict"):
        return make_sb3_vec(family, 1, tasks=[task] if task else None)
    env: VecEnv = DummyVecEnv([lambda: SingleEnv(family, task)])
    space = family.observation_space
    images = list(space.spaces.values()) if isinstance(space, spaces.Dict) else [space]
    return VecTransposeImage(env) if any(each.shape == (36, 40, 3) for each in images) else env


def saved(path: Path, cls: Any, policy: str, family: Certain, **settings: Any) -> Any:
    """Save a model whose actions depend strongly on what it sees, and return it."""
    model = cls(
        policy, own_env(family), device="cpu", seed=1, **copy.deepcopy(settings)
    )  # the library writes into them
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.policy.named_parameters():
            if name.endswith("weight"):
                scale = parameter[0].numel() ** -0.5
                parameter.copy_(scale * torch.randn(parameter.shape, generator=draws))
    model.save(path)
    return model


def own_loop(model: Any, family: Certain, num_tasks: int) -> tuple[list[float], list[Any]]:
    """Return the return of an episode in each test task, and the actions, by the library's `predict`."""
    returns, actions = [], []
    for task in family.sample("test", num_tasks, seed=0):
        env, total, ended = own_env(family, task), 0.0, False
        observations = env.reset()
        while not ended:
            action, _ = model.predict(observations, deterministic=True)  # which moves channels, where nothing has
            actions.append(action[0])
            observations, rewards, dones, _ = env.step(action)
            total, ended = total + float(rewards[0]), bool(dones[0])
        returns.append(total)
    return returns, actions


CASES = [
    (PPO, "CnnPolicy", "image", "box", SMALL),
    (PPO, "CnnPolicy", "channels-first", "box", {"policy_kwargs": APART}),
    (PPO, "CnnPolicy", "unscaled", "box", UNSCALED),
    (PPO, "MlpPolicy", "image", "box", SMALL),
    (PPO, "MlpPolicy", "image", "box", NAMED),
    (PPO, "MlpPolicy", "floats", "box", SMALL),
    (PPO, "MlpPolicy", "from-zero", "box", SMALL),
    (PPO, "MlpPolicy", "choices", "multi-binary", SMALL),
    (PPO, "MultiInputPolicy", "plain", "box", SMALL),
    (A2C, "MultiInputPolicy", "flat", "multi-binary", {}),
    (A2C, "CnnPolicy", "image", "box", {}),
    (SAC, "CnnPolicy", "image", "box", OFF_POLICY),
    (SAC, "MultiInputPolicy", "plain", "box", OFF_POLICY),
    (TD3, "CnnPolicy", "image", "box", OFF_POLICY),
    (TD3, "MultiInputPolicy", "flat", "box", OFF_POLICY),
    (DQN, "CnnPolicy", "image", "from-zero", {"buffer_size": 10}),
    (DQN, "MultiInputPolicy", "plain", "from-zero", OFF_POLICY),
    # What the library takes only as `make_sb3_vec` shows it: from 0, of rank 1, a Tuple as a Dict.
    (PPO, "MlpPolicy", "discrete", "multi-discrete", SMALL),
    (PPO, "MlpPolicy", "multi-discrete", "discrete", SMALL),
    (PPO, "MultiInputPolicy", "tuple", "box", SMALL),
    (DQN, "MultiInputPolicy", "dict", "discrete", OFF_POLICY),
]


@pytest.fixture(autouse=True)
def from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add spaces that the library takes as they are: it counts from 0."""
    monkeypatch.setitem(SIGHTS, "unscaled", FLOATS)  # type: ignore[arg-type]
    monkeypatch.setitem(SIGHTS, "from-zero", spaces.Discrete(7))  # type: ignore[arg-type]
    monkeypatch.setitem(SIGHTS, "choices", spaces.MultiDiscrete([3, 5]))  # type: ignore[arg-type]
    monkeypatch.setitem(ACTIONS, "from-zero", spaces.Discrete(4))  # type: ignore[arg-type]


@pytest.mark.parametrize(("cls", "policy", "seen", "acted", "settings"), CASES)
def test_a_saved_model_earns_what_it_earns_in_the_librarys_own_loop(
    cls: Any, policy: str, seen: str, acted: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    family = Certain(seen=seen, acted=acted)
    model = saved(tmp_path / "model.zip", cls, policy, family, **settings)
    returns, actions = own_loop(model, family, 4)
    assert len({np.asarray(action).tobytes() for action in actions}) > 1  # else any order of the pixels would do
    agent = make_agent("metarl.agents.sb3.model:SB3Model", family, {"path": str(tmp_path / "model.zip")}, device="cpu")
    for deterministic in (False, True):
        told = evaluate(agent, family, num_tasks=4, rounds=2, replicas=1, seed=0, deterministic=deterministic)
        np.testing.assert_allclose(told.returns, np.repeat(np.array(returns)[:, None], 2, axis=1), atol=1e-2)


def test_evaluate_measures_a_saved_model_alike_with_deterministic_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    family = Certain(seen="plain")
    returns, _ = own_loop(saved(tmp_path / "model.zip", PPO, "MultiInputPolicy", family), family, 3)
    words = ["evaluate", "--family", "tests.agents.sb3.test_saved_spaces:Certain", "family.seen=plain"]
    words += ["--agent", "sb3:model.zip", "--tasks", "3", "--rounds", "2", "--replicas", "2"]
    for option in ([], ["--deterministic"]):
        assert main([*words, *option, "--json", "told.json"]) == 0
        told = Evaluation.load(Path("told.json"))
        assert told.plan.deterministic == bool(option)
        np.testing.assert_allclose(told.returns, np.repeat(np.array(returns)[:, None], 2, axis=1), atol=1e-2)
