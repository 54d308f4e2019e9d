"""Declared changes of MuJoCo models: their targets, effects and errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarl.base.errors import MetarlError
from metarl.families.load import load
from metarl.families.mujoco.changes import CHANGES, Add, Change, Scale, Set, Zero, apply
from metarl.families.mujoco.family import MujocoFamily
from metarl.families.mujoco.limbs import lowest_point
from metarl.families.mujoco.models import Blueprint, edit_copy
from metarl.families.mujoco.targets import shape_of_target

HALF_CHEETAH = Blueprint("half_cheetah.xml").compile()


def change_model(change: Change, value: Any, model: mujoco.MjModel = HALF_CHEETAH) -> mujoco.MjModel:
    return edit_copy(model, lambda m: apply(m, {"p": (change,)}, {"p": np.asarray(value, dtype=float)}))


def test_named_element_changes_and_no_other() -> None:
    edited = change_model(Set("body_mass[torso]"), 40.0)
    assert edited.body("torso").mass[0] == 40.0
    others = [i for i in range(edited.nbody) if i != edited.body("torso").id]
    np.testing.assert_array_equal(edited.body_mass[others], HALF_CHEETAH.body_mass[others])


def test_patterns_lists_and_numbers_name_elements() -> None:
    for target, names in (
        ("body_mass[*thigh]", {"bthigh", "fthigh"}),
        ("body_mass[bfoot, ffoot]", {"bfoot", "ffoot"}),
        ("body_mass[1]", {"torso"}),
    ):
        edited = change_model(Scale(target), 2.0)
        doubled = {edited.body(i).name for i in np.flatnonzero(edited.body_mass != HALF_CHEETAH.body_mass)}
        assert doubled == names


def test_star_leaves_the_worlds_body_alone() -> None:
    assert shape_of_target(HALF_CHEETAH, "body_mass[*]") == (HALF_CHEETAH.nbody - 1,)
    assert change_model(Add("body_mass[*]"), 1.0).body_mass[0] == 0


def test_degrees_of_freedom_go_by_their_joint() -> None:
    edited = change_model(Scale("dof_damping[bshin]"), 3.0)
    moved = np.flatnonzero(edited.dof_damping != HALF_CHEETAH.dof_damping)
    assert [int(dof) for dof in moved] == [int(edited.joint("bshin").dofadr[0])]


def test_second_bracket_takes_one_column() -> None:
    edited = change_model(Scale("geom_friction[*][0]"), 0.5)
    np.testing.assert_allclose(edited.geom_friction[:, 0], HALF_CHEETAH.geom_friction[:, 0] * 0.5)
    np.testing.assert_array_equal(edited.geom_friction[:, 1:], HALF_CHEETAH.geom_friction[:, 1:])


def test_parameter_of_several_numbers_gives_each_element_its_own() -> None:
    factors = np.arange(1.0, 7.0)
    edited = change_model(Scale("actuator_gear[*]"), factors)
    np.testing.assert_allclose(edited.actuator_gear[:, 0], HALF_CHEETAH.actuator_gear[:, 0] * factors)
    wide = np.random.default_rng(0).uniform(0.5, 2, (HALF_CHEETAH.nbody - 1, 3))
    np.testing.assert_allclose(
        change_model(Scale("body_inertia[*]"), wide).body_inertia[1:], HALF_CHEETAH.body_inertia[1:] * wide
    )


def test_whole_world_fields_change_by_axis_or_all_at_once() -> None:
    assert change_model(Set("gravity[z]"), -3.7).opt.gravity.tolist() == [0, 0, -3.7]
    assert change_model(Set("wind[x]"), 2.0).opt.wind.tolist() == [2, 0, 0]
    assert change_model(Set("wind"), [1.0, 2.0, 3.0]).opt.wind.tolist() == [1, 2, 3]
    assert change_model(Set("density"), 1000.0).opt.density == 1000
    assert change_model(Add("viscosity"), 0.5).opt.viscosity == HALF_CHEETAH.opt.viscosity + 0.5


def test_mass_reaches_the_constants_derived_from_it() -> None:
    edited = change_model(Scale("body_mass[*]"), 2.0)
    np.testing.assert_allclose(edited.body_subtreemass, 2 * HALF_CHEETAH.body_subtreemass)
    assert not np.allclose(edited.dof_invweight0, HALF_CHEETAH.dof_invweight0)


def test_slope_leans_gravity_against_one_who_walks_up() -> None:
    gravity = change_model(Set("slope"), 0.2).opt.gravity
    np.testing.assert_allclose(gravity, 9.81 * np.array([-np.sin(0.2), 0, -np.cos(0.2)]))


def test_slope_equals_a_tilted_floor_seen_from_the_floor() -> None:
    xml = """<mujoco><worldbody><geom name='floor' type='plane' size='9 9 1' friction='.01 .01 .01'/>
      <body name='b' pos='0 0 .1'><freejoint/><geom type='box' size='.1 .1 .1' friction='.01 .01 .01'/></body>
      </worldbody></mujoco>"""
    model = change_model(Set("slope"), 0.3, mujoco.MjModel.from_xml_string(xml))
    data = mujoco.MjData(model)
    tilted = mujoco.MjSpec.from_string(xml)
    floor, body = tilted.geoms[0], tilted.bodies[1]
    turn = np.array([np.cos(-0.15), 0, np.sin(-0.15), 0])  # by -0.3 rad about y: the floor rises along +x
    floor.quat, body.quat = turn, turn
    body.pos = [-0.1 * np.sin(0.3), 0, 0.1 * np.cos(0.3)]
    other_model = tilted.compile()
    other = mujoco.MjData(other_model)
    for _ in range(200):
        mujoco.mj_step(model, data)
        mujoco.mj_step(other_model, other)
    along = np.array([np.cos(0.3), 0, np.sin(0.3)])
    assert along @ other.qpos[:3] == pytest.approx(data.qpos[0], rel=1e-3)
    assert data.qpos[0] < -0.1


def lengthen_limbs(base: str, factor: float, **limbs: str) -> mujoco.MjModel:
    """Return the model of a family with its named limbs scaled."""
    varies = {name: {"scale": target, "train": {"uniform": [0.5, 2]}} for name, target in limbs.items()}
    family = load(base, varies=varies)
    task = {name: factor if name in limbs else 1.0 for name in family.parameters}
    envs = family.make_vec(family.tasks(task), threads=0)
    return envs.batch.dynamics.worlds.models[0]  # type: ignore[attr-defined]


def anchors(model: mujoco.MjModel) -> dict[str, np.ndarray]:
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return {model.joint(i).name: data.xanchor[i].copy() for i in range(model.njnt)}


@pytest.mark.parametrize(
    ("base", "body", "near", "far"),
    [
        ("hopper-dynamics", "leg", "leg_joint", "foot_joint"),
        ("hopper-dynamics", "thigh", "thigh_joint", "leg_joint"),
        ("walker2d-dynamics", "leg_left", "leg_left_joint", "foot_left_joint"),
        ("half-cheetah-dynamics", "bthigh", "bthigh", "bshin"),
        ("humanoid-dynamics", "right_thigh", "right_hip_y", "right_knee"),
        ("ant-dynamics", "front_left_leg", "root", "hip_1"),
    ],
)
def test_limb_grows_from_its_own_joint_to_the_next(base: str, body: str, near: str, far: str) -> None:
    same, longer = (anchors(lengthen_limbs(base, factor, leg=f"limb_length[{body}]")) for factor in (1.0, 1.5))
    reach = [np.linalg.norm(place[far] - place[near]) for place in (same, longer)]
    assert reach[1] == pytest.approx(1.5 * reach[0], rel=1e-6)
    np.testing.assert_allclose(longer[near], same[near], atol=1e-9)


def test_joints_of_a_longer_limb_lie_on_its_axis() -> None:
    model = lengthen_limbs("hopper-dynamics", 1.5, leg="limb_length[leg]")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    geom = model.geom("leg_geom").id
    ends = [
        data.geom_xpos[geom] + side * data.geom_xmat[geom].reshape(3, 3)[:, 2] * model.geom_size[geom, 1]
        for side in (1, -1)
    ]
    place = anchors(model)
    np.testing.assert_allclose(
        sorted([place["leg_joint"][2], place["foot_joint"][2]]), sorted(end[2] for end in ends), atol=1e-9
    )


def test_longer_limb_is_heavier_and_nothing_else_is() -> None:
    for base, body in (("hopper-dynamics", "leg"), ("half-cheetah-dynamics", "bthigh")):
        same, longer = (lengthen_limbs(base, factor, leg=f"limb_length[{body}]") for factor in (1.0, 1.2))
        limb = same.body(body).id
        geom = int(same.body_geomadr[limb])
        radius, half = same.geom_size[geom, :2]
        volume = [4 / 3 * np.pi * radius**3 + 2 * np.pi * radius**2 * h for h in (half, 1.2 * half)]
        assert longer.body_mass[limb] / same.body_mass[limb] == pytest.approx(volume[1] / volume[0])
        others = [i for i in range(same.nbody) if i != limb]
        np.testing.assert_allclose(longer.body_mass[others], same.body_mass[others])


def test_two_parameters_of_one_limb_multiply() -> None:
    both = lengthen_limbs("hopper-dynamics", 1.2, one="limb_length[leg]", two="limb_length[leg,thigh]")
    geom = both.geom("leg_geom").id
    same = load("hopper-dynamics").model  # type: ignore[attr-defined]
    assert both.geom_size[geom, 1] == pytest.approx(1.44 * same.geom_size[geom, 1])


@pytest.mark.parametrize(
    ("base", "limb"), [("hopper-dynamics", "leg"), ("humanoid-dynamics", "right_thigh,left_thigh")]
)
def test_body_with_longer_limbs_stands_on_the_floor_and_does_not_tell(base: str, limb: str) -> None:
    same, longer = (lengthen_limbs(base, factor, leg=f"limb_length[{limb}]") for factor in (1.0, 1.4))
    floor = [float(model.geom("floor").pos[2]) for model in (same, longer)]
    assert lowest_point(longer) - floor[1] == pytest.approx(lowest_point(same) - floor[0], abs=1e-9)
    assert lowest_point(longer) < lowest_point(same) - 0.05
    np.testing.assert_array_equal(longer.qpos0, same.qpos0)


@pytest.mark.parametrize("base", ["hopper-dynamics", "half-cheetah-dynamics", "humanoid-dynamics"])
def test_factor_of_one_gives_the_same_model_back(base: str) -> None:
    family, same = load(base), lengthen_limbs(base, 1.0, leg="limb_length[torso]")
    assert isinstance(family, MujocoFamily)
    for field in ("body_mass", "body_inertia", "geom_size", "geom_pos", "body_pos", "dof_M0"):
        np.testing.assert_allclose(getattr(same, field), getattr(family.model, field), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "value", "words"),
    [
        (Scale("body_mas[torso]"), 1, "not a field that a task can change; did you mean 'body_mass'"),
        (Scale("body_subtreemass[*]"), 1, "not a field that a task can change"),
        (Scale("body_mass[tors]"), 1, "no body 'tors'; did you mean 'torso'"),
        (Scale("body_mass[99]"), 1, "no body '99'"),
        (Scale("dof_damping[knee]"), 1, "no dof 'knee'"),
        (Scale("geom_friction[*][7]"), 1, "column 7; geom_friction has 3"),
        (Scale("body_mass[*][0]"), 1, "column 0; body_mass has 1"),
        (Set("gravity[w]"), 1, "'w' is not an axis"),
        (Set("body mass"), 1, "not of the form field"),
        (Set("body_mass[torso]"), -1, "makes body_mass\\[torso\\] -1; it must be above 0"),
        (Scale("geom_friction[*]"), -1, "it must be 0 or more"),
        (Set("density"), -1, "it must be 0 or more"),
        (Scale("body_mass[*]"), [1, 2], "has shape \\(2,\\)"),
    ],
)
def test_wrong_declaration_is_refused_in_one_line(change: Change, value: Any, words: str) -> None:
    with pytest.raises(MetarlError, match=words) as caught:
        change_model(change, value)
    assert "\n" not in str(caught.value)


@given(
    st.sampled_from(["set", "scale", "add"]),
    st.sampled_from(["body_mass[*]", "geom_friction[*]", "actuator_gear[bthigh]", "gravity[z]", "dof_damping[3]"]),
    st.floats(0.1, 10),
)
def test_change_does_to_the_field_what_its_word_says(how: str, target: str, value: float) -> None:
    edited = change_model(CHANGES[how](target), value)
    field = target.split("[")[0]
    source = [model.opt if field == "gravity" else model for model in (HALF_CHEETAH, edited)]
    before, after = (np.array(getattr(holder, field)) for holder in source)
    rows = {"body_mass": slice(1, None), "actuator_gear": 0, "gravity": 2, "dof_damping": 3}.get(field, slice(None))
    expected = before.copy()
    expected[rows] = {"set": value, "scale": before[rows] * value, "add": before[rows] + value}[how]
    np.testing.assert_allclose(after, expected)


def test_every_world_steps_with_its_own_model() -> None:
    family = load("hopper-dynamics")
    tasks = family.sample("train", 6, seed=0)
    envs = family.make_vec(tasks, 2, threads=2)
    models = envs.batch.dynamics.worlds.models  # type: ignore[attr-defined]
    masses: Mapping[str, Any] = {"mass": tasks.values["mass"]}
    nominal = family.model.body_mass[1]  # type: ignore[attr-defined]
    np.testing.assert_allclose([m.body_mass[1] for m in models], np.repeat(masses["mass"], 2) * nominal)


def test_change_of_a_gymnasium_environments_model_acts_at_once() -> None:
    family = load("gymnasium", "inverted-pendulum-mass")
    env: Any = family.make({"mass": 2.0}, None)  # type: ignore[attr-defined]
    plain: Any = gymnasium.make("InvertedPendulum-v5")
    np.testing.assert_allclose(env.unwrapped.model.body("pole").mass, 2 * plain.unwrapped.model.body("pole").mass)


def test_zero_kills_the_row_whose_number_the_parameter_is() -> None:
    edited = change_model(Zero("actuator_gear[*]"), 2.0)
    assert (edited.actuator_gear[2] == 0).all()
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(edited.actuator_gear[others], HALF_CHEETAH.actuator_gear[others])
    for value in (6.0, -1.0, 1.5):
        with pytest.raises(MetarlError, match="has rows 0 to 5"):
            change_model(Zero("actuator_gear[*]"), value)


def test_special_targets_take_the_one_thing_that_makes_sense() -> None:
    with pytest.raises(MetarlError, match="slope takes set, not scale"):
        change_model(Scale("slope"), 0.1)
    with pytest.raises(MetarlError, match="limb_length takes scale, not set"):
        change_model(Set("limb_length[bthigh]"), 0.1)
