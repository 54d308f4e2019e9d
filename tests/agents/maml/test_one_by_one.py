"""Tasks that are computed one by one, on threads: the numbers of one vmapped call, and memory of few tasks."""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import pytest
import torch
from metarl.agents.maml.one_by_one import gradient_of_one, map_one_by_one
from metarl.agents.maml.over_tasks import OverTasks
from torch import Tensor

from tests.agents.maml.problems import new_agent, perturb, play_trial
from tests.families.kinds import ArrayMeters
from tests.places import ROOT


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
        outputs = mapped.outputs(fast, rounds[0].observations, rounds[0].pixels)
        product = mapped.kl_products(rounds, 0.1)(gradients | {n: g.mean(0) for n, g in gradients.items()})
        found.append((gradients, outcome._asdict(), fast, outputs, product))
    torch.testing.assert_close(*found, rtol=1e-8, atol=1e-10)


def test_tasks_at_once_are_as_many_as_threads_or_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    image, vector = ArrayMeters(seen="image"), ArrayMeters()
    asked = [(None, 20), (3, 20), (8, 20), (None, 2)]
    assert [new_agent(image, task_chunk_size=size).over_tasks.at_once(n) for size, n in asked] == [4, 3, 4, 2]
    assert [new_agent(vector, task_chunk_size=size).over_tasks.at_once(n) for size, n in asked] == [20, 3, 8, 2]


PEAK = """
import sys, numpy as np, torch
from gymnasium import spaces
from metarl.base.streams import generator
from metarl.trials.registered import make_agent
from metarl.trials.rollout import run_trial
from tests.families import kinds
torch.set_num_threads(4)
kinds.OBSERVATIONS = {"large": spaces.Box(0, 255, (64, 64, 1), dtype=np.uint8)}
family = kinds.ArrayMeters(seen="large", horizon=20)
chunk = None if sys.argv[1] == "None" else int(sys.argv[1])
settings = {
    "encoder": {"name": "blocks", "channels": [16, 2]},
    "outer": {"num_epochs": 1},
    "hidden_sizes": [4],
    "task_chunk_size": chunk,
}
agent = make_agent("maml-ppo", family, settings, seed=0, device="cpu")
trial = run_trial(agent, family.make_vec(family.sample("train", 4, seed=0), 8), 2, seed=0)

def memory(name):
    return int(open("/proc/self/status").read().split(name + ":")[1].split()[0]) / 1024

before = memory("VmRSS")
agent.update(trial, generator(0))
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_memory_of_an_update_falls_with_task_chunk_size() -> None:
    peaks = []
    for chunk in ("None", "1"):
        done = subprocess.run(
            [sys.executable, "-c", PEAK, chunk], capture_output=True, text=True, cwd=ROOT, check=False
        )
        assert done.returncode == 0, done.stderr
        peaks.append(float(done.stdout))
    assert peaks[1] < 0.6 * peaks[0], peaks
