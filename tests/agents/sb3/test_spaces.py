"""Agents by stable-baselines3 on every kind of space: the library's own policies, updates and resumed runs."""

from __future__ import annotations

import copy
import importlib.util
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.agents.sb3.inputs import Inputs
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper

from metarl.adapters.stable_baselines3 import make_sb3_vec
from metarl.base.errors import MetarlError
from metarl.base.streams import generator
from metarl.checks.agent import AGENT_CHECKS, check_actions
from metarl.checks.at_once import check_threads
from metarl.checks.check import run_checks
from metarl.checks.probes import Subject
from metarl.families.layout import layout_of
from metarl.runs.config import TrainConfig
from metarl.runs.run import load_run
from metarl.training.train import meta_train
from metarl.trials.episodes import Trial
from metarl.trials.registered import AGENTS, make_agent
from metarl.trials.rollout import rounds_of, run_trial
from tests.agents.sb3.sights import SIGHTS, Sights
from tests.families.kinds import ACTIONS
from tests.small_runs import config

ON_POLICY = {"hidden_sizes": (8,), "n_epochs": 1}
SETTINGS: dict[str, dict[str, Any]] = {
    "sb3-ppo": ON_POLICY,
    "fine-tuned": {**ON_POLICY, "adapts": True},
    "sb3-ppo-oracle": ON_POLICY,
    "sb3-recurrent-ppo": {**ON_POLICY, "lstm_hidden_size": 8},
    "sb3-sac": {"hidden_sizes": (8,), "buffer_size": 100, "batch_size": 16, "gradient_steps": 2},
}
"""Every agent, as small as it gets."""
if importlib.util.find_spec("sb3_contrib") is None:
    del SETTINGS["sb3-recurrent-ppo"]
PAIRS = [*((seen, "box") for seen in SIGHTS), *(("dict", acted) for acted in ACTIONS if acted != "box")]
"""Every kind of observation, and every kind of action."""


def registered(name: str) -> str:
    return "sb3-ppo" if name == "fine-tuned" else name


def new_agent(name: str, family: Sights, **settings: Any) -> Any:
    return make_agent(registered(name), family, {**SETTINGS[name], **settings}, seed=0, device="cpu")


def a_trial(agent: Any, family: Sights, seed: int = 0) -> Trial:
    tasks = family.sample("train", 3, seed=0, start=3 * seed)
    return run_trial(agent, family.make_vec(tasks, 2, threads=0), 2, seed=seed)


def extractor(agent: Any) -> str:
    """Return the kind of the library's class that extracts an agent's features."""
    model = agent.ppo.model if hasattr(agent, "ppo") else agent.model
    network = model.actor if hasattr(model, "actor") else model.policy
    return type(network.features_extractor).__name__


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(("seen", "acted"), PAIRS)
def test_every_kind_of_space_is_played_and_learned_from_by_the_librarys_policy(
    name: str, seen: str, acted: str
) -> None:
    family = Sights(seen=seen, acted=acted)
    if name == "sb3-sac" and acted != "box":
        with pytest.raises(MetarlError, match=r"plays continuous actions only, not .*; take sb3-ppo$"):
            new_agent(name, family)
        return
    agent = new_agent(name, family)
    composed = isinstance(family.observation_space, (spaces.Dict, spaces.Tuple))
    is_vector = seen in ("vector", "floats")
    told = name in ("sb3-ppo-oracle", "sb3-recurrent-ppo") and not is_vector
    single = "NatureCNN" if seen in ("image", "channels-first") else "FlattenExtractor"
    assert extractor(agent) == ("CombinedExtractor" if composed or told else single)
    before = agent.state_dict()
    for update in range(2):
        assert np.isfinite(list(agent.update(a_trial(agent, family, update), generator(update)).values())).all()
    learned = {key: value for key, value in agent.state_dict().items() if not key.startswith("optimizer.")}
    assert not [key for key, value in learned.items() if key.endswith("weight") and torch.equal(value, before[key])]


@pytest.mark.parametrize("name", SETTINGS)
def test_agents_keep_every_rule_on_parts_of_every_kind(name: str) -> None:
    family = Sights(seen="nested", acted="box" if name == "sb3-sac" else "multi-discrete", horizon=3)
    subject = Subject(AGENTS[registered(name)], family, {**SETTINGS[name], "learning_rate": 1e-3})
    # What learners share does not depend on what they see; the registered agents are checked on threads.
    checks = [check for check in AGENT_CHECKS if check is not check_threads]
    assert run_checks(name, (check_actions, *checks), subject) == []


