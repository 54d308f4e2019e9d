"""Steps that were not taken change no loss, no KL and no gradient, even where a policy finds them infinitely likely."""

from __future__ import annotations

import math

import pytest
import torch
from metarl.agents.common.ppo import clipped_surrogate, masked_mean
from metarl.agents.maml.inner_objectives import INNER_OBJECTIVES
from metarl.agents.maml.outer_objectives import clipped_objective, ratio_objective
from metarl.agents.maml.records import Round
from torch import Tensor

from tests.agents.maml.problems import OBJECTIVES, PRESETS, new_agent, perturb, play_trial
from tests.probes import UnequalEpisodes

TAKEN = 3
"""Steps of an episode that is padded to five."""


def losses(log_prob: Tensor, old: Tensor, advantages: Tensor, mask: Tensor) -> dict[str, Tensor]:
    data = Round(mask, mask, mask, advantages, mask, mask, old, mask, mask)
    surrogate = clipped_surrogate(log_prob, old, advantages, mask, 0.2)
    return {
        **{name: INNER_OBJECTIVES[name](log_prob, old, advantages, mask) for name in OBJECTIVES},
        "PPO": clipped_objective(0.2)(log_prob, data)[0],
        "TRPO": ratio_objective(log_prob, data)[0],
        "TRPO's deviation": ratio_objective(log_prob, data)[2] + 0 * log_prob[0, 0],
        "KL": surrogate.kl + 0 * log_prob[0, 0],
    }


@pytest.mark.parametrize("likely", [500.0, math.inf, -math.inf])
@pytest.mark.parametrize("name", losses(*(torch.zeros(1, 1),) * 4))
def test_a_padded_episode_has_the_loss_and_the_gradients_of_the_cropped_one(name: str, likely: float) -> None:
    draws = torch.Generator().manual_seed(0)
    cropped, old, advantages = (torch.randn(TAKEN, 1, generator=draws) for _ in range(3))

    def pad(values: Tensor, filling: float) -> Tensor:
        return torch.cat([values, torch.full((2, 1), filling)])

    inputs = cropped.clone().requires_grad_(True), pad(cropped, likely).requires_grad_(True)
    ours = losses(inputs[1], pad(old, 0.0), pad(advantages, 0.0), pad(torch.ones(TAKEN, 1), 0.0))[name]
    theirs = losses(inputs[0], old, advantages, torch.ones(TAKEN, 1))[name]
    torch.testing.assert_close(ours, theirs)
    (mine,), (other,) = torch.autograd.grad(ours, inputs[1]), torch.autograd.grad(theirs, inputs[0])
    torch.testing.assert_close(mine[:TAKEN], other)
    assert (mine[TAKEN:] == 0).all()


def test_a_mean_leaves_out_what_is_not_finite_where_the_mask_is_zero() -> None:
    values = torch.tensor([2.0, math.inf, math.nan], requires_grad=True)
    mean = masked_mean(values, torch.tensor([1.0, 0.0, 0.0]))
    assert mean.item() == 2.0
    assert torch.autograd.grad(mean, values)[0].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_an_agent_s_meta_gradients_ignore_padding_that_it_finds_infinitely_likely(preset: str, objective: str) -> None:
    family = UnequalEpisodes()
    agent = new_agent(family, preset, inner_objective=objective)
    rounds, _ = agent.rounds.replay(play_trial(agent, family, rounds=max(2, agent.min_rounds)))
    assert any((data.mask == 0).any() for data in rounds)
    perturb(agent)
    sure = tuple(data._replace(old_log_prob=torch.where(data.mask > 0, data.old_log_prob, -1e5)) for data in rounds)
    (ours, told), (theirs, expected) = (agent.over_tasks.task_gradients(each) for each in (sure, rounds))
    for name, gradient in theirs.items():
        assert torch.equal(ours[name], gradient), name
    for mine, other in zip(told, expected, strict=True):
        assert torch.equal(mine, other)
