"""Agents of an author that misbehave: one line names agent, family, phase, round and step; the traceback is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import metarl
from metarl.base.errors import MetarlError, UserCodeError
from metarl.base.streams import Streams
from metarl.checks.check import check_agent
from metarl.checks.probes import Press, Reach
from metarl.families.family import TaskFamily
from metarl.trials.agent import Learner, TrainableAgent
from metarl.trials.episodes import Episodes, TimeStep, Trial
from metarl.trials.rollout import run_trial


class Author(TrainableAgent):
    """Does well but for one thing, `fault`."""

    fault: ClassVar[str] = ""
    actions: ClassVar[Callable[[np.ndarray], Any]] = staticmethod(lambda actions: actions)  # type: ignore[assignment]

    def __init__(self, config: Any, family: TaskFamily, *, seed: int = 0, device: str = "cpu") -> None:
        self.break_in("__init__")
        self.family = family
        self.weight = torch.zeros(1)

    def break_in(self, phase: str) -> None:
        if phase == self.fault:
            raise ZeroDivisionError("the author's mistake")

    def begin(self, streams: Streams) -> AuthorLearner:
        self.break_in("begin")
        return AuthorLearner(self, streams)

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        self.weight = self.weight + 1
        self.break_in("update")
        return None if self.fault == "no metrics" else {"weight": float(self.weight)}  # type: ignore[return-value]

    def state_dict(self) -> dict[str, Any]:
        self.break_in("state_dict")
        return {"weight": self.weight.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.break_in("load_state_dict")
        if "weight" not in state:
            raise MetarlError("'weight' is missing; take another checkpoint")
        self.weight = state["weight"].clone()


class AuthorLearner(Learner):
    def __init__(self, agent: Author, streams: Streams) -> None:
        self.agent, self.streams, self.steps = agent, streams, 0

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        self.steps += 1
        if self.steps == 3:
            self.agent.break_in("act")
        space = self.agent.family.action_space
        return type(self.agent).actions(np.zeros((*self.streams.shape, *space.shape), dtype=space.dtype))

    def adapt(self, episodes: Episodes) -> None:
        self.agent.break_in("adapt")


def of(fault: str = "", actions: Any = lambda actions: actions) -> type[Author]:
    return type("Faulty", (Author,), {"fault": fault, "actions": staticmethod(actions)})


def play(cls: type[Author], family: TaskFamily) -> Trial:
    return run_trial(cls(None, family), family.make_vec(family.sample("train", 2, seed=0), 3), 2, seed=0)


@pytest.mark.parametrize(
    ("fault", "place"), [("act", "round 1, step 3, act"), ("adapt", "adapt to round 1"), ("begin", "begin")]
)
def test_an_exception_names_agent_family_phase_round_and_step(fault: str, place: str) -> None:
    with pytest.raises(UserCodeError) as caught:
        play(of(fault), Reach())
    assert str(caught.value) == (
        f"agent Faulty on family {Reach.name!r}, {place}: ZeroDivisionError: the author's mistake"
    )
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


WRONG: list[tuple[Any, str]] = [
    (lambda actions: None, "act returned NoneType; it must return a NumPy array of shape (2, 3, 2)"),
    (lambda actions: actions.tolist(), "act returned list"),
    (lambda actions: torch.as_tensor(actions), "act returned Tensor"),
    (lambda actions: actions[..., :1], "act returned shape (2, 3, 1); it must be (2, 3, 2)"),
    (lambda actions: actions.reshape(6, 2), "act returned shape (6, 2)"),
    (lambda actions: actions[0, 0], "act returned shape (2,)"),
    (lambda actions: actions * np.nan, "act returned actions that are not finite"),
    (lambda actions: actions + np.inf, "act returned actions that are not finite"),
    (lambda actions: actions.astype(complex), "act returned complex128"),
    (lambda actions: actions.astype(object), "act returned object"),
    (lambda actions: actions.astype(str), "act returned <U"),
]


@pytest.mark.parametrize(("actions", "words"), WRONG, ids=[words[13:34] for _, words in WRONG])
def test_actions_of_a_wrong_kind_are_told_at_the_door(actions: Any, words: str) -> None:
    with pytest.raises(MetarlError) as caught:
        play(of(actions=actions), Reach())
    assert str(caught.value).startswith(f"agent Faulty on family {Reach.name!r}, round 1, step 1: {words}")


@pytest.mark.parametrize("actions", [lambda a: a + 0.7, lambda a: a + 3, lambda a: a - 1, lambda a: a == 0.5])
def test_actions_of_a_discrete_space_are_whole_numbers_inside_it(actions: Any) -> None:
    if actions(np.zeros(1)).dtype == bool:
        play(of(actions=actions), Press())
        return
    with pytest.raises(MetarlError, match=r"step 1: act returned (float64|action)"):
        play(of(actions=actions), Press())


def test_worlds_that_wait_may_be_given_anything() -> None:
    class Careless(AuthorLearner):
        def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
            actions = super().act(timestep, deterministic=deterministic)
            actions[~timestep.active] = np.nan
            return actions

    cls = type("Faulty", (Author,), {"begin": lambda self, streams: Careless(self, streams)})
    trial = play(cls, Reach())
    assert not trial.rounds[0].mask.all()


def test_an_evaluation_tells_where_an_agent_broke_down() -> None:
    with pytest.raises(UserCodeError, match=r"agent Faulty on family .*, adapt to round 1: ZeroDivisionError"):
        metarl.evaluate(of("adapt")(None, Reach()), Reach(), num_tasks=2, rounds=2)


@pytest.mark.parametrize("fault", ["act", "adapt", "begin", "update", "state_dict", "load_state_dict", "__init__"])
def test_check_tells_each_mistake_once_with_its_place_below_its_traceback(
    fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    findings = check_agent(of(fault), [Reach()])
    assert len(findings) == 1, findings
    assert "ZeroDivisionError: the author's mistake" in findings[0]
    if fault in ("act", "adapt", "begin"):
        assert "at test_authors.py:" in findings[0]
        assert capsys.readouterr().err.count("Traceback (most recent call last)") == 1


def test_an_update_without_metrics_is_told() -> None:
    from metarl.training.metrics import require_metrics

    with pytest.raises(MetarlError, match="update returned NoneType"):
        require_metrics(None)
    with pytest.raises(MetarlError, match="logs 'loss' of class Tensor"):
        require_metrics({"loss": torch.zeros(1)})
    assert require_metrics({"loss": np.float32(1.5)}) == {"loss": 1.5}
