"""MuJoCo families in detail: ends, starts, tasks, the reward of each preset, and worlds that stand still."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import mujoco
import numpy as np
import pytest

from metarl.families.batch import State
from metarl.families.family import FAMILIES
from metarl.families.load import load
from metarl.families.mujoco.family import MujocoFamily
from metarl.families.mujoco.limbs import lowest_point
from metarl.families.mujoco.models import Blueprint
from metarl.families.mujoco.worlds import Worlds
from metarl.families.vector import BatchedEnv

BODIES = {"half-cheetah": (9, 9, 8), "ant": (15, 14, 14), "humanoid": (24, 23, 14)}
"""Number of positions, velocities and bodies."""
ANTS = [name for name in FAMILIES if name.startswith("ant-")]
HUMANOIDS = [name for name in FAMILIES if name.startswith("humanoid-")]
WORLDS = 6


def make_family(name: str, preset: str | None = None, **settings: Any) -> MujocoFamily:
    family = load(name, preset, **settings)
    assert isinstance(family, MujocoFamily)
    return family


def presets(names: list[str]) -> list[tuple[str, str | None]]:
    return [(name, preset) for name in names for preset in (FAMILIES[name].presets or (None,))]


def invent_state(name: str, seed: int = 0, force: float = 3.0) -> State:
    """Return a state of random numbers with every field that a family reads."""
    nq, nv, bodies = BODIES[next(body for body in BODIES if name.startswith(body))]
    rng = np.random.default_rng(seed)
    state = {"qpos": rng.normal(size=(WORLDS, nq)), "qvel": rng.normal(size=(WORLDS, nv))}
    for field, size in (("subtree_com", 3), ("cinert", 10), ("cvel", 6)):
        state[field] = rng.normal(size=(WORLDS, bodies, size))
    # Forces of very different sizes, so that some are clipped and some are not.
    state["cfrc_ext"] = rng.normal(size=(WORLDS, bodies, 6)) * force * 10.0 ** -np.arange(WORLDS)[:, None, None]
    for sensor in make_family(name).sensors:
        state[sensor] = rng.normal(size=(WORLDS, 1))
    return state


def cost(forces: np.ndarray) -> float:
    return 0.0005 * float((np.clip(forces, -1, 1) ** 2).sum())


HEIGHTS = (-0.01, 0.1, 0.19, 0.21, 0.99, 1.01)
USUAL = [True, True, True, False, False, True]
ANT_ENDS: dict[tuple[str, str | None], list[bool]] = {
    **dict.fromkeys(presets(ANTS), USUAL),
    ("ant-direction", "promp"): [True, False, False, False, False, True],
    ("ant-circle", "promp"): [True, False, False, False, False, True],
    **{("ant-goal", preset): [False] * 6 for preset in ("pearl", "varibad", "pearl-no-contacts")},
}


@pytest.mark.parametrize(("name", "preset"), ANT_ENDS)
def test_an_ants_episode_ends_at_the_heights_of_its_preset(name: str, preset: str | None) -> None:
    qpos = np.zeros((len(HEIGHTS), 15))
    qpos[:, 2] = HEIGHTS
    ended = np.zeros(len(HEIGHTS), dtype=bool) | make_family(name, preset).terminated({"qpos": qpos}, {})
    assert ended.tolist() == ANT_ENDS[name, preset]


@pytest.mark.parametrize(("name", "preset"), presets(HUMANOIDS))
def test_a_humanoids_episode_ends_out_of_1_to_2_m(name: str, preset: str | None) -> None:
    qpos = np.zeros((5, 24))
    qpos[:, 2] = (0.9, 1.01, 1.5, 1.99, 2.1)
    ended = np.zeros(5, dtype=bool) | make_family(name, preset).terminated({"qpos": qpos}, {})
    assert ended.tolist() == [True, False, False, False, True]


def upright(height: float, **off: float) -> State:
    """Return the state of one hopper or walker, zero but for the given positions and velocities, such as q3 or v0."""
    state = {"qpos": np.zeros((1, 6)), "qvel": np.zeros((1, 6))}
    state["qpos"][0, 1] = height
    for where, value in off.items():
        state[{"q": "qpos", "v": "qvel"}[where[0]]][0, int(where[1:])] = value
    return state


@pytest.mark.parametrize(
    ("body", "state", "ends"),
    [
        ("hopper", upright(1.25), False),
        ("hopper", upright(0.69), True),
        ("hopper", upright(0.71), False),
        ("hopper", upright(1.25, q2=0.19), False),
        ("hopper", upright(1.25, q2=-0.21), True),
        ("hopper", upright(1.25, q0=1e3), False),
        ("hopper", upright(1.25, q3=-101), True),
        ("hopper", upright(1.25, v0=99, v5=-99), False),
        ("hopper", upright(1.25, v0=101), True),
        ("hopper", upright(1.25, v5=-101), True),
        ("walker2d", upright(1.25, v0=101), False),
        ("walker2d", upright(0.79), True),
        ("walker2d", upright(0.81, q2=0.99), False),
        ("walker2d", upright(1.99, q2=-1.01), True),
        ("walker2d", upright(2.01), True),
    ],
)
def test_planar_bodies_end_where_gymnasiums_do(body: str, state: State, ends: bool) -> None:
    for name in (f"{body}-dynamics", f"{body}-rand-params"):
        assert np.all(make_family(name).terminated(state, {}) == ends)


SIZES: dict[tuple[str, str | None], int] = {
    **{(name, None): 27 for name in ANTS if not FAMILIES[name].presets},
    **{(n, p): 27 for n in ("ant-direction", "ant-circle") for p in ("pearl", "varibad", "pearl-no-contacts")},
    ("ant-direction", "promp"): 111,
    ("ant-circle", "promp"): 111,
    ("ant-velocity", "maml"): 113,
    ("ant-velocity", "maml-no-contacts"): 29,
    **{("ant-goal", preset): 113 for preset in ("pearl", "varibad", "maml")},
    ("ant-goal", "pearl-no-contacts"): 29,
    ("humanoid-direction", "pearl"): 376,
    ("humanoid-direction", "varibad"): 376,
    ("humanoid-direction", "pearl-no-contacts"): 292,
    ("humanoid-direction", "joints"): 45,
    ("humanoid-dynamics", None): 45,
}
"""Size of the observation. Contacts cost nothing in presets named so, in `joints`, and in families without presets."""


def test_tables_of_this_file_hold_every_preset() -> None:
    assert set(SIZES) == set(presets([*ANTS, *HUMANOIDS]))
    assert set(PAID) == set(presets([name for name, _ in PAID]))


@pytest.mark.parametrize(("name", "preset"), SIZES)
def test_a_preset_shows_as_much_and_pays_for_contacts_as_its_paper(name: str, preset: str | None) -> None:
    family, state = make_family(name, preset), invent_state(name)
    assert family.observation_space.shape == (SIZES[name, preset],)
    assert family.observation(state).shape == (WORLDS, SIZES[name, preset])
    if preset is None or preset == "joints" or preset.endswith("-no-contacts"):
        expected = np.zeros(WORLDS)
    elif name in ANTS:
        expected = np.array([cost(forces) for forces in state["cfrc_ext"]])
    else:
        expected = np.array([0.5e-6 * float((forces**2).sum()) for forces in state["cfrc_ext"]])
    paid = family.contact_cost(state)  # type: ignore[attr-defined]
    np.testing.assert_allclose(paid, expected)
    assert family.reads_contacts == expected.any()


def test_an_ant_observes_contacts_clipped() -> None:
    state = invent_state("ant-goal")
    seen = make_family("ant-goal", "pearl").observation(state)
    forces = state["cfrc_ext"].reshape(WORLDS, 84)
    assert np.abs(forces).max() > 1
    np.testing.assert_array_equal(seen[:, 29:], np.maximum(np.minimum(forces, 1), -1))


@dataclass
class Step:
    """Measurements of one world that a reward may depend on."""

    x: float
    y: float
    vx: float
    vy: float
    energy: float
    forces: np.ndarray
    com: np.ndarray
    task: dict[str, Any]

    @property
    def gap(self) -> float:
        return abs(self.x - self.task["goal"][0]) + abs(self.y - self.task["goal"][1])

    @property
    def along(self) -> float:
        return self.vx * self.task["heading"][0] + self.vy * self.task["heading"][1]


def upright_pay(step: Step, contacts: bool) -> float:
    """Return a humanoid's reward, with the displacement of its centre of mass over a physics step of 0.003 s."""
    way = float(step.com[:2] @ step.task["heading"])
    contact = min(0.5e-6 * float((step.forces**2).sum()), 10.0) if contacts else 0.0
    return 0.25 * way / 0.003 - 0.1 * step.energy + 5 - contact


