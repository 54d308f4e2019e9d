"""The GRU's gradient against torch's own and against finite differences."""

from __future__ import annotations

import pytest
import torch
from metarl.agents.memories.gru import gru_features
from metarl.agents.memories.recurrent import Recurrent
from torch import Tensor, nn

from tests.agents.memories.small import small_memory

TIME, TRIALS, INPUTS, SIZE = 11, 5, 3, 4


def some(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cells(num_layers: int) -> nn.GRU:
    gru = nn.GRU(INPUTS, SIZE, num_layers).double()
    for seed, parameter in enumerate(gru.parameters()):
        parameter.data = 0.7 * some(*parameter.shape, seed=seed)
    return gru


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_features_memory_and_all_gradients_equal_torchs(num_layers: int) -> None:
    gru = cells(num_layers)
    inputs, start = some(TIME, TRIALS, INPUTS, seed=20), some(num_layers, TRIALS, SIZE, seed=21)
    of_features, of_memory = some(TIME, TRIALS, SIZE, seed=22), some(num_layers, TRIALS, SIZE, seed=23)
    results = []
    for run in (gru, lambda *given: gru_features(gru, *given)):
        seen = [inputs.clone().requires_grad_(), start.clone().requires_grad_(), *gru.parameters()]
        features, memory = run(seen[0], seen[1])
        loss = (of_features * features).sum() + (of_memory * memory).sum()
        results.append([features, memory, *torch.autograd.grad(loss, seen)])
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_gradient_equals_finite_differences() -> None:
    gru = cells(1)
    names = [name for name, _ in gru.named_parameters()]

    def run(inputs: Tensor, start: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        held = nn.GRU(INPUTS, SIZE).double()
        for name, weight in zip(names, weights, strict=True):
            delattr(held, name)
            setattr(held, name, weight)
        return gru_features(held, inputs, start)

    given = [some(4, 2, INPUTS, seed=1), some(1, 2, SIZE, seed=2), *(p.detach() for p in gru.parameters())]
    assert torch.autograd.gradcheck(run, [value.clone().requires_grad_() for value in given])


@pytest.mark.parametrize(("trials", "ours"), [(1, True), (48, True), (49, False)])
def test_few_trials_on_a_cpu_are_learned_from_by_it_and_acting_is_not(trials: int, ours: bool) -> None:
    memory = small_memory("gru", INPUTS, SIZE, 1)
    memory.initialize(torch.Generator().manual_seed(0))
    inputs = some(TIME, trials, INPUTS, seed=3).float()
    features, _ = memory.sequence(inputs, memory.initial_state(trials))
    assert ("_GRULayer" in str(features.grad_fn)) == ours
    with torch.no_grad():
        assert memory.sequence(inputs, memory.initial_state(trials))[0].grad_fn is None


def test_gradient_runs_through_the_memory_from_one_part_of_a_sequence_to_the_next() -> None:
    """A reset cuts the sequence in two calls, and a trial that is not reset learns through both."""
    memory = Recurrent(cells(2))
    inputs = some(TIME, TRIALS, INPUTS, seed=4).requires_grad_()
    resets = torch.zeros(TIME, TRIALS, dtype=torch.bool)
    resets[6, 0] = True
    features, _ = memory.sequence(inputs, memory.initial_state(TRIALS), resets)
    (gradient,) = torch.autograd.grad(features[-1].sum(), inputs)
    assert not gradient[:6, 0].any()
    assert gradient[:6, 1:].abs().amin() > 0
    (whole,) = torch.autograd.grad(memory.sequence(inputs, memory.initial_state(TRIALS))[0][-1].sum(), inputs)
    torch.testing.assert_close(gradient[:, 1:], whole[:, 1:], rtol=1e-12, atol=1e-12)
