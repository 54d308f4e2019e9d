"""An agent of an author that breaks down in a command: the traceback, then one line that says what was saved."""

from __future__ import annotations

from pathlib import Path

import pytest

from metarl.cli.main import main
from metarl.runs.checkpoint import load
from tests.small_runs import write_config

CODE = """
import numpy as np
import torch
import metarl

class Faulty(metarl.TrainableAgent):
    def __init__(self, config, family, *, seed=0, device="cpu"):
        self.shape, self.count = family.action_space.shape, torch.zeros(1)
    def begin(self, streams):
        return Still((*streams.shape, *self.shape), self)
    def update(self, trial, rng):
        self.count = self.count + 1
        if "FAULT" == "update" and self.count == 3:
            raise ZeroDivisionError("in the author's code")
        return {"count": float(self.count)}
    def state_dict(self):
        if "FAULT" == "state_dict" and self.count == 3:
            raise ZeroDivisionError("in the author's code")
        return {"count": self.count.clone()}
    def load_state_dict(self, state):
        self.count = state["count"].clone()

class Still(metarl.Learner):
    def __init__(self, shape, agent):
        self.zeros, self.agent = np.zeros(shape, dtype=np.float32), agent
    def act(self, timestep, *, deterministic):
        if "FAULT" == "act" and self.agent.count == 2:
            raise ZeroDivisionError("in the author's code")
        return self.zeros
"""


@pytest.mark.parametrize(
    ("fault", "place", "updates"),
    [
        ("update", "update 2: agent Faulty on family 'navigation-2d', update", 2),
        ("state_dict", "update 2: agent Faulty on family 'navigation-2d', state_dict", 2),
        # The validation after the second update comes before the update counts as finished.
        ("act", "update 1: evaluation: agent Faulty on family 'navigation-2d', round 1, step 1, act", 1),
    ],
)
def test_training_keeps_the_traceback_and_the_last_finished_update(
    fault: str, place: str, updates: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"author_{fault}.py").write_text(CODE.replace("FAULT", fault))
    config, run = write_config(tmp_path, checkpoint_every=100, num_updates=6), tmp_path / "run"
    assert (
        main(["train", str(config), "--run-dir", str(run), f"agent={{name: {tmp_path}/author_{fault}.py:Faulty}}"]) == 2
    )
    lines = capsys.readouterr().err.splitlines()
    assert "Traceback (most recent call last):" in lines
    assert any(f'author_{fault}.py", line' in line for line in lines)
    assert lines[-1].startswith(f"metarl: error: {place}: ZeroDivisionError: in the author's code; training stopped, ")
    assert lines[-1].endswith("last.safetensors holds the agent from before")
    assert load(run / "last.safetensors")[1].update == updates