Formula = Callable[[Step], float]
PAID: dict[tuple[str, str | None], Formula] = {
    **{
        ("half-cheetah-velocity", p): lambda s: -abs(s.vx - s.task["velocity"]) - 0.05 * s.energy
        for p in ("varibad", "pearl", "maml", "promp", "amago")
    },
    **{
        ("half-cheetah-direction", p): lambda s: s.task["direction"] * s.vx - 0.05 * s.energy
        for p in ("varibad", "pearl", "maml", "promp")
    },
    **{
        ("ant-direction", p): lambda s: s.task["direction"] * s.vx - 0.5 * s.energy + 1 - cost(s.forces)
        for p in ("pearl", "varibad", "promp")
    },
    ("ant-direction", "pearl-no-contacts"): lambda s: s.task["direction"] * s.vx - 0.5 * s.energy + 1,
    **{
        ("ant-circle", p): lambda s: s.along - 0.5 * s.energy + 1 - cost(s.forces)
        for p in ("pearl", "varibad", "promp")
    },
    ("ant-circle", "pearl-no-contacts"): lambda s: s.along - 0.5 * s.energy + 1,
    ("ant-velocity", "maml"): lambda s: -abs(s.vx - s.task["velocity"]) + 1.05 - 0.005 * s.energy - cost(s.forces),
    ("ant-velocity", "maml-no-contacts"): lambda s: -abs(s.vx - s.task["velocity"]) + 1.05 - 0.005 * s.energy,
    ("ant-goal", "pearl"): lambda s: -s.gap - 0.1 * s.energy - cost(s.forces),
    ("ant-goal", "varibad"): lambda s: -s.gap - 0.1 * s.energy - cost(s.forces),
    ("ant-goal", "pearl-no-contacts"): lambda s: -s.gap - 0.1 * s.energy,
    ("ant-goal", "maml"): lambda s: -s.gap + 4.05 - 0.005 * s.energy - cost(s.forces),
    ("humanoid-direction", "pearl"): lambda s: upright_pay(s, contacts=True),
    ("humanoid-direction", "varibad"): lambda s: upright_pay(s, contacts=True),
    ("humanoid-direction", "pearl-no-contacts"): lambda s: upright_pay(s, contacts=False),
    ("humanoid-direction", "joints"): lambda s: upright_pay(s, contacts=False),
}
"""The reward of every preset of families with a goal as task, written again."""


