"""Inner objectives against exact expectations over all trajectories of a problem of two actions and two steps."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from metarl.agents.maml import inner_objectives
from torch import Tensor

from tests.agents.maml.problems import OBJECTIVES


def trajectories() -> Iterator[tuple[list[int], list[float]]]:
    """Yield actions and rewards to go of each trajectory; what the second action pays depends on the first."""
    for first in (0, 1):
        for second in (0, 1):
            rewards = [[0.3, -1.0][first], [[1.0, 0.2], [-0.5, 2.0]][first][second]]
            yield [first, second], [sum(rewards), rewards[1]]


def log_probs(logits: Tensor, actions: list[int]) -> Tensor:
    return torch.stack([logits[step].log_softmax(-1)[action] for step, action in enumerate(actions)])


def expected_return(logits: Tensor) -> Tensor:
    terms = [log_probs(logits, actions).sum().exp() * to_go[0] for actions, to_go in trajectories()]
    return torch.stack(terms).sum()


def expected_objective(name: str, logits: Tensor, acting: Tensor) -> Tensor:
    """Return the expectation of minus the inner loss over data of the policy `acting`."""
    total = torch.zeros((), dtype=logits.dtype)
    for actions, to_go in trajectories():
        old = log_probs(acting, actions)
        columns = [value.reshape(-1, 1) for value in (log_probs(logits, actions), old, torch.tensor(to_go))]
        loss = inner_objectives.INNER_OBJECTIVES[name](*columns, torch.ones(2, 1))
        total = total - 2 * loss * old.sum().exp()  # the loss is a mean over two steps
    return total


LOGITS = torch.tensor([[0.4, -0.3], [-0.2, 0.6]], dtype=torch.float64)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_inner_objective_has_the_gradient_of_the_expected_return(name: str) -> None:
    expected = torch.func.grad(expected_return)(LOGITS)
    torch.testing.assert_close(torch.func.grad(lambda x: expected_objective(name, x, LOGITS))(LOGITS), expected)


def test_dice_alone_has_its_second_derivative_too() -> None:
    expected = torch.func.hessian(expected_return)(LOGITS)
    hessians = {n: torch.func.hessian(lambda x, n=n: expected_objective(n, x, LOGITS))(LOGITS) for n in OBJECTIVES}
    torch.testing.assert_close(hessians["dice"], expected)
    for name in ("likelihood-ratio", "policy-gradient"):
        assert float((hessians[name] - expected).abs().max()) > 0.01
    # Of each step alone the likelihood ratio has it: what it leaves out lies between the steps.
    for step in (0, 1):
        torch.testing.assert_close(hessians["likelihood-ratio"][step, :, step], expected[step, :, step])
