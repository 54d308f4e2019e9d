"""The evidence lower bound against a closed form, a plain loop, and what it must not see."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from metarl.agents.varibad.elbo import (
    Belief,
    Bound,
    Draws,
    Transitions,
    bound,
    chosen,
    divergence,
    log_normal,
    prior_of,
    take,
)
from torch import Tensor


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def decode(latents: Tensor, inputs: Tensor) -> Tensor:
    """A decoder that is linear in the latent task: its first number times the input, plus the second."""
    return latents[..., :1] * inputs + latents[..., 1:]


def of(lengths: list[int], time: int = 6) -> tuple[Belief, Transitions, Draws]:
    """Return beliefs, transitions and draws of trials of the lengths given."""
    trials = len(lengths)
    mask = (torch.arange(time)[:, None] < torch.tensor(lengths)).double()
    beliefs = Belief(drawn(time, trials, 2), 0.3 * drawn(time, trials, 2, seed=1))
    transitions = Transitions(drawn(time, trials, 1, seed=2), drawn(time, trials, 1, seed=3), mask)
    draws = Draws(drawn(time, trials, seed=4), drawn(time, trials, seed=5), drawn(time, trials, 2, seed=6))
    return beliefs, transitions, draws


def bound_of(beliefs: Belief, transitions: Transitions, draws: Draws, **settings: Any) -> Bound:
    defaults = {"noise": 0.7, "kl_coef": 0.4, "fixed_prior": False, "num_prefixes": None, "num_decoded": None}
    return bound(beliefs, transitions, draws, decode, **{**defaults, **settings})


def test_the_divergence_is_that_of_torch() -> None:
    ours, theirs = (Belief(drawn(5, 3, seed=n), drawn(5, 3, seed=n + 1)) for n in (0, 2))
    normals = [torch.distributions.Normal(each.mean, (0.5 * each.log_var).exp()) for each in (ours, theirs)]
    expected = torch.distributions.kl_divergence(*normals).sum(-1)
    torch.testing.assert_close(divergence(ours, theirs), expected)


def test_the_density_is_that_of_torch() -> None:
    values, means = drawn(4, 3), drawn(4, 3, seed=1)
    expected = torch.distributions.Normal(means, 0.3).log_prob(values).sum(-1)
    torch.testing.assert_close(log_normal(values, means, 0.3), expected)


@pytest.mark.parametrize("fixed", [False, True])
def test_the_bound_of_unequal_trials_is_that_of_a_loop(fixed: bool) -> None:
    lengths = [6, 2, 4]
    beliefs, transitions, draws = of(lengths)
    recon, kls, weighed = [], [], []
    for trial, length in enumerate(lengths):
        for t in range(length):
            mean, log_var = beliefs.mean[t, trial].numpy(), beliefs.log_var[t, trial].numpy()
            latent = mean + np.exp(0.5 * log_var) * draws.noise[t, trial].numpy()
            terms = []
            for i in range(length):  # the future too
                mu = latent[0] * float(transitions.inputs[i, trial]) + latent[1]
                gap = (float(transitions.outcomes[i, trial]) - mu) / 0.7
                terms.append(0.5 * gap**2 + math.log(0.7) + 0.5 * math.log(2 * math.pi))
            recon.append(sum(terms) / length)
            before = (0.0 * mean, 0.0 * mean)
            if t and not fixed:
                before = (beliefs.mean[t - 1, trial].numpy(), beliefs.log_var[t - 1, trial].numpy())
            ratio = np.exp(log_var - before[1])
            kl = 0.5 * float((ratio - 1 - np.log(ratio) + (mean - before[0]) ** 2 / np.exp(before[1])).sum())
            kls.append(kl)
            weighed.append(kl / length)
    found = bound_of(beliefs, transitions, draws, fixed_prior=fixed)
    assert float(found.reconstruction) == pytest.approx(float(np.mean(recon)))
    assert float(found.kl) == pytest.approx(float(np.mean(kls)))
    assert float(found.loss) == pytest.approx(float(np.mean(recon) + 0.4 * np.mean(weighed)))


def test_no_bound_is_above_the_evidence_and_the_exact_posterior_reaches_it() -> None:
    # A linear-Gaussian probe: r_i = m x_i + noise, m ~ N(0, 1). The evidence is that of a normal with covariance
    # s^2 I + x x^T, and the posterior is known (Bishop, Pattern Recognition and Machine Learning, section 3.3).
    x, s, time, samples = torch.linspace(-1, 2, 5).double(), 0.5, 5, 40_000
    r = 1.3 * x + s * drawn(5, seed=9)
    covariance = s**2 * torch.eye(5).double() + torch.outer(x, x)
    evidence = float(torch.distributions.MultivariateNormal(torch.zeros(5).double(), covariance).log_prob(r))
    precision = 1 + float((x * x).sum()) / s**2
    exact = (float((x * r).sum()) / s**2 / precision, -math.log(precision))

    def elbo(mean: float, log_var: float) -> float:
        """Return the bound of one belief, by many latent tasks: as many trials of the same steps."""
        wide = [torch.full((1, samples, 1), value, dtype=torch.float64) for value in (mean, log_var)]
        beliefs = Belief(*(each.expand(time, -1, -1) for each in wide))
        steps = [each[:, None, None].expand(-1, samples, 1) for each in (x, r)]
        order = torch.zeros(time, samples).double()
        order[1:] = 1.0  # the first belief, whose prior is the standard normal one
        draws = Draws(order, order, drawn(time, samples, 1, seed=3))
        found = bound(
            beliefs,
            Transitions(*steps, torch.ones(time, samples).double()),
            draws,
            lambda latents, inputs: latents * inputs,
            noise=s,
            kl_coef=1.0,
            fixed_prior=False,
            num_prefixes=1,
            num_decoded=None,
        )
        return -float(found.loss) * time

    assert elbo(*exact) == pytest.approx(evidence, abs=0.02)
    for mean, log_var in ((0.0, 0.0), (exact[0], exact[1] + 1), (exact[0] + 0.3, exact[1])):
        assert elbo(mean, log_var) < evidence - 0.05


def test_some_beliefs_and_steps_have_the_expectation_of_all() -> None:
    beliefs, transitions, draws = of([6, 6, 6, 6])
    rng = np.random.default_rng(0)
    found = []
    for _ in range(3000):
        orders = [torch.as_tensor(rng.random((6, 4))) for _ in range(2)]
        some = draws._replace(prefixes=orders[0], steps=orders[1])
        found.append(float(bound_of(beliefs, transitions, some, num_prefixes=2, num_decoded=3).loss))
    error = np.std(found) / math.sqrt(len(found))
    assert float(bound_of(beliefs, transitions, draws).loss) == pytest.approx(np.mean(found), abs=4 * error)


def test_steps_that_were_not_taken_change_nothing() -> None:
    beliefs, transitions, draws = of([6, 2, 4])
    outside = transitions.mask == 0
    wild = [torch.where(outside[..., None], 1e6, each) for each in (transitions.inputs, transitions.outcomes)]
    moved = Belief(*(torch.where(outside[..., None], 3.0, each) for each in beliefs))
    found = [
        bound_of(*each, num_prefixes=count, num_decoded=count)
        for count in (None, 3)
        for each in ((beliefs, transitions, draws), (moved, Transitions(*wild, transitions.mask), draws))
    ]
    for plain, changed in (found[:2], found[2:]):
        for one, other in zip(plain, changed, strict=True):
            torch.testing.assert_close(one, other)


def test_a_trial_has_the_bound_that_it_has_without_its_neighbours() -> None:
    parts = of([6, 2, 4])
    whole = [parts[0], parts[1], parts[2]]
    alone = []
    for trial in range(3):
        own = [type(part)(*(each[:, trial : trial + 1] for each in part)) for part in whole]
        alone.append(bound_of(*own))
    expected = sum(float(each.loss) * n for each, n in zip(alone, (6, 2, 4), strict=True)) / 12
    assert float(bound_of(*whole).loss) == pytest.approx(expected)


def test_the_bound_is_the_weighed_mean_of_the_bounds_of_parts() -> None:
    weight, some = torch.tensor([2.0, 1.0, 5.0]).double(), {"num_prefixes": 2, "num_decoded": 3}
    parts = of([6, 2, 4])
    whole = bound_of(*parts, weight=weight, **some)
    halves = [
        bound_of(*(type(part)(*(each[:, rows] for each in part)) for part in parts), weight=weight[rows], **some)
        for rows in (slice(0, 1), slice(1, 3))
    ]
    for total, first, second in zip(whole, *halves, strict=True):
        torch.testing.assert_close(total, (2 * first + 6 * second) / 8)


def test_the_gradient_is_that_of_finite_differences() -> None:
    beliefs, transitions, draws = of([5, 3], time=5)

    def loss(mean: Tensor, log_var: Tensor) -> Tensor:
        return bound_of(Belief(mean, log_var), transitions, draws, num_prefixes=3, num_decoded=2).loss

    assert torch.autograd.gradcheck(loss, [each.clone().requires_grad_(True) for each in beliefs])


def test_the_chosen_are_the_lowest_of_those_that_are_marked() -> None:
    order = torch.tensor([[3.0, 0.0], [1.0, 5.0], [2.0, 9.0], [0.0, 1.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    index, marked = chosen(order, mask, 2)
    assert index[:, 0].tolist() == [1, 2]
    assert index[0, 1] == 0
    assert marked.tolist() == [[1.0, 1.0], [1.0, 0.0]]
    assert torch.equal(take(order[..., None], index)[..., 0], order.gather(0, index))


def test_the_prior_of_a_belief_is_the_one_before_it() -> None:
    beliefs = Belief(drawn(3, 2, 4), drawn(3, 2, 4, seed=1))
    prior = prior_of(beliefs, fixed=False)
    for before, now in zip(prior, beliefs, strict=True):
        assert not before[0].any()
        assert torch.equal(before[1:], now[:-1])
    assert not any(each.any() for each in prior_of(beliefs, fixed=True))
