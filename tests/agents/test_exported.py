"""A policy that was exported acts, in a loop that does not know metarl, as it does here."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarl.base.errors import MetarlError
from metarl.base.streams import generator
from metarl.trials.policy import Policy
from metarl.trials.registered import AGENTS, make_agent
from metarl.trials.rollout import run_trial
from tests.families.kinds import Meters, shown
from tests.places import ROOT

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]

NEEDS_ONNX = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="onnx, onnxscript and onnxruntime are not installed",
)
EPISODES = 3


def learned(name: str, family: Meters, settings: dict[str, Any]) -> Any:
    """Return an agent after an update, so that it has moments to scale by, with outputs that differ a lot."""
    agent: Any = make_agent(name, family, settings, seed=0, device="cpu")
    trial = run_trial(agent, family.make_vec(family.sample("train", 3, seed=0), 2), 2, seed=0, training=True)
    agent.update(trial, generator(0))
    with torch.no_grad():
        if name == "rl2":
            agent.network.policy.weight *= 20
        else:
            agent.parameters[agent.objective.policy.last_layers(1)[0]] *= 20
    return agent


def load(path: Path) -> tuple[Run, dict[str, Any]]:
    """Return what a file computes, and its metadata, as somebody without metarl has them."""
    if path.suffix == ".pt2":
        extra = {"metarl.json": ""}
        module = torch.export.load(path, extra_files=extra).module()

        def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            outputs = module({name: torch.as_tensor(value) for name, value in inputs.items()})
            return {name: value.detach().numpy() for name, value in outputs.items()}

        return run, json.loads(extra["metarl.json"])
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    metadata = json.loads(session.get_modelmeta().custom_metadata_map["metarl.json"])
    return lambda inputs: dict(zip(names, session.run(None, dict(inputs)), strict=True)), metadata


def observed(observation: Any, metadata: dict[str, Any], name: str = "observation") -> dict[str, np.ndarray]:
    """Return a raw observation as the inputs of a batch of one."""
    if isinstance(observation, (dict, tuple)):
        items = observation.items() if isinstance(observation, dict) else enumerate(observation)
        return {k: v for key, each in items for k, v in observed(each, metadata, f"{name}_{key}").items()}
    return {name: np.asarray(observation, dtype=metadata["inputs"][name]["dtype"])[None]}


def spied(policy: Policy) -> list[np.ndarray]:
    """Return a list that grows by the network's outputs at every deterministic action, [replica, number]."""
    agent: Any = policy.agent
    head = agent.head if hasattr(agent, "head") else agent.objective.head
    seen: list[np.ndarray] = []
    mode = type(head).mode

    def spy(outputs: torch.Tensor) -> np.ndarray:
        seen.append(outputs[0].numpy())
        return mode(head, outputs)

    head.mode = spy
    return seen


def parameters_of(outputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return the distribution's parameters as the network has them; the boxes of these tests are from -1 to 1."""
    if "action_logits" in outputs:
        return outputs["action_logits"][0]
    return np.concatenate([outputs["action_mean"][0], np.log(outputs["action_std"][0])])


def compare(policy: Policy, path: Path) -> None:
    """Play a trial by the policy and by the file. Actions and distributions must be the same at every step."""
    run, metadata = load(path)
    assert metadata["agent"] in AGENTS  # the name that a config writes, not that of the class
    seen, replicas = spied(policy), policy.episodes_per_round
    inputs = metadata["inputs"]
    blank = {name: np.zeros([1, *each["shape"][1:]], dtype=each["dtype"]) for name, each in inputs.items()}
    carried = {name: value for name, value in blank.items() if not name.startswith("observation")}
    env = Meters.make(policy.family, {"wanted": 0.7}, None)  # type: ignore[arg-type]
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=episode)
        reward = 0.0
        for _ in range(policy.family.horizon):
            wanted = policy.act(observation, reward)
            outputs = run({**observed(observation, metadata), **carried})
            assert outputs["action"].dtype == policy.family.action_space.dtype
            np.testing.assert_allclose(outputs["action"][0], wanted, rtol=0, atol=1e-5)
            np.testing.assert_allclose(parameters_of(outputs), seen[-1][episode % replicas], rtol=0, atol=1e-5)
            observation, reward = env.step(wanted)[:2]
            reward = 3.0 * float(reward) - 1.0
            if metadata["state"]:
                carried = {name: outputs[following] for name, following in metadata["state"].items()}
                carried["previous_action"] = outputs["action"]
                if "previous_reward" in inputs:
                    carried["previous_reward"] = np.array([reward])
                carried["previous_terminated"] = carried["previous_truncated"] = np.array([False])
        terminated = episode % 2 == 0
        policy.end_episode(observation, reward, terminated=terminated, truncated=True)
        if metadata["state"]:
            carried["previous_terminated"] = np.array([terminated])
            carried["previous_truncated"] = np.array([True])
    assert np.ptp(seen, axis=0)[0].max() > 0.05, "all outputs are about the same: nothing was compared"


