"""References for random tabular MDPs: the algorithms that the RL^2 paper compares with, a stronger one, and the optimum itself.

The paper's learn a model from counts and plan anew at the start of each episode, by backward induction over the steps left.
Duan et al., RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, 2016, table 2.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar, Generic, TypeVar

import numpy as np
from gymnasium import spaces
from pydantic import Field

from metarl.base.errors import MetarlError
from metarl.base.settings import Count, Positive, Settings
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.families.task import Tasks
from metarl.trials.episodes import Episodes, TimeStep
from metarl.trials.registered import register_agent

from .common import Arrivals, best_actions, require_family


class Counts:
    """What a learner saw of each world, as arrays that grow with it."""

    def __init__(self, shape: tuple[int, ...], num_states: int, num_actions: int) -> None:
        self.visits = np.zeros((*shape, num_states, num_actions))
        """Rewards seen of each state and action. [task, replica, state, action]"""
        self.reward_sums = np.zeros_like(self.visits)
        """Their sum. [task, replica, state, action]"""
        self.transitions = np.zeros((*self.visits.shape, num_states))
        """Times that each state followed; nothing tells what follows an episode's last step. [.., action, next state]"""
        self.episodes = np.zeros(shape)
        """Episodes begun. [task, replica]"""


Plan = Callable[[Counts, Streams], np.ndarray]
"""Gives the action values of an episode to come, [step, task, replica, state, action], from what was seen."""


class PlanningLearner:
    """Plans an episode at its start, or anew `each_step`, and counts what comes of it."""

    def __init__(self, plan: Plan, family: TaskFamily, streams: Streams, *, each_step: bool = False) -> None:
        self.plan, self.streams, self.each_step = plan, streams, each_step
        self.arrivals = Arrivals(streams.shape)
        assert isinstance(family.action_space, spaces.Discrete)
        self.counts = Counts(streams.shape, family.observation_space.shape[0], int(family.action_space.n))
        self.states = np.zeros(streams.shape, dtype=np.int64)
        """State before the last step. [task, replica]"""
        self.steps = np.zeros(streams.shape, dtype=np.int64)
        """Steps taken in the episode. [task, replica]"""
        self.action_values: np.ndarray | None = None
        """The episode's plan. [step, task, replica, state, action]"""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the actions planned, int64 [task, replica]; of equally good ones at random, or the first."""
        states, (arrived, starting) = timestep.observations.argmax(axis=-1), self.arrivals(timestep)
        self._count(timestep, states, arrived, starting)
        self.steps[starting] = 0
        if (planning := timestep.active if self.each_step else starting).any():
            self._plan(planning)
        task, replica = np.indices(states.shape)
        assert self.action_values is not None
        scores = self.action_values[self.steps, task, replica, states]
        self.states = np.where(timestep.active, states, self.states)
        self.steps += timestep.active
        return best_actions(scores, None if deterministic else self.streams.where(timestep.active))

    def _count(self, timestep: TimeStep, states: np.ndarray, arrived: np.ndarray, starting: np.ndarray) -> None:
        task, replica = np.nonzero(arrived)
        here = task, replica, self.states[arrived], timestep.previous_actions[arrived]
        self.counts.visits[here] += 1
        self.counts.reward_sums[here] += timestep.previous_rewards[arrived]
        # At the start of an episode the observation is a new beginning, not what the step led to.
        self.counts.transitions[(*here, states[arrived])] += ~starting[arrived]
        self.counts.episodes += starting

    def _plan(self, where: np.ndarray) -> None:
        planned = self.plan(self.counts, self.streams.where(where))
        if self.action_values is not None and not where.all():
            planned = np.where(where[..., None, None], planned, self.action_values)
        self.action_values = planned

    def adapt(self, episodes: Episodes) -> None:
        """Learn nothing more: the first step of the next round tells how the last one of this ended."""


def backward_induction(
    rewards: np.ndarray, expectation: Callable[[np.ndarray], np.ndarray], horizon: int
) -> np.ndarray:
    """Return the action values of every step of an episode, [step, *world, state, action], for mean `rewards`.

    `rewards` is [*world, state, action]; `expectation` turns the next step's state values, [*world, state], into what each
    state and action lead to, [*world, state, action].
    """
    action_values = np.empty((horizon, *rewards.shape))
    state_values = np.zeros(rewards.shape[:-1])
    for step in range(horizon - 1, -1, -1):
        action_values[step] = rewards + expectation(state_values)
        state_values = action_values[step].max(axis=-1)
    return action_values


def optimal_action_values(rewards: np.ndarray, transitions: np.ndarray, horizon: int) -> np.ndarray:
    """Return the optimal action values of known MDPs, [step, *world, state, action].

    `rewards` are means, [*world, state, action]; `transitions` chances, [*world, state, action, next state].
    """
    return backward_induction(rewards, lambda values: np.einsum("...saz,...z->...sa", transitions, values), horizon)


def optimistic_action_values(
    rewards: np.ndarray, transitions: np.ndarray, radius: np.ndarray, horizon: int
) -> np.ndarray:
    """Return action values that are optimal in the best of all MDPs near the one given, as `optimal_action_values` does.

    Each row of transitions may be off by `radius` in L1 distance, [*world, state, action]. Extended value iteration
    (Jaksch, Ortner and Auer, 2010, figure 2): half the radius moves from the worst next states to the best one.
    """

    def expectation(values: np.ndarray) -> np.ndarray:
        worst_first = values.argsort(axis=-1)
        ordered = np.take_along_axis(values, worst_first, axis=-1)
        chances = np.take_along_axis(transitions, worst_first[..., None, None, :], axis=-1)
        # Chance of a state no better than each but the best, of which the move takes as much as there is.
        below = np.maximum(chances[..., :-1].cumsum(axis=-1) - radius[..., None] / 2, 0.0)
        loss = np.einsum("...saz,...z->...sa", below, np.diff(ordered, axis=-1))
        return ordered[..., -1, None, None] - loss

    return backward_induction(rewards, expectation, horizon)


def mean_rewards(counts: Counts, prior_mean: float, prior_weight: float) -> np.ndarray:
    """Return the posterior mean of each mean reward, as `counts.visits`; the prior weighs as much as so many visits."""
    return (prior_weight * prior_mean + counts.reward_sums) / (prior_weight + counts.visits)


def mean_transitions(counts: Counts, prior_weight: float) -> np.ndarray:
    """Return the posterior's mean chances, as `counts.transitions`, from prior Dirichlet(prior_weight) of each row."""
    parameters = prior_weight + counts.transitions
    return parameters / parameters.sum(axis=-1, keepdims=True)


