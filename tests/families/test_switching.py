"""Tasks that change during a trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import PendulumEnv

from metarl.base.errors import MetarlError
from metarl.checks.check import check_family
from metarl.checks.family import check_parameters
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Uniform
from metarl.families.load import load
from metarl.families.switching import SwitchingFamily
from metarl.families.task import Horizon, Parameter
from metarl.trials.rollout import run_trial


@pytest.mark.parametrize(
    ("name", "preset"),
    [
        ("navigation-2d", None),
        ("half-cheetah-direction", "promp"),
        ("half-cheetah-crippled", None),
        ("bernoulli-bandit", None),
    ],
)
def test_family_that_switches_keeps_every_rule(name: str, preset: str | None) -> None:
    assert check_family(load(name, preset, switch_at=[4, 12])) == []


def test_goal_moves_at_the_step_that_is_named_and_the_point_stays_where_it_is() -> None:
    family = load("navigation-2d", switch_at=3)
    envs = family.make_vec(family.tasks({"goal": [0.5, 0.0], "goal@3": [0.0, 0.5]}))
    envs.reset(seed=0)
    rewards, places = [], []
    for _ in range(5):
        observation, reward, *_ = envs.step(np.array([[0.1, 0.0]], dtype=np.float32))
        rewards.append(float(reward[0]))
        places.append(observation[0])
    np.testing.assert_allclose(np.array(places)[:, 0], [0.1, 0.2, 0.3, 0.4, 0.5], atol=1e-6)
    np.testing.assert_allclose(rewards[:3], [-0.4, -0.3, -0.2], atol=1e-6)
    np.testing.assert_allclose(rewards[3:], [-np.hypot(0.4, 0.5), -np.hypot(0.5, 0.5)], atol=1e-6)


def test_steps_count_over_the_episodes_of_a_trial_and_begin_anew_with_the_next() -> None:
    family = load("point-sparse", switch_at=30, horizon=20)
    envs = family.make_vec(family.tasks({"goal": [0.0, 1.0], "goal@30": [1.0, 0.0]}))
    values = envs.batch.inner  # type: ignore[attr-defined]
    goals = []
    for seed in (0, None, 1):
        envs.reset(seed=seed)
        for _ in range(20):
            envs.step(np.zeros((1, 2), dtype=np.float32))
            goals.append(float(values.values["goal"][0, 0]))
    assert goals == [0.0] * 30 + [1.0] * 10 + [0.0] * 20


def test_joint_fails_in_mid_episode_as_if_the_model_had_been_swapped_by_hand() -> None:
    family = load("half-cheetah-crippled", switch_at=5)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (10, 1, 6)).astype(np.float32)
    envs = family.make_vec(family.tasks({"joint": 0, "joint@5": 3}), threads=0)
    envs.reset(seed=[2])
    switched = np.array([envs.step(action)[0][0] for action in actions])
    base = load("half-cheetah-crippled")
    first = base.make_vec(base.tasks({"joint": 0}), threads=0)
    first.reset(seed=[2])
    expected = [first.step(action)[0][0] for action in actions[:5]]
    second = base.make_vec(base.tasks({"joint": 3}), threads=0)
    second.reset(seed=[2])
    second.batch.state = first.batch.state  # type: ignore[attr-defined]
    expected += [second.step(action)[0][0] for action in actions[5:]]
    np.testing.assert_array_equal(switched, expected)


def test_each_world_switches_by_its_own_count() -> None:
    family = load("navigation-2d", switch_at=2)
    envs = family.make_vec(family.tasks({"goal": [0.5, 0.0], "goal@2": [0.0, 0.5]}), 2)
    envs.reset(seed=0)
    still = np.zeros((2, 2), dtype=np.float32)
    for where in ([True, False], [True, False], [True, True]):
        envs.advance(still, np.array(where))
    np.testing.assert_array_equal(envs.batch.inner.values["goal"], [[0.0, 0.5], [0.5, 0.0]])  # type: ignore[attr-defined]


def test_tasks_before_and_after_are_drawn_independently_and_unseen() -> None:
    family = load("navigation-2d", switch_at=50)
    tasks = family.sample("test", 500, seed=0).values
    assert abs(np.corrcoef(tasks["goal"][:, 0], tasks["goal@50"][:, 0])[0, 1]) < 0.15
    assert family.num_tasks is None
    assert load("half-cheetah-direction", switch_at=50).num_tasks == 4


def test_agents_play_a_family_that_switches() -> None:
    from metarl.trials.registered import make_agent

    family = load("half-cheetah-velocity", "promp", switch_at=10, horizon=15)
    envs = family.make_vec(family.sample("train", 2, seed=0), 2)
    for name in ("maml-ppo", "rl2"):
        assert run_trial(make_agent(name, family), envs, 2, seed=0).returns.shape == (2, 2, 2)


@dataclass(frozen=True)
class Pendulums(ClassFamily):
    """Pendulums with a method that changes their gravity."""

    name: ClassVar[str] = "pendulums"
    horizon: Horizon = 30

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"gravity": Parameter(Uniform(5.0, 15.0))}

    def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        return PendulumEnv(render_mode=render_mode, g=task["gravity"])

    def change(self, env: gymnasium.Env[Any, Any], task: dict[str, Any]) -> None:
        env.unwrapped.g = task["gravity"]  # type: ignore[attr-defined]


@dataclass(frozen=True)
class SilentPendulums(Pendulums):
    """Pendulums without a method that changes their gravity."""

    change = ClassFamily.change


@dataclass(frozen=True)
class ForgetfulPendulums(Pendulums):
    """Pendulums with a method that should change their gravity and does nothing."""

    def change(self, env: gymnasium.Env[Any, Any], task: dict[str, Any]) -> None:
        pass


def test_plain_class_switches_where_its_family_says_how_and_is_refused_where_not() -> None:
    assert check_family(SwitchingFamily(Pendulums(), (7,))) == []
    with pytest.raises(MetarlError, match="cannot change the task of a running environment; write its method"):
        SwitchingFamily(SilentPendulums(), (7,))
    with pytest.raises(MetarlError, match=r"varies\.g is a constructor argument"):
        load("gymnasium", "pendulum-gravity", switch_at=3)


@pytest.mark.parametrize("switch_at", [[3], [300], [2, 5, 500]])
def test_phase_too_short_or_too_late_to_show_anything_is_no_fault(switch_at: list[int]) -> None:
    assert list(check_parameters(load("pendulum-physics", switch_at=switch_at))) == []


def test_parameter_that_does_nothing_is_found_before_and_after_the_switch() -> None:
    nothing = {"m": {"scale": "geom_solmix[*]", "train": {"uniform": [0.5, 1]}}}
    findings = list(check_parameters(load("half-cheetah-velocity", "promp", varies=nothing, switch_at=[2, 300])))
    assert [finding.split(",")[0] for finding in findings] == ["parameter 'm'", "parameter 'm@2'"]


def test_switch_that_a_family_does_not_carry_out_is_found() -> None:
    findings = list(check_parameters(SwitchingFamily(ForgetfulPendulums(), (7,))))
    assert [finding.split(",")[0] for finding in findings] == ["parameter 'gravity@7'"]


def test_model_of_a_gymnasium_environment_switches_in_mid_episode_as_if_it_were_another() -> None:
    varies = {
        "mass": {"scale": ["body_mass[*]", "body_inertia[*]"], "train": {"uniform": [0.5, 2]}},
        "air": {"set": "density", "train": {"uniform": [0, 5]}},
        "hill": {"set": "slope", "train": {"uniform": [0, 0.1]}},
    }
    family = load("gymnasium", env="HalfCheetah-v5", varies=varies, switch_at=3)
    before, after = {"mass": 2.0, "air": 5.0, "hill": 0.1}, {"mass": 0.5, "air": 1.0, "hill": 0.0}
    envs = family.make_vec(family.tasks({**before, **{f"{name}@3": value for name, value in after.items()}}))
    envs.reset(seed=0)
    models = []
    for _ in range(4):
        envs.step(np.ones((1, 6), dtype=np.float32))
        model = envs.batch.inner.envs[0].unwrapped.model  # type: ignore[attr-defined]
        models.append((model.body_mass.copy(), model.opt.density, model.opt.gravity.copy(), model.dof_M0.copy()))
    for task, model in ((before, models[2]), (after, models[3])):
        made = family.base.make(task, None).unwrapped.model  # type: ignore[attr-defined]
        for ours, theirs in zip(model, (made.body_mass, made.opt.density, made.opt.gravity, made.dof_M0), strict=True):
            np.testing.assert_allclose(ours, theirs)
    envs.reset(seed=1)
    np.testing.assert_array_equal(envs.batch.inner.envs[0].unwrapped.model.body_mass, models[2][0])  # type: ignore[attr-defined]


def test_delay_grows_in_mid_episode_and_what_was_sent_before_still_arrives() -> None:
    family = load("half-cheetah-delay", switch_at=3)
    envs = family.make_vec(family.tasks({"delay": 0, "delay@3": 2}), threads=0)
    envs.reset(seed=[3])
    sent = np.random.default_rng(0).uniform(-1, 1, (6, 1, 6)).astype(np.float32)
    positions = []
    for actions in sent:
        envs.step(actions)
        positions.append(envs.batch.inner.state["qpos"][0].copy())  # type: ignore[attr-defined]
    base = load("half-cheetah-delay")
    alone = base.make_vec(base.tasks({"delay": 0}), threads=0)
    alone.reset(seed=[3])
    for step, arriving in enumerate((0, 1, 2, 1, 2, 3)):
        alone.step(sent[arriving])
        np.testing.assert_array_equal(alone.batch.state["qpos"][0], positions[step])  # type: ignore[attr-defined]


def test_weight_that_shifts_with_a_switch_is_no_motion() -> None:
    varies = {"load": {"scale": "body_mass[torso]", "train": {"uniform": [1, 5]}}}
    family = load("humanoid-direction", "joints", varies=varies, switch_at=3)
    task = {"heading": [1.0, 0.0], "heading@3": [1.0, 0.0], "load": 1.0, "load@3": 5.0}
    envs = family.make_vec(family.tasks(task), threads=0)
    envs.reset(seed=0)
    rewards = [float(envs.step(np.zeros((1, 17), dtype=np.float32))[1][0]) for _ in range(6)]
    assert np.ptp(rewards) < 0.1


@pytest.mark.parametrize("delay", [-1, 1.5, 1e6])
def test_delay_that_is_no_number_of_steps_is_refused(delay: float) -> None:
    family = load("half-cheetah-delay")
    with pytest.raises(MetarlError, match="must be a whole number of steps"):
        family.make_vec(family.tasks({"delay": delay}))


def test_values_in_force_follow_the_steps_of_the_trial() -> None:
    family = load("navigation-2d", switch_at=[3, 5])
    assert isinstance(family, SwitchingFamily)
    tasks = family.sample("test", 2, seed=0)
    values = {name: value[:, None] for name, value in tasks.values.items()}
    found = family.values_at(values, np.array([[0, 2, 3], [4, 5, 9]]))
    assert set(found) == {"goal"}
    names = [["goal", "goal", "goal@3"], ["goal@3", "goal@5", "goal@5"]]
    for task, replica in np.ndindex(2, 3):
        np.testing.assert_array_equal(found["goal"][task, replica], tasks.values[names[task][replica]][task])
