"""Settings say in one line what is wrong with them, and choices are written by name."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

import pytest
from pydantic import Field, model_validator

from metarl.base.errors import MetarlError
from metarl.base.settings import Count, Positive, Settings, choices, list_settings, validate


class PPO(Settings):
    name: Literal["ppo"] = "ppo"
    clip_range: Positive = 0.3


class TRPO(Settings):
    name: Literal["trpo"] = "trpo"
    max_kl: Positive = 0.01
    cg_iterations: Count = 10


Outer = Annotated[PPO | TRPO, Field(discriminator="name")]


class Agent(Settings):
    moved: ClassVar[dict[str, str]] = {"clip_range": "outer.clip_range"}

    removed: ClassVar[dict[str, str]] = {"kind": "it follows from the family"}

    outer: Outer = PPO()
    size: Count = 8


class Run(Settings):
    agent: Agent = Agent()


@pytest.mark.parametrize("written", ["trpo", {"name": "trpo"}, {"name": "trpo", "max_kl": 0.01}, TRPO()])
def test_choice_is_written_by_its_name_or_with_its_settings(written: Any) -> None:
    assert validate(Agent, {"outer": written}, "here").outer == TRPO()


def test_settings_without_a_name_or_with_the_default_s_change_the_default() -> None:
    class Other(Agent):
        outer: Outer = TRPO(max_kl=0.5)

    assert validate(Agent, {"outer": {"clip_range": 0.1}}, "here").outer == PPO(clip_range=0.1)
    assert validate(Other, {"outer": {"cg_iterations": 3}}, "here").outer == TRPO(max_kl=0.5, cg_iterations=3)
    assert validate(Other, {"outer": {"name": "trpo", "cg_iterations": 3}}, "here").outer.max_kl == 0.5
    assert validate(Other, {"outer": "trpo"}, "here").outer == TRPO(max_kl=0.5)
    assert validate(Other, {"outer": {"name": "ppo"}}, "here").outer == PPO()


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        ({"outer": "trop"}, "agent.outer.name is 'trop': unknown; did you mean 'trpo'?"),
        ({"outer": 3}, "agent.outer is 3: it must be one of ppo, trpo, or a mapping with such a name"),
        ({"outer": None}, "agent.outer is None: it must be one of ppo, trpo, or a mapping with such a name"),
        ({"outer": {"name": 3}}, "agent.outer.name is 3: unknown; known: ppo, trpo"),
        ({"outer": {"clip_rang": 3}}, "agent.outer.clip_rang: unknown key; did you mean 'clip_range'?"),
        ({"outer": {"clip_range": 0}}, "agent.outer.clip_range is 0: it must be greater than 0"),
        (
            {"outer": {"max_kl": 1}},
            "agent.outer.max_kl: a setting of 'trpo', but agent.outer.name is 'ppo'; write agent.outer={name: trpo, "
            "max_kl: ...}, or agent.outer=ppo to drop the settings of 'trpo'",
        ),
        ({"clip_range": 0.1}, "agent.clip_range: unknown key; write agent.outer.clip_range"),
        ({"kind": "a"}, "agent.kind: unknown key; leave it out: it follows from the family"),
        ({"sizes": 1}, "agent.sizes: unknown key; did you mean 'size'?"),
        ({"size": True}, "agent.size is True: it must be a number"),
        ({"outer": {"clip_range": True}}, "agent.outer.clip_range is True: it must be a number"),
    ],
)
def test_mistake_is_told_in_one_line(agent: dict[str, Any], told: str) -> None:
    with pytest.raises(MetarlError) as caught:
        validate(Run, {"agent": agent}, "here")
    assert str(caught.value) == f"here: {told}"


def test_settings_that_contradict_each_other_are_told_of_without_a_key() -> None:
    class Pair(Settings):
        low: Positive = 1.0
        high: Positive = 2.0

        @model_validator(mode="after")
        def _fit_together(self) -> Self:
            if self.low > self.high:
                raise ValueError(f"low is {self.low}, above high {self.high}; lower it")
            return self

    with pytest.raises(MetarlError) as caught:
        validate(Pair, {"low": 3}, "here")
    assert str(caught.value) == "here: low is 3.0, above high 2.0; lower it"


def test_choices_are_listed_by_name() -> None:
    assert choices(Agent.model_fields["outer"]) == {"ppo": PPO, "trpo": TRPO}
    assert choices(Agent.model_fields["size"]) == {}


def test_listing_holds_the_settings_of_every_choice_with_their_defaults() -> None:
    class Other(Agent):
        outer: Outer = TRPO(max_kl=0.5)
        """Outer step."""

    class Job(Settings):
        tasks: Count
        """Number of tasks."""
        agent: Other = Other(size=3)
        """The agent."""

    assert list(list_settings(Job)) == [
        ("tasks", "Number of tasks. (required)"),
        ("agent", "The agent."),
        ("agent.outer", "Outer step. (default trpo)"),
        ("agent.outer.clip_range", "ppo: (default 0.3)"),
        ("agent.outer.max_kl", "trpo: (default 0.5)"),
        ("agent.outer.cg_iterations", "trpo: (default 10)"),
        ("agent.size", "(default 3)"),
    ]


@pytest.mark.parametrize(
    "count", [10**9 + 1, 99999999999999999999, 10**400, 10**5000], ids=["1e9", "1e20", "1e400", "1e5000"]
)
def test_a_count_that_no_machine_holds_is_refused_in_one_line(count: int) -> None:
    with pytest.raises(MetarlError, match=r"size is .*: it must be less than or equal to 1000000000") as caught:
        validate(Agent, {"size": count}, "here")
    assert len(str(caught.value)) < 200
