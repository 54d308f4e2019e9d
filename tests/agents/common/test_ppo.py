"""The clipped surrogate by hand."""

from __future__ import annotations

import pytest
import torch
from metarl.agents.common.ppo import clipped_surrogate, masked_mean


@pytest.mark.parametrize(
    ("ratio", "advantage", "objective", "pulls"),
    [
        (1.0, 2.0, 2.0, True),
        (1.1, 2.0, 2.2, True),
        (1.5, 2.0, 1.2 * 2.0, False),  # already likelier than the range allows: no more to gain
        (0.5, 2.0, 0.5 * 2.0, True),
        (1.5, -2.0, 1.5 * -2.0, True),
        (0.5, -2.0, 0.8 * -2.0, False),
    ],
)
def test_surrogate_is_the_lesser_of_the_ratio_and_the_clipped_one(
    ratio: float, advantage: float, objective: float, pulls: bool
) -> None:
    log_prob = torch.tensor([ratio], dtype=torch.float64).log().requires_grad_(True)
    ones = torch.ones(1, dtype=torch.float64)
    surrogate = clipped_surrogate(log_prob, 0 * ones, advantage * ones, ones, 0.2)
    assert surrogate.loss.item() == pytest.approx(-objective)
    assert (torch.autograd.grad(surrogate.loss, log_prob)[0].item() != 0) == pulls
    assert surrogate.clip_fraction.item() == float(abs(ratio - 1) > 0.2)
    assert surrogate.ratio_deviation.item() == pytest.approx(abs(ratio - 1))


def test_only_steps_of_the_mask_count() -> None:
    mask = torch.tensor([1.0, 0.0, 1.0])
    log_prob = torch.tensor([0.0, 9.0, 0.0])
    surrogate = clipped_surrogate(log_prob, torch.zeros(3), torch.tensor([1.0, 100.0, 3.0]), mask, 0.2)
    assert surrogate.loss.item() == pytest.approx(-2.0)
    assert surrogate.kl.item() == 0
    assert masked_mean(torch.tensor([5.0, 7.0]), torch.zeros(2)).item() == 0


def test_kl_estimate_equals_the_exact_divergence_of_two_normals() -> None:
    old, new = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(0.3, 1.2)
    actions = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    ones = torch.ones_like(actions)
    surrogate = clipped_surrogate(new.log_prob(actions), old.log_prob(actions), ones, ones, 0.2)
    assert surrogate.kl.item() == pytest.approx(torch.distributions.kl_divergence(old, new).item(), rel=0.03)