@pytest.mark.parametrize(("name", "preset"), PAID)
def test_every_preset_pays_by_its_formula(name: str, preset: str) -> None:
    family = make_family(name, preset)
    tasks = family.sample("train", WORLDS, seed=0)
    # A humanoid's forces so large that the cap of 10 binds in some worlds.
    before, after = (invent_state(name, seed, 1e4 if name in HUMANOIDS else 3.0) for seed in (1, 2))
    actions = np.random.default_rng(3).uniform(-1, 1, (WORLDS, *family.action_space.shape))
    rewards = family.reward(before, actions, after, tasks.values)
    for world in range(WORLDS):
        was, now = before["qpos"][world], after["qpos"][world]
        vx, vy = (now[:2] - was[:2]) / 0.05
        com = after["subtree_com"][world, 0] - before["subtree_com"][world, 0]
        energy = float((actions[world] ** 2).sum())
        step = Step(now[0], now[1], vx, vy, energy, after["cfrc_ext"][world], com, tasks[world])
        assert rewards[world] == pytest.approx(PAID[name, preset](step), rel=1e-9, abs=1e-9)


def test_a_humanoid_pays_at_most_10_for_contacts() -> None:
    forces = np.zeros((3, 14, 6))
    forces[:, 4, 5] = (2000.0, 4000.0, 1e6)
    state = {"qpos": np.zeros((3, 24)), "cfrc_ext": forces}
    costs = make_family("humanoid-direction", "pearl").contact_cost(state)  # type: ignore[attr-defined]
    np.testing.assert_allclose(costs, [2.0, 8.0, 10.0])


