"""Checks of the rules that every agent follows. Each check yields one line a fault: the fault, the rule, the remedy."""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium import spaces

from ..base.errors import MetarlError, user_code
from ..base.streams import Streams, generator
from ..families.actions import ActionRange
from ..families.task import Tasks
from ..trials.agent import Agent, Learner, Oracle, TrainableAgent, begin_learner, require_tensors
from ..trials.episodes import Episodes, TimeStep, select_tasks
from ..trials.rollout import rollout, rounds_of
from .at_once import check_threads
from .probes import NUM_TASKS, REPLICAS, ROUNDS, Subject, as_array, first_change, state_arrays


def check_actions(subject: Subject) -> Iterator[str]:
    """Actions have the shape and the kind of the action space, sampled and deterministic ones."""
    space = subject.family.action_space
    with contextlib.closing(subject.family.make_vec(subject.tasks(), REPLICAS, threads=0)) as envs:
        for deterministic in (False, True):
            agent = subject.make()
            streams = Streams.of(0, "check", np.arange(NUM_TASKS)[:, None], np.arange(REPLICAS))
            title = f"agent {subject.cls.__name__}"
            with user_code(f"{title}, begin"):
                learner = _Watch(begin_learner(agent, subject.tasks(), streams))
            rollout(envs, learner, seed=0, deterministic=deterministic, title=title)
            for actions in learner.actions:
                fault = _fault(actions, space)
                if fault:
                    yield f"act(deterministic={deterministic}) returned {fault}"
                    break


class _Watch(Learner):
    """Records the actions of a learner."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self.actions: list[np.ndarray] = []

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        self.actions.append(self.learner.act(timestep, deterministic=deterministic))
        return self.actions[-1]

    def adapt(self, episodes: Episodes) -> None:
        self.learner.adapt(episodes)


def _fault(actions: np.ndarray, space: spaces.Space[Any]) -> str:
    shape = (NUM_TASKS, REPLICAS, *(space.shape or ()))
    if actions.shape != shape:
        return f"shape {actions.shape}; it must be [task, replica, *action], here {shape}"
    if not isinstance(space, spaces.Box):
        if not np.issubdtype(actions.dtype, np.integer):
            return f"{actions.dtype}; actions of a discrete space must be integers"
        if (outside := ActionRange(space).first_outside(actions.reshape(-1, *shape[2:]))) is not None:
            return f"action {outside}; they must lie in {space}"
    elif not np.issubdtype(actions.dtype, np.floating) or not np.isfinite(actions).all():
        return f"{actions.dtype}, or numbers that are not finite; actions of a box must be finite floats"
    return ""


def check_seeds(subject: Subject) -> Iterator[str]:
    """The agent and the seed determine a trial, whatever was played before or drawn elsewhere."""
    agent = subject.make()
    first = subject.trial(agent)
    # Draws from the global generators must change nothing.
    random.random()
    np.random.random()  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].rand(1)
    if not np.array_equal(first.returns, subject.trial(agent).returns):
        yield "the same seed gives another trial; draw from `streams`, and keep what adapts in the learner"
    if not np.array_equal(first.returns, subject.trial(subject.make()).returns):
        yield "a new agent from the same seed plays differently; draw initial parameters from `seed` alone"


def check_evaluation(subject: Subject) -> Iterator[str]:
    """A trial leaves the agent bitwise unchanged."""
    agent = subject.make()
    if isinstance(agent, TrainableAgent):
        before = state_arrays(agent)
        subject.trial(agent)
        if name := first_change(before, state_arrays(agent)):
            yield f"a trial changed {name!r} of its state_dict; keep what adapts in the learner"


def check_batch(subject: Subject) -> Iterator[str]:
    """A task gives the same alone as in a batch, up to rounding."""
    tasks, agent = subject.tasks(), subject.make()
    for training in (False, True) if isinstance(agent, TrainableAgent) else (False,):
        batch = subject.trial(agent, tasks, training=training)
        for task in range(NUM_TASKS):
            alone = subject.trial(agent, tasks[task : task + 1], training=training)
            for number, (ours, theirs) in enumerate(zip(batch.rounds, alone.rounds, strict=True), start=1):
                if not _same_actions(subject, select_tasks(ours, slice(task, task + 1)), theirs):
                    yield (
                        f"task {task} of a batch of {NUM_TASKS} plays round {number} {'of training ' * training}"
                        "differently alone; change no memory and draw nothing where `timestep.active` is false, and "
                        "leave out steps where `episodes.mask` is false"
                    )
                    return


def _same_actions(subject: Subject, ours: Episodes, theirs: Episodes) -> bool:
    end = len(theirs.mask)
    if not np.array_equal(ours.mask[:end], theirs.mask) or ours.mask[end:].any():
        return False
    return subject.same(ours.actions[:end][theirs.mask], theirs.actions[theirs.mask])


def check_learners(subject: Subject) -> Iterator[str]:
    """Learners of one agent do not affect each other: training plays several at the same time."""
    agent, half = subject.make(), NUM_TASKS // 2
    parts = subject.tasks()[:half], subject.tasks()[half:]
    with contextlib.ExitStack() as stack:
        made = (subject.family.make_vec(part, REPLICAS, threads=0) for part in parts)
        batches = [stack.enter_context(contextlib.closing(envs)) for envs in made]
        # Both begin before either plays. Then they play a round each, in turn.
        learners = [rounds_of(agent, envs, seed=0) for envs in batches]
        together = list(itertools.islice(zip(*learners, strict=True), ROUNDS))
    for part, ours in zip(parts, zip(*together, strict=True), strict=True):
        alone = subject.trial(agent, part).rounds
        if not all(map(functools.partial(_same_actions, subject), ours, alone)):
            yield "a learner plays differently while another one plays; keep what adapts in the learner"
            return


def check_waiting(subject: Subject) -> Iterator[str]:
    """Observations of a world that waits for its neighbours change nothing."""
    tasks, agent = subject.tasks(), subject.make()
    plain, disturbed = subject.trial(agent, tasks), subject.trial(_Disturbed(agent), tasks)
    for ours, theirs in zip(plain.rounds, disturbed.rounds, strict=True):
        if not _same_actions(subject, ours, theirs):
            yield (
                "observations of worlds that wait change actions of worlds that play; read only where "
                "`timestep.active` is true"
            )
            return
    if isinstance(agent, TrainableAgent):
        other = subject.make()
        agent.update(plain, generator(0))
        other.update(replace(plain, rounds=tuple(map(_disturb, plain.rounds))), generator(0))
        changed = state_arrays(other)
        for name, value in state_arrays(agent).items():
            if not np.allclose(value, changed[name], rtol=1e-6, atol=1e-6):
                yield f"numbers where `episodes.mask` is false change {name!r} in an update; leave them out"
                return


def _disturb(episodes: Episodes) -> Episodes:
    """Return the episodes with other observations and actions where no step was taken."""
    taken = episodes.mask.reshape(*episodes.mask.shape, *(1,) * (episodes.observations.ndim - 3))
    observations = np.where(taken, episodes.observations, 7.0).astype(episodes.observations.dtype)
    taken = episodes.mask.reshape(*episodes.mask.shape, *(1,) * (episodes.actions.ndim - 3))
    return replace(episodes, observations=observations, actions=np.where(taken, episodes.actions, episodes.actions[0]))


class _Disturbed(Oracle):
    """An agent whose learners see other observations in worlds that wait."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def begin_knowing(self, tasks: Tasks, streams: Streams) -> _DisturbedLearner:
        return _DisturbedLearner(begin_learner(self.agent, tasks, streams))