MEMORIES = {
    "gru": {"memory": {"name": "gru", "hidden_size": 8, "num_layers": 2}},
    "lstm": {"memory": {"name": "lstm", "hidden_size": 8, "num_layers": 2}},
    "none": {"memory": {"name": "none", "hidden_size": 8, "num_layers": 2}},
    "without scaling": {"memory": {"name": "gru", "hidden_size": 8}, "normalize_inputs": False},
    "without rewards": {"memory": {"name": "gru", "hidden_size": 8}, "reads_rewards": False},
    "informed": {"memory": "lstm", "critic": "informed", "inference_coef": 0.5, "dtype": "float64"},
}


@pytest.mark.parametrize(
    ("memory", "seen", "acted", "suffix"),
    [
        # A gru and a box are in others too.
        pytest.param("gru", "vector", "box", ".pt2", marks=pytest.mark.slow),
        ("lstm", "dict", "discrete", ".pt2"),
        ("none", "dict", "box", ".pt2"),
        ("gru", "tuple", "multi-discrete", ".pt2"),
        ("without scaling", "multi-discrete", "multi-binary", ".pt2"),
        ("informed", "floats", "box", ".pt2"),
        ("without rewards", "vector", "discrete", ".pt2"),
        ("without rewards", "discrete", "box", ".pt2"),
        # Seconds each: torch translates the program. What the first has is in others: a gru in .pt2, an lstm in .onnx,
        # and an observation of parts in .onnx in the next test.
        pytest.param("gru", "dict", "multi-discrete", ".onnx", marks=[NEEDS_ONNX, pytest.mark.slow]),
        pytest.param("lstm", "discrete", "box", ".onnx", marks=NEEDS_ONNX),
    ],
)
def test_an_exported_memory_acts_as_the_policy_does_over_a_whole_trial(
    memory: str, seen: str, acted: str, suffix: str, tmp_path: Path
) -> None:
    family = Meters(seen=seen, acted=acted)
    policy = Policy(learned("rl2", family, MEMORIES[memory]), family, deterministic=True)
    policy.export(path := tmp_path / f"step{suffix}")
    compare(policy, path)


@pytest.mark.parametrize(
    ("settings", "seen", "acted", "suffix"),
    [
        ({"normalize_observations": True}, "vector", "box", ".pt2"),
        ({"adapts": {"name": "context"}}, "vector", "discrete", ".pt2"),
        pytest.param({"adapts": {"name": "latent"}}, "dict", "multi-discrete", ".pt2", marks=pytest.mark.slow),
        pytest.param({"normalize_observations": True, "inner_lr": 0.3}, "tuple", "box", ".onnx", marks=NEEDS_ONNX),
    ],
)
def test_an_exported_policy_acts_as_it_has_adapted(
    settings: dict[str, Any], seen: str, acted: str, suffix: str, tmp_path: Path
) -> None:
    family = Meters(seen=seen, acted=acted)
    agent = learned("maml-ppo", family, {"inner_lr": 2.0, "hidden_sizes": [8], **settings})
    policy = Policy(agent, family, episodes_per_round=2)
    policy.export(before := tmp_path / f"before{suffix}")
    env = Meters.make(family, {"wanted": 0.7}, None)
    for episode in range(2):
        observation, _ = env.reset(seed=episode)
        reward = 0.0
        for _ in range(family.horizon):
            observation, reward, *_ = env.step(policy.act(observation, reward))
        policy.end_episode(observation, float(reward), truncated=True)
    policy.freeze()
    policy.deterministic = True
    policy.export(after := tmp_path / f"after{suffix}")
    compare(policy, after)
    policy.reset()
    policy.freeze()
    compare(policy, before)
    both = []
    for path in (before, after):
        run, metadata = load(path)
        outputs = run(observed(shown(family.observation_space, 0.3), metadata))
        both.append(outputs["action_mean" if acted == "box" else "action_logits"])
    assert metadata["rounds"] == 1 and metadata["family"] == "meters"
    assert np.abs(both[0] - both[1]).max() > 1e-3, "the adaptation changed nothing"


