"""One task, one seed, one round, equal or missing numbers: no warning, no NaN on a page, no interval where none is."""

from __future__ import annotations

import functools
import math
import re
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metarl.base.errors import MetarlError
from metarl.evaluation.evaluate import evaluate
from metarl.evaluation.figure import adaptation_figure
from metarl.evaluation.record import Evaluation
from metarl.evaluation.table import table
from metarl.families.load import load
from metarl.report.about import About
from metarl.report.comparison import score_table
from metarl.report.groups import Group, group_runs
from metarl.report.html import html_page
from metarl.report.latex import latex
from metarl.report.markdown import markdown
from metarl.report.runs import RunResult, read_run
from metarl.report.tables import Asked
from tests.report.run_folders import run_folder, scores
from tests.scripted import Numbered, altered, solves

NUMBERS = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 1e-300, 1e100, -1e100, 5e-324, math.nan]), st.floats(-1e6, 1e6)
)
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6))
RETURNS = SHAPES.flatmap(lambda shape: hnp.arrays(np.float64, shape, elements=NUMBERS))


@functools.cache
def usual_run() -> RunResult:
    with tempfile.TemporaryDirectory() as folder:
        return read_run(run_folder(Path(folder) / "run", scores(1)))


def evaluation(returns: np.ndarray, **changes: Any) -> Evaluation:
    """Return an evaluation with these returns [task, round] in tasks of navigation-2d, after equal steps."""
    tasks = load("navigation-2d").sample("test", len(returns), seed=0)
    steps = np.tile(10.0 * np.arange(1, returns.shape[1] + 1), (len(returns), 1))
    about = {"returns": returns, "tasks": tasks, "env_steps_per_task": steps, **changes}
    return altered(usual_run().evaluation, **about)


def groups_of(returns: np.ndarray, reference: np.ndarray | None = None, **changes: Any) -> list[Group]:
    """Return a trained group with these returns [seed, task, round], and a reference, by default with its first."""
    run = usual_run()
    found = [evaluation(each, **changes) for each in returns]
    runs = [replace(run, evaluation=each, config={**run.config, "seed": n}) for n, each in enumerate(found)]
    reference = replace(
        group_runs([runs[0]])[0], name="random", runs=[], evaluations=[altered(found[0], agent="random")]
    )
    return [*group_runs(runs), replace(reference, files=[Path("evaluation-random.json")])]


def pages(groups: Sequence[Group]) -> list[str]:
    """Return the page in each form, without plotly.js."""
    about = About("metarl report", asked=Asked(threshold=0.5))
    text = re.sub(r"<script>.*?</script>|<style>.*?</style>", "", html_page(groups, about), flags=re.DOTALL)
    return [markdown(groups, about, {}), text, latex(groups, about)]


def no_number(text: str) -> list[str]:
    """Return what is printed in place of a number though it says nothing."""
    return re.findall(r"(?<![\w-])(?:nan|inf|NaN|-?Infinity)(?![\w-])", text)


@settings(max_examples=25, deadline=None)
@given(RETURNS, st.booleans(), st.booleans())
def test_any_returns_give_pages_without_warning_and_without_nan(
    returns: np.ndarray, equal: bool, success: bool
) -> None:
    returns = np.broadcast_to(returns[:1, :1, :1], returns.shape).copy() if equal else returns
    successes = np.ones(returns.shape[1:]) if success else None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        groups = groups_of(returns, successes=successes)
        for text in [*pages(groups), *(table([each]) for each in groups[0].evaluations)]:
            assert no_number(text) == []


@settings(max_examples=40, deadline=None)
@given(
    SHAPES.flatmap(lambda shape: hnp.arrays(np.float64, (2, *shape), elements=NUMBERS)),
)
def test_scores_on_any_scale_are_given_without_warning_or_refused(returns: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = score_table(groups_of(returns[0], reference=returns[1][0]), "random", "maml-ppo")
        except MetarlError as error:
            assert "the scale goes from" in str(error)
        else:
            assert no_number(" ".join(word for row in found.plain_rows() for word in row)) == []


@settings(max_examples=6, deadline=None)
@given(SHAPES.flatmap(lambda shape: hnp.arrays(np.float64, shape[1:], elements=NUMBERS)))
def test_any_returns_give_a_picture_without_warning(returns: np.ndarray) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        adaptation_figure([evaluation(returns)]).canvas.draw()  # type: ignore[attr-defined]


def test_one_task_has_no_interval_and_every_page_says_none() -> None:
    found = groups_of(np.array([[[1.0, 3.0]]]))
    assert np.isnan(found[0].interval).all()
    assert re.search(r"1\s+10\s+1\.000\s+none\s+1\.000", table(found[0].evaluations))
    for text in pages(found):
        assert "none" in text and no_number(text) == []


@pytest.mark.parametrize("seeds", [1, 3])
def test_equal_returns_have_an_interval_of_no_width(seeds: int) -> None:
    found = groups_of(np.full((seeds, 4, 2), 7.0))
    np.testing.assert_array_equal(found[0].interval, np.full((2, 2), 7.0))
    assert "7.00 [7.00, 7.00]" in pages(found)[0]


def test_one_round_has_no_gain_and_one_seed_no_spread_of_seeds() -> None:
    text, *_ = pages(groups_of(np.arange(4.0).reshape(1, 4, 1)))
    assert "gain" not in text.splitlines()[10] and "bootstrap over tasks of one training seed" in text


def test_one_task_one_round_and_one_replica_are_played_and_read_back(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate(solves(np.array([])), Numbered(), num_tasks=1, rounds=1, replicas=1)
        found.save(tmp_path / "evaluation.json")
        assert no_number(table([Evaluation.load(tmp_path / "evaluation.json")])) == []
        assert "null" in (tmp_path / "evaluation.json").read_text()


def test_a_return_that_is_not_finite_takes_its_statistics_with_it_and_no_others() -> None:
    returns = np.array([[[math.nan, 1.0], [1.0, 2.0], [3.0, 4.0]]])
    text, *_ = pages(groups_of(returns))
    row = next(line for line in text.splitlines() if line.startswith("| maml-ppo"))
    assert row.count("not finite") >= 2 and "2.33 [1.00, 4.00]" in row