def sample_dirichlet(parameters: np.ndarray, streams: Streams) -> np.ndarray:
    """Return a draw from each Dirichlet distribution along the last axis of `parameters`, whole numbers from 1.

    `parameters` is [*streams.shape, ...]. Standard gamma numbers by inversion, divided by their sum.
    """
    from scipy.special import gammaincinv  # imported late: it takes longer than everything else in this file

    chances = streams.uniform(parameters.shape[len(streams.shape) :])
    # Most of a row's parameters are 1 for long: then the inverse is a logarithm, and ten times as fast.
    gammas = -np.log1p(-chances)
    counted = parameters > 1
    gammas[counted] = gammaincinv(parameters[counted], chances[counted])
    return gammas / gammas.sum(axis=-1, keepdims=True)


C = TypeVar("C", bound=Settings)


class MDPReference(ABC, Generic[C]):
    """An agent that plans each episode from what it has counted."""

    plays: ClassVar[tuple[str, ...]] = ("tabular-mdp",)
    pools_replicas: ClassVar[bool] = False

    def __init__(self, config: C, family: TaskFamily, *, seed: int, device: str) -> None:
        require_family(type(self), family)
        self.config, self.family = config, family

    def begin(self, streams: Streams) -> PlanningLearner:
        """Return a learner that has seen nothing."""
        return PlanningLearner(self.plan, self.family, streams)

    @abstractmethod
    def plan(self, counts: Counts, streams: Streams) -> np.ndarray:
        """Return the action values of an episode to come, [step, task, replica, state, action]."""


