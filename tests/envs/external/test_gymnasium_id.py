"""Any environment of Gymnasium by YAML: attributes, labels, nested arguments, wrappers and success."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import yaml
from gymnasium import spaces
from metarl.envs.external.gymnasium_wrappers import WRAPPERS, parse_wrappers, wrap

from metarl.base.errors import MetarlError
from metarl.checks.check import check_family
from metarl.evaluation.evaluate import evaluate
from metarl.families.load import load
from metarl.families.words import in_words
from metarl.pictures.gallery import task_in_words, tasks_figure
from metarl.trials.plan import TrialPlan
from metarl.trials.registered import make_agent

GRAVITY = {"gravity": {"attribute": "gravity", "train": {"uniform": [5, 15]}}}
LENIENT = {"sutton_barto_reward": {"train": {"choice": [True, False]}}}


def family_of(folder: Path, **declared: Any) -> Any:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"env": "CartPole-v1", "varies": GRAVITY, **declared}))
    return load(path)


class Room(gymnasium.Env[np.ndarray, np.int64]):
    """A walk whose settings come in a nested mapping, and whose `push` is written anew in each reset."""

    observation_space = spaces.Box(-1e6, 1e6, (2,), dtype=np.float64)
    action_space = spaces.Discrete(2)

    def __init__(self, config: dict[str, Any] | None = None, render_mode: str | None = None, pet: Any = "cat") -> None:
        self.config = {"size": {"x": 1, "y": 2}, "goal": "near", **(config or {})}
        self.render_mode, self.pet = render_mode, pet
        self.world = {"push": 1.0}
        self.gains, self.weights, self.steps_left = np.zeros(2), [0.0, 1.0], 3
        self.at = np.zeros(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.world["push"] = 1.0
        self.at = np.zeros(2)
        return self.at.copy(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        size = self.config["size"]
        self.at = self.at + self.world["push"] * np.array([size["x"], size["y"]]) + self.gains + np.array(self.weights)
        reward = float(self.config["goal"] == "near") + (self.pet is None) + self.steps_left
        return self.at.copy(), reward, False, False, {"reached": bool(self.at[0] > 2), "odd": float("nan")}


@pytest.fixture(scope="module", autouse=True)
def room() -> Any:
    gymnasium.register("Room-v0", entry_point=Room)
    yield
    gymnasium.registry.pop("Room-v0")


def play(family: Any, task: dict[str, Any], steps: int = 3) -> tuple[np.ndarray, list[float], list[dict[str, Any]]]:
    env = family.base.make({name: family.parameters[name].train.encode(value) for name, value in task.items()}, None)
    observations, rewards, infos = [env.reset(seed=0)[0]], [], []
    for _ in range(steps):
        observation, reward, *_, info = env.step(env.action_space.sample())
        observations, rewards, infos = [*observations, observation], [*rewards, reward], [*infos, info]
    env.close()
    return np.array(observations), rewards, infos


def test_attribute_is_the_task_and_keeps_every_rule(tmp_path: Path) -> None:
    family = family_of(tmp_path)
    assert check_family(family) == []
    env = family.base.make({"gravity": 7.5}, None)
    assert env.unwrapped.gravity == 7.5


def test_cartpole_under_a_varied_gravity_is_cartpole_built_with_it(tmp_path: Path) -> None:
    family = family_of(tmp_path)
    ours, theirs = family.base.make({"gravity": 14.0}, None), gymnasium.make("CartPole-v1")
    theirs.unwrapped.gravity = 14.0  # type: ignore[attr-defined]
    one, other = ours.reset(seed=3)[0], theirs.reset(seed=3)[0]
    for action in [0, 1, 1, 0, 1]:
        np.testing.assert_array_equal(one, other)
        one, other = ours.step(action)[0], theirs.step(action)[0]


def test_attribute_that_was_folded_into_another_is_refused(tmp_path: Path) -> None:
    folded = {"m": {"attribute": "masscart", "train": {"uniform": [0.5, 2]}}}
    with pytest.raises(MetarlError, match=r"varies\.m: attribute masscart .* changes neither .* as CartPole computes"):
        family_of(tmp_path, varies=folded)
    family_of(tmp_path, varies={"m": {**folded["m"], "attribute": ["masscart", "total_mass"]}})


def test_attribute_that_a_reset_rewrites_is_set_again(tmp_path: Path) -> None:
    family = family_of(tmp_path, env="Room-v0", varies={"p": {"attribute": "world.push", "train": {"uniform": [2, 3]}}})
    assert play(family, {"p": 2.5})[0][1].tolist() == [2.5, 6.0]
    assert check_family(family) == []


def test_attributes_can_change_in_mid_trial(tmp_path: Path) -> None:
    assert check_family(family_of(tmp_path, switch_at=[3])) == []


@pytest.mark.parametrize(
    ("attribute", "train", "seen"),
    [
        ("gains", {"uniform": [1, 2], "shape": [2]}, np.ndarray),
        ("gains", {"uniform": [1, 2]}, np.ndarray),
        ("weights", {"uniform": [1, 2], "shape": [2]}, list),
        ("steps_left", {"choice": [4, 5]}, int),
        ("config.goal", {"choice": ["near", "far"]}, str),
    ],
)
def test_attribute_keeps_its_type_and_shape(attribute: str, train: Any, seen: type, tmp_path: Path) -> None:
    family = family_of(tmp_path, env="Room-v0", varies={"a": {"attribute": attribute, "train": train}})
    env = family.base.make(family.sample("train", 1, seed=0)[0], None)
    value: Any = env.unwrapped
    for part in attribute.split("."):
        value = value[part] if isinstance(value, dict) else getattr(value, part)
    assert type(value) is seen
    assert np.shape(value) == ((2,) if seen in (np.ndarray, list) else ())


@pytest.mark.parametrize(
    ("varies", "words"),
    [
        ({"attribute": "gravty"}, "varies.m: attribute 'gravty': CartPoleEnv has no 'gravty'; did you mean 'gravity'"),
        ({"attribute": "reset"}, "attribute 'reset' is of type method"),
        ({"attribute": "action_space"}, "attribute 'action_space' is of type Discrete"),
        ({"attribute": "__class__"}, "it must be a name such as gravity"),
        ({"attribute": "spec.__init__"}, "it must be a name such as gravity"),
        ({"attribute": []}, "it must be a name such as gravity"),
        ({"attribute": "gravity", "set": "gravity"}, "has `set` and `attribute`; a parameter acts on one kind"),
        ({"attribute": "gravity", "argument": "gravity"}, "has `attribute` and `argument`"),
        ({"attribute": "kinematics_integrator"}, "is 'euler' and takes no 1"),
        ({"attribute": "gravity", "train": {"uniform": [1, 2], "shape": [2]}}, "is of type float and takes no \\["),
        ({"attribute": "gravity", "train": {"choice": [True, False]}}, "is 9.8 and takes no True"),
        ({"set": "gravity", "train": {"choice": ["a", "b"]}}, "one of a, b cannot change a MuJoCo model"),
        ({"train": {"choice": ["a", "a"]}}, "values must be different"),
        ({"train": {"choice": ["a"]}, "extrapolation": {"choice": ["b", "a"]}}, "share a value"),
        ({"train": {"choice": ["a"]}, "extrapolation": {"uniform": [1, 2]}}, "extrapolation must be a choice as well"),
    ],
)
def test_wrong_parameter_gets_one_line(varies: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=words) as caught:
        family_of(tmp_path, varies={"m": {"train": {"uniform": [1, 2]}, **varies}})
    assert "\n" not in str(caught.value)


def test_attribute_of_a_mujoco_model_is_sent_to_its_fields(tmp_path: Path) -> None:
    varies = {"g": {"attribute": "model.opt.gravity", "train": {"uniform": [5, 6], "shape": [3]}}}
    with pytest.raises(MetarlError, match="part of the MuJoCo model; vary it by set, scale or add"):
        family_of(tmp_path, env="Hopper-v5", varies=varies)


def test_labels_reach_the_constructor_and_are_shown_as_written(tmp_path: Path) -> None:
    family = family_of(tmp_path, varies=LENIENT)
    assert check_family(family) == []
    flags = {family.base.make(task, None).unwrapped._sutton_barto_reward for task in family.sample("train", 9, seed=0)}
    assert flags == {True, False}
    assert in_words(family.parameters["sutton_barto_reward"].train) == "one of true, false"
    assert task_in_words(family, {"sutton_barto_reward": 1.0}) == "sutton_barto_reward false"
    ticks = tasks_figure(family, 20).subfigs[0].axes[0].get_xticklabels()
    assert [tick.get_text() for tick in ticks] == ["true", "false"]


def test_task_takes_a_label_itself_and_refuses_others(tmp_path: Path) -> None:
    family = family_of(tmp_path, env="Room-v0", varies={"pet": {"train": {"choice": ["cat", None, 3]}}})
    assert family.tasks([{"pet": None}, {"pet": "cat"}, {"pet": 3}]).values["pet"].tolist() == [1, 0, 2]
    assert play(family, {"pet": None})[1][0] == 5
    assert play(family, {"pet": "cat"})[1][0] == 4
    with pytest.raises(MetarlError, match=r"task parameter 'pet' .*'dog' is none of cat, null, 3; take one of them"):
        family.tasks({"pet": "dog"})


def test_labels_of_extrapolation_are_apart_from_those_of_training(tmp_path: Path) -> None:
    varies = {"pet": {"train": {"choice": ["cat", "dog"]}, "extrapolation": {"choice": [None]}}}
    family = family_of(tmp_path, env="Room-v0", varies=varies)
    assert set(family.sample("extrapolation", 5, seed=0).values["pet"]) == {2.0}
    assert not family.contains("train", family.sample("extrapolation", 5, seed=0)).any()
    fixed = family_of(tmp_path, env="Room-v0", varies=varies, parameters={"pet": "dog"})
    assert set(fixed.sample("train", 5, seed=0).values["pet"]) == {1.0}


def test_nested_arguments_are_given_and_varied(tmp_path: Path) -> None:
    family = family_of(
        tmp_path,
        env="Room-v0",
        arguments={"config": {"size": {"x": 0, "y": 10}}},
        varies={"goal": {"argument": "config.goal", "train": {"choice": ["near", "far"]}}},
    )
    assert play(family, {"goal": "far"})[1][0] == 3
    assert play(family, {"goal": "near"})[0][1].tolist() == [0, 11]
    assert check_family(family) == []
    with pytest.raises(MetarlError, match=r"varies\.x and arguments\.config\.size\.x are both given"):
        family_of(
            tmp_path,
            env="Room-v0",
            arguments={"config": {"size": {"x": 0}}},
            varies={"x": {"argument": "config.size.x", "train": {"choice": [1, 2]}}},
        )


def test_dotted_name_is_told_how_to_write_it(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=r"'config.goal'; use letters.*`argument: config.goal` below it"):
        family_of(tmp_path, env="Room-v0", varies={"config.goal": {"train": {"choice": ["near", "far"]}}})


@pytest.mark.parametrize(
    ("success", "expected"),
    [
        ({"info": "reached"}, [False, True, True]),
        ("reached", [False, True, True]),
        ({"info": "odd"}, [None, None, None]),
        ({"info": "nowhere"}, [None, None, None]),
        ({"reward_at_least": 4}, [True, True, True]),
        ({"return_at_least": 12}, [False, False, True]),
        ({"return_at_least": 12.5}, [False, False, False]),
        ({"terminated": True}, [False, False, False]),
    ],
)
def test_success_follows_the_rule(success: Any, expected: list[bool | None], tmp_path: Path) -> None:
    varies = {"y": {"argument": "config.size.y", "train": {"uniform": [2, 3]}}}
    family = family_of(tmp_path, env="Room-v0", varies=varies, arguments={"config": {"size": {"x": 1.3}}},
                       success=success, horizon=3)  # fmt: skip
    infos = play(family, {"y": 2.0})[2]
    assert [info.get("success") for info in infos] == expected
    plan = TrialPlan(split="test", num_tasks=2, rounds=1, replicas=1, seed=0)
    rate = evaluate(make_agent("random", family), family, plan).success_rate
    assert (rate is None) == (expected[-1] is None)
    assert rate is None or rate[0] == any(expected)


def test_entry_of_success_that_never_comes_is_found_by_the_check(tmp_path: Path) -> None:
    findings = check_family(family_of(tmp_path, success={"info": "nowhere"}, horizon=30))
    assert len(findings) == 1
    assert "family 'mine': success.info is 'nowhere', an entry that no info" in findings[0]


class Odd(Room):
    """An environment that breaks three rules."""

    observation_space = spaces.Box(-1, 1, (2,), dtype=np.float64)

    def reset(self, **given: Any) -> Any:
        super().reset(**given)
        drawn = np.random.random() if self.pet == "dog" else 0.0  # noqa: NPY002
        return np.array([self.config["size"]["x"], drawn]), {}


@pytest.mark.parametrize(
    ("pet", "words"),
    [
        ("dog", "(np.random); take another environment, or change it by a wrapper of your own"),
        ("cat", "vary what it does not show, or write `shows_task: true` if that is the intent"),
    ],
)
def test_remedies_of_a_check_can_be_written_in_yaml(pet: str, words: str, tmp_path: Path) -> None:
    gymnasium.register("Odd-v0", entry_point=Odd)
    arguments = {"config": {"size": {"y": 2}}, "pet": pet}
    varies = {"x": {"argument": "config.size.x", "train": {"uniform": [0.1, 0.9]}}}
    try:
        findings = check_family(family_of(tmp_path, env="Odd-v0", varies=varies, arguments=arguments, horizon=5))
    finally:
        gymnasium.registry.pop("Odd-v0")
    told = "\n".join(findings)
    assert words in told
    assert "write `unbounded`" in told
    for unwritable in ("`streams`", "in the class", "BatchedEnv"):
        assert unwritable not in told


@pytest.mark.parametrize(
    ("success", "words"),
    [
        ({"infoo": "a"}, "success.infoo is an unknown rule; did you mean 'info'"),
        ({"return_at_least": "x"}, "success.return_at_least is 'x'; it must be a finite number"),
        ({"info": "a", "terminated": True}, "it must be one rule"),
        ({"terminated": False}, "success.terminated is False; it must be true"),
        (True, "success is True; it must be one rule"),
    ],
)
def test_wrong_rule_of_success_gets_one_line(success: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=words):
        family_of(tmp_path, success=success)


def test_wrappers_are_put_on_in_order(tmp_path: Path) -> None:
    family = family_of(tmp_path, wrappers=["time_aware", {"frame_stack": 3}, "flatten"], horizon=20)
    assert family.observation_space.shape == (15,)
    assert check_family(family) == []
    scaled = family_of(tmp_path, env="Pendulum-v1", varies={"g": {"train": {"uniform": [5, 6]}}},
                       wrappers=[{"rescale_action": [-1, 1]}, {"clip_reward": [-0.5, 0]}, "unbounded"])  # fmt: skip
    assert scaled.action_space == spaces.Box(-1, 1, (1,), np.float32)
    assert np.isinf(scaled.observation_space.low).all()
    assert min(play(scaled, {"g": 5.5}, 20)[1]) == -0.5


class Camera(gymnasium.Env[np.ndarray, np.int64]):
    """An environment with a picture for an observation."""

    observation_space = spaces.Box(0, 255, (32, 32, 3), dtype=np.uint8)
    action_space = spaces.Discrete(2)


VALUES: dict[str, Any] = {
    "atari": None,
    "clip_reward": [-1, 1],
    "delay": 1,
    "discretize_action": 3,
    "dtype": "float32",
    "frame_stack": 2,
    "keep": None,
    "max_and_skip": 2,
    "repeat_action": 2,
    "rescale_action": [-1, 1],
    "rescale_observation": [0, 1],
    "reshape": [32, 96],
    "resize": [8, 8],
    "sticky_action": 0.25,
    "time_aware": None,
}


@pytest.mark.parametrize("name", sorted(WRAPPERS))
def test_every_short_name_makes_its_wrapper(name: str) -> None:
    if WRAPPERS[name].requires and importlib.util.find_spec(WRAPPERS[name].requires) is None:
        with pytest.raises(MetarlError, match=r"needs package 'cv2', .*pip install opencv-python-headless"):
            wrap(Camera(), parse_wrappers([{name: VALUES[name]}]))
        return
    env: Any = gymnasium.make("Pendulum-v1") if "action" in name or name == "unbounded" else Camera()
    env = gymnasium.make("Pendulum-v1") if name == "time_aware" else env
    if name in ("atari", "keep"):
        pytest.skip("needs an Atari game or a Dict; tests of such families have it")
    value = VALUES.get(name)
    made = wrap(env, parse_wrappers([name if value is None else {name: value}]))
    assert type(made).__name__ == (WRAPPERS[name].class_name or "Unbounded")


@pytest.mark.parametrize(
    ("wrappers", "words"),
    [
        (["flaten"], "wrappers\\[0\\] is 'flaten', an unknown wrapper; .*did you mean 'flatten'"),
        (["flatten", 3], "wrappers\\[1\\] is 3; it must be a name, or one name with its value"),
        ([{"a": 1, "b": 2}], "it must be a name, or one name with its value"),
        (["grey"], "wrapper grey\\(\\) refuses the environment: .*; change its arguments"),
        ([{"frame_stack": [1, 2]}], "stack_size is expected to be an integer"),
        ([{"flatten": 3}], "flatten takes nothing; 3 is too much"),
        ([{"clip_reward": [1, 2, 3]}], "clip_reward takes min_reward, max_reward"),
        ([{"time_aware": {"flaten": True}}], "unexpected keyword argument 'flaten'"),
        ([{"os:system": {"command": "touch hacked"}}], "'os:system' is .*; it must be a class derived from gymnasium"),
        ([{"subprocess:Popen": {"args": "ls"}}], "it must be a class derived from gymnasium.Wrapper"),
        (["nowhere:Wrapper"], "module 'nowhere' is not found; give a module of this folder or of an installed"),
    ],
)
def test_wrong_wrapper_gets_one_line_and_runs_nothing(wrappers: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match=words) as caught:
        family_of(tmp_path, wrappers=wrappers)
    assert "\n" not in str(caught.value)
    assert not Path("hacked").exists()


def test_wrapper_of_ones_own_is_named_by_its_module(tmp_path: Path) -> None:
    own = {"gymnasium.wrappers:FrameStackObservation": {"stack_size": 2}}
    assert family_of(tmp_path, wrappers=[own]).observation_space.shape == (2, 4)


class Mission(Camera):
    """An environment with a text among its observations, as MiniGrid has."""

    observation_space = spaces.Dict(  # type: ignore[assignment]
        {"direction": spaces.Discrete(4), "mission": spaces.Text(9), "view": spaces.Box(0, 9, (2, 2))}
    )

    def __init__(self, size: int = 1, render_mode: str | None = None) -> None:
        self.render_mode, self.size = render_mode, size

    def _look(self) -> Any:
        return {"direction": 1, "mission": "go", "view": np.full((2, 2), self.size, dtype=np.float32)}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self._look(), {}

    def step(self, action: Any) -> Any:
        return self._look(), 0.0, False, False, {}


def test_text_among_the_observations_is_told_how_to_leave_it_out(tmp_path: Path) -> None:
    gymnasium.register("Mission-v0", entry_point=Mission)
    try:
        varies = {"size": {"train": {"choice": [1, 2]}}}
        with pytest.raises(MetarlError, match=r"part 'mission' .*keep: \[direction, view\]") as caught:
            family_of(tmp_path, env="Mission-v0", varies=varies)
        remedy = yaml.safe_load(str(caught.value).partition("with wrappers: ")[2])
        family = family_of(tmp_path, env="Mission-v0", varies=varies, wrappers=remedy)
        assert list(family.observation_space.spaces) == ["direction", "view"]
        flat = family_of(tmp_path, env="Mission-v0", varies=varies, wrappers=[*remedy, "flatten"])
        assert flat.observation_space.shape == (8,)
    finally:
        gymnasium.registry.pop("Mission-v0")


def test_tasks_with_other_spaces_are_refused(tmp_path: Path) -> None:
    varies = {"map_name": {"train": {"choice": ["4x4", "8x8"]}}}
    with pytest.raises(
        MetarlError, match=r"space Box\(64,\) in task {'map_name': '8x8'} and Box\(16,\) .*; an agent needs one"
    ):
        family_of(tmp_path, env="FrozenLake-v1", varies=varies)


def test_environment_without_varied_parameters_is_told_what_to_add(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("env: CartPole-v1\n")
    with pytest.raises(MetarlError, match="varies is missing; name at least one parameter"):
        load(tmp_path / "mine.yaml")
