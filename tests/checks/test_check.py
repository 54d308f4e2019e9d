"""Everything registered passes the checks, and each check finds the fault that it is there for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from metarl.envs.mujoco.half_cheetah import HalfCheetahRun

from metarl.base.errors import MetarlError
from metarl.base.settings import Settings
from metarl.base.streams import Streams
from metarl.checks.asking import check_unanswered
from metarl.checks.check import check, check_agent, check_family, resolve, run_checks
from metarl.checks.extent import Extent, Pace, limit
from metarl.checks.family import SINGLE, check_first_observation
from metarl.checks.probes import probes
from metarl.checks.repeats import check_repeats
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.classes import ClassFamily
from metarl.families.distributions import Distribution, Uniform
from metarl.families.family import FAMILIES, TaskFamily, missing_requirement
from metarl.families.load import load
from metarl.families.mujoco.changes import Physics, Scale
from metarl.families.task import Horizon, Parameter, Values
from metarl.trials.agent import Learner, TrainableAgent
from metarl.trials.episodes import Episodes, TimeStep, Trial
from metarl.trials.registered import AGENTS, what_to_install
from tests.small_agents import smaller

FIRST = [(name, next(iter(FAMILIES[name].presets), None)) for name in FAMILIES]
OTHERS = [(name, preset) for name in FAMILIES for preset in [*FAMILIES[name].presets][1:]]
"""Presets that differ from the first of their family in settings and distributions, and hardly in code."""
VARIANTS = (
    *("anil", "cavia", "fomaml", "latent-maml", "leo", "maml-trpo"),
    *("meta-sgd", "multi-task-ppo", "promp", "reptile"),
)
"""Agents that do with spaces what maml-ppo does, by its code, which is checked on every kind."""
SHORT = Extent(steps=3, num_tasks=2, horizon=20)
"""Enough to find a fault in settings. What may be rare is waited for as long as ever."""
LESS = Extent(steps=8, num_tasks=3, horizon=100)
"""The same for all checks."""


def load_installed(name: str, preset: str | None) -> TaskFamily:
    if missing := missing_requirement(FAMILIES[name]):
        pytest.skip(missing)
    return load(name, preset)


@pytest.mark.parametrize(("name", "preset"), FIRST, ids=str)
def test_first_preset_of_every_registered_family_keeps_the_rules(
    name: str, preset: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As of slow families: test_fault_in_a_slow_family_is_found finds every fault with even less.
    monkeypatch.setattr("metarl.checks.check.choose_extent", lambda family, pace: LESS)
    assert check_family(load_installed(name, preset)) == []


@pytest.mark.parametrize(("name", "preset"), OTHERS, ids=str)
def test_other_presets_have_sound_settings_splits_and_spaces_and_repeat_short_episodes(name: str, preset: str) -> None:
    checks = [limit(check, SHORT) for check in (check_repeats, *SINGLE, check_first_observation, check_unanswered)]
    assert run_checks(f"{name}, {preset}", checks, load_installed(name, preset)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "preset"), [*FIRST, *OTHERS], ids=str)
def test_all_presets_of_every_registered_family_keep_the_rules(name: str, preset: str) -> None:
    assert check_family(load_installed(name, preset)) == []


# On other spaces variants are tested in test_spaces.py of tests/agents and of tests/agents/maml.
@pytest.mark.parametrize("name", VARIANTS)
def test_variants_of_maml_keep_the_rules_on_continuous_actions(name: str) -> None:
    assert check_agent(smaller(name), probes()[:1]) == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in VARIANTS else name for name in AGENTS]
)
def test_every_registered_agent_keeps_the_rules(name: str) -> None:
    if missing := what_to_install(name):
        pytest.skip(missing)
    quick = {("recommender",): {"horizon": 15}, ("phrases",): {"shots": 4, "queries": 3}}.get(AGENTS[name].plays)
    families = [load(AGENTS[name].plays[0], **quick)] if quick else None
    assert check_agent(smaller(name), families) == []


@dataclass(frozen=True)
class Honest(ArrayFamily):
    """A point that is paid for being near a hidden place; its episodes may end early."""

    name: ClassVar[str] = "honest"
    horizon: Horizon = 12

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"goal": Parameter(Uniform(-1.0, 1.0), Uniform(2.0, 3.0)), "pull": Parameter(Uniform(0.1, 0.5))}

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, (1,), dtype=np.float64)

    @property
    def action_space(self) -> spaces.Box:
        return spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)

    def initial(self, task: Values, streams: Streams) -> State:
        return {"place": streams.normal()}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return {"place": state["place"] + task["pull"] * action[:, 0] + 0.1 * streams.normal()}

    def observation(self, state: State) -> np.ndarray:
        return state["place"][:, None]

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return -np.abs(after["place"] - task["goal"])

    def terminated(self, state: State, task: Values) -> np.ndarray:
        return np.abs(state["place"]) > 1.5


class HiddenPlace(gymnasium.Env[np.ndarray, np.ndarray]):
    """The same as a plain Gymnasium class, with faults to switch on."""

    observation_space = spaces.Box(-np.inf, np.inf, (1,), dtype=np.float64)
    action_space = spaces.Box(-1.0, 1.0, (1,), dtype=np.float32)
    last_goal = 0.0

    def __init__(self, goal: float, fault: str) -> None:
        self.goal, self.fault, self.resets, self.steps = goal, fault, 0, 0
        if fault == "module state":
            HiddenPlace.last_goal = goal

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.place, self.steps = self.np_random.normal(), 0
        self.resets += 1
        return np.array([self.place]), {}

    def _goal(self) -> float:
        if self.fault == "another task on reset" and self.resets > 1:
            return self.goal + self.resets
        return HiddenPlace.last_goal if self.fault == "module state" else self.goal

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        noise = np.random.normal() if self.fault == "global numbers" else self.np_random.normal()  # noqa: NPY002
        self.place += float(action[0]) + noise
        cut = self.fault == "own time limit" and self.steps == 5
        return np.array([self.place]), -abs(self.place - self._goal()), False, cut, {}


@dataclass(frozen=True)
class Wrapped(ClassFamily):
    """The honest family around a class."""

    name: ClassVar[str] = "wrapped"
    fault: str = ""
    horizon: Horizon = 12

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"goal": Parameter(Uniform(-1.0, 1.0))}

    def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        return HiddenPlace(task["goal"], self.fault)


def test_honest_families_have_no_findings() -> None:
    assert check_family(Honest()) == []
    assert check_family(Honest) == []
    assert check_family(Wrapped()) == []


class Leaking(Honest):
    def initial(self, task: Values, streams: Streams) -> State:
        return {"place": 0.1 * streams.normal() + task["goal"]}


class InPlace(Honest):
    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        state["place"] += task["pull"] * action[:, 0]
        return state


class DeadParameter(Honest):
    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return -np.abs(after["place"])


class Neighbourly(Honest):
    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return super().reward(before, action, after, task) - task["goal"].mean()


class ByPlace(Honest):
    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return super().reward(before, action, after, task) + np.arange(len(action))


class Exploding(Honest):
    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return task["goal"] / (1 - np.abs(action[:, 0]))


class Unbounded(Honest):
    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-0.5, 0.5, (1,), dtype=np.float64)


class WritesTask(Honest):
    def initial(self, task: Values, streams: Streams) -> State:
        task["goal"][:] += 1
        return super().initial(task, streams)


class SharedRandomness(Honest):
    generator = np.random.default_rng(0)

    def initial(self, task: Values, streams: Streams) -> State:
        return {"place": self.generator.normal(size=streams.shape)}


class Overlapping(Honest):
    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {**super().parameters, "goal": Parameter(Uniform(-1.0, 1.0), Uniform(0.5, 2.0))}


class Rounded(Uniform):
    def sample(self, streams: Streams) -> np.ndarray:
        return np.round(super().sample(streams), 1)


class Coarse(Honest):
    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"goal": Parameter(Rounded(-1.0, 1.0))}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return {"place": state["place"] + action[:, 0]}


class Crowd(Uniform):
    def sample(self, streams: Streams) -> np.ndarray:
        return super().sample(streams) * len(streams.keys) / 100


class DependsOnCount(Honest):
    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {**super().parameters, "pull": Parameter(Crowd(0.1, 0.5))}


class Draws(Distribution):
    """Draws numbers that it does not know as its own."""

    shape = ()  # type: ignore[assignment]

    def sample(self, streams: Streams) -> np.ndarray:
        return streams.uniform()

    def contains(self, values: np.ndarray) -> np.ndarray:
        return values > 2


class ForeignDraws(Honest):
    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {**super().parameters, "pull": Parameter(Draws())}


@dataclass
class Mutable(ClassFamily):
    name: ClassVar[str] = "mutable"
    horizon: Horizon = 12
    parameters = Wrapped.parameters

    def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        return HiddenPlace(task["goal"], "")


@dataclass(frozen=True)
class Unwritable(Honest):
    kind: type = field(default=int)


@dataclass(frozen=True)
class Stalling(HalfCheetahRun):
    """Pays the inverse of the speed, which is none where a world stays where it was."""

    name: ClassVar[str] = "stalling"
    physics: ClassVar[Physics] = Physics({"load": Parameter(Uniform(0.5, 2.0))}, {"load": (Scale("body_mass[*]"),)})

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return 1 / self.velocity(before, after)


FAULTY_FAMILIES = [
    (Stalling(), "with unstable physics, family 'stalling'"),
    (Leaking(), "first observation"),
    (InPlace(), "changes state 'place' in place"),
    (DeadParameter(), "parameter 'goal', varied alone"),
    (Neighbourly(), "gives other rewards alone"),
    (ByPlace(), "its place in the batch"),
    (Exploding(), "keep it finite"),
    (Unbounded(), "widen the space"),
    (WritesTask(), "the second time"),
    (SharedRandomness(), "the same seed gives other"),
    (Overlapping(), "in the range of training"),
    (Coarse(), "share a task"),
    (DependsOnCount(), "depends on how many are drawn"),
    (ForeignDraws(), "`contains` must be true"),
    (Unwritable(), "cannot be written as JSON"),
    (Mutable(), "can be changed after it is made"),
    (Wrapped("another task on reset"), "the second time"),
    (Wrapped("global numbers"), "the same seed gives other"),
    (Wrapped("module state"), "share nothing that changes"),
    (Wrapped("own time limit"), "truncated after 5 steps"),
]


@dataclass(frozen=True)
class Failing(Wrapped):
    """A family around a class that fails in mid-episode, or in one task."""

    def make(self, task: dict[str, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
        env = super().make(task, render_mode)
        step = env.step

        def fail(action: np.ndarray) -> Any:
            if self.fault == "reward":
                return step(action)[0], float("nan"), False, False, {}
            raise OSError("the simulator is gone")

        env.step = fail  # type: ignore[method-assign]
        return env


class Reseeded(Honest):
    """Seeds NumPy's global generator in each reset, so that a play repeats and a neighbour is felt."""

    def initial(self, task: Values, streams: Streams) -> State:
        np.random.seed(0)  # noqa: NPY002
        return {"place": 0.1 * streams.normal()}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        noise = np.random.normal(size=len(action))  # noqa: NPY002
        return {"place": state["place"] + task["pull"] * action[:, 0] + noise}