class PSRLConfig(Settings):
    """Settings of PSRL."""

    prior_mean: float = 0.0
    """Mean of the normal prior of each mean reward; 0 in the paper's code, though rewards are drawn around 1."""


@register_agent("psrl")
class PSRL(MDPReference[PSRLConfig]):
    """Plays each episode as is optimal in an MDP drawn from the posterior.

    Strens, A Bayesian Framework for Reinforcement Learning, 2000; Osband, Russo and Van Roy, (More) Efficient
    Reinforcement Learning via Posterior Sampling, 2013. Prior Dirichlet(1) of each row of transitions, and normal of
    variance 1 of each mean reward; the noise of rewards is known.
    """

    Config: ClassVar[type[Settings]] = PSRLConfig

    def plan(self, counts: Counts, streams: Streams) -> np.ndarray:
        """Return action values of one MDP drawn for each world."""
        noise = streams.normal(counts.visits.shape[2:]) / np.sqrt(1 + counts.visits)
        rewards = mean_rewards(counts, self.config.prior_mean, 1.0) + noise
        return optimal_action_values(rewards, sample_dirichlet(1 + counts.transitions, streams), self.family.horizon)


class MDPGreedyConfig(Settings):
    """Settings of the greedy agent."""

    prior_mean: float = 0.0
    """Mean reward taken for a state and action not seen; 0 in the paper's code, though rewards are drawn around 1."""
    prior_weight: Positive = 1e-4
    """Visits that the prior counts for; 1, with a mean of 1, is the family's distribution, and does far better."""


@register_agent("mdp-greedy")
class MDPGreedy(MDPReference[MDPGreedyConfig]):
    """Plays each episode as is optimal in the mean MDP of what was seen: never explores for exploration's sake."""

    Config: ClassVar[type[Settings]] = MDPGreedyConfig

    def plan(self, counts: Counts, streams: Streams) -> np.ndarray:
        """Return action values of the mean MDP."""
        rewards = mean_rewards(counts, self.config.prior_mean, self.config.prior_weight)
        return optimal_action_values(rewards, mean_transitions(counts, self.config.prior_weight), self.family.horizon)


class UCRL2Config(Settings):
    """Settings of UCRL2."""

    confidence_scale: Positive = 0.09
    """What the radii of the confidence sets are multiplied by; at 1, which is proven, exploring does not end in time."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Chance that the confidence sets miss the true MDP."""
    prior_mean: float = 0.0
    """Mean reward taken for a state and action not seen; 0 in the paper's code, though rewards are drawn around 1."""


@register_agent("ucrl2")
class UCRL2(MDPReference[UCRL2Config]):
    """Plays each episode as is optimal in the best of all MDPs that are plausible after what was seen.

    Jaksch, Ortner and Auer, Near-optimal Regret Bounds for Reinforcement Learning, 2010, planned anew each episode for the
    steps that it has. Radii as in github.com/iosband/TabulaRL, which the RL^2 paper's code builds on: of mean rewards
    `sqrt(4 log(2 S A t / delta) / n)`, of transitions `sqrt(4 S log(2 S A t / delta) / n)`, each times `confidence_scale`;
    t is the number of the episode, n that of visits. The RL^2 paper reports the best of 21 scales from 1e-4 to 1.
    """

    Config: ClassVar[type[Settings]] = UCRL2Config
    prior_weight: ClassVar[float] = 1e-4
    """Visits that the prior counts for: next to nothing."""

    def plan(self, counts: Counts, streams: Streams) -> np.ndarray:
        """Return optimistic action values."""
        rewards = mean_rewards(counts, self.config.prior_mean, self.prior_weight)
        radius = self.config.confidence_scale * confidence_radii(counts.visits, counts.episodes, self.config.delta)
        # What followed the last step of an episode was not seen.
        followed = counts.transitions.sum(axis=-1)
        shift = self.config.confidence_scale * confidence_radii(followed, counts.episodes, self.config.delta)
        shift *= math.sqrt(counts.transitions.shape[-1])
        transitions = mean_transitions(counts, self.prior_weight)
        return optimistic_action_values(rewards + radius, transitions, shift, self.family.horizon)


