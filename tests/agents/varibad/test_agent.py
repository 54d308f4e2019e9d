"""VariBAD: who learns from whom, what a belief depends on, and what it comes to know."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.common.sequences import sequences
from metarl.agents.memories.config import GRUSettings, MemorySettings
from metarl.agents.rl2.lesson import Steps
from metarl.agents.varibad.agent import VariBAD
from metarl.agents.varibad.config import BeliefSettings, VariBADConfig
from metarl.agents.varibad.lesson import TransitionReader
from torch import Tensor

import metarl
from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.checks.check import check_agent
from metarl.checks.probes import probes
from metarl.families.family import TaskFamily
from metarl.trials.agent import begin_learner
from metarl.trials.episodes import Trial
from metarl.trials.rollout import rollout, run_trial

SMALL: dict[str, Any] = {
    "memory": {"name": "gru", "hidden_size": 16},
    "belief": {"policy_sizes": [16]},
    "ppo": {"num_epochs": 1, "num_minibatches": 1, "num_shards": 1, "max_grad_norm": 100.0},
}


def grid() -> TaskFamily:
    return metarl.load("gridnavi", horizon=6)


def varibad(family: TaskFamily, seed: int = 0, **settings: Any) -> VariBAD:
    belief = {**SMALL["belief"], **settings.pop("belief", {})}
    agent = metarl.make_agent("varibad", family, {**SMALL, "belief": belief, **settings}, seed=seed, device="cpu")
    assert isinstance(agent, VariBAD)
    return agent


def trial_of(agent: VariBAD, family: TaskFamily, number: int = 0, tasks: int = 6, rounds: int = 2) -> Trial:
    drawn = family.sample("train", tasks, seed=0, start=tasks * number)
    with contextlib.closing(family.make_vec(drawn, 1)) as envs:
        return run_trial(agent, envs, rounds, seed=number, training=True)


def test_an_agent_that_decodes_observations_keeps_the_rules() -> None:
    class Config(VariBADConfig):
        memory: MemorySettings = GRUSettings(hidden_size=8)
        belief: BeliefSettings = BeliefSettings(decodes="rewards+observations", num_prefixes=3, num_decoded=3)

    assert check_agent(type("Small", (VariBAD,), {"Config": Config}), probes()[:1]) == []


def moved(agent: VariBAD, family: TaskFamily) -> set[str]:
    """Return the parameters that an update without the belief's loss has a gradient for."""
    trial = trial_of(agent, family)
    agent.lesson = agent.lesson.lesson  # type: ignore[attr-defined]  # the policy's alone
    trials = sequences(trial)
    features, inputs, state = agent.read(trials)
    told, _ = agent.lesson.prepare(trial, trials, features, agent._tasks(trial))
    seen, _ = agent.network.memory.sequence(agent.network.encode(inputs)[:-1], {n: v[0] for n, v in state.items()})
    mask = torch.as_tensor(trials.mask, dtype=torch.float32)
    loss, _ = agent.lesson.loss(seen, agent._tasks(trial), Steps(inputs.numbers[:-1], inputs.raw[:-1], mask, told))
    names, parameters = zip(*agent.network.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {name for name, value in zip(names, gradients, strict=True) if value is not None and value.any()}


def test_the_policys_gradient_reaches_the_encoder_only_if_asked() -> None:
    apart, joined = (moved(varibad(grid(), belief={"policy_gradient": asked}), grid()) for asked in (False, True))
    of_encoder = {name for name in joined if name.startswith(("memory.memory.", "memory.belief."))}
    assert of_encoder
    assert apart == joined - of_encoder
    assert {"policy.weight", "value.weight", "memory.layers.0.weight"} <= apart


def test_the_bound_moves_encoder_and_decoder_and_nothing_of_the_policy() -> None:
    family, agent = grid(), varibad(grid())
    before = agent.state_dict()
    agent.lesson.settings = agent.lesson.settings.model_copy(update={"coef": 1e-12})  # type: ignore[attr-defined]
    agent.update(trial_of(agent, family), generator(0))
    still = agent.state_dict()
    agent.load_state_dict(before)
    agent.lesson.settings = agent.lesson.settings.model_copy(update={"coef": 1.0})  # type: ignore[attr-defined]
    metrics = agent.update(trial_of(agent, family), generator(0))
    assert metrics["gradient_norm"] < 100.0  # nothing was clipped: the losses do not share a scale
    after = agent.state_dict()
    for name in ("policy.weight", "value.weight", "memory.layers.0.weight"):
        assert torch.equal(still[name], after[name]), name
    for name in ("memory.belief.weight", "decoder.of_latent.weight", "memory.memory.cells.weight_ih_l0"):
        assert not torch.equal(still[name], after[name]), name


def beliefs(agent: VariBAD, family: TaskFamily, tasks: Any) -> Tensor:
    """Return the belief before each step of a trial of two rounds in tasks, [time, task, 2 * size]."""
    drawn, found, previous = family.sample("train", 6, seed=0)[tasks], [], None
    learner = begin_learner(agent, drawn, Streams.of(1, "learner", drawn.index[:, None], np.arange(1)))
    act = learner.act

    def watched(timestep: Any, *, deterministic: bool) -> np.ndarray:
        with torch.no_grad():
            encoded = agent.network.encode(agent.inputs(timestep, np.full((len(drawn), 1), not found)))
            features, _ = agent.network.memory.step(
                encoded.flatten(0, 1),
                learner.state,  # type: ignore[attr-defined]
                torch.ones(len(drawn), dtype=torch.bool),
            )
            found.append(torch.cat(list(agent.network.belief(features)), dim=-1))
        return act(timestep, deterministic=deterministic)

    learner.act = watched  # type: ignore[method-assign]
    with contextlib.closing(family.make_vec(drawn, 1)) as envs:
        for number in range(2):
            previous = rollout(envs, learner, previous, seed=None if number else 1)
    return torch.stack(found)


def test_a_belief_does_not_depend_on_the_neighbours_in_the_batch() -> None:
    agent = varibad(grid())
    whole, alone = beliefs(agent, grid(), slice(None)), beliefs(agent, grid(), slice(2, 3))
    torch.testing.assert_close(whole[:, 2:3], alone, rtol=0, atol=1e-6)


def test_the_next_observation_of_an_episodes_last_step_is_the_one_it_ended_in() -> None:
    family = metarl.load("navigation-2d", horizon=4)
    agent = varibad(family)
    agent.update(trial_of(agent, family), generator(0))
    trial = trial_of(agent, family, 1, rounds=3)
    inputs, outcomes = TransitionReader(agent.inputs, observations=False)(trial, sequences(trial))
    rewards = np.concatenate([episodes.rewards for episodes in trial.rounds])[..., 0]
    after = np.concatenate(
        [np.concatenate([e.observations[1:], e.final_observations[None]]) for e in trial.rounds]
    ).reshape(12, 6, -1)
    raw = np.concatenate([after, rewards[..., None]], axis=-1)
    expected = agent.inputs.moments.normalize(raw)
    np.testing.assert_allclose(inputs[..., -2:], expected[..., :-1])
    np.testing.assert_allclose(outcomes, expected[..., -1:])


def test_a_decoder_of_observations_is_not_told_what_it_is_to_tell() -> None:
    """Planted: next observations among the inputs would make dynamics trivial, and the belief empty."""
    family = metarl.load("navigation-2d", horizon=4)
    agent = varibad(family, belief={"decodes": "rewards+observations"})
    trial = trial_of(agent, family)
    inputs, outcomes = agent.transitions(trial, sequences(trial))
    assert inputs.shape[-1] == 4  # position and action
    assert outcomes.shape[-1] == 3  # reward and position
    metrics = agent.update(trial, generator(0))
    assert np.isfinite(metrics["reconstruction"])


def known(agent: VariBAD, family: TaskFamily, step: int) -> float:
    """Return how much of an arm's chance a line on the belief before a step explains, in tasks it has not seen."""
    drawn = family.sample("test", 300, seed=3)
    with contextlib.closing(family.make_vec(drawn, 1)) as envs:
        trial = run_trial(agent, envs, 1, seed=4)
    with torch.no_grad():
        encoded = agent.network.encode(agent._inputs(sequences(trial)))
        features, _ = agent.network.memory.sequence(encoded, agent.network.memory.initial_state(300))
    mean = agent.network.belief(features).mean[step].double().numpy()
    chances = drawn.values["chances"][:, 0]
    design = np.concatenate([mean, np.ones((300, 1))], axis=1)
    fitted = design @ np.linalg.lstsq(design, chances, rcond=None)[0]
    return 1 - float(np.var(chances - fitted) / np.var(chances))


def test_a_belief_comes_to_know_the_task() -> None:
    family = metarl.load("bernoulli-bandit", num_arms=2, horizon=20)
    belief = {"size": 3, "noise": 0.5, "num_prefixes": None, "num_decoded": None}
    ppo = {"num_epochs": 4, "num_minibatches": 4, "learning_rate": 0.005}
    agent = varibad(family, belief=belief, ppo=ppo, memory={"name": "gru", "hidden_size": 32})
    for number in range(40):
        metrics = agent.update(trial_of(agent, family, number, tasks=64, rounds=1), generator(0, "update", number))
    assert metrics["belief_kl"] > 0.01
    assert known(agent, family, 0) < 0.05
    assert known(agent, family, 19) > 0.3


def test_an_inference_head_reads_the_belief() -> None:
    family = metarl.load("bernoulli-bandit", num_arms=2, horizon=8)
    agent = varibad(family, inference_coef=1.0, belief={"size": 4})
    assert agent.network.inference is not None
    assert agent.network.inference.in_features == 8
    assert "inference_loss" in agent.update(trial_of(agent, family, rounds=1), generator(0))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"learns_from": "targets"}, "a belief is learned from rewards"),
        ({"bptt_steps": 5}, "a belief decodes the whole trial"),
        ({"memory": "none"}, "remembers nothing to believe"),
        ({"reads_rewards": False}, "reads_rewards is false"),
        ({"belief": {"policy_sizes": []}}, "belief.policy_sizes"),
        ({"belief": {"size": 0}}, "belief.size"),
    ],
)
def test_settings_that_mean_nothing_are_one_line(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(MetarlError) as caught:
        varibad(grid(), **settings)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