class Unseeded(Honest):
    def initial(self, task: Values, streams: Streams) -> State:
        return {"place": 0.1 * np.random.default_rng().normal(size=streams.shape)}


@pytest.mark.parametrize(
    ("family", "words"),
    [
        (
            Wrapped("global numbers"),
            "it draws from NumPy's global generator (np.random); draw every random number from",
        ),
        (Reseeded(), "it draws from NumPy's global generator (np.random); draw every random number from"),
        (Unseeded(), "something in it is not seeded; draw every random number from"),
        (Failing("reward"), "the reward is nan; keep it finite"),
        (Failing(""), "OSError: the simulator is gone at test_check.py:"),
    ],
    ids=str,
)
def test_one_cause_is_one_finding(family: Any, words: str) -> None:
    findings = check_family(family)
    assert len(findings) == 1, findings
    assert words in findings[0]


@pytest.mark.parametrize(("family", "words"), FAULTY_FAMILIES, ids=lambda part: str(part).replace(" ", "-")[:40])
def test_fault_in_a_family_is_found(family: Any, words: str) -> None:
    findings = check_family(family)
    assert any(words in finding for finding in findings), findings
    assert all("\n" not in finding for finding in findings)


@pytest.mark.parametrize(("family", "words"), FAULTY_FAMILIES, ids=lambda part: str(part).replace(" ", "-")[:40])
def test_fault_in_a_slow_family_is_found(family: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metarl.checks.check.measure", lambda family: Pace(make=0.3, reset=0.3, step=0.3))
    findings = check_family(family)
    assert any(words in finding for finding in findings), findings


class HonestConfig(Settings):
    """Settings of the honest agent."""

    fault: str = ""


class HonestAgent(TrainableAgent):
    """Acts around a bias that training moves, and adapts it by each task's rewards; with faults to switch on."""

    Config: ClassVar[type[Settings]] = HonestConfig
    fault: ClassVar[str] = ""
    common: ClassVar[Any] = None

    def __init__(self, config: HonestConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        if not isinstance(family.action_space, spaces.Box):
            raise MetarlError(f"{family.action_space} is not a Box; take another family")
        self.space = family.action_space
        self.bias = torch.full((1,), 0.1 * seed, dtype=torch.float64)
        self.momentum = torch.zeros(1, dtype=torch.float64)

    def begin(self, streams: Streams) -> HonestLearner:
        self.seen = np.zeros((streams.shape[0], 1, 1))
        return HonestLearner(self, streams)

    def begin_training(self, streams: Streams) -> HonestLearner:
        learner = self.begin(streams)
        learner.place += streams.shape[0] if self.fault == "explores by number" else 1.0
        return learner

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        last = trial.rounds[-1]
        steps = np.ones_like(last.mask) if self.fault == "reads the masked" else last.mask
        self.momentum = 0.9 * self.momentum + float(last.actions[steps].mean() + rng.normal())
        if self.fault == "learns through its class":
            type(self).common = self.momentum
            self.momentum = type(self).common
        if self.fault == "hands out its state":
            self.bias += 0.1 * self.momentum
        elif self.fault != "learns nothing":
            self.bias = self.bias + 0.1 * self.momentum
        return {"loss": float("nan") if self.fault == "logs nan" else float(self.bias)}

    def state_dict(self) -> dict[str, Any]:
        if self.fault == "learns nothing":
            return {"bias": self.bias.clone()}
        if self.fault == "hands out its state":
            return {"bias": self.bias, "momentum": self.momentum}
        if self.fault == "forgets its momentum":
            return {"bias": self.bias.clone()}
        return {"bias": self.bias.clone(), "momentum": self.momentum.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if "bias" not in state and self.fault != "loads anything":
            raise MetarlError("the saved agent does not fit: 'bias' is missing; take one of this agent")
        self.bias = state.get("bias", self.bias).clone()
        self.momentum = state.get("momentum", self.momentum).clone()


class HonestLearner(Learner):
    def __init__(self, agent: HonestAgent, streams: Streams) -> None:
        self.agent, self.streams = agent, streams
        self.place = np.full((streams.shape[0], 1, 1), float(agent.bias[0]))

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        fault = self.agent.fault
        streams = self.streams if fault == "draws while waiting" else self.streams.where(timestep.active)
        noise = streams.normal(self.agent.space.shape)
        if fault == "global numbers":
            noise = np.random.normal(size=noise.shape)  # noqa: NPY002
        if fault == "looks at all worlds":
            noise = noise + timestep.observations.mean()
        actions = self.place + noise + (self.agent.seen if fault == "adapts in the agent" else 0)
        self.agent.seen = self.agent.seen + 0.1
        if fault == "adapts the agent":
            self.agent.bias = self.agent.bias + 0.01
        if fault == "acts through the agent":
            self.agent.scratch = actions
            actions = self.agent.scratch
        return actions[..., 0] if fault == "wrong shape" else actions

    def adapt(self, episodes: Episodes) -> None:
        self.place = self.place + 0.1 * episodes.returns.mean(axis=1)[:, None, None]


FAULTY_AGENTS = [
    ("wrong shape", "act returned shape (4, 3); it must be (4, 3, 2)"),
    ("global numbers", "the same seed gives another trial"),
    ("adapts the agent", "a trial changed 'bias'"),
    ("draws while waiting", "differently alone"),
    ("explores by number", "plays round 1 of training differently alone"),
    ("adapts in the agent", "while another one"),
    ("looks at all worlds", "worlds that wait"),
    ("acts through the agent", "while another one plays on another thread"),
    ("learns through its class", "two agents that are made and trained at the same time"),
    ("reads the masked", "in an update; leave them out"),
    ("logs nan", "must be a finite float"),
    ("learns nothing", "changed nothing in state_dict"),
    ("hands out its state", "return copies"),
    ("forgets its momentum", "after restoring"),
    ("loads anything", "accepts an empty state"),
]


def test_honest_agent_has_no_findings() -> None:
    assert check_agent(HonestAgent) == []


@pytest.mark.parametrize(("fault", "words"), FAULTY_AGENTS, ids=lambda part: part.replace(" ", "-")[:30])
def test_fault_in_an_agent_is_found(fault: str, words: str) -> None:
    findings = check_agent(type("Faulty", (HonestAgent,), {"fault": fault}))
    assert any(words in finding for finding in findings), findings
    assert all("\n" not in finding for finding in findings)


def test_an_agent_that_shares_what_its_learners_write_is_found_every_time() -> None:
    """One after the other its learners play rightly; by chance alone, threads would rarely meet between two lines."""
    faulty = type("Faulty", (HonestAgent,), {"fault": "acts through the agent"})
    for _ in range(5):
        assert len(check_agent(faulty)) == 1


def test_agent_that_refuses_every_family_is_found() -> None:
    class Refusing(HonestAgent):
        def __init__(self, *args: Any, **settings: Any) -> None:
            raise MetarlError("no space is good enough; take none")

    assert check_agent(Refusing) == [
        "agent Refusing: it refuses every family: no space is good enough; take none; "
        "name a family that it plays in `plays`"
    ]


class Careless(HonestAgent):
    """Takes every observation for an array."""

    def __init__(self, config: Any, family: TaskFamily, **settings: Any) -> None:
        if not isinstance(family.observation_space, spaces.Box):
            raise TypeError("no camera")
        super().__init__(config, family, **settings)


class Choosy(HonestAgent):
    """Refuses spaces that it cannot play."""

    def __init__(self, config: Any, family: TaskFamily, **settings: Any) -> None:
        if not isinstance(family.observation_space, spaces.Box):
            raise MetarlError("no camera; take a Box")
        super().__init__(config, family, **settings)


def test_an_agent_that_breaks_on_unusual_spaces_is_one_finding_with_its_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    (finding,) = check_agent(Careless)
    assert finding.startswith("agent Careless on the checks' family with a Dict of observations and MultiDiscrete acti")
    assert "__init__: TypeError: no camera at test_check.py:" in finding
    assert finding.endswith("; raise MetarlError for spaces that it cannot play")
    told = capsys.readouterr().err
    assert told.count("TypeError: no camera\n") == 1 and 'raise TypeError("no camera")' in told


def test_spaces_that_an_agent_refuses_are_left_out_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    check("tests.checks.test_check:Choosy")
    told = capsys.readouterr()
    assert told.err == ""
    assert [line.partition(": not checked on the checks' family with ")[2] for line in told.out.splitlines()] == [
        "discrete actions: Discrete(3) is not a Box; take another family",
        "a Dict of observations and MultiDiscrete actions: no camera; take a Box",
        "Discrete observations and MultiBinary actions: no camera; take a Box",
    ]


def test_error_inside_a_check_is_one_finding() -> None:
    class Breaking(Honest):
        def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
            raise RuntimeError("out of order\nand more")

    findings = check_family(Breaking())
    assert any("RuntimeError: out of order" in finding for finding in findings)
    assert all("\n" not in finding for finding in findings)
    assert any("RuntimeError: out of order at test_check.py:" in finding for finding in findings)


def test_an_observation_of_a_wrong_shape_is_one_finding() -> None:
    class Flat(Honest):
        def observation(self, state: State) -> np.ndarray:
            return super().observation(state)[:, 0]

    (finding,) = check_family(Flat())
    assert "has shape [world]; it must be [world, " in finding


def test_a_state_without_tensors_is_one_finding() -> None:
    class Arrays(HonestAgent):
        def state_dict(self) -> dict[str, Any]:
            return {name: value.numpy() for name, value in super().state_dict().items()}

    findings = check_agent(Arrays)
    assert len(findings) == 1
    assert all("it must hold torch tensors by name" in finding for finding in findings)


def test_a_class_that_takes_a_name_is_told_so_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken.py").write_text(
        "import metarl\nfrom metarl.envs.points.navigation_2d import Navigation2D as Base\n"
        "@metarl.register('taken')\nclass Navigation2D(Base):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MetarlError, match=r"module 'taken' cannot be imported: .*; give the class another name$"):
        resolve("taken:Navigation2D")


def test_target_is_a_name_or_module_and_attribute() -> None:
    assert resolve("point-sparse") is FAMILIES["point-sparse"]
    assert resolve("random") is AGENTS["random"]
    assert resolve("tests.checks.test_check:Honest") is Honest


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("point-sparce", "did you mean 'point-sparse'?"),
        ("tests.checks.test_check:Onest", "did you mean 'Honest'?"),
        ("no_such_module:Honest", "is not found"),
        ("tests.checks.test_check:FIRST", "give a class"),
        ("tests.checks.test_check:Leaking", "breaks 1 of the rules"),
    ],
)
def test_bad_target_is_told_in_one_line(target: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MetarlError) as caught:
        check(target)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ("first observation" in capsys.readouterr().err) == (target == "tests.checks.test_check:Leaking")
