"""Agents with a known score, and the family that they are scored on: an evaluator is tested by equality."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces

from metarl.base.streams import Streams
from metarl.evaluation.record import AgentRecord, Evaluation
from metarl.families.arrays import ArrayFamily, State
from metarl.families.distributions import Uniform
from metarl.families.task import Horizon, Parameter, Tasks, Values
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.plan import TrialPlan


@dataclass(frozen=True)
class Numbered(ArrayFamily):
    """Every task shows its number. Action 1 solves it at once, which ends the episode and pays 1; action 0 waits."""

    name: ClassVar[str] = "numbered"
    horizon: Horizon = 7

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        return {"number": Parameter(Uniform(0.0, 1.0))}

    @property
    def observation_space(self) -> spaces.Box:
        return spaces.Box(0.0, 1.0, (1,), dtype=np.float64)

    @property
    def action_space(self) -> spaces.Discrete:
        return spaces.Discrete(2)

    def initial(self, task: Values, streams: Streams) -> State:
        return {"number": task["number"], "solved": np.zeros(streams.shape, dtype=bool)}

    def transition(self, state: State, action: np.ndarray, task: Values, streams: Streams) -> State:
        return {"number": state["number"], "solved": action == 1}

    def observation(self, state: State) -> np.ndarray:
        return state["number"][:, None]

    def reward(self, before: State, action: np.ndarray, after: State, task: Values) -> np.ndarray:
        return after["solved"].astype(np.float64)

    def terminated(self, state: State, task: Values) -> np.ndarray:
        return state["solved"]

    def success(self, state: State, task: Values) -> np.ndarray:
        return state["solved"]


class Scripted(Agent):
    """An agent whose action is a function of the time step and the number of rounds it has adapted to."""

    def __init__(self, script: Callable[[TimeStep, int], np.ndarray]) -> None:
        self.script = script
        self.learners: list[ScriptedLearner] = []

    def begin(self, streams: Streams) -> ScriptedLearner:
        self.learners.append(ScriptedLearner(self.script))
        return self.learners[-1]


class ScriptedLearner(Learner):
    """Follows the script, and writes down how it was called."""

    def __init__(self, script: Callable[[TimeStep, int], np.ndarray]) -> None:
        self.script = script
        self.adapted_to: list[Episodes] = []
        self.deterministic: list[bool] = []

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        self.deterministic.append(deterministic)
        return self.script(timestep, len(self.adapted_to))

    def adapt(self, episodes: Episodes) -> None:
        self.adapted_to.append(episodes)


def constant(action: int) -> Scripted:
    """Return the agent that does the same in every step of `Numbered`."""
    return Scripted(lambda timestep, adapted: np.full(timestep.active.shape, action))


def solves(numbers: np.ndarray) -> Scripted:
    """Return the agent that solves the tasks of `Numbered` with these numbers, and no other."""
    return Scripted(lambda timestep, adapted: np.isin(timestep.observations[..., 0], numbers).astype(np.int64))


def solves_after_round(last: int) -> Scripted:
    """Return the agent that waits in rounds 1 to `last`, and solves every task of `Numbered` from then on."""
    return Scripted(lambda timestep, adapted: np.full(timestep.active.shape, int(adapted >= last)))


class Wanderer(Agent):
    """Acts by its observations, the noise of its streams and its rewards so far: all three must repeat."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.parameters = np.arange(3.0)

    def begin(self, streams: Streams) -> WandererLearner:
        return WandererLearner(self, streams)

    def update(self, *_: Any) -> dict[str, float]:
        self.parameters += 1  # what evaluation must never come to
        return {}


class WandererLearner(Learner):
    """Keeps a pull for each replica, which adaptation moves by the return."""

    def __init__(self, agent: Wanderer, streams: Streams) -> None:
        self.size, self.streams = agent.size, streams
        self.pull = np.full(streams.shape, agent.parameters[1])

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        noise = self.streams.where(timestep.active).normal((self.size,))
        return (0.1 * timestep.observations[..., :1] + 0.3 * self.pull[..., None] * noise).astype(np.float32)

    def adapt(self, episodes: Episodes) -> None:
        self.pull = self.pull + 1e-3 * episodes.returns


def evaluation_of(
    returns: np.ndarray, *, agent: str = "scripted", successes: np.ndarray | None = None, seed: int = 0
) -> Evaluation:
    """Return an evaluation on `Numbered` with the given returns [task, round], 200 steps a round."""
    num_tasks, rounds = returns.shape
    family, plan = Numbered(), TrialPlan(num_tasks=num_tasks, rounds=rounds, seed=seed)
    return Evaluation(
        family=family.name,
        settings=family.settings,
        agent=AgentRecord(agent),
        plan=plan,
        tasks=plan.tasks(family),
        returns=returns,
        successes=successes,
        env_steps_per_task=np.tile(200 * np.arange(1, rounds + 1), (num_tasks, 1)),
        unseen=True,
    )


def altered(evaluation: Evaluation, **changes: Any) -> Evaluation:
    """Return an evaluation with other fields; those of its agent's record and of its plan are changed by their names.

    `agent` is the name of the agent. The plan has as many tasks and rounds as the returns.
    """
    if "agent" in changes:
        changes["name"] = changes.pop("agent")
    changes["num_tasks"], changes["rounds"] = changes.get("returns", evaluation.returns).shape
    agent = {name: changes.pop(name) for name in ("name", "trained", "oracle") if name in changes}
    agent["settings"] = changes.pop("agent_settings", evaluation.agent.settings)
    plan = {each.name: changes.pop(each.name) for each in fields(TrialPlan) if each.name in changes}
    return replace(
        evaluation, agent=replace(evaluation.agent, **agent), plan=replace(evaluation.plan, **plan), **changes
    )


def solved_numbers(tasks: Tasks, count: int) -> np.ndarray:
    """Return the numbers of `count` tasks from all over the batch."""
    return tasks.values["number"][np.linspace(0, len(tasks) - 1, count).astype(int)]
