"""Every memory by the same contract: what it says step by step, it says of the whole sequence at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from metarl.agents.memories.contract import Memory, State, stack_states
from metarl.agents.memories.convolution import convolve
from metarl.agents.memories.linear_recurrence import LinearRecurrence, linear_scan
from metarl.agents.memories.paired import Paired
from metarl.agents.memories.transformer import Transformer
from torch import Tensor

from tests.agents.memories.small import MEMORIES, PAIRED, small_memory

INPUTS, SIZE, TRIALS = 5, 8, 6
KINDS = (*MEMORIES, PAIRED + "lstm", PAIRED + "transformer")
"""Memories, and those that see each input beside the one before it."""


def a_memory(name: str, num_layers: int = 2, dtype: torch.dtype = torch.float64) -> Memory:
    memory = small_memory(name, INPUTS, SIZE, num_layers).to(dtype)
    memory.initialize(torch.Generator().manual_seed(1))
    with torch.no_grad():
        # Branches that begin at zero would hide faults in what they add.
        for index, parameter in enumerate(memory.parameters()):
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)).to(dtype)
    return memory


def some_inputs(time: int, trials: int = TRIALS, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(time, trials, INPUTS, generator=torch.Generator().manual_seed(2), dtype=torch.float64).to(dtype)


def step_by_step(
    memory: Memory, inputs: Tensor, state: State | None = None, resets: Tensor | None = None
) -> tuple[Tensor, State]:
    """Run each trial on its own through `step`, with a fresh memory wherever it is reset."""
    features: list[list[Tensor]] = []
    states: list[State] = []
    for trial in range(inputs.shape[1]):
        own = memory.initial_state(1) if state is None else {n: v[trial : trial + 1].clone() for n, v in state.items()}
        features.append([])
        for t in range(len(inputs)):
            if resets is not None and resets[t, trial]:
                own = memory.initial_state(1)
            put_out, own = memory.step(inputs[t, trial : trial + 1], own, torch.ones(1, dtype=torch.bool))
            features[-1].append(put_out[0])
        states.append(own)
    return torch.stack([torch.stack(column) for column in features], dim=1), {
        name: value.flatten(0, 1) for name, value in stack_states(states).items()
    }


def assert_equal_memories(memory: Memory, one: State, other: State, tolerance: float = 1e-9) -> None:
    """Two memories are the same if they say the same of the same future; caches may differ in room to spare."""
    future = some_inputs(4) * 0.7
    torch.testing.assert_close(
        step_by_step(memory, future, one)[0], step_by_step(memory, future, other)[0], rtol=0, atol=tolerance
    )


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("time", [1, 2, 7, 70])
def test_sequence_equals_step_by_step(name: str, time: int) -> None:
    memory, inputs = a_memory(name), some_inputs(time)
    with torch.no_grad():
        whole, after = memory.sequence(inputs, memory.initial_state(TRIALS))
        single, after_single = step_by_step(memory, inputs)
        torch.testing.assert_close(whole, single, rtol=0, atol=1e-9)
        assert_equal_memories(memory, after, after_single)


@pytest.mark.parametrize("name", KINDS)
def test_sequence_equals_step_by_step_in_single_precision(name: str) -> None:
    memory, inputs = a_memory(name, dtype=torch.float32), some_inputs(100, dtype=torch.float32)
    with torch.no_grad():
        whole, _ = memory.sequence(inputs, memory.initial_state(TRIALS))
        single, _ = step_by_step(memory, inputs)
    torch.testing.assert_close(whole, single, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_sequence_begins_anew_wherever_it_is_reset(name: str, seed: int) -> None:
    memory, inputs = a_memory(name), some_inputs(23)
    resets = torch.from_numpy(np.random.default_rng(seed).random((23, TRIALS)) < (0.02, 0.1, 0.5, 1.0)[seed])
    with torch.no_grad():
        _, before = memory.sequence(some_inputs(9) * 1.3, memory.initial_state(TRIALS))
        whole, after = memory.sequence(inputs, before, resets)
        single, after_single = step_by_step(memory, inputs, before, resets)
        torch.testing.assert_close(whole, single, rtol=0, atol=1e-9)
        assert_equal_memories(memory, after, after_single)


@pytest.mark.parametrize("name", KINDS)
def test_sequence_in_pieces_equals_the_whole(name: str) -> None:
    memory, inputs = a_memory(name), some_inputs(20)
    with torch.no_grad():
        whole, _ = memory.sequence(inputs, memory.initial_state(TRIALS))
        state, parts = memory.initial_state(TRIALS), []
        for piece in inputs.split(7):
            part, state = memory.sequence(piece, state)
            parts.append(part)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", KINDS)
def test_stored_memories_of_different_length_learn_side_by_side(name: str) -> None:
    memory, inputs = a_memory(name), some_inputs(12)
    with torch.no_grad():
        whole, _ = memory.sequence(inputs, memory.initial_state(TRIALS))
        states = [memory.initial_state(TRIALS)]
        for piece in inputs.split(4)[:-1]:
            states.append(memory.sequence(piece, states[-1])[1])
        together = {n: v.flatten(0, 1) for n, v in stack_states(states).items()}
        pieces, _ = memory.sequence(torch.cat(inputs.split(4), dim=1), together)
    torch.testing.assert_close(torch.cat(pieces.split(TRIALS, dim=1)), whole, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", KINDS)
def test_memory_of_a_trial_that_waits_stands_still(name: str) -> None:
    memory, inputs = a_memory(name), some_inputs(80)
    moving = torch.from_numpy(np.random.default_rng(0).random((80, TRIALS)) < 0.6)
    with torch.no_grad():
        state, put_out = memory.initial_state(TRIALS), []
        for t in range(80):
            features, state = memory.step(inputs[t], state, moving[t])
            put_out.append(features)
        for trial in range(TRIALS):
            taken = moving[:, trial]
            alone, _ = step_by_step(memory, inputs[taken][:, trial : trial + 1])
            torch.testing.assert_close(torch.stack(put_out)[taken, trial], alone[:, 0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", KINDS)
def test_trial_alone_equals_itself_in_a_batch(name: str) -> None:
    memory, inputs = a_memory(name), some_inputs(10)
    with torch.no_grad():
        together, _ = memory.sequence(inputs, memory.initial_state(TRIALS))
        alone, _ = memory.sequence(inputs[:, 3:4], memory.initial_state(1))
    torch.testing.assert_close(together[:, 3:4], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", KINDS)
def test_state_before_a_step_stays_valid_after_it(name: str) -> None:
    memory, inputs = a_memory(name), some_inputs(5)
    with torch.no_grad():
        _, state = memory.sequence(inputs, memory.initial_state(TRIALS))
        moving = torch.ones(TRIALS, dtype=torch.bool)
        first, _ = memory.step(inputs[0], state, moving)
        again, _ = memory.step(inputs[0], state, moving)
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", KINDS)
def test_features_know_the_past_and_not_the_future(name: str) -> None:
    memory, inputs = a_memory(name), some_inputs(9).requires_grad_()
    features, _ = memory.sequence(inputs, memory.initial_state(TRIALS))
    (gradient,) = torch.autograd.grad(features[5, 2].sum(), inputs)
    known = gradient[:6, 2].abs().sum(dim=1) > 0
    assert known.tolist() == ([False] * 5 + [True] if name == "none" else [True] * 6)
    assert (gradient[6:] == 0).all()
    assert (gradient[:, [0, 1, 3, 4, 5]] == 0).all()


@pytest.mark.parametrize("name", KINDS)
def test_weights_follow_from_the_generator(name: str) -> None:
    memories = [small_memory(name, INPUTS, SIZE, 2) for _ in range(3)]
    for memory, seed in zip(memories, (1, 1, 2), strict=True):
        memory.initialize(torch.Generator().manual_seed(seed))
    one, same, other = (torch.cat([p.flatten() for p in memory.parameters()]) for memory in memories)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("time", [1, 2, 3, 5, 8, 13])
def test_scan_equals_its_recurrence_and_so_does_its_gradient(time: int) -> None:
    draw = torch.Generator().manual_seed(time)
    decays = torch.rand(time, 2, 3, generator=draw, dtype=torch.float64).requires_grad_()
    terms = torch.randn(time, 2, 3, generator=draw, dtype=torch.float64).requires_grad_()
    weights = torch.randn(time, 2, 3, generator=draw, dtype=torch.float64)
    carried, plain = torch.zeros(2, 3, dtype=torch.float64), []
    for decay, term in zip(decays, terms, strict=True):
        carried = decay * carried + term
        plain.append(carried)
    loop, scan = torch.stack(plain), linear_scan(decays, terms)
    torch.testing.assert_close(scan, loop)
    expected = torch.autograd.grad((loop * weights).sum(), (decays, terms))
    torch.testing.assert_close(torch.autograd.grad((scan * weights).sum(), (decays, terms)), expected)


def test_scan_makes_as_many_operations_as_the_logarithm_of_time() -> None:
    def operations(time: int) -> int:
        decays = torch.full((time, 4), 0.9, requires_grad=True)
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            linear_scan(decays, torch.ones(time, 4, requires_grad=True)).sum().backward()
        return sum(event.count for event in profile.key_averages())

    counts = [operations(time) for time in (64, 256, 1024)]
    assert counts[2] - counts[1] == counts[1] - counts[0] < 2 * counts[0]
    assert counts[2] < 1024


def test_cache_of_the_transformer_copies_seldom_and_holds_what_it_must() -> None:
    memory = a_memory("transformer")
    assert isinstance(memory, Transformer)
    state, storages = memory.initial_state(3), set()
    with torch.no_grad():
        for t in range(200):
            _, state = memory.step(some_inputs(1, 3)[0], state, torch.ones(3, dtype=torch.bool))
            storages.add(state["keys"].shape[3])
            assert state["keys"].shape[3] < 2 * max(t + 1, 64)
    assert storages == {64, 128, 256}


def test_transformer_sees_how_long_ago_and_not_when() -> None:
    memory, inputs = a_memory("transformer", num_layers=1), some_inputs(6)
    with torch.no_grad():
        early, _ = memory.sequence(inputs, memory.initial_state(TRIALS))
        resets = torch.zeros(16, TRIALS, dtype=torch.bool)
        resets[10] = True
        late, _ = memory.sequence(torch.cat([some_inputs(10), inputs]), memory.initial_state(TRIALS), resets)
    torch.testing.assert_close(late[10:], early, rtol=0, atol=1e-12)


@pytest.mark.parametrize("conv_width", [1, 2, 5])
@pytest.mark.parametrize("time", [1, 3, 12])
def test_convolution_of_any_width_equals_step_by_step_over_resets_and_short_sequences(
    conv_width: int, time: int
) -> None:
    memory = LinearRecurrence(INPUTS, SIZE, 2, conv_width).double()
    memory.initialize(torch.Generator().manual_seed(1))
    with torch.no_grad():
        for layer in memory.blocks:
            if layer.taps is not None:  # which begin as nothing
                layer.taps += torch.linspace(-1, 1, layer.taps.numel()).reshape(layer.taps.shape)
    inputs, state = some_inputs(time), memory.initial_state(TRIALS)
    resets = torch.from_numpy(np.random.default_rng(time).random((time, TRIALS)) < 0.2)
    assert resets.any()
    with torch.no_grad():
        _, state = memory.sequence(some_inputs(7) * 1.3, state)
        whole, after = memory.sequence(inputs, state, resets)
        single, after_single = step_by_step(memory, inputs, state, resets)
    torch.testing.assert_close(whole, single, rtol=0, atol=1e-9)
    torch.testing.assert_close(dict(after), dict(after_single), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("conv_width", "tied"), [(1, False), (2, True)])
def test_one_layer_ties_what_it_sees_to_the_step_before_by_its_convolution_alone(conv_width: int, tied: bool) -> None:
    memory = LinearRecurrence(INPUTS, SIZE, 1, conv_width).double()
    memory.initialize(torch.Generator().manual_seed(1))
    with torch.no_grad():
        if (taps := memory.blocks[0].taps) is not None:
            taps[1:] = 0.5  # which begin as nothing
    one, other, now = some_inputs(3)[:, :1]
    _, first = memory.sequence(one[None], memory.initial_state(1))
    _, second = memory.sequence(other[None], memory.initial_state(1))
    added = []
    for before, state in ((one, first), (other, second)):
        layer = memory.blocks[0]
        normed = layer.norm(memory.embed(torch.stack([before, now])))
        if layer.taps is not None:
            normed = convolve(normed, layer.taps, normed.new_zeros(conv_width - 1, 1, SIZE), None)
        decay, _, _ = layer.recurrence(normed)
        _, after = memory.sequence(now[None], state)
        added.append(after["memory"][:, 0] - decay[1] * state["memory"][:, 0])
    assert torch.allclose(added[0], added[1]) is not tied


def test_a_paired_memory_sees_each_input_beside_the_one_before() -> None:
    memory, inputs = a_memory(PAIRED + "transformer"), some_inputs(6)
    assert isinstance(memory, Paired)
    beside = torch.cat([inputs, torch.cat([torch.zeros_like(inputs[:1]), inputs[:-1]])], dim=-1)
    with torch.no_grad():
        expected, _ = memory.memory.sequence(beside, memory.memory.initial_state(TRIALS))
        features, _ = memory.sequence(inputs, memory.initial_state(TRIALS))
    torch.testing.assert_close(features, expected, rtol=0, atol=0)
