"""A random network that nothing has trained: the floor of what is learned."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metarl.cli.main import main
from metarl.evaluation.record import Evaluation

RIDGE = ["agent.encoder=blocks", "agent.hidden_sizes=[]"]


def measured(folder: Any, *words: str) -> np.ndarray:
    """Return the accuracies of 20 test tasks in the second round, as the command measures them."""
    told = folder / "told.json"
    common = ["--tasks", "20", "--quiet", "--json", str(told), "--plot", str(folder / "told.png")]
    assert main(["evaluate", "--family", "image-classes", *words, *common]) == 0
    return Evaluation.load(told).returns[:, 1]


@pytest.mark.parametrize(
    "words", [["--agent", "prototypes"], ["--agent", "ridge", *RIDGE]], ids=["prototypes", "ridge"]
)
def test_features_of_a_network_that_was_never_trained_tell_letters_apart_a_little(
    words: list[str], tmp_path: Any
) -> None:
    assert 0.24 < measured(tmp_path, *words).mean() < 0.5  # chance is 0.2


def test_a_head_that_learns_no_features_has_those_of_the_untrained_one(tmp_path: Any) -> None:
    untrained = measured(tmp_path, "--agent", "ridge", *RIDGE)
    frozen = measured(tmp_path, "--agent", "ridge", *RIDGE, "agent.learns_features=false")
    np.testing.assert_array_equal(untrained, frozen)
