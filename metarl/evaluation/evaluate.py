"""Evaluation: how an agent does in tasks it has not met, round after round."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, replace
from typing import NamedTuple, Unpack

import numpy as np

from ..base.errors import MetarlError, did_you_mean
from ..base.meter import Report, ignore, part_of
from ..base.progress import warn
from ..base.ranks import alone, objects_of_all, ranks
from ..families.family import TaskFamily
from ..families.questions import asks_questions
from ..families.task import Tasks
from ..trials.agent import Agent, Oracle, require_agent
from ..trials.episodes import Episodes
from ..trials.memory import ROUNDS_KEPT, require_plan_memory, trial_bytes
from ..trials.plan import PlanFields, TrialPlan
from ..trials.registered import agent_name
from ..trials.rollout import rounds_of
from .answers import join_instances, rewards_by_instance, shows_instances
from .calibration import answers_classes, bin_answers, pool_bins
from .document import LARGEST, MOST_SCORES, MOST_TASKS
from .outcomes import Parts, measure_outcomes, stack_rounds, tell_outcomes
from .record import AgentRecord, Evaluation

ASKED_BYTES = 2**26
"""Most bytes of questions and answers that an evaluation has side by side, unless a single task has more."""


def evaluate(
    agent: Agent,
    family: TaskFamily,
    plan: TrialPlan | None = None,
    *,
    record: AgentRecord | None = None,
    threads: int | None = None,
    task_chunk_size: int | None = None,
    report: Report = ignore,
    **changes: Unpack[PlanFields],
) -> Evaluation:
    """Return how `agent` adapts to tasks of `family`. The agent is not changed.

    Keyword arguments are fields of `TrialPlan`, so that `evaluate(agent, family, num_tasks=100, seed=1)` needs no plan;
    with a plan, they change it. `evaluation.plan` repeats an evaluation.

    Args:
        agent: The agent; each task starts from a new learner of it.
        family: The family that the tasks are from.
        plan: Tasks, rounds, replicas and seed; by default `TrialPlan()`.
        record: What the result says of the agent; by default its registered name, or that of its class.
        threads: Native simulation threads, by default one a core. The numbers do not depend on it.
        task_chunk_size: Tasks played side by side. Fewer take less memory. By default all; where a family asks
            questions, no more than fit into `ASKED_BYTES`, as papers take 10,000 tasks.
        report: Is told the steps played and the most there can be.
        **changes: Fields of the plan, such as `split`, `num_tasks`, `rounds`, `replicas` and `seed`.

    Raises:
        MetarlError: for a count below one, a split that the family does not have, and deterministic rounds of an agent
            that learns between rounds from its exploration noise.
        TypeError: for a keyword argument that is not a field of `TrialPlan`.
    """
    require_agent(agent)
    plan = _change_plan(plan, changes)
    record = replace(record or AgentRecord(agent_name(agent)), oracle=isinstance(agent, Oracle))
    require_noise(agent, record.name, plan)
    size = _chunk_size(family, plan, task_chunk_size)
    tasks = plan.tasks(family)
    return _evaluation_of(family, record, plan, tasks, _play_all(agent, family, tasks, plan, size, threads, report))


def _chunk_size(family: TaskFamily, plan: TrialPlan, asked: int | None) -> int:
    """Return the number of tasks side by side. Raises MetarlError for less than one, and for more than memory holds."""
    if asked is not None and asked < 1:
        raise MetarlError(f"task_chunk_size is {asked}; it must be at least 1")
    size = min(asked or _tasks_at_once(family, plan), plan.num_tasks)
    require_plan_memory(family, plan, size)
    return size


def _tasks_at_once(family: TaskFamily, plan: TrialPlan) -> int:
    """Return the tasks that are played side by side unless a number is asked for. It follows from family and plan."""
    if not asks_questions(family):
        return plan.num_tasks
    rounds = min(plan.rounds_played, ROUNDS_KEPT)
    return max(1, ASKED_BYTES // trial_bytes(family, tasks=1, replicas=plan.replicas, rounds=rounds))


def _change_plan(plan: TrialPlan | None, changes: PlanFields) -> TrialPlan:
    """Return the plan with changed fields. Raises TypeError, as Python does, for a keyword that is not a field.

    Raises MetarlError for a plan of too many tasks and rounds.
    """
    if not (plan is None or isinstance(plan, TrialPlan)):
        raise MetarlError(f"plan is {plan!r}; it must be a metarl.TrialPlan")
    known = [field.name for field in fields(TrialPlan)]
    for name in changes:
        if name not in known:
            raise TypeError(f"evaluate() got an unexpected keyword argument {name!r}; {did_you_mean(name, known)}")
    changed = replace(plan or TrialPlan(), **changes)
    _require_size(changed)
    return changed


def _evaluation_of(
    family: TaskFamily, record: AgentRecord, plan: TrialPlan, tasks: Tasks, scores: _Scores
) -> Evaluation:
    """Return the scores as an evaluation; warn of episodes in which the physics broke down."""
    if scores.num_unstable and ranks().leads:
        warn_of_unstable(scores.num_unstable, plan)
    return Evaluation(
        family=family.name,
        settings=family.settings,
        agent=record,
        plan=plan,
        tasks=tasks,
        returns=_in_range(scores.returns),
        # A Gymnasium class may report success only in steps that have it; one that never did does not define it.
        successes=None if np.isnan(scores.successes).all() else np.nan_to_num(scores.successes),
        env_steps_per_task=scores.env_steps,
        unseen=family.is_unseen(plan.split),
        measure=family.measure,
        rewards=None if scores.rewards is None else _in_range(scores.rewards),
        by_instance=scores.by_instance,
        calibration=None if scores.bins is None else pool_bins(scores.bins),
        outcomes=tell_outcomes(family, scores.outcomes),
    )


def _in_range(values: np.ndarray) -> np.ndarray:
    """Return values with NaN for those that are not finite, or so large that their sums would not be."""
    return np.where(np.abs(values) <= LARGEST, values, np.nan)


def _require_size(plan: TrialPlan) -> None:
    """Raise MetarlError for a plan of so many tasks or rounds that its result could not be pooled, or read again."""
    if plan.num_tasks > MOST_TASKS:
        raise MetarlError(f"num_tasks is {plan.num_tasks}; an evaluation has at most {MOST_TASKS} tasks: take fewer")
    if plan.num_tasks * plan.rounds > MOST_SCORES:
        raise MetarlError(
            f"num_tasks is {plan.num_tasks} and rounds is {plan.rounds}, which makes {plan.num_tasks * plan.rounds} "
            f"returns; an evaluation has at most {MOST_SCORES}: take fewer tasks, or measure fewer rounds (budget)"
        )


def require_noise(agent: Agent, name: str, plan: TrialPlan) -> None:
    """Raise MetarlError for a deterministic plan of an agent that learns from its exploration noise between rounds."""
    if plan.deterministic and plan.rounds > 1 and agent.pools_replicas:
        raise MetarlError(
            f"deterministic is True, but {name} learns between rounds from the exploration noise of all replicas "
            "(`pools_replicas`); take one round, or an agent that adapts by its memory, such as rl2"
        )


def warn_of_unstable(num_unstable: int, plan: TrialPlan) -> None:
    """Warn of episodes that ended because the simulation became unstable."""
    episodes = plan.num_tasks * plan.replicas * plan.rounds_played
    warn(f"the physics broke down in {num_unstable} of {episodes} episodes, which ended there; look at the policy")


class _Scores(NamedTuple):
    """What an evaluation keeps of trials."""

    returns: np.ndarray
    """Return, or what else the family measures, mean over replicas. [task, round]"""
    successes: np.ndarray
    """Share of replicas with a success, NaN where unknown. [task, round]"""
    env_steps: np.ndarray
    """Environment steps spent by the end of the round. [task, round]"""
    rewards: np.ndarray | None
    """Reward of each step if the family switches tasks within a trial, else None. [task, step]"""
    by_instance: np.ndarray | None
    """Mean reward at each instance of a class in the first round; None where no class is shown. [task, instance]"""
    bins: np.ndarray | None
    """Answers of the last round by how sure the learner was; None where it does not say. [task, bin, 3]"""
    outcomes: Sequence[Parts]
    """Outcomes of each chunk of tasks."""
    num_unstable: int
    """Episodes in which the physics broke down."""


def _play_all(
    agent: Agent, family: TaskFamily, tasks: Tasks, plan: TrialPlan, size: int, threads: int | None, report: Report
) -> _Scores:
    """Return the scores of all tasks, `size` of which are played at a time.

    Processes that train together each play a share of the tasks, where there is one for each.
    """
    shared = len(tasks) >= ranks().size
    tasks = tasks[np.array(ranks().share(len(tasks)))] if shared else tasks
    chunks = [tasks[start : start + size] for start in range(0, len(tasks), size)]
    parts = [part_of(report, number, len(chunks)) for number in range(len(chunks))]
    played = zip(chunks, parts, strict=True)
    scores = _concatenate([_play(agent, family, chunk, plan, threads, part) for chunk, part in played])
    return _concatenate(objects_of_all(scores)) if shared else scores


def _play(
    agent: Agent, family: TaskFamily, tasks: Tasks, plan: TrialPlan, threads: int | None, report: Report
) -> _Scores:
    """Return the scores of a trial in `tasks`."""
    pooled = agent.pools_replicas
    horizon = family.horizon if "switch_at" in family.settings else None
    with alone(), contextlib.closing(family.make_vec(tasks, plan.replicas, threads=threads)) as envs:
        counter = _Counter(plan.rounds_played, family.horizon, report)
        rounds = counter.count(
            rounds_of(agent, envs, seed=plan.trial_seed, deterministic=plan.deterministic, on_step=counter.count_step)
        )
        played = itertools.islice(rounds, plan.rounds_played)
        return _score(played, plan.budget, family, tasks, pooled=pooled, horizon=horizon)


class _Counter:
    """Reports the steps of a trial. A round whose episodes all end early counts as whole when it is over."""

    def __init__(self, rounds: int, horizon: int, report: Report) -> None:
        self.rounds, self.horizon, self.report = rounds, horizon, report
        self.steps = self.over = 0

    def count_step(self) -> None:
        self.steps += 1
        self.report(self.over * self.horizon + self.steps, self.rounds * self.horizon)

    def count(self, rounds: Iterable[Episodes]) -> Iterator[Episodes]:
        for episodes in rounds:
            self.over, self.steps = self.over + 1, 0
            yield episodes


def _score(
    rounds: Iterable[Episodes], budget: int, family: TaskFamily, tasks: Tasks, *, pooled: bool, horizon: int | None
) -> _Scores:
    """Return the scores of a trial, measuring the first of every `budget` rounds. Episodes are not kept.

    Environment steps are summed over replicas if `pooled`, else their mean. With a `horizon` the reward of each step is
    kept.
    """
    returns, successes, lengths, rewards, outcomes, num_unstable = [], [], [], [], [], 0
    by_instance: np.ndarray | None = None
    bins: np.ndarray | None = None
    for number, episodes in enumerate(rounds):
        # Replicas that adapt apart from each other are trials of their own, and cost their own steps.
        lengths.append(episodes.lengths.sum(axis=1) if pooled else episodes.lengths.mean(axis=1))
        num_unstable += episodes.num_unstable
        if horizon is not None:
            rewards.append((episodes.rewards, episodes.mask))
        if number == 0 and shows_instances(family):
            by_instance = rewards_by_instance(episodes)
        if number % budget == 0:
            returns.append(episodes.scores(family.measure))
            outcomes.append(measure_outcomes(family, tasks, number, episodes))
            bins = bin_answers(episodes) if answers_classes(family) else None
            unknown = np.full(len(episodes.returns), np.nan)
            successes.append(unknown if episodes.successes is None else episodes.successes.mean(axis=1))
    # The steps of an unmeasured round count with the measured round before it: all are spent before the next.
    ends = np.minimum(np.arange(1, len(returns) + 1) * budget, len(lengths)) - 1
    return _Scores(
        returns=np.stack(returns).mean(axis=2).T,
        successes=np.stack(successes, axis=1),
        env_steps=np.cumsum(lengths, axis=0)[ends].T,
        rewards=None if horizon is None else _rewards(rewards, horizon),
        by_instance=by_instance,
        bins=bins,
        outcomes=[stack_rounds(family, outcomes)],
        num_unstable=num_unstable,
    )


def _concatenate(chunks: Sequence[_Scores]) -> _Scores:
    """Return the scores of all tasks."""

    def all_of(parts: Iterable[np.ndarray]) -> np.ndarray:
        # One memory layout, whatever the chunks: it decides the order in which NumPy adds up a mean.
        return np.ascontiguousarray(np.concatenate(list(parts)))

    rewards = [chunk.rewards for chunk in chunks if chunk.rewards is not None]
    bins = [chunk.bins for chunk in chunks if chunk.bins is not None]
    instances = [chunk.by_instance for chunk in chunks if chunk.by_instance is not None]
    return _Scores(
        returns=all_of(chunk.returns for chunk in chunks),
        successes=all_of(chunk.successes for chunk in chunks),
        env_steps=all_of(chunk.env_steps for chunk in chunks),
        rewards=all_of(rewards) if rewards else None,
        by_instance=join_instances(instances) if instances else None,
        bins=all_of(bins) if bins else None,
        outcomes=[parts for chunk in chunks for parts in chunk.outcomes],
        num_unstable=sum(chunk.num_unstable for chunk in chunks),
    )


def _rewards(rounds: Sequence[tuple[np.ndarray, np.ndarray]], horizon: int) -> np.ndarray:
    """Return the reward of each step of a trial, mean over the replicas that took the step. [task, step]

    `rounds` has the rewards and the mask of each round, [time, task, replica]. Each world counts its own steps, as the
    switches of its task do: if episodes end early, worlds reach a step at different times.
    """
    num_tasks, replicas = rounds[0][1].shape[1:]
    rewards = np.full((num_tasks, replicas, horizon * len(rounds)), np.nan)
    steps = np.arange(rewards.shape[2])
    taken = np.zeros((num_tasks, replicas, 1), dtype=np.int64)
    for earned, mask in rounds:
        lengths = mask.sum(axis=0)[..., None]
        rewards[(steps >= taken) & (steps < taken + lengths)] = np.moveaxis(earned, 0, 2)[np.moveaxis(mask, 0, 2)]
        taken = taken + lengths
    took = ~np.isnan(rewards)
    total, count = np.where(took, rewards, 0.0).sum(axis=1), took.sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
