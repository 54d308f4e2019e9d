"""Fine-tuning: what one network learns from all tasks, and its steps in a new one against a plain loop."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.references.fine_tuned import FineTuned
from metarl.agents.references.fitting import FittedLearner
from torch import Tensor
from torch.nn import functional as F

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.checks.check import check_agent
from metarl.checks.questions import Guess, Respell, Sort
from metarl.families.family import TaskFamily
from metarl.trials.episodes import Episodes, Trial
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial

SETTINGS: dict[str, Any] = {"hidden_sizes": [5], "dtype": "float64", "learning_rate": 0.01}
STEPS: list[dict[str, Any]] = [
    {"name": "adam", "learning_rate": 0.02, "num_steps": 4},
    {"name": "sgd", "learning_rate": 0.3, "num_steps": 4},
]


def made(family: TaskFamily, **settings: Any) -> FineTuned:
    agent = make_agent("fine-tuned", family, {**SETTINGS, **settings}, seed=0, device="cpu")
    assert isinstance(agent, FineTuned)
    return agent


def trial_of(agent: FineTuned, family: TaskFamily, tasks: int = 3) -> Trial:
    with contextlib.closing(family.make_vec(family.sample("train", tasks, seed=0), 2)) as envs:
        return run_trial(agent, envs, 2, seed=0, training=True)


def begun(agent: FineTuned, tasks: int = 3) -> FittedLearner:
    return agent.begin(Streams.of(0, "learner", np.arange(tasks)[:, None], np.arange(2)))


def loss_of(values: dict[str, Tensor], episodes: Episodes, tasks: list[int]) -> Tensor:
    """Return the mean loss of a round in some tasks, one question after the other."""
    assert episodes.targets is not None
    losses = []
    for t, task, replica in np.ndindex(*episodes.mask.shape):
        if task in tasks and episodes.mask[t, task, replica]:
            x = torch.as_tensor(episodes.observations[t, task, replica]).double()
            hidden = F.relu(values["layers.0.weight"] @ x + values["layers.0.bias"])
            outputs = values["layers.1.weight"] @ hidden + values["layers.1.bias"]
            right = torch.as_tensor(episodes.targets[t, task, replica])
            each = F.cross_entropy(outputs, right) if len(outputs) == 3 else ((outputs - right) ** 2).mean()
            losses.append(each)
    return torch.stack(losses).mean()


@pytest.mark.parametrize("family", [Guess(), Sort()], ids=["numbers", "classes"])
@pytest.mark.parametrize("steps", STEPS, ids=["adam", "sgd"])
def test_steps_in_a_task_are_those_of_the_optimiser_of_torch(family: TaskFamily, steps: dict[str, Any]) -> None:
    agent = made(family, fine_tuning=steps)
    learner, support = begun(agent), trial_of(agent, family).rounds[0]
    learner.adapt(support)
    for task in range(3):
        values = {name: value.detach().clone().requires_grad_(True) for name, value in agent.parameters.items()}
        kind = torch.optim.Adam if steps["name"] == "adam" else torch.optim.SGD
        optimizer = kind(list(values.values()), lr=steps["learning_rate"])
        for _ in range(steps["num_steps"]):
            optimizer.zero_grad()
            loss_of(values, support, [task]).backward()
            optimizer.step()
        for name, value in values.items():
            torch.testing.assert_close(learner.parameters[name][task], value.detach(), rtol=1e-6, atol=1e-8)


def test_an_update_is_a_step_of_adam_on_all_rounds_of_all_tasks_together() -> None:
    family = Guess()
    agent = made(family)
    trial = trial_of(agent, family)
    values = {name: value.detach().clone().requires_grad_(True) for name, value in agent.parameters.items()}
    optimizer = torch.optim.Adam(list(values.values()), lr=0.01)
    loss = torch.stack([loss_of(values, episodes, [0, 1, 2]) for episodes in trial.rounds]).mean()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(values.values(), 10.0)
    optimizer.step()
    assert agent.update(trial, generator(0))["loss"] == pytest.approx(float(loss.detach()))
    for name, value in values.items():
        torch.testing.assert_close(agent.parameters[name], value)


def test_a_second_round_is_learned_from_the_trained_network_again() -> None:
    family = Guess()
    agent = made(family)
    rounds = trial_of(agent, family).rounds
    learner = begun(agent)
    for episodes in rounds:
        learner.adapt(episodes)
    tuned = agent.fit(learner.initial, [agent.reader.read(episodes) for episodes in rounds])
    for name, value in learner.parameters.items():
        assert torch.equal(value, tuned[name])


def test_a_step_size_that_overflows_is_told_in_one_line() -> None:
    family = Guess()
    agent = made(family, dtype="float32", fine_tuning={"name": "sgd", "learning_rate": 1e30})
    with pytest.raises(MetarlError, match=r"fine-tuning is not finite in . of 3 tasks; take a lower agent.fine_tuning"):
        begun(agent).adapt(trial_of(agent, family).rounds[0])


def test_agent_keeps_the_rules_of_agents_with_an_encoder_decoder() -> None:
    small = {"name": "encoder-decoder", "width": 8, "num_heads": 2, "encoder_layers": 1, "decoder_layers": 1}

    class Config(FineTuned.Config):  # type: ignore[misc, name-defined]
        network: Any = FineTuned.Config(network=small).network  # type: ignore[attr-defined]
        fine_tuning: Any = FineTuned.Config(fine_tuning={"num_steps": 2}).fine_tuning  # type: ignore[attr-defined]

    assert check_agent(type("Small", (FineTuned,), {"Config": Config}), [Respell()]) == []