@pytest.mark.parametrize("name", SETTINGS)
def test_a_resumed_run_on_images_ends_in_the_same_bits(name: str, tmp_path: Path) -> None:
    family = {"name": "tests.agents.sb3.sights:Sights", "seen": "dict", "horizon": 4}
    agent = {"name": registered(name), **SETTINGS[name]}
    made = {**config(num_updates=2), "family": family, "agent": agent, "checkpoint_every": 1, "rounds": 1}
    made["evaluation"] = {"every": 1, "num_tasks": 2}
    through = meta_train(TrainConfig(**made), tmp_path / "through", progress=False)
    stopped = meta_train(TrainConfig(**{**made, "num_updates": 1}), tmp_path / "stopped", progress=False)
    meta_train(TrainConfig(**made), stopped, resume=True, progress=False)
    assert (through / "last.safetensors").read_bytes() == (stopped / "last.safetensors").read_bytes()
    assert load_run(through).family.observation_space == SIGHTS["dict"]


@pytest.mark.parametrize("seen", [seen for seen in SIGHTS if seen != "nested"])
def test_features_are_those_of_the_library_for_the_parts_of_an_observation(seen: str) -> None:
    family = Sights(seen=seen)
    inputs, layout = Inputs(family.observation_space), layout_of(family.observation_space)
    envs = family.make_vec(family.sample("train", 2, seed=0), 2, threads=0)
    raw, _ = envs.reset(seed=0)
    shown = preprocess_obs(inputs.tensors("cpu", layout.flatten(raw, (4,)).reshape(2, 2, *layout.shape)), inputs.space)
    parts = raw if isinstance(raw, tuple) else raw.values() if isinstance(raw, dict) else [raw]
    made = inner(family.observation_space)
    found = list(shown.values()) if isinstance(shown, dict) else [shown]
    for part, space, features in zip(parts, made, found, strict=True):
        for world in range(4):
            expected = by_hand(space, np.asarray(part[world]))
            np.testing.assert_allclose(features[world].numpy().ravel(), expected.ravel(), atol=1e-7)


def inner(space: spaces.Space[Any]) -> list[spaces.Space[Any]]:
    """Return the spaces of the parts."""
    if isinstance(space, spaces.Dict):
        return list(space.spaces.values())
    return list(space.spaces) if isinstance(space, spaces.Tuple) else [space]


def by_hand(space: Any, value: np.ndarray) -> np.ndarray:
    """Return the numbers that a network of the library reads of one observation, channels first."""
    match space:
        case spaces.Discrete():
            return np.eye(int(space.n))[int(value) - int(space.start)]
        case spaces.MultiDiscrete():
            return np.concatenate([np.eye(n)[v - s] for n, v, s in zip(space.nvec, value, space.start, strict=True)])
        case spaces.MultiBinary():
            return value
    if value.dtype != np.uint8:
        return value
    return (value if value.shape[0] < 36 else np.moveaxis(value, 2, 0)) / 255


class Numbered(VecEnvWrapper):
    """Parts of a Dict by number, and discrete ones from 0. The library itself moves the channels of images."""

    def __init__(self, venv: VecEnv) -> None:
        self.places = {name: str(i) for i, name in enumerate(cast(spaces.Dict, venv.observation_space).spaces)}
        shifted = {self.places[name]: self.space(part) for name, part in venv.observation_space.spaces.items()}  # type: ignore[attr-defined]
        super().__init__(venv, observation_space=spaces.Dict(shifted))

    @staticmethod
    def space(part: spaces.Space[Any]) -> spaces.Space[Any]:
        return spaces.Discrete(int(part.n)) if isinstance(part, spaces.Discrete) else part

    def shift(self, observations: Any) -> Any:
        inside = cast(spaces.Dict, self.venv.observation_space).spaces
        return {self.places[name]: part - getattr(inside[name], "start", 0) for name, part in observations.items()}

    def reset(self) -> Any:
        return self.shift(self.venv.reset())

    def step_wait(self) -> Any:
        observations, rewards, dones, infos = self.venv.step_wait()
        for info in infos:
            if "terminal_observation" in info:
                info["terminal_observation"] = self.shift(info["terminal_observation"])
        return self.shift(observations), rewards, dones, infos


def collect(agent: Any, family: Sights) -> tuple[Any, Any, int]:
    """Return a trial of one world, the library's model of before, in its own environment, and the number of steps."""
    tasks = family.sample("train", 1, seed=1)
    trial = run_trial(agent, family.make_vec(tasks, 1, threads=0), 5, seed=3)
    theirs, env = copy.deepcopy(agent.model), make_sb3_vec(family, 1, tasks=tasks, seed=3)
    theirs.set_env(Numbered(env) if isinstance(family.observation_space, spaces.Dict) else env)
    return trial, theirs, sum(len(episodes.rewards) for episodes in trial.rounds)


