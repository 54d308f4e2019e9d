"""The associative memory: its chunks against a plain loop, and what it recalls against a closed form."""

from __future__ import annotations

import pytest
import torch
from metarl.agents.memories.associative import Associative, Read, recall, shrunk_means
from torch import Tensor
from torch.nn import functional as F

TRIALS, HEADS, KEYS, VALUES = 3, 2, 4, 5


def drawn(time: int, seed: int = 0) -> Read:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(TRIALS, HEADS, time, *shape, generator=draw, dtype=torch.float64).requires_grad_()

    kept = torch.rand(TRIALS, HEADS, time, generator=draw, dtype=torch.float64).log().requires_grad_()
    gate = torch.zeros(TRIALS, time, HEADS * VALUES, dtype=torch.float64)
    return Read(normal(KEYS), normal(KEYS), normal(VALUES), kept, normal().exp(), gate)


def looped(read: Read, memory: Tensor, resets: Tensor | None) -> tuple[Tensor, Tensor]:
    """M_t = kept_t M_{t-1} + key_t value_t^T, and query_t M_t, step by step and trial by trial."""
    sums, memories = [], []
    for trial in range(TRIALS):
        matrix, put_out = memory[trial], []
        for t in range(read.query.shape[2]):
            if resets is not None and resets[trial, t]:
                matrix = torch.zeros_like(matrix)
            key, value, query = (part[trial, :, t] for part in (read.key, read.value, read.query))
            matrix = read.log_kept[trial, :, t].exp()[:, None, None] * matrix + key[:, :, None] * value[:, None]
            put_out.append((query[:, :, None] * matrix).sum(dim=1))
        sums.append(torch.stack(put_out, dim=1))
        memories.append(matrix)
    return torch.stack(sums), torch.stack(memories)


@pytest.mark.parametrize("time", [1, 2, 63, 64, 65, 150])
@pytest.mark.parametrize("share_of_resets", [None, 0.03, 0.4])
def test_chunks_equal_the_recurrence_and_so_do_their_gradients(time: int, share_of_resets: float | None) -> None:
    read = drawn(time)
    draw = torch.Generator().manual_seed(1)
    before = torch.randn(TRIALS, HEADS, KEYS, VALUES, generator=draw, dtype=torch.float64).requires_grad_()
    resets = None if share_of_resets is None else torch.rand(TRIALS, time, generator=draw) < share_of_resets
    found, expected = recall(read, before, resets), looped(read, before, resets)
    torch.testing.assert_close(found, expected)
    inputs = (read.query, read.key, read.value, read.log_kept, before)
    gradients = [
        torch.autograd.grad((sums * sums.detach()).sum() + (memory * memory.detach()).sum(), inputs)
        for sums, memory in (found, expected)
    ]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("weight", [0.1, 1.0, 30.0])
def test_what_was_stored_under_a_key_is_recalled_as_its_posterior_mean(weight: float) -> None:
    # Key 0 is paid 2, 4 and 6, key 1 is paid 10 once, key 2 nothing; then each is asked for.
    stored, paid = [0, 1, 0, 0], [2.0, 10.0, 4.0, 6.0]
    time = len(stored) + 3
    key = F.one_hot(torch.tensor([*stored, 0, 0, 0]), KEYS).double() * torch.tensor([1.0] * 4 + [0.0] * 3)[:, None]
    value = torch.stack([torch.tensor([*paid, 0.0, 0.0, 0.0]), torch.ones(time)], dim=1).double()
    query = F.one_hot(torch.tensor([3, 3, 3, 3, 0, 1, 2]), KEYS).double()
    still = torch.zeros(1, 1, time, dtype=torch.float64)
    read = Read(query[None, None], key[None, None], value[None, None], still, still + weight, still)
    sums, _ = recall(read, torch.zeros(1, 1, KEYS, 2, dtype=torch.float64), None)
    mean, count = shrunk_means(sums, read.weight)
    # A normal prior of mean 0 whose precision is one, and observations of precision `weight`.
    expected = [weight * 12 / (1 + 3 * weight), weight * 10 / (1 + weight), 0.0]
    torch.testing.assert_close(mean[0, 0, 4:, 0], torch.tensor(expected, dtype=torch.float64))
    torch.testing.assert_close(count[0, 0, 4:], torch.tensor([3 * weight, weight, 0.0], dtype=torch.float64))


def test_memory_stays_as_large_however_long_the_trial() -> None:
    memory = Associative(5, 8, 2, num_heads=2, key_size=3, conv_width=4)
    memory.initialize(torch.Generator().manual_seed(0))
    state, sizes = memory.initial_state(3), set()
    with torch.no_grad():
        for _ in range(100):
            _, state = memory.step(torch.randn(3, 5), state, torch.ones(3, dtype=torch.bool))
            sizes.add(sum(value.numel() for value in state.values()))
    assert len(sizes) == 1


def test_heads_fade_at_first_over_tens_to_a_thousand_steps() -> None:
    memory = Associative(5, 16, 1, num_heads=4, key_size=3, conv_width=2).double()
    memory.initialize(torch.Generator().manual_seed(0))
    (layer,) = memory.blocks
    lasting = -1 / layer.read(torch.zeros(1, 1, 16, dtype=torch.float64)).log_kept[0, :, 0]
    torch.testing.assert_close(lasting[[0, -1]], torch.tensor([50.0, 1000.0], dtype=torch.float64))
    assert (lasting.diff() > 0).all()