FACTORS = ((0.5, 2.0), (2.0, 3.0))
RANGES = [
    ("half-cheetah-velocity", "promp", "velocity", (0, 3), (3, 4)),
    ("half-cheetah-velocity", "maml", "velocity", (0, 2), (2, 3)),
    ("ant-velocity", "maml", "velocity", (0, 3), (3, 4)),
    ("half-cheetah-slope", None, "slope", (-0.2617993878, 0.2617993878), (0.2617993878, 0.3490658504)),
    ("ant-slope", None, "slope", (-0.2617993878, 0.2617993878), (0.2617993878, 0.3490658504)),
    ("half-cheetah-payload", None, "payload", (0, 10), (10, 15)),
    ("ant-payload", None, "payload", (0, 0.5), (0.5, 0.8)),
    *(
        (f"{body}-rand-params", None, field, (8 / 27, 27 / 8), (27 / 8, 81 / 16) if field == "body_mass" else None)
        for body, field in itertools.product(("hopper", "walker2d"), ("body_mass", "body_inertia", "geom_friction"))
    ),
    ("hopper-rand-params", None, "dof_damping", (1 / 2.197, 2.197), None),
    ("walker2d-rand-params", None, "dof_damping", (1 / 2.197, 2.197), None),
    *(
        (f"{body}-dynamics", None, field, *FACTORS)
        for body in ("half-cheetah", "ant", "hopper", "walker2d", "humanoid")
        for field in ("mass", "friction", "damping", "strength", "gravity")
    ),
    *(("swimmer-dynamics", None, field, *FACTORS) for field in ("mass", "viscosity", "density", "strength")),
]


@pytest.mark.parametrize(("name", "preset", "parameter", "train", "outside"), RANGES)
def test_a_parameter_is_drawn_from_its_range(
    name: str, preset: str | None, parameter: str, train: tuple[float, float], outside: tuple[float, float] | None
) -> None:
    family = make_family(name, preset)
    drawn = family.parameters[parameter]
    assert drawn.train.range == pytest.approx(train)
    assert (drawn.extrapolation is None) == (outside is None)
    if drawn.extrapolation is not None:
        assert drawn.extrapolation.range == pytest.approx(outside)
    values = family.sample("train", 2000, seed=0).values[parameter]
    # Nearly all of the range is used.
    low, high = train
    assert low <= values.min() <= low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) <= values.max() <= high


@pytest.mark.parametrize("body", ["hopper", "walker2d"])
def test_the_limit_of_the_factors_is_a_setting(body: str) -> None:
    family = make_family(f"{body}-rand-params", log_scale_limit=1.0)
    assert family.parameters["body_mass"].train.range == pytest.approx((2 / 3, 1.5))
    assert family.parameters["dof_damping"].train.range == pytest.approx((1 / 1.3, 1.3))


def draw_values(name: str, split: str) -> set[Any]:
    """Return the different values of a family's only parameter in 2,000 tasks of a split."""
    (values,) = load(name).sample(split, 2000, seed=0).values.values()
    return set(map(tuple, values.tolist())) if values.ndim > 1 else set(values.tolist())


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("half-cheetah-crippled", {0, 1, 2, 3}, {4, 5}),
        ("ant-crippled", {0, 1, 2, 3, 4, 5}, {6, 7}),
        ("half-cheetah-delay", {0, 1, 2}, {3, 4}),
        ("ant-delay", {0, 1, 2}, {3, 4}),
    ],
)
def test_dead_motors_and_delays_of_extrapolation_are_in_no_training_task(
    name: str, inside: set[int], outside: set[int]
) -> None:
    for split in ("train", "validation", "test"):
        assert draw_values(name, split) == inside
    assert draw_values(name, "extrapolation") == outside


@pytest.mark.parametrize(("name", "motors"), [("half-cheetah-reversed", 6), ("ant-reversed", 8)])
def test_an_even_number_of_motors_is_reversed_in_training_and_an_odd_one_outside(name: str, motors: int) -> None:
    everything = set(itertools.product((1.0, -1.0), repeat=motors))
    even = {signs for signs in everything if np.prod(signs) == 1}
    for split in ("train", "test"):
        assert draw_values(name, split) == even
    assert draw_values(name, "extrapolation") == everything - even


