"""The package that `metarl new-agent` writes works as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from metarl.cli.new_package import new_agent
from tests.cli.packages import assert_has_files, assert_pip_installs, plant, run_tests, write_package
from tests.docs.pages import Block
from tests.docs.walkthrough import Walkthrough

NAME = "bold-learner-2"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package("agent", NAME, tmp_path_factory.mktemp("packages") / "bold")


def test_the_package_has_its_files(package: Path) -> None:
    assert_has_files(package, NAME, "config.yaml")


FAULTS = {
    "return policies + step": "return policies - step",
    "self.policy + self.config.outer_lr * gradient": "self.policy - self.config.outer_lr * gradient",
    "self.streams.where(timestep.active)": "self.streams",
    '{"policy": torch.tensor(self.policy)}': '{"policy": torch.zeros(self.policy.shape)}',
}
"""Adapting down the gradient; training down it; noise drawn by a world that waits; a state that holds nothing."""


def test_its_own_tests_pass_and_find_planted_faults_also_under_a_name_that_a_class_of_metarl_has(
    package: Path, tmp_path: Path
) -> None:
    other = write_package("agent", "learner", tmp_path / "learner")
    faulty = plant(package, NAME, tmp_path / "faults", FAULTS)
    right, named, *wrong = run_tests(
        tmp_path, (package, package / "src"), (other, other / "src"), *((package, source) for source in faulty)
    )
    for status, told in (right, named):
        assert status == 0 and "3 passed" in told, told
    for fault, (status, told) in zip(FAULTS, wrong, strict=True):
        assert status == 1 and "failed" in told, fault + told


def test_installed_it_is_an_agent_as_any_other(package: Path, tmp_path: Path) -> None:
    walkthrough = Walkthrough.begin(tmp_path)
    (walkthrough.library / "agent.pth").write_text(f"{package / 'src'}\n")

    def metarl(*words: str | Path) -> list[str]:
        told = walkthrough.run(["metarl", *map(str, words)], Block("README.md", 1, "sh", "", ""))
        return [line for line in told.splitlines() if not line.startswith("metarl: check: ")]  # progress

    lines = [line.split(maxsplit=1) for line in metarl("agents") if line.startswith("  ")]
    assert dict(lines)[NAME].startswith("A linear policy whose bias adapts")
    assert any("inner_lr" in line for line in metarl("agents", NAME))
    *left_out, last = metarl("check", NAME)
    assert last == f"{NAME}: all checks passed"
    assert len(left_out) == 3 and all("needs continuous actions within bounds" in line for line in left_out)
    small = ["num_updates=2", "meta_batch_size=2", "replicas=2", "evaluation.num_tasks=2", "wandb.mode=disabled"]
    metarl("train", package / "config.yaml", "--run-dir", "run", *small)
    metarl("evaluate", "run", "--tasks", "2")


@pytest.mark.slow
def test_pip_installs_it(tmp_path: Path) -> None:
    package = new_agent(NAME, tmp_path / "bold")
    assert_pip_installs(package, tmp_path, ["pytest", "-q"], ["metarl", "check", NAME], ["metarl", "agents", NAME])