class _DisturbedLearner(Learner):
    def __init__(self, learner: Learner) -> None:
        self.learner = learner

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        seen = timestep.observations
        active = timestep.active.reshape(*timestep.active.shape, *(1,) * (seen.ndim - 2))
        seen = np.where(active, seen, 7.0).astype(seen.dtype)
        return self.learner.act(replace(timestep, observations=seen), deterministic=deterministic)

    def adapt(self, episodes: Episodes) -> None:
        self.learner.adapt(_disturb(episodes))


def check_update(subject: Subject) -> Iterator[str]:
    """An update changes the agent and logs finite numbers."""
    if not issubclass(subject.cls, TrainableAgent):
        return
    lesson = subject.lesson
    for name, value in lesson.logged.items():
        if not isinstance(value, float) or not np.isfinite(value):
            yield f"update logs {name!r} = {value!r}; it must be a finite float"
    if not first_change(lesson.before, lesson.after):
        yield "an update changed nothing in state_dict; return everything that training changes"
    if any(as_array(value).tobytes() != lesson.before[name].tobytes() for name, value in lesson.handed_out.items()):
        yield "an update changed a state_dict that was returned before; return copies"
    if not all(np.isfinite(value).all() for value in lesson.after.values()):
        yield "the state after an update is not finite; look at the loss on short episodes"


def check_state(subject: Subject) -> Iterator[str]:
    """An agent restored from a state goes on bit for bit like the agent that the state is from."""
    if not issubclass(subject.cls, TrainableAgent):
        return
    agent, other = subject.lesson.agent, subject.make(seed=1)
    state = agent.state_dict()
    require_tensors(state)
    other.load_state_dict(state)
    if name := first_change(state_arrays(agent), state_arrays(other)):
        yield f"load_state_dict(state_dict()) gives another {name!r}; restore everything"
        return
    for seed in (1, 2):
        for one in (agent, other):
            one.update(subject.trial(one, seed=seed, training=True), generator(seed))
        if name := first_change(state_arrays(agent), state_arrays(other)):
            yield f"after restoring, update {seed} gives another {name!r}; put all that training changes in state_dict"
            return
    try:
        other.load_state_dict({})
    except MetarlError:
        return
    except Exception as error:
        yield f"load_state_dict of an empty state raises {type(error).__name__}; raise MetarlError with one line"
    else:
        yield "load_state_dict accepts an empty state; raise MetarlError where names or shapes differ"


AGENT_CHECKS: tuple[Callable[[Subject], Iterator[str]], ...] = (
    check_seeds,
    check_evaluation,
    check_batch,
    check_learners,
    check_threads,
    check_waiting,
    check_update,
    check_state,
)
"""Every check of an agent, but for `check_actions`, which comes first."""

SPACE_CHECKS: tuple[Callable[[Subject], Iterator[str]], ...] = (check_update,)
"""The same on further kinds of spaces, where only what depends on the space is new."""