@pytest.mark.parametrize(
    ("name", "noise"),
    [
        ("hopper-dynamics", 0.005),
        ("hopper-rand-params", 0.005),
        ("walker2d-dynamics", 0.005),
        ("walker2d-rand-params", 0.005),
        ("swimmer-dynamics", 0.1),
        ("humanoid-dynamics", 0.01),
    ],
)
def test_starts_are_off_by_uniform_noise_as_gymnasiums(name: str, noise: float) -> None:
    family = make_family(name)
    envs = family.make_vec(family.sample("train", 1, seed=0), 400, threads=0)
    envs.reset(seed=0)
    state = state_of(envs)
    for off in (state["qpos"] - family.model.qpos0, state["qvel"]):
        assert 0.95 * noise < np.abs(off).max() <= noise
        assert off.std() == pytest.approx(noise / np.sqrt(3), rel=0.05)


def state_of(envs: BatchedEnv) -> State:
    return envs.batch.state  # type: ignore[attr-defined]


def cheetahs(preset: str, worlds: int = 3) -> BatchedEnv:
    family = load("half-cheetah-direction", preset)
    envs = family.make_vec(family.sample("train", worlds, seed=0), threads=0)
    envs.reset(seed=0)
    envs.step(np.full((worlds, 6), 0.5, dtype=np.float32))
    return envs


def test_the_world_that_broke_down_is_flagged_and_no_other_where_some_stand_still() -> None:
    envs = cheetahs("promp")
    state_of(envs)["qvel"][2, 2] = 1e12
    before = state_of(envs)["physics"].copy()
    step = envs.advance(np.zeros((3, 6), dtype=np.float32), np.array([False, True, True]))
    assert step.unstable is not None
    assert step.unstable.tolist() == [False, False, True]
    assert step.truncations.tolist() == [False, False, True]
    after = state_of(envs)["physics"]
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert (after[1] != before[1]).any()


@pytest.mark.parametrize("where", [[True, True, True], [False, True, True]])
def test_sensors_of_a_world_that_broke_down_read_as_before(where: list[bool]) -> None:
    envs = cheetahs("maml")
    place = state_of(envs)["place"].copy()
    state_of(envs)["qvel"][2, 2] = 1e12
    step = envs.advance(np.zeros((3, 6), dtype=np.float32), np.array(where))
    np.testing.assert_array_equal(state_of(envs)["place"][2], place[2])
    np.testing.assert_array_equal(step.observations[2, 17:], place[2])
    assert (step.observations[1, 17:] != place[1]).any()


def test_a_world_that_holds_no_number_is_flagged_and_stays_as_it_was() -> None:
    # MuJoCo resets a world with a NaN by itself, unless the model forbids it.
    model = Blueprint("half_cheetah.xml").compile()
    model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
    worlds = Worlds([model], 2, frame_skip=1, threads=0)
    state = worlds.start({}, np.zeros((2, model.nq)), np.zeros((2, model.nv)), np.arange(2))
    state["qpos"][1, 3] = np.nan
    before = state["physics"].copy()
    after, unstable = worlds.step(state, np.ones((2, model.nu)), np.ones(2, dtype=bool))
    assert unstable.tolist() == [False, True]
    np.testing.assert_array_equal(after["physics"][1], before[1])
    assert np.isfinite(after["physics"][0]).all()


def test_a_humanoid_that_stands_still_sees_the_same_while_others_step_and_begin_anew() -> None:
    family = load("humanoid-direction", "pearl")
    tasks = family.sample("train", 3, seed=0)
    envs, lively = (family.make_vec(tasks, threads=0) for _ in range(2))
    actions = np.full((3, 17), 0.3, dtype=np.float32)
    for one in (envs, lively):
        one.reset(seed=0)
        seen = one.step(actions)[0]
    fields = {name: state_of(envs)[name][0].copy() for name in ("subtree_com", "cinert", "cvel", "cfrc_ext")}
    stepped = envs.advance(actions, np.array([False, True, True])).observations
    begun, _ = envs.reset(options={"reset_mask": np.array([False, True, False])})
    for observations in (stepped, begun):
        np.testing.assert_array_equal(observations[0], seen[0])
    for name, field in fields.items():
        np.testing.assert_array_equal(state_of(envs)[name][0], field)
    # The others observe the same as in a batch without a world that stands still.
    np.testing.assert_array_equal(stepped[1:], lively.step(actions)[0][1:])
    np.testing.assert_array_equal(begun[1], lively.reset()[0][1])
    np.testing.assert_array_equal(begun[2], stepped[2])


