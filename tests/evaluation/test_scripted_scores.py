"""Agents of known score get exactly that score in every metric, from the first step played to the page of results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.measures import above
from metarl.evaluation.record import AgentRecord, Evaluation
from metarl.report.about import About
from metarl.report.adaptation import measure_table
from metarl.report.comparison import comparison_table, score_table
from metarl.report.groups import Group, group_runs
from metarl.report.markdown import markdown
from metarl.report.runs import read_run
from metarl.report.summary import summary_table
from metarl.report.tables import Asked
from tests.report.run_folders import run_folder
from tests.scripted import Numbered, Scripted, constant, solved_numbers, solves, solves_after_round

TASKS, ROUNDS = 20, 4
UNSOLVED, SOLVED = 7, 1
"""Steps of an episode: solving a task ends it at once."""


def solves_four() -> Scripted:
    return solves(solved_numbers(Numbered().sample("test", TASKS, seed=0), 4))


def gets_worse() -> Scripted:
    return Scripted(lambda timestep, adapted: np.full(timestep.active.shape, int(adapted < 2)))


def measured(tmp_path: Path, agent: Scripted, *, replicas: int = 1) -> list[Group]:
    """Return the groups of a run of `agent`, beside one that never solves a task and one that always does."""
    run = run_folder(tmp_path / "run", np.zeros((TASKS, ROUNDS)))
    for name, player in (("", agent), ("-never", constant(0)), ("-always", constant(1))):
        evaluation = evaluate(
            player,
            Numbered(),
            record=AgentRecord(name[1:] or "maml-ppo"),
            num_tasks=TASKS,
            rounds=ROUNDS,
            replicas=replicas,
        )
        evaluation.save(run / f"evaluation{name}.json")
    return group_runs([read_run(run)])


def values(cells: tuple[str, ...]) -> list[str]:
    """Return the numbers of cells, without their intervals."""
    return [cell.split()[0] if cell else "" for cell in cells]


CASES = {
    # Returns by round; worst tenth in the first and the last; rounds and steps to 90 % of the gain; share that reaches
    # 1 with the medians of rounds and steps; score in the first and the last round, optimality gap, regret; against who
    # never does.
    "solves four of twenty": (
        solves_four(),
        [0.0, 0.0, 0.0, 0.0],
        ["0.00", "0.00", "-", "-", "20%", "never", "never"],
        ["0.20", "0.20", "0.80", "3.20"],
        ["0.80", "0.60"],
        0.2,
    ),
    "improves after round 2": (
        solves_after_round(2),
        [0.0, 0.0, 1.0, 1.0],
        ["0.00", "1.00", "2", "14", "100%", "2", "14"],
        ["0.00", "1.00", "0.00", "2.00"],
        ["2.00", "1.00"],
        1.0,
    ),
    "gets worse": (
        gets_worse(),
        [1.0, 1.0, 0.0, 0.0],
        ["1.00", "0.00", "never", "never", "100%", "0", "0"],
        ["1.00", "0.00", "1.00", "2.00"],
        ["2.00", "1.00"],
        0.0,
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("replicas", [1, 3])
def test_scripted_agent_gets_its_known_score_in_every_table(tmp_path: Path, case: str, replicas: int) -> None:
    agent, returns, measures, scores, against, success = CASES[case]
    groups = measured(tmp_path, agent, replicas=replicas)
    ours = groups[0]
    assert ours.iqm.tolist() == returns
    assert values(summary_table(groups).plain_rows()[1])[4:8] == [f"{value:.2f}" for value in returns]
    assert values(summary_table(groups).plain_rows()[1])[8] == f"{returns[-1] - returns[0]:.2f}"
    assert ours.success_rate is not None
    assert ours.success_rate[-1] == pytest.approx(success)
    steps = [str(int(word) * replicas) if n in (3, 6) and word.isdigit() else word for n, word in enumerate(measures)]
    assert list(measure_table(groups, threshold=1.0).plain_rows()[1][1:]) == steps
    assert values(score_table(groups, "never", "always").plain_rows()[1])[1:5] == scores
    never = next(row for row in comparison_table(groups).plain_rows()[1:] if row[1] == "never")
    assert [never[2].split()[0], never[4].split()[0]] == against
    assert above(ours.returns[..., -1], np.array([0.5])).mean() == pytest.approx(success)


def test_episodes_of_different_length_cost_what_each_of_them_took(tmp_path: Path) -> None:
    groups = measured(tmp_path, solves_four())
    solved = groups[0].returns[0, :, 0] == 1.0
    assert solved.sum() == 4
    spent = groups[0].evaluations[0].env_steps_per_task
    np.testing.assert_array_equal(spent[:, -1], np.where(solved, SOLVED, UNSOLVED) * ROUNDS)
    # The four reach a return of 1 in their first round, before any step is spent; of the others nobody knows when.
    assert measure_table(groups, threshold=1.0).plain_rows()[1][-3:] == ("20%", "never", "never")
    assert groups[0].env_steps.tolist() == [(4 * SOLVED + 16 * UNSOLVED) / TASKS * n for n in range(1, ROUNDS + 1)]


def test_page_of_scripted_agents_says_the_same(tmp_path: Path) -> None:
    text = markdown(measured(tmp_path, solves_four()), About("", asked=Asked(1.0, ("never", "always"))), {})
    assert "| - | - | 20% | never | never |" in text
    assert "## Scores between never, 0, and always, 1" in text


def test_two_seeds_that_solve_other_tasks_are_pooled(tmp_path: Path) -> None:
    numbers = Numbered().sample("test", TASKS, seed=0).values["number"]
    runs = []
    for seed, known in ((1, numbers[:4]), (2, numbers[4:10])):
        run = run_folder(tmp_path / f"s{seed}", np.zeros((TASKS, 2)), seed=seed)
        evaluate(solves(known), Numbered(), record=AgentRecord("maml-ppo"), num_tasks=TASKS).save(
            run / "evaluation.json"
        )
        runs.append(run)
    (group,) = group_runs([read_run(run) for run in runs])
    assert group.success_rate is not None
    assert group.success_rate.tolist() == [0.25, 0.25]
    assert group.totals.mean() == 0.5
    loaded = [Evaluation.load(run / "evaluation.json") for run in runs]
    assert [each.mean.tolist() for each in loaded] == [[0.2, 0.2], [0.3, 0.3]]