def test_an_exported_step_takes_any_batch_and_gives_what_samples_come_from(tmp_path: Path) -> None:
    family = Meters()
    agent = learned("maml-ppo", family, {"hidden_sizes": [8]})
    Policy(agent, family).export(path := tmp_path / "step.pt2")
    run, _ = load(path)
    observations = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    outputs = run({"observation": observations})
    for row in range(5):
        alone = run({"observation": observations[row : row + 1]})
        np.testing.assert_allclose(alone["action"][0], outputs["action"][row], atol=1e-6)
    np.testing.assert_allclose(outputs["action"], outputs["action_mean"].clip(-1, 1), atol=1e-6)
    log_std = agent.parameters["log_std"].detach().numpy()
    np.testing.assert_allclose(outputs["action_std"], np.exp(log_std)[None].repeat(5, 0), rtol=1e-6)


ALONE = """
import sys
import numpy as np, torch
sys.modules["metarl"] = None  # so that an import fails
step = torch.export.load(sys.argv[1]).module()
print(step({"observation": torch.tensor([[0.25, 0.5]])})["action"].tolist())
"""


def test_an_exported_program_runs_where_metarl_is_not(tmp_path: Path) -> None:
    family = Meters()
    policy = Policy(learned("maml-ppo", family, {"hidden_sizes": [8]}), family, deterministic=True)
    policy.export(path := tmp_path / "step.pt2")
    words = [sys.executable, "-W", "error", "-c", ALONE, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0 and str(ROOT) not in done.stderr, done.stderr
    policy.freeze()
    np.testing.assert_allclose(json.loads(done.stdout)[0], policy.act(np.float32([0.25, 0.5])), atol=1e-5)


@pytest.mark.parametrize(
    ("agent", "settings", "file", "message"),
    [
        ("random", {}, "step.pt2", "agent 'random' cannot be exported: its policy is no module of torch"),
        ("rl2", {"memory": "transformer"}, "step.pt2", "memory 'transformer' cannot be exported: .* agent.memory=gru"),
        ("rl2", {"memory": "linear"}, "step.pt2", "memory 'linear' cannot be exported"),
        ("rl2", {}, "step.pt", r"step.pt ends in '.pt'; a policy is exported to a file that ends in .onnx, or in .pt2"),
        ("rl2", {}, "step", "ends in ''"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(
    agent: str, settings: dict[str, Any], file: str, message: str, tmp_path: Path
) -> None:
    family = Meters()
    policy = Policy(make_agent(agent, family, settings, device="cpu"), family)
    with pytest.raises(MetarlError, match=message) as caught:
        policy.export(tmp_path / file)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_of_several_environments_one_is_named(tmp_path: Path) -> None:
    family = Meters()
    policy = Policy(make_agent("maml-ppo", family, device="cpu"), family, num_envs=2)
    with pytest.raises(MetarlError, match=r"plays 2 environments, each with a task of its own; .* such as env=0"):
        policy.export(tmp_path / "step.pt2")
    with pytest.raises(MetarlError, match="env is 2; it must be from 0 to 1"):
        policy.export(tmp_path / "step.pt2", env=2)
    policy.export(tmp_path / "step.pt2", env=1)
    assert (tmp_path / "step.pt2").is_file()


def test_onnx_without_its_packages_is_refused_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = Meters()
    policy = Policy(make_agent("maml-ppo", family, device="cpu"), family)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MetarlError, match="needs package onnx and onnxscript, which is not installed; pip install"):
        policy.export(tmp_path / "step.onnx")