@pytest.mark.parametrize("name", ["humanoid-direction", "half-cheetah-delay", "hopper-dynamics", "point-sparse"])
def test_worlds_left_out_of_the_first_reset_begin_later_as_in_a_full_one(name: str) -> None:
    family = load(name)
    tasks = family.sample("train", 2, seed=0)
    full, partial = (family.make_vec(tasks, 2, threads=0) for _ in range(2))
    expected, _ = full.reset(seed=0)
    first = np.array([True, False, False, True])
    observations, _ = partial.reset(seed=0, options={"reset_mask": first})
    np.testing.assert_array_equal(observations[first], expected[first])
    observations, _ = partial.reset(options={"reset_mask": ~first})
    np.testing.assert_array_equal(observations, expected)


PUSH, REST = np.ones((2, 6), dtype=np.float32), np.zeros((2, 6), dtype=np.float32)


def late(delay: float) -> BatchedEnv:
    family = load("half-cheetah-delay")
    envs = family.make_vec(family.tasks([{"delay": delay}] * 2), threads=0)
    envs.reset(seed=[3, 4])
    return envs


def test_actions_under_way_are_forgotten_where_an_episode_begins_and_nowhere_else() -> None:
    envs, rested, pushed = late(2), late(2), late(2)
    envs.step(PUSH)
    pushed.step(PUSH)
    envs.reset(options={"reset_mask": np.array([True, False])})
    # The start equals that of the world that never moved.
    state_of(envs)["physics"][0] = state_of(rested)["physics"][0]
    for _ in range(3):
        for one in (envs, rested, pushed):
            one.step(REST)
    np.testing.assert_array_equal(state_of(envs)["qpos"][0], state_of(rested)["qpos"][0])
    np.testing.assert_array_equal(state_of(envs)["qpos"][1], state_of(pushed)["qpos"][1])
    assert np.abs(state_of(pushed)["qpos"] - state_of(rested)["qpos"]).max() > 1e-3


def test_a_delay_of_extrapolation_can_come_in_mid_episode() -> None:
    family = load("half-cheetah-delay", switch_at=5)
    envs = family.make_vec(family.tasks([{"delay": 0, "delay@5": 4}] * 2), threads=0)
    envs.reset(seed=[3, 4])
    prompt = late(0)
    sent = np.random.default_rng(0).uniform(-1, 1, (8, 2, 6)).astype(np.float32)
    for step, arriving in enumerate((0, 1, 2, 3, 4, 1, 2, 3)):
        envs.step(sent[step])
        prompt.step(sent[arriving])
        np.testing.assert_array_equal(envs.batch.inner.state["qpos"], state_of(prompt)["qpos"])  # type: ignore[attr-defined]


TILTED = """<mujoco><worldbody><geom type='plane' size='9 9 1'/><body pos='0 0 1'><joint type='slide' axis='0 0 1'/>
  <geom type='capsule' size='.05 .4' euler='0 120 0'/></body></worldbody></mujoco>"""


def sample_lowest_point(model: mujoco.MjModel) -> float:
    """Return the lowest of many points on the surfaces of a model's capsules and spheres."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    # Directions over the sphere, both poles among them, turned with each geom.
    polar, around = np.meshgrid(np.linspace(0, np.pi, 361), np.linspace(0, 2 * np.pi, 361))
    ball = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1).reshape(-1, 3)
    lows = []
    for geom in range(model.ngeom):
        if model.geom_bodyid[geom] == 0:
            continue
        radius, half, _ = model.geom_size[geom]
        ends = (half, -half) if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_CAPSULE else (0.0,)
        for end in ends:
            surface = radius * ball + (0, 0, end)
            turned = surface @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
            lows.append(turned[:, 2].min())
    return float(min(lows))


@pytest.mark.parametrize("asset", ["", "half_cheetah.xml", "hopper.xml", "walker2d_v5.xml", "ant.xml", "humanoid.xml"])
def test_the_lowest_point_is_that_of_points_all_over_the_surface(asset: str) -> None:
    model = Blueprint(asset).compile() if asset else mujoco.MjModel.from_xml_string(TILTED)
    assert lowest_point(model) == pytest.approx(sample_lowest_point(model), abs=1e-4)
