"""A space is read as it is written, and each mistake in it is told in one line before the first trial."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarl.base.errors import MetarlError
from metarl.runs.config import load_config, parse_override, setting
from metarl.search.samplers import check_sampler, distribution
from metarl.search.space import Choices, Range, check_space, count_points, grid, override, parse_space, read_space
from tests.small_runs import write_config

numbers = st.floats(1e-6, 1e6) | st.integers(1, 10**6)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(-1e6, 1e6)
    | st.text(st.characters(categories=("L", "N", "P", "S")), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=4,
)


@given(low=numbers, high=numbers, log=st.booleans())
def test_a_range_is_whole_numbers_just_if_both_ends_are(low: float, high: float, log: bool) -> None:
    data = {"a.b": {"low": low, "high": high, "log": log}}
    if low >= high:
        with pytest.raises(MetarlError, match="is not below high"):
            parse_space(data)
        return
    (found,) = parse_space(data)
    assert isinstance(found, Range)
    whole = isinstance(low, int) and isinstance(high, int)
    kinds = {type(value) for value in found.probes()[2:]}
    assert (found.is_whole, kinds) == (whole, {int if whole else float})
    assert all(low <= value <= high for value in found.probes())
    assert type(distribution(found)).__name__ == ("IntDistribution" if whole else "FloatDistribution")


@given(
    low=st.integers(-1000, 1000),
    step=st.integers(1, 1000),
    count=st.integers(1, 50),
    scale=st.sampled_from([1, 0.1, 0.25]),
)
def test_the_points_of_a_range_are_its_steps_without_rounding(low: int, step: int, count: int, scale: float) -> None:
    ends = {"low": low, "high": low + count * step, "step": step}
    if scale != 1:
        ends = {name: round(number * scale, 4) for name, number in ends.items()}
    (found,) = parse_space({"a": ends})
    points = found.points()
    assert (points[0], points[-1], len(points)) == (ends["low"], ends["high"], count + 1)
    assert isinstance(found, Range)
    # A sampler's rounding goes away.
    assert [found.value(point + 1e-9 if scale != 1 else point) for point in points] == list(points)  # type: ignore[operator]


@given(st.lists(values, min_size=1, max_size=5))
def test_choices_keep_their_values_through_labels_and_the_command_line(listed: list[Any]) -> None:
    try:
        (found,) = parse_space({"a": listed})
    except MetarlError as error:
        assert "twice" in str(error)
        return
    assert isinstance(found, Choices)
    for value, label in zip(listed, found.labels, strict=True):
        read = found.value(label)
        assert (read, type(read)) == (value, type(value))
        assert parse_override(override("a", read)) == ("a", value)


@given(values)
def test_whatever_stands_in_the_file_is_a_space_or_one_line(data: Any) -> None:
    try:
        parse_space(data)
        parse_space({"a": data})
    except MetarlError as error:
        assert "\n" not in str(error)


def test_a_grid_has_every_point_once() -> None:
    space = parse_space(
        {"a": ["x", [1]], "b": {"low": 1, "high": 5, "step": 2}, "c": {"low": 0.0, "high": 0.2, "step": 0.1}}
    )
    points = [tuple(point.values()) for point in grid(space)]
    assert len(points) == len(set(points)) == count_points(space) == 18
    assert points[:3] == [("x", 1, 0.0), ("x", 1, 0.1), ("x", 1, 0.2)]


MISTAKES = {
    "[]": "a space is a mapping of settings to ranges and choices, not []",
    "agent.inner_lr: 0.1": "agent.inner_lr is 0.1: it must be a range, such as {low:",
    "agent.inner_lr: []": "agent.inner_lr has no choices",
    "agent.inner_lr: [0.1, 0.1]": "agent.inner_lr has the choice 0.1 twice",
    "agent.inner_lr: {low: 1.0}": "agent.inner_lr has no high",
    "agent.inner_lr: {low: 1.0, hihg: 2.0}": "agent.inner_lr.hihg: unknown; did you mean 'high'?",
    "agent.inner_lr: {low: 1.0, high: 0.5}": "agent.inner_lr: low is 1.0, which is not below high=0.5",
    "agent.inner_lr: {low: 0.5, high: 0.5}": "agent.inner_lr: low is 0.5, which is not below high=0.5",
    "agent.inner_lr: {low: 0.0, high: 1.0, log: true}": "agent.inner_lr: low is 0.0; a logarithmic range must lie",
    "agent.inner_lr: {low: 0.1, high: 1.0, log: 1}": "agent.inner_lr.log is 1: it must be true or false",
    "agent.inner_lr: {low: a, high: 1.0}": "agent.inner_lr.low is 'a': it must be a number",
    "agent.inner_lr: {low: 0.1, high: 1.0, step: -1}": "agent.inner_lr: step is -1: it must be above zero",
    "agent.inner_lr: {low: 0.1, high: 1.0, step: 0.2}": "do not reach; write high: 0.9",
    "agent.inner_lr: {low: 0.1, high: 1.0, step: 0.1, log: true}": "step and log are both given",
    "agent.inner_lrr: {low: 0.1, high: 1.0}": "agent.inner_lrr: unknown key; did you mean 'inner_lr'?",
    "agnt.inner_lr: {low: 0.1, high: 1.0}": "agnt: unknown key; did you mean 'agent'?",
    "agent.inner_lr: {low: -0.1, high: 1.0}": "agent.inner_lr is -0.1: it must be greater than",
    "agent.discount: {low: 0.5, high: 1.5}": "agent.discount is 1.5: it must be less than or equal to 1",
    "agent.outer.num_epochs: {low: 1.0, high: 4.0}": "agent.outer.num_epochs is 2.146: it must be a valid integer",
    "agent.outer: [ppo, trpoo]": "agent.outer.name is 'trpoo': unknown; did you mean 'trpo'?",
    "{agent.outer: [ppo], agent.outer.num_epochs: [1]}": "agent.outer and agent.outer.num_epochs are both given",
    "seed: [1, 2]": "seed cannot be searched: a study gives the trainings their seeds",
    "rounds: [2, 3]": "rounds cannot be searched: trials would be measured by different tests",
    "family.horizon: [10, 20]": "family.horizon cannot be searched: trials would be measured by different tests",
    "evaluation.num_tasks: [10, 20]": "evaluation.num_tasks cannot be searched",
    "replicas: [2, 4]": "replicas cannot be searched while validation takes as many; set evaluation.replicas=N",
    "log: [[csv], []]": "log cannot be searched: no result depends on it",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_in_a_space_is_one_line_with_the_file(text: str, tmp_path: Path) -> None:
    path, config = tmp_path / "space.yaml", write_config(tmp_path)
    path.write_text(text)
    with pytest.raises(MetarlError) as caught:
        check_space(read_space(path), str(path), lambda words: load_config(config, words))
    assert str(caught.value).startswith(f"{path}: ")
    assert MISTAKES[text] in str(caught.value) and "\n" not in str(caught.value)


def test_whole_settings_choices_and_lists_are_searched(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    space = parse_space(
        {
            "agent.hidden_sizes": [[8], [8, 8]],
            "agent.outer": ["ppo", {"name": "trpo", "max_kl": 0.02}],
            "meta_batch_size": {"low": 2, "high": 8},
        }
    )
    check_space(space, "space.yaml", lambda words: load_config(config, words))
    outer = space[1]
    word = override(outer.key, outer.value(outer.points()[1]))
    assert setting(load_config(config, [word]).agent, "outer.max_kl") == 0.02


def test_a_sampler_refuses_a_space_that_it_cannot_search() -> None:
    ranges = parse_space({"a": {"low": 0.1, "high": 1.0}, "b": ["x", "y"]})
    with pytest.raises(MetarlError, match=r"s: a is a range without a step; a grid needs values"):
        check_sampler("grid", ranges, "s")
    with pytest.raises(MetarlError, match=r"s: cma-es needs two ranges or more, this space has 1; take tpe or gp"):
        check_sampler("cma-es", ranges, "s")
    two = parse_space({"a": {"low": 0.1, "high": 1.0}, "c": {"low": 1, "high": 3}, "b": ["x", "y"]})
    assert check_sampler("cma-es", two, "s") == "cma-es moves ranges alone; drawn at random: b"
    assert check_sampler("gp", two, "s").endswith("each as far from the other: b")
    assert check_sampler("tpe", two, "s") == check_sampler("random", two, "s") == ""