@pytest.mark.parametrize("seen", ["image", "dict"])
@pytest.mark.parametrize("acted", ["box", "multi-binary"])
def test_an_update_of_ppo_is_the_librarys_on_what_it_collects_itself(seen: str, acted: str) -> None:
    family = Sights(seen=seen, acted=acted)
    agent = new_agent("sb3-ppo", family, batch_size=7)
    trial, theirs, steps = collect(agent, family)
    played = iter(np.concatenate([episodes.actions[:, 0, 0] for episodes in trial.rounds]))
    policy, original = theirs.policy, theirs.policy.forward

    def forward(observations: Any, deterministic: bool = False) -> tuple[torch.Tensor, ...]:
        action = torch.as_tensor(np.asarray(next(played), dtype=np.float32))[None]
        return action, *policy.evaluate_actions(observations, action)[:2]

    policy.forward = forward
    theirs.rollout_buffer = type(theirs.rollout_buffer)(
        steps, theirs.observation_space, theirs.action_space, "cpu", theirs.gae_lambda, theirs.gamma
    )
    _, callback = theirs._setup_learn(steps, None)
    assert theirs.collect_rollouts(theirs.env, callback, theirs.rollout_buffer, steps)
    policy.forward = original
    np.random.seed(int(generator(5).integers(2**32)))  # noqa: NPY002 -- the library shuffles by it
    theirs.train()
    agent.update(trial, generator(5))
    for (name, mine), other in zip(agent.model.policy.named_parameters(), policy.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("seen", ["image", "dict"])
def test_an_update_of_sac_is_the_librarys_on_what_it_collects_itself(seen: str) -> None:
    family = Sights(seen=seen)
    agent = new_agent("sb3-sac", family)
    trial, theirs, steps = collect(agent, family)
    played = iter(np.concatenate([episodes.actions[:, 0, 0] for episodes in trial.rounds]))
    theirs.predict = lambda *_, **__: (next(played)[None], None)
    _, callback = theirs._setup_learn(steps, None)
    buffer = theirs.replay_buffer
    theirs.collect_rollouts(theirs.env, callback, TrainFreq(steps, TrainFrequencyUnit.STEP), buffer, learning_starts=0)
    rng = generator(5)
    np.random.seed(int(rng.integers(2**32)))  # noqa: NPY002 -- the library draws minibatches by it
    torch.manual_seed(int(rng.integers(2**63)))
    theirs.train(2, 16)
    agent.update(trial, generator(5))
    mine = agent.model.replay_buffer
    assert mine.pos == buffer.pos == steps
    for name in ("observations", "next_observations"):
        ours, others = getattr(mine, name), getattr(buffer, name)
        for key in ours if isinstance(ours, dict) else [...]:
            np.testing.assert_array_equal(ours[key], others[key], err_msg=name)
    for (name, parameter), other in zip(agent.model.policy.named_parameters(), theirs.policy.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.skipif("sb3-recurrent-ppo" not in SETTINGS, reason="sb3-contrib is not installed")
def test_a_memory_reads_parts_and_what_happened_before_as_a_loop_of_the_library_does() -> None:
    family = Sights(seen="dict", acted="multi-discrete")
    agent = new_agent("sb3-recurrent-ppo", family)
    with torch.no_grad():
        agent.policy.action_net.weight.mul_(100)  # so that what it reads decides what it does
    envs = family.make_vec(family.sample("train", 3, seed=0), 1, threads=0)
    rounds = tuple(itertools.islice(rounds_of(agent, envs, seed=0, deterministic=True), 2))
    trial = replace(run_trial(agent, envs, 2, seed=0), rounds=rounds)
    buffer, layout, row = agent.buffer(trial), layout_of(family.observation_space), 0
    for task in range(3):
        told, state = np.zeros(14, dtype=np.float32), None
        for episodes in trial.rounds:
            for t in range(int(episodes.lengths[task, 0])):
                seen = layout.unflatten(episodes.observations[t, task])
                camera = np.moveaxis(seen["camera"], 3, 1)
                parts = {"0": camera, "1": seen["place"], "2": seen["way"] - 1, "told": told[None]}
                for key, part in parts.items():
                    np.testing.assert_array_equal(buffer.observations[key][row].ravel(), part.ravel(), err_msg=key)
                index, state = agent.policy.predict(parts, state=state, deterministic=True)
                action = episodes.actions[t, task, 0]
                np.testing.assert_array_equal(index[0], action.ravel())
                chosen = np.concatenate([np.eye(n)[i] for n, i in zip([2, 3, 2, 4], index[0], strict=True)])
                ends = episodes.terminations[t, task, 0], episodes.truncations[t, task, 0]
                told = np.array([*chosen, episodes.rewards[t, task, 0], *ends], dtype=np.float32)
                row += 1
    assert row == buffer.buffer_size
    assert len({int(n) for episodes in trial.rounds for n in episodes.lengths.flat}) > 1


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("small", [(35, 36, 3), (1, 36, 35)])
def test_images_below_the_least_size_are_refused_with_the_remedy(
    name: str, small: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = spaces.Box(0, 255, small, dtype=np.uint8)
    for space in (image, spaces.Dict({"camera": image})):
        monkeypatch.setitem(SIGHTS, "small", space)  # type: ignore[arg-type]
        with pytest.raises(MetarlError, match=r"at least 36 x 36 pixels.*ResizeObservation.*or take rl2"):
            new_agent(name, Sights(seen="small"))
