"""Agents of few-shot classification against the same algorithms, written independently."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np
import pytest
import torch

from metarl.base.streams import generator
from metarl.evaluation.evaluate import evaluate
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.trials.agent import TrainableAgent
from metarl.trials.episodes import Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.agents import plain_few_shot
from tests.agents.plain_few_shot import Episode, Learner, MAMLNetwork, PrototypeNetwork

INNER_LR = 0.4
WAYS, SIDE = 5, 28
AGENTS: dict[str, dict[str, Any]] = {
    "prototypes": {},
    "maml": {"hidden_sizes": [], "inner_lr": INNER_LR},
}


def made(name: str, family: TaskFamily, filters: int, **settings: Any) -> TrainableAgent:
    encoder = {"name": "blocks", "channels": [filters] * 4}
    agent = make_agent(name, family, {"encoder": encoder, **AGENTS[name], **settings}, seed=0, device="cpu")
    assert isinstance(agent, TrainableAgent)
    return agent


def plain(name: str, filters: int) -> Learner:
    torch.manual_seed(0)
    return PrototypeNetwork(filters, SIDE) if name == "prototypes" else MAMLNetwork(filters, SIDE, WAYS, INNER_LR)


def trial_of(agent: TrainableAgent, family: TaskFamily, update: int, tasks: int) -> Trial:
    batch = family.sample("train", tasks, seed=0, start=tasks * update)
    with contextlib.closing(family.make_vec(batch)) as envs:
        return run_trial(agent, envs, 2, seed=update, training=True)


def episodes_of(trial: Trial) -> list[Episode]:
    """Return the tasks of a trial as the plain code takes them."""
    found = []
    for task in range(len(trial.tasks)):
        parts: list[torch.Tensor] = []
        for episodes in trial.rounds:
            assert episodes.targets is not None
            parts.append(torch.as_tensor(episodes.observations[:, task, 0, None, ..., 0] / 255.0))
            parts.append(torch.as_tensor(episodes.targets[:, task, 0]))
        found.append(Episode(*parts))
    return found


def copied(model: Learner, agent: Any) -> dict[str, torch.Tensor]:
    """Give the plain network the agent's parameters; return its own by the agent's names."""
    names = {"log_scale": "log_scale"} if isinstance(model, PrototypeNetwork) else {}
    own = dict(model.named_parameters())
    prefix = "" if isinstance(model, PrototypeNetwork) else "encoder."
    for name in own:
        if ".layers." in name:
            place, kind = name.split(".")[-2:]
            block = f"{prefix}image0-block{int(place) // 2}-{kind}"
            names[name] = block if block in agent.parameters else f"layers.0.{kind}"
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(agent.parameters[names[name]])
    return {names[name]: parameter for name, parameter in own.items()}


@pytest.mark.parametrize("name", AGENTS)
def test_with_the_same_weights_and_tasks_the_plain_code_makes_the_same_update(name: str) -> None:
    family = load("image-classes", queries=2)
    agent: Any = made(name, family, 3, dtype="float64")
    model = plain(name, 3).double()
    own = copied(model, agent)
    assert own.keys() == agent.parameters.keys()
    trial = trial_of(agent, family, 0, tasks=3)
    loss = plain_few_shot.loss_of(model, episodes_of(trial))
    loss.backward()
    gradients = {key: parameter.grad for key, parameter in own.items()}
    norm = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients.values() if gradient is not None))
    accuracy = plain_few_shot.accuracies(model, episodes_of(trial)).mean()
    logged = agent.update(trial, generator(0))
    assert logged["loss"] == pytest.approx(loss.item(), rel=1e-9)
    assert logged["gradient_norm"] == pytest.approx(norm, rel=1e-7)
    assert logged["return_after"] == pytest.approx(accuracy)
    torch.optim.Adam(model.parameters(), lr=1e-3).step()
    for key, parameter in own.items():
        torch.testing.assert_close(agent.state_dict()[key], parameter.detach(), rtol=1e-6, atol=1e-9, msg=key)


FILTERS, NUM_UPDATES, META_BATCH, NUM_TESTS = 32, 200, 8, 600


@pytest.mark.slow
@pytest.mark.parametrize("name", AGENTS)
def test_plain_code_reaches_no_more_than_a_point_above_ours_at_equal_updates(name: str) -> None:
    family: Any = load("image-classes", queries=5, fonts="matplotlib")
    torch.manual_seed(0)
    agent = made(name, family, FILTERS)
    for update in range(NUM_UPDATES):
        agent.update(trial_of(agent, family, update, META_BATCH), generator(0, update))
    ours = evaluate(agent, family, num_tasks=NUM_TESTS, rounds=2).returns[:, 1]
    split = {
        part: [family.images.images[family.images.firsts[i] :][: family.images.counts[i]] for i in places]
        for part, places in (
            ("train", np.array(family.parameters["classes"].train.values, dtype=int)),
            ("test", np.array(family.parameters["classes"].test.values, dtype=int)),
        )
    }
    rng, model = np.random.default_rng(0), plain(name, FILTERS)
    plain_few_shot.train(
        model, lambda: plain_few_shot.draw_episode(split["train"], rng, WAYS, 1, 5), NUM_UPDATES, META_BATCH
    )
    asked = [plain_few_shot.draw_episode(split["test"], rng, WAYS, 1, 5) for _ in range(NUM_TESTS)]
    theirs = plain_few_shot.accuracies(model, asked)
    error = math.hypot(*(each.std(ddof=1) / math.sqrt(NUM_TESTS) for each in (ours, theirs)))
    print(f"{name}: ours {100 * ours.mean():.1f}, plain {100 * theirs.mean():.1f}, +- {196 * error:.1f}")
    assert min(ours.mean(), theirs.mean()) > 0.35  # both have learned; chance is 0.2
    assert theirs.mean() - ours.mean() < 0.01 + 1.96 * error
