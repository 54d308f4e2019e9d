"""Adam takes the steps of torch's own class, and nothing loads the compiler that this class brings."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from metarl.agents.common.adam import SGD, Adam
from torch import Tensor

DRAW = torch.Generator().manual_seed(0)
TRAIN_AND_EVALUATE = """
import sys
from metarl.cli.main import main

settings = ["num_updates=1", "meta_batch_size=2", "replicas=1", "rounds=2", "evaluation.every=1000"]
for agent in ("rl2", "fine-tuned"):  # maml takes gradients by torch.func, which brings it
    main(["train", "--family", "sinusoid", "--agent", agent, *settings, "--run-dir", agent, "--log", "none"])
    main(["evaluate", agent, "--tasks", "2"])
sys.exit("torch._dynamo" in sys.modules)
"""


def draw(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=DRAW, dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("ours", "of_torch"), [(Adam, torch.optim.Adam), (SGD, torch.optim.SGD)], ids=lambda each: each.__module__
)
def test_steps_are_those_of_torchs_class_in_every_bit_also_of_parameters_that_join_late(
    ours: type[Adam] | type[SGD], of_torch: type[torch.optim.Optimizer], dtype: torch.dtype
) -> None:
    mine = [draw(3, 4).to(dtype).requires_grad_(True), draw(5).to(dtype).requires_grad_(True)]
    theirs = copy.deepcopy(mine)
    our, their = ours(mine, 0.1), of_torch(theirs, lr=0.1)  # type: ignore[call-arg]
    for number in range(20):
        gradients = [draw(3, 4).to(dtype), draw(5).to(dtype) if number % 3 else None]
        for group in (mine, theirs):
            for parameter, gradient in zip(group, gradients, strict=True):
                parameter.grad = gradient
        our.learning_rate = their.param_groups[0]["lr"] = 0.1 / (1 + number)
        our.step()
        their.step()
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert not torch.equal(mine[1], draw(5).to(dtype))


def test_training_and_evaluating_load_torchs_compiler_only_where_torch_func_does(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRAIN_AND_EVALUATE]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
