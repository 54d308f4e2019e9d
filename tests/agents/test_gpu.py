"""The same agents on a GPU: run with `pytest -m gpu`."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch

from metarl.base.streams import generator
from metarl.families.load import load
from metarl.trials.registered import make_agent, missing_package
from metarl.trials.rollout import run_trial

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")]

DEVICES = ("cpu", "cuda")
AGENTS = {
    **{
        name: (name, {})
        for name in ("maml-ppo", "maml-trpo", "promp", "meta-sgd", "cavia", "latent-maml", "reptile", "rl2", "varibad")
    },
    **{
        f"rl2-{memory}": ("rl2", {"memory": memory, "bptt_steps": 5})
        for memory in ("lstm", "transformer", "linear", "associative")
    },
}
FAMILIES = ["navigation-2d", "bernoulli-bandit"]
BLOCKS = {"name": "blocks", "channels": [8, 8]}
ANSWERING: dict[str, tuple[str, dict[str, Any]]] = {
    "maml": ("maml", {}),
    "maml-first-order": ("maml", {"outer": {"name": "adam", "meta_gradient": "first-order"}}),
    "maml-reptile": ("maml", {"outer": "reptile"}),
    "maml-context": ("maml", {"adapts": "context", "task_chunk_size": 2}),
    "ridge": ("ridge", {}),
    "neural-process": ("neural-process", {}),
    "leo": ("leo", {}),
    "kernel-regression": ("kernel-regression", {}),
    "prototypes": ("prototypes", {}),
    "pretrained-classifier": ("pretrained-classifier", {}),
    "matching": ("prototypes", {"compares": "examples", "distance": "cosine"}),
    **{f"rl2-{memory}": ("rl2", {"learns_from": "targets", "memory": memory}) for memory in ("lstm", "transformer")},
}
"""Agents that learn from right answers."""
QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "numbers": ("sinusoid", {}),
    "images": ("image-classes", {"ways": 3, "queries": 4}),
    "texts": ("text-classes", {"ways": 3, "queries": 4, "length": 8}),
}
"""Families of questions whose observations and answers are of every kind."""


def both(name: str, family: str) -> tuple[Any, Any]:
    made, (agent, settings) = load(family, horizon=8), AGENTS[name]
    on_cpu, on_gpu = (
        make_agent(agent, made, {"dtype": "float64", **settings}, seed=2, device=device) for device in DEVICES
    )
    return on_cpu, on_gpu


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_gpu_plays_and_learns_what_the_cpu_does(name: str, family: str) -> None:
    on_cpu, on_gpu = both(name, family)
    made = load(family, horizon=8)
    envs = made.make_vec(made.sample("train", 6, seed=0), 3)
    for update in range(3):
        trials = [run_trial(agent, envs, 3, seed=update) for agent in (on_cpu, on_gpu)]
        np.testing.assert_allclose(trials[0].returns, trials[1].returns, atol=1e-5)
        metrics = [
            agent.update(trial, generator(update)) for agent, trial in zip((on_cpu, on_gpu), trials, strict=True)
        ]
        for key in metrics[0]:
            assert metrics[0][key] == pytest.approx(metrics[1][key], rel=1e-4, abs=1e-6), key
    for key, value in on_cpu.state_dict().items():
        torch.testing.assert_close(on_gpu.state_dict()[key].cpu(), value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ANSWERING)
@pytest.mark.parametrize("questions", QUESTIONS)
def test_gpu_answers_and_learns_from_right_answers_as_the_cpu_does(name: str, questions: str) -> None:
    (agent, settings), (family, others) = ANSWERING[name], QUESTIONS[questions]
    if agent in ("prototypes", "pretrained-classifier") and questions == "numbers":
        pytest.skip("it answers with classes")
    if agent == "kernel-regression" and questions != "numbers":
        pytest.skip("it answers with numbers")
    made = load(family, **others, reveal="step" if agent == "rl2" else "round")
    encoder = {"encoder": BLOCKS} if questions == "images" else {}
    on_cpu, on_gpu = (
        make_agent(agent, made, {"dtype": "float64", **encoder, **settings}, seed=2, device=device)
        for device in DEVICES
    )
    with contextlib.closing(made.make_vec(made.sample("train", 4, seed=0))) as envs:
        for update in range(2):
            trials = [run_trial(each, envs, 2, seed=update, training=True) for each in (on_cpu, on_gpu)]
            metrics = [
                each.update(trial, generator(update)) for each, trial in zip((on_cpu, on_gpu), trials, strict=True)
            ]
            assert metrics[0].keys() == metrics[1].keys()
            for key in metrics[0]:
                assert metrics[0][key] == pytest.approx(metrics[1][key], rel=1e-4, abs=1e-6), key
        played = [run_trial(each, envs, 2, seed=5).returns for each in (on_cpu, on_gpu)]
    np.testing.assert_allclose(played[0], played[1], atol=1e-5)
    for key, value in on_cpu.state_dict().items():
        torch.testing.assert_close(on_gpu.state_dict()[key].cpu(), value, rtol=1e-4, atol=1e-6)
    on_cpu.load_state_dict({key: value.cpu() for key, value in on_gpu.state_dict().items()})
    on_gpu.load_state_dict(on_cpu.state_dict())


@pytest.mark.parametrize("name", AGENTS)
def test_state_goes_from_gpu_to_cpu_and_back(name: str) -> None:
    on_cpu, on_gpu = both(name, "navigation-2d")
    made = load("navigation-2d", horizon=8)
    envs = made.make_vec(made.sample("train", 4, seed=0), 2)
    on_gpu.update(run_trial(on_gpu, envs, 2, seed=0), generator(0))
    on_cpu.load_state_dict({key: value.cpu() for key, value in on_gpu.state_dict().items()})
    for agent in (on_cpu, on_gpu):
        agent.update(run_trial(agent, envs, 2, seed=1), generator(1))
    for key, value in on_cpu.state_dict().items():
        torch.testing.assert_close(on_gpu.state_dict()[key].cpu(), value, rtol=1e-5, atol=1e-7)


BY_SB3 = [name for name in ("sb3-ppo", "sb3-ppo-oracle", "sb3-recurrent-ppo") if not missing_package(name)]


@pytest.mark.parametrize("name", BY_SB3)
@pytest.mark.parametrize("family", FAMILIES)
def test_stable_baselines3_plays_and_learns_on_a_gpu_about_what_it_does_on_a_cpu(family: str, name: str) -> None:
    made = load(family, horizon=8)
    on_cpu, on_gpu = (make_agent(name, made, seed=2, device=device) for device in DEVICES)
    trial = run_trial(on_cpu, made.make_vec(made.sample("train", 6, seed=0), 3), 2, seed=0)
    metrics = [agent.update(trial, generator(0)) for agent in (on_cpu, on_gpu)]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-2, abs=1e-3)
    for key, value in on_cpu.state_dict().items():
        torch.testing.assert_close(on_gpu.state_dict()[key].cpu(), value, rtol=1e-2, atol=1e-4)
    on_cpu.load_state_dict({key: value.cpu() for key, value in on_gpu.state_dict().items()})


def test_sac_learns_on_a_gpu_and_plays_on_a_cpu_what_it_does_there() -> None:
    made = load("navigation-2d", horizon=8)
    on_cpu, on_gpu = (make_agent("sb3-sac", made, seed=2, device=device) for device in DEVICES)
    envs = made.make_vec(made.sample("train", 6, seed=0), 3)
    # Its noise is drawn on the device: updates there and here differ.
    metrics = on_gpu.update(run_trial(on_gpu, envs, 2, seed=0), generator(0))
    assert all(np.isfinite(list(metrics.values())))
    on_cpu.load_state_dict({key: value.cpu() for key, value in on_gpu.state_dict().items()})
    returns = [run_trial(agent, envs, 2, seed=1).returns for agent in (on_cpu, on_gpu)]
    np.testing.assert_allclose(returns[0], returns[1], atol=1e-3)
    on_gpu.load_state_dict(on_cpu.state_dict())
    on_gpu.update(run_trial(on_gpu, envs, 2, seed=2), generator(1))


@pytest.mark.parametrize("questions", ["numbers", "images"])
def test_gpu_trains_from_scratch_as_the_cpu_does(questions: str) -> None:
    family, others = QUESTIONS[questions]
    made, settings = load(family, **others), {"dtype": "float64", "num_steps": 5}
    with contextlib.closing(made.make_vec(made.sample("test", 4, seed=0))) as envs:
        agents = [make_agent("from-scratch", made, settings, device=device) for device in DEVICES]
        on_cpu, on_gpu = (run_trial(agent, envs, 2, seed=5).returns for agent in agents)
    np.testing.assert_allclose(on_cpu, on_gpu, atol=1e-5)
