"""What the libraries share or draw from the process is given to each learner and update as its own."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.sb3.own import OwnNoise, RecurrentMinibatches, cut, legacy_generator

from metarl.base.errors import MetarlError
from metarl.base.streams import generator
from metarl.checks.probes import Reach
from metarl.families.load import load
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial

installed = pytest.mark.skipif(importlib.util.find_spec("sb3_contrib") is None, reason="sb3-contrib is not installed")


def test_no_minibatch_is_a_single_step_and_each_step_comes_once() -> None:
    for steps in range(1, 40):
        for size in range(2, 12):
            parts = cut(np.arange(steps), size)
            np.testing.assert_array_equal(np.concatenate(parts), np.arange(steps))
            assert all(1 < len(part) <= size + 1 for part in parts) or steps == 1
            assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)


@installed
@pytest.mark.parametrize("name", ["sb3-recurrent-ppo", "sb3-ppo"])
@pytest.mark.parametrize("steps", [2, 8, 15])
def test_an_update_is_finite_whatever_is_left_for_the_last_minibatch(name: str, steps: int) -> None:
    family = load("bernoulli-bandit", horizon=steps)
    agent: Any = make_agent(name, family, {"batch_size": 7, "n_epochs": 2}, seed=0, device="cpu")
    trial = run_trial(agent, family.make_vec(family.sample("train", 1, seed=0)), 1, seed=0)
    metrics = agent.update(trial, generator(0))
    assert all(np.isfinite(value) for value in metrics.values())


@installed
def test_a_single_step_in_all_names_a_remedy_that_helps() -> None:
    family = load("bernoulli-bandit", horizon=1)
    agent: Any = make_agent("sb3-recurrent-ppo", family, {}, seed=0, device="cpu")
    with pytest.raises(MetarlError, match=r"one step in all.*more tasks \(meta_batch_size\), replicas or rounds"):
        agent.update(run_trial(agent, family.make_vec(family.sample("train", 1, seed=0)), 1, seed=0), generator(0))
    agent.update(run_trial(agent, family.make_vec(family.sample("train", 2, seed=0)), 1, seed=0), generator(0))


@installed
def test_padding_of_a_minibatch_has_no_ratio_that_could_overflow() -> None:
    """sb3-contrib pads trials of unequal lengths, and takes exp of their log-ratio before it masks them."""
    agent: Any = make_agent("sb3-recurrent-ppo", Reach(), {}, seed=0, device="cpu")
    trial = run_trial(agent, Reach().make_vec(Reach().sample("train", 4, seed=0), 3), 2, seed=0)
    (samples,) = RecurrentMinibatches(agent.buffer(trial), generator(0)).get(10_000)
    padding = samples.mask == 0
    assert padding.any()
    # As of a normal policy with a small deviation and many dimensions: e^200 is infinite in single precision.
    log_prob = torch.where(padding, 200.0, samples.old_log_prob).requires_grad_(True)
    ratio = torch.exp(log_prob - samples.old_log_prob)
    (gradient,) = torch.autograd.grad(ratio[~padding].mean(), log_prob)
    assert gradient.isfinite().all()
    assert (ratio[padding] == 0).all()


def test_draws_are_those_of_the_library_from_the_same_seed() -> None:
    np.random.seed(int(generator(3).integers(2**32)))  # noqa: NPY002
    expected = np.random.permutation(20)  # noqa: NPY002
    np.testing.assert_array_equal(legacy_generator(generator(3)).permutation(20), expected)


def test_noise_is_that_of_the_library_from_the_same_seed() -> None:
    from stable_baselines3.common.distributions import SquashedDiagGaussianDistribution

    mean, log_std = torch.linspace(-1, 1, 12).reshape(4, 3), torch.full((4, 3), -0.5)
    theirs = SquashedDiagGaussianDistribution(3)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = theirs.log_prob_from_params(mean, log_std)
    own = OwnNoise(SquashedDiagGaussianDistribution(3), torch.Generator().manual_seed(5))
    for ours, other in zip(own.log_prob_from_params(mean, log_std), expected, strict=True):
        assert torch.equal(ours, other)
