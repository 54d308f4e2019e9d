"""Tasks, splits, settings and the registry."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from metarl.base.errors import MetarlError
from metarl.base.registry import Registry
from metarl.families.family import FAMILIES, register
from metarl.families.load import load
from metarl.families.task import SPLITS
from tests.probes import RightArm


@pytest.mark.parametrize("name", list(FAMILIES))
def test_splits_share_no_task_and_stay_in_their_range(name: str) -> None:
    family = load(name)
    drawn = {split: family.sample(split, 200, seed=0) for split in family.splits}
    for split, tasks in drawn.items():
        assert family.contains(split, tasks).all()
    if family.num_tasks is None:
        for one, other in itertools.combinations(drawn, 2):
            for parameter, what in family.parameters.items():
                if what.train.num_values is not None:
                    continue  # one of a few, beside others that are never the same
                common = np.intersect1d(drawn[one].values[parameter], drawn[other].values[parameter])
                assert common.size == 0, f"{one} and {other} share values of {parameter}"
    if "extrapolation" in drawn:
        assert not family.contains("train", drawn["extrapolation"]).any()


def test_task_does_not_depend_on_how_many_are_asked_for() -> None:
    family = load("navigation-2d")
    many = family.sample("test", 50, seed=3)
    few = family.sample("test", 5, seed=3, start=20)
    np.testing.assert_array_equal(few.values["goal"], many.values["goal"][20:25])
    np.testing.assert_array_equal(few.index, many[20:25].index)


def test_sampling_depends_on_the_seed_alone_and_not_on_global_random_state() -> None:
    family = load("half-cheetah-velocity")
    np.random.seed(1)  # noqa: NPY002
    first = family.sample("train", 8, seed=5).values["velocity"]
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(family.sample("train", 8, seed=5).values["velocity"], first)
    assert not np.array_equal(family.sample("train", 8, seed=6).values["velocity"], first)


def test_two_task_family_says_that_it_has_no_unseen_tasks() -> None:
    family = load("half-cheetah-direction")
    assert family.num_tasks == 2
    assert "extrapolation" not in family.splits
    with pytest.raises(MetarlError, match="has no extrapolation split"):
        family.sample("extrapolation", 2, seed=0)


def test_presets_are_those_of_the_papers() -> None:
    assert load("half-cheetah-velocity", "maml").settings["max_velocity"] == 2.0
    assert load("half-cheetah-velocity", "pearl").settings["max_velocity"] == 3.0
    assert load("half-cheetah-velocity", "amago").horizon == 1000
    assert load("half-cheetah-direction", "promp").horizon == 100
    assert load("half-cheetah-velocity", "varibad").observation_space.shape == (20,)
    assert load("half-cheetah-velocity", "promp").observation_space.shape == (17,)
    assert load("point-sparse", "varibad").horizon == 100
    assert load("navigation-2d").horizon == 100
    bandit = load("bernoulli-bandit", "n500-k50")
    assert (bandit.horizon, bandit.settings["num_arms"]) == (500, 50)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        (("half-cheetah-velocty",), {}, "did you mean 'half-cheetah-velocity'"),
        (("navigation-2d", "mamml"), {}, "did you mean 'maml'"),
        (("navigation-2d",), {"horison": 5}, "did you mean 'horizon'"),
        (("navigation-2d",), {"horizon": 0}, "'horizon' of family 'navigation-2d' is 0"),
        (("navigation-2d",), {"horizon": "long"}, "'horizon' of family 'navigation-2d' is 'long'"),
        (("half-cheetah-velocity",), {"observes": "everything"}, "'observes'"),
    ],
)
def test_wrong_names_and_settings_get_one_line_with_the_remedy(
    arguments: tuple[str, ...], settings: dict[str, object], message: str
) -> None:
    with pytest.raises(MetarlError, match=message) as error:
        load(*arguments, **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"gaol": [0, 0]}, "did you mean 'goal'"),
        ({}, "'goal' of family 'navigation-2d' is missing"),
        ({"goal": [0, 0, 0]}, r"takes \(2,\) finite numbers"),
        ({"goal": [0, float("nan")]}, r"takes \(2,\) finite numbers"),
        ({"goal": "there"}, r"takes \(2,\) finite numbers"),
        ([], "no task given"),
    ],
)
def test_wrong_tasks_get_one_line_with_the_rule(rows: object, message: str) -> None:
    with pytest.raises(MetarlError, match=message):
        load("navigation-2d").tasks(rows)  # type: ignore[arg-type]


def test_unknown_split_and_negative_number_of_tasks_are_refused() -> None:
    family = load("navigation-2d")
    with pytest.raises(MetarlError, match="did you mean 'test'"):
        family.sample("tets", 3, seed=0)
    with pytest.raises(MetarlError, match="num_tasks is -1"):
        family.sample("test", -1, seed=0)


def test_tasks_survive_the_way_through_plain_numbers() -> None:
    family = load("navigation-2d")
    tasks = family.sample("test", 4, seed=0)
    again = family.tasks(list(tasks))
    np.testing.assert_array_equal(again.values["goal"], tasks.values["goal"])


def test_a_name_and_a_gymnasium_id_are_registered_once() -> None:
    with pytest.raises(MetarlError, match="'navigation-2d' is already registered"):
        register("navigation-2d")(RightArm)
    assert RightArm.name == "right-arm"
    other = type("Navigation2D", (RightArm,), {})
    with pytest.raises(MetarlError, match="'metarl/Navigation2D-v0' belongs to family 'navigation-2d'"):
        register("navigation-2d-again")(other)
    assert "navigation-2d-again" not in list(FAMILIES)


def test_a_class_defined_anew_takes_its_own_place() -> None:
    cls = FAMILIES["point-sparse"]
    again = type(cls.__name__, (cls,), {"__module__": cls.__module__, "__qualname__": cls.__qualname__})
    register("point-sparse")(again)
    assert FAMILIES["point-sparse"] is again
    register("point-sparse")(cls)


def test_registering_adds_the_shared_part_of_a_docstring_once() -> None:
    cls = FAMILIES["point-sparse"]
    doc = cls.__doc__
    assert doc is not None and doc.count("| observation |") == 1
    register("point-sparse")(cls)
    assert cls.__doc__ == doc


def test_hand_made_task_alone_equals_itself_in_a_batch() -> None:
    family = load("half-cheetah-velocity")
    rows = [{"velocity": 0.5}, {"velocity": 1.5}]
    both = family.make_vec(family.tasks(rows)).reset(seed=0)[0]
    np.testing.assert_array_equal(family.make_vec(family.tasks(rows[1])).reset(seed=0)[0], both[1:])
    assert not np.array_equal(both[0], both[1])


def test_broken_plug_in_leaves_the_others_usable_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    broken = EntryPoint("broken", "no_such_module_anywhere", "metarl.probes")
    monkeypatch.setattr("metarl.base.registry.entry_points", lambda group: [broken])
    registry: Registry[int] = Registry("probe", "probes", "metarl.probes", lambda item, title: None)
    registry.add("one", 1)
    assert registry["one"] == 1
    with pytest.raises(MetarlError, match="no_such_module_anywhere failed to import"):
        registry["two"]


def test_there_are_four_splits() -> None:
    assert SPLITS == ("train", "validation", "test", "extrapolation")
