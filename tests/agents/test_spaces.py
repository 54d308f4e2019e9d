"""Agents on every kind of space that a family may have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from gymnasium import spaces

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams, generator
from metarl.families.arrays import ArrayFamily
from metarl.families.batch import State
from metarl.families.distributions import Uniform
from metarl.families.question_batch import Questions
from metarl.families.questions import QuestionFamily
from metarl.families.spaces import ActionSpace, draw_actions, limits
from metarl.families.task import Horizon, Parameter, Values
from metarl.trials.agent import TrainableAgent
from metarl.trials.registered import AGENTS, make_agent, missing_package
from metarl.trials.rollout import run_trial
from tests.agents.playable import needs_answers
from tests.small_agents import SMALLER


@dataclass(frozen=True)
class AnySpaces(ArrayFamily):
    """Observations of any shape; every action pays its first element."""

    name: ClassVar[str] = "any-spaces"
    horizon: Horizon = 3
    seen: tuple[int, ...] = (1,)
    discrete_start: int | None = None
    acted: tuple[int, ...] = (1,)

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"level": Parameter(Uniform(-1.0, 1.0))}

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, self.seen, dtype=np.float64)

    @property
    def action_space(self) -> spaces.Box | spaces.Discrete:
        if self.discrete_start is not None:
            return spaces.Discrete(3, start=self.discrete_start)
        return spaces.Box(-1.0, 1.0, self.acted, dtype=np.float32)

    def initial(self, task: Values, streams: Streams) -> State:
        return {"level": streams.normal()}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return {"level": task["level"] + action.reshape(len(action), -1)[:, 0]}

    def observation(self, state: State) -> np.ndarray:
        return np.broadcast_to(state["level"].reshape(-1, *(1,) * len(self.seen)), (len(state["level"]), *self.seen))

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return after["level"]


FAMILIES = [
    AnySpaces(),
    AnySpaces(seen=()),
    AnySpaces(seen=(2, 3)),
    AnySpaces(discrete_start=1),
    AnySpaces(discrete_start=-4),
    AnySpaces(acted=()),
    AnySpaces(acted=(2, 2)),
    AnySpaces(horizon=1),
]


PLAY_ANYTHING = sorted(name for name in AGENTS if not AGENTS[name].plays and not missing_package(name))


# One world is a case of its own in the first family, and here and there in test_short_trials.py.
@pytest.mark.parametrize("agent", PLAY_ANYTHING)
@pytest.mark.parametrize(
    ("family", "tasks", "replicas"),
    [
        pytest.param(
            family, *count, marks=[pytest.mark.slow] * (count == (1, 1) and number > 0), id=f"{count}-{family}"
        )
        for number, family in enumerate(FAMILIES)
        for count in ((1, 1), (3, 2))
    ],
)
def test_agent_plays_and_learns_whatever_the_spaces(agent: str, family: AnySpaces, tasks: int, replicas: int) -> None:
    if needs_answers(agent):
        pytest.skip("asked questions of every space below")
    if agent == "sb3-sac" and family.discrete_start is not None:
        with pytest.raises(MetarlError, match="continuous actions only"):
            make_agent(agent, family, device="cpu")
        return
    made: Any = make_agent(agent, family, SMALLER.get(agent), device="cpu")
    envs = family.make_vec(family.sample("train", tasks, seed=0), replicas)
    trial = run_trial(made, envs, 3, seed=0)
    for episodes in trial.rounds:
        assert episodes.actions.shape == (len(episodes.mask), tasks, replicas, *(family.action_space.shape or ()))
        if family.discrete_start is not None:
            assert np.isin(episodes.actions, family.discrete_start + np.arange(3)).all()
    if isinstance(made, TrainableAgent):
        assert all(np.isfinite(list(made.update(trial, generator(0)).values())))


@dataclass(frozen=True)
class AnyAnswers(QuestionFamily):
    """Questions of any shape, with any answers."""

    name: ClassVar[str] = "any-answers"
    answered: int
    """Place of the space of answers in `ANSWERS`."""
    seen: tuple[int, ...]

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"level": Parameter(Uniform(-1.0, 1.0))}

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(-np.inf, np.inf, self.seen, dtype=np.float64)

    @property
    def action_space(self) -> ActionSpace:
        return ANSWERS[self.answered]

    def num_questions(self, number: int) -> int:
        return 4 if number else 3

    def ask(self, task: Values, trial: State, number: int, streams: Streams) -> Questions:
        count = self.num_questions(number)
        answers = [draw_actions(self.action_space, streams) for _ in range(count)]
        return Questions(streams.normal((count, *self.seen)), np.stack(answers, axis=1))

    def score(self, answers: np.ndarray, targets: np.ndarray) -> np.ndarray:
        axes = tuple(range(targets.ndim - len(self.action_space.shape or ()), targets.ndim))
        return np.asarray((answers == targets).mean(axis=axes), dtype=np.float64)


ANSWERS: list[ActionSpace] = [
    spaces.Discrete(3, start=-4),
    spaces.MultiDiscrete([2, 3], start=[1, 5]),
    spaces.MultiBinary(2),
    spaces.Box(-1.0, 1.0, (), np.float32),
    spaces.Box(-1.0, 1.0, (2, 2), np.float32),
]


@pytest.mark.parametrize("seen", [(), (2, 3)])
@pytest.mark.parametrize("answered", range(len(ANSWERS)))
def test_agents_of_right_answers_learn_whatever_the_spaces(answered: int, seen: tuple[int, ...]) -> None:
    family, space, played = AnyAnswers(answered, seen), ANSWERS[answered], 0
    for name in filter(needs_answers, PLAY_ANYTHING):
        try:
            agent: Any = make_agent(name, family, SMALLER.get(name), device="cpu")
        except MetarlError as error:
            assert name in ("prototypes", "pretrained-classifier", "kernel-regression", "in-context"), name
            told = ("answers with classes", "answers with numbers", "which class a label stands for", "into sequences")
            assert any(words in str(error) for words in told)
            continue
        envs = family.make_vec(family.sample("train", 3, seed=0), 2)
        trial = run_trial(agent, envs, 3, seed=0)
        for episodes in trial.rounds:
            assert episodes.actions.shape == (len(episodes.mask), 3, 2, *(space.shape or ())), name
            inside = episodes.actions.clip(*limits(space))
            assert np.array_equal(inside, episodes.actions) or isinstance(space, spaces.Box), name
        if isinstance(agent, TrainableAgent):
            assert np.isfinite(list(agent.update(trial, generator(0)).values())).all(), name
        played += 1
    assert played >= 3


def test_rl2_learns_from_trials_of_one_round() -> None:
    family = AnySpaces()
    agent: Any = make_agent("rl2", family, device="cpu")
    trial = run_trial(agent, family.make_vec(family.sample("train", 3, seed=0)), 1, seed=0)
    assert np.isfinite(agent.update(trial, generator(0))["loss"])


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (spaces.Box(-np.inf, np.inf, (2,)), "no bounds"),
        (spaces.Box(np.float32([-1, 0]), np.float32([1, 0])), "dimension without width"),
        (spaces.Box(0, 3, (1,), dtype=np.int64), "whole numbers"),
    ],
)
@pytest.mark.parametrize("agent", ["maml-ppo", "rl2", "sb3-sac"])
def test_actions_that_no_scaled_policy_takes_are_refused_with_the_remedy(
    agent: str, space: spaces.Box, message: str
) -> None:
    family: Any = SimpleNamespace(name="x", observation_space=spaces.Box(-1.0, 1.0, (1,)), action_space=space)
    with pytest.raises(MetarlError, match=message):
        make_agent(agent, family, device="cpu")
