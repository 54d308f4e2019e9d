"""Tasks that are computed one by one, on threads: the numbers of one vmapped call, and memory of few tasks."""

from __future__ import annotations

import threading
from collections import Counter
from typing import ClassVar, NamedTuple

import pytest
import torch
from metarl.agents.maml.one_by_one import gradient_of_one, map_one_by_one
from metarl.agents.maml.over_tasks import OverTasks
from metarl.agents.maml.records import Round
from torch import Tensor

from tests.agents.maml.problems import ADAPTS, new_agent, perturb, play_trial
from tests.families.kinds import ArrayMeters


class Pair(NamedTuple):
    one: Tensor
    other: Tensor


def work(shared: dict[str, Tensor], own: dict[str, Tensor], rounds: tuple[Pair, ...]) -> tuple[dict[str, Tensor], Pair]:
    total = torch.stack([pair.one @ shared["w"] + pair.other for pair in rounds]).sum(0)
    return {"moved": own["v"] + total}, Pair(total.sum(), own["v"].max())


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_it_gives_what_vmap_gives_on_any_number_of_threads(threads: int) -> None:
    noise = torch.Generator().manual_seed(0)
    rounds = tuple(Pair(torch.randn(5, 3, 2, generator=noise), torch.randn(5, 3, generator=noise)) for _ in range(2))
    given = ({"w": torch.randn(2, generator=noise)}, {"v": torch.randn(5, 3, generator=noise)}, rounds)
    moved, pair = map_one_by_one(work, (True, False, False), given, lambda num_tasks: min(threads, num_tasks))
    expected = torch.vmap(work, in_dims=(None, 0, 0))(*given)
    torch.testing.assert_close((moved, tuple(pair)), (expected[0], tuple(expected[1])))
    assert isinstance(pair, Pair) and torch.get_num_threads() > 0


def test_an_error_of_a_task_is_raised_and_leaves_the_number_of_threads() -> None:
    before = torch.get_num_threads()

    def fail(values: Tensor) -> Tensor:
        raise ValueError(f"task {int(values)}")

    with pytest.raises(ValueError, match="task 0"):
        map_one_by_one(fail, (False,), (torch.arange(3),), lambda num_tasks: 2)
    assert torch.get_num_threads() == before


def test_the_gradient_is_that_of_torch_func_and_holds_no_graph() -> None:
    parameters = {"w": torch.tensor([1.0, 2.0]), "unused": torch.ones(3)}

    def loss(values: dict[str, Tensor], data: Tensor) -> tuple[Tensor, Pair]:
        inner = torch.func.grad(lambda w: (w * data).sin().sum())(values["w"])
        found = ((values["w"] - 0.1 * inner) * data).square().sum()
        return found, Pair(found, inner)

    data = torch.tensor([0.3, -0.7])
    gradient, rest = gradient_of_one(loss)(parameters, data)
    expected, _ = torch.func.grad(loss, has_aux=True)(parameters, data)
    torch.testing.assert_close(gradient, expected)
    assert not any(each.requires_grad for each in (*gradient.values(), *rest))


@pytest.mark.parametrize("name", ["maml-ppo", "fomaml", "maml-trpo"])
def test_images_on_a_cpu_give_the_numbers_of_one_vmapped_call(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = ArrayMeters(seen="image")
    agent = new_agent(family, name)
    assert agent.over_tasks.one_by_one and not new_agent(ArrayMeters()).over_tasks.one_by_one
    rounds, _ = agent.rounds.replay(play_trial(agent, family, rounds=2))
    perturb(agent)
    found = []
    for one_by_one in (True, False):
        monkeypatch.setattr(OverTasks, "one_by_one", one_by_one)
        mapped = agent.over_tasks
        gradients, outcome = mapped.task_gradients(rounds)
        fast = mapped.adapt_to_all(rounds)
        outputs = mapped.outputs(fast, rounds[0].observations, rounds[0].raw)
        product = mapped.kl_products(rounds, 0.1)(gradients | {n: g.mean(0) for n, g in gradients.items()})
        found.append((gradients, outcome._asdict(), fast, outputs, product))
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("adapts", ["all", "all, rates per parameter", "last two layers", "context", "latent"])
def test_a_task_alone_is_adapted_as_in_a_batch_and_without_vmap(adapts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = ArrayMeters()
    agent = new_agent(family, **ADAPTS[adapts])
    rounds, _ = agent.rounds.replay(play_trial(agent, family, rounds=2))
    perturb(agent)
    mapped = agent.over_tasks
    fast = mapped.adapt_to_all(rounds)
    seen = rounds[1].observations, rounds[1].raw
    outputs = mapped.outputs(fast, *seen)
    monkeypatch.delattr(torch, "vmap")
    for task in range(len(outputs)):
        own = mapped.adapt_to_all(tuple(Round(*(field[task : task + 1] for field in data)) for data in rounds))
        expected = {name: value[task : task + 1] for name, value in fast.items()}
        torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-12)
        alone = mapped.outputs(own, *(each[task : task + 1] for each in seen))
        torch.testing.assert_close(alone, outputs[task : task + 1], rtol=1e-10, atol=1e-12)


def test_tasks_at_once_are_as_many_as_threads_or_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    image, vector = ArrayMeters(seen="image"), ArrayMeters()
    asked = [(None, 20), (3, 20), (8, 20), (None, 2)]
    assert [new_agent(image, task_chunk_size=size).over_tasks.at_once(n) for size, n in asked] == [4, 3, 4, 2]
    assert [new_agent(vector, task_chunk_size=size).over_tasks.at_once(n) for size, n in asked] == [20, 3, 8, 2]


class Held:
    """A tensor that a graph holds; counts by task those that are there."""

    there: ClassVar[Counter[int]] = Counter()
    lock: ClassVar[threading.RLock] = threading.RLock()

    def __init__(self, task: int, tensor: Tensor) -> None:
        self.task, self.tensor = task, tensor
        with self.lock:
            self.there[task] += 1

    def __del__(self) -> None:
        with self.lock:
            self.there[self.task] -= 1


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_tasks_than_are_computed_at_once_hold_a_graph(at_once: int) -> None:
    seen = []

    def loss(values: dict[str, Tensor], data: Tensor) -> tuple[Tensor, Tensor]:
        task = int(data)
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: Held(task, tensor), lambda held: held.tensor):
            found = (values["w"] * data).exp().sum()
        with Held.lock:
            seen.append(sum(count > 0 for count in Held.there.values()))
        return found, found

    map_one_by_one(gradient_of_one(loss), (True, False), ({"w": torch.ones(3)}, torch.arange(6)), lambda n: at_once)
    assert len(seen) == 6 and 1 <= max(seen) <= at_once