def confidence_radii(visits: np.ndarray, episodes: np.ndarray, delta: float) -> np.ndarray:
    """Return `sqrt(4 log(2 S A t / delta) / n)` for n `visits` [*world, state, action], at least 1, and t `episodes` [*world]."""
    states, actions = visits.shape[-2:]
    logarithm = np.log(2 * states * actions * episodes / delta)
    return np.sqrt(4 * logarithm[..., None, None] / np.maximum(visits, 1))


class KnowledgeGradientConfig(Settings):
    """Settings of the knowledge gradient."""

    rounds: Count = 10
    """Episodes of a trial, in which what is learned can pay."""


@register_agent("knowledge-gradient")
class KnowledgeGradient(MDPReference[KnowledgeGradientConfig]):
    """Plays each state as a bandit of its own, by the online knowledge gradient: what a pull pays and what it teaches.

    Ryzhov, Powell and Frazier, The Knowledge Gradient Algorithm for a General Class of Online Learning Problems, 2012: the
    posterior mean, and for each pull to come what one more observation adds to the highest mean. The pulls to come are the
    steps left, shared evenly by the states. The prior is the family's. Transitions are left aside: rows are drawn so even
    that who knows an MDP and takes the highest mean reward everywhere earns 99 % of the optimum.
    """

    Config: ClassVar[type[Settings]] = KnowledgeGradientConfig
    rounds_setting: ClassVar[str] = "rounds"

    def begin(self, streams: Streams) -> PlanningLearner:
        """Return a learner that has seen nothing, and weighs its actions anew at each step."""
        return PlanningLearner(self.plan, self.family, streams, each_step=True)

    def plan(self, counts: Counts, streams: Streams) -> np.ndarray:
        """Return indices in the place of action values, alike for each step of the episode."""
        means = mean_rewards(counts, 1.0, 1.0)
        left = self.config.rounds * self.family.horizon - counts.visits.sum(axis=(-2, -1)) - 1
        visits_left = np.maximum(left, 0.0)[..., None, None] / means.shape[-2]
        index = means + visits_left * knowledge_gradients(means, 1 / (1 + counts.visits))
        return np.broadcast_to(index, (self.family.horizon, *index.shape))


def knowledge_gradients(means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Return what one more observation of each action adds to the highest posterior mean, in expectation, [..., action].

    `means` and `variances` are those of normal posteriors, [..., action]; the noise of an observation has variance 1.
    """
    from scipy.special import ndtr  # imported late: it takes longer than everything else in this file

    ordered = np.sort(means, axis=-1)
    highest_other = np.where(means == ordered[..., -1:], ordered[..., -2:-1], ordered[..., -1:])
    # Standard deviation of the posterior mean after the observation.
    deviation = variances / np.sqrt(variances + 1)
    z = -np.abs(means - highest_other) / deviation
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return deviation * (density + z * ndtr(z))


class ValueIterationConfig(Settings):
    """Value iteration has no settings."""


@register_agent("value-iteration")
class ValueIteration:
    """Is shown each MDP and plays it optimally: what no learner can surpass."""

    Config: ClassVar[type[Settings]] = ValueIterationConfig
    plays: ClassVar[tuple[str, ...]] = ("tabular-mdp",)
    pools_replicas: ClassVar[bool] = False

    def __init__(self, config: ValueIterationConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        require_family(type(self), family)
        self.family = family

    def begin(self, streams: Streams) -> PlanningLearner:
        """Raise MetarlError: there is nothing to plan in before the MDPs are shown."""
        raise MetarlError("value-iteration is an oracle, which cannot begin in unknown tasks; show it by begin_knowing")

    def begin_knowing(self, tasks: Tasks, streams: Streams) -> PlanningLearner:
        """Return a learner that plans in the MDPs `tasks` themselves."""
        transitions = tasks.values["transitions"] / tasks.values["transitions"].sum(axis=-1, keepdims=True)
        best = optimal_action_values(tasks.values["rewards"], transitions, self.family.horizon)
        known = np.repeat(best[:, :, None], streams.shape[1], axis=2)
        return PlanningLearner(lambda counts, streams: known, self.family, streams)
