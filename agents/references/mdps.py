"""References for random tabular MDPs: those of the RL^2 paper (PSRL, UCRL2, greedy), a stronger one, and the optimum.

The paper's references count what they see, and plan each episode at its start by backward induction over its steps.
Duan et al., RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, 2016, table 2.

The family draws mean rewards from N(1, 1). The paper's references assume a mean of 0, so they undervalue what they have
not tried. Each reference here plays under either assumption: `prior: true` (default) or `prior: paper`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar, Generic, Literal, NamedTuple, TypeVar

import numpy as np
from gymnasium import spaces
from pydantic import Field

from metarl.base.settings import Count, Positive, Settings
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.families.spaces import shape_of
from metarl.families.task import Tasks
from metarl.trials.agent import Agent, Learner, NoSettings, Oracle
from metarl.trials.episodes import TimeStep
from metarl.trials.registered import register_agent

from .common import Arrivals, best_actions, require_family


class Counts:
    """Counts of what a learner has seen in each world."""

    def __init__(self, shape: tuple[int, ...], num_states: int, num_actions: int) -> None:
        self.visits = np.zeros((*shape, num_states, num_actions))
        """Rewards seen after each action in each state. [task, replica, state, action]"""
        self.reward_sums = np.zeros_like(self.visits)
        """Sum of those rewards. [task, replica, state, action]"""
        self.transitions = np.zeros((*self.visits.shape, num_states))
        """Times that each next state followed; the last step of an episode has none. [.., action, next state]"""
        self.episodes = np.zeros(shape)
        """Episodes started. [task, replica]"""


Plan = Callable[[Counts, Streams], np.ndarray]
"""Returns the action values of the next episode, [step, task, replica, state, action], from the counts so far."""


class PlanningLearner(Learner):
    """Plans each episode at its start, or before every step with `each_step`, and counts what it sees."""

    def __init__(self, plan: Plan, family: TaskFamily, streams: Streams, *, each_step: bool = False) -> None:
        self.plan, self.streams, self.each_step = plan, streams, each_step
        self.arrivals = Arrivals(streams.shape)
        assert isinstance(family.action_space, spaces.Discrete)
        self.counts = Counts(streams.shape, shape_of(family.observation_space)[0], int(family.action_space.n))
        self.states = np.zeros(streams.shape, dtype=np.int64)
        """State before the last step. [task, replica]"""
        self.steps = np.zeros(streams.shape, dtype=np.int64)
        """Steps taken in the episode. [task, replica]"""
        self.action_values: np.ndarray | None = None
        """The episode's plan. [step, task, replica, state, action]"""

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the best planned actions, int64 [task, replica]; ties at random, or the first if deterministic."""
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
        # An episode's first observation is a fresh start, not the result of the step before.
        self.counts.transitions[(*here, states[arrived])] += ~starting[arrived]
        self.counts.episodes += starting

    def _plan(self, where: np.ndarray) -> None:
        planned = self.plan(self.counts, self.streams.where(where))
        if self.action_values is not None and not where.all():
            planned = np.where(where[..., None, None], planned, self.action_values)
        self.action_values = planned


def backward_induction(
    rewards: np.ndarray, expectation: Callable[[np.ndarray], np.ndarray], horizon: int
) -> np.ndarray:
    """Return the action values of every step of an episode, [step, *world, state, action], for mean `rewards`.

    `rewards` is [*world, state, action]. `expectation` takes the next step's state values, [*world, state], and returns
    the expected value after each state and action, [*world, state, action].
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
    """Return the optimal action values of the best MDP near the given one, [step, *world, state, action].

    Each row of transitions may differ by `radius` in L1 distance, [*world, state, action]. This is extended value
    iteration (Jaksch, Ortner and Auer, 2010, figure 2): half the radius moves from the worst next states to the best.
    """

    def expectation(values: np.ndarray) -> np.ndarray:
        worst_first = values.argsort(axis=-1)
        ordered = np.take_along_axis(values, worst_first, axis=-1)
        chances = np.take_along_axis(transitions, worst_first[..., None, None, :], axis=-1)
        # Cumulative chance of the worst states, each but the best; the move takes half the radius of it.
        below = np.maximum(chances[..., :-1].cumsum(axis=-1) - radius[..., None] / 2, 0.0)
        loss = np.einsum("...saz,...z->...sa", below, np.diff(ordered, axis=-1))
        return ordered[..., -1, None, None] - loss

    return backward_induction(rewards, expectation, horizon)


class Prior(NamedTuple):
    """What a reference assumes of an MDP before it has seen any of it."""

    mean: float
    """Mean of the normal prior of each mean reward."""
    weight: float
    """Visits that the prior counts for: variance 1 / weight for mean rewards, Dirichlet(weight) for transitions."""


TRUE_PRIOR = Prior(mean=1.0, weight=1.0)
"""The distribution that the family `tabular-mdp` draws its tasks from."""


class PriorConfig(Settings):
    """Settings of a reference that starts from a prior."""

    prior: Literal["true", "paper"] = "true"
    """'true' is the family's own distribution, with mean rewards from N(1, 1). 'paper' is the prior in the code of the
    RL^2 paper's references, whose mean reward is 0: it reproduces the paper's table."""


def mean_rewards(counts: Counts, prior: Prior) -> np.ndarray:
    """Return the posterior mean of each mean reward, [task, replica, state, action]."""
    return (prior.weight * prior.mean + counts.reward_sums) / (prior.weight + counts.visits)


def mean_transitions(counts: Counts, prior: Prior) -> np.ndarray:
    """Return the posterior mean of each transition's chance, [task, replica, state, action, next state]."""
    parameters = prior.weight + counts.transitions
    return parameters / parameters.sum(axis=-1, keepdims=True)


def sample_dirichlet(parameters: np.ndarray, streams: Streams) -> np.ndarray:
    """Return a draw from each Dirichlet distribution along the last axis of `parameters`, whole numbers of 1 or more.

    `parameters` is [*streams.shape, ...]. The draw is standard gamma numbers, by inversion, divided by their sum.
    """
    from scipy.special import gammaincinv  # imported late: it takes longer than everything else in this file

    chances = streams.uniform(parameters.shape[len(streams.shape) :])
    # Most parameters stay 1 for long. For these the inverse is a logarithm, ten times as fast.
    gammas = -np.log1p(-chances)
    visited = parameters > 1
    gammas[visited] = gammaincinv(parameters[visited], chances[visited])
    return gammas / gammas.sum(axis=-1, keepdims=True)


C = TypeVar("C", bound=PriorConfig)


class MDPReference(Agent, Generic[C]):
    """An agent that plans each episode from its counts and a prior."""

    plays: ClassVar[tuple[str, ...]] = ("tabular-mdp",)
    pools_replicas = False

    paper_prior: ClassVar[Prior]
    """What `prior: paper` means for this reference."""

    def __init__(self, config: C, family: TaskFamily, *, seed: int, device: str) -> None:
        family = require_family(type(self), family)
        self.config, self.family = config, family
        self.prior = TRUE_PRIOR if config.prior == "true" else self.paper_prior

    def begin(self, streams: Streams) -> PlanningLearner:
        """Return a learner that has seen nothing."""
        return PlanningLearner(self.plan, self.family, streams)

    @abstractmethod
    def plan(self, counts: Counts, streams: Streams) -> np.ndarray:
        """Return the action values of the next episode, [step, task, replica, state, action]."""


@register_agent("psrl")
class PSRL(MDPReference[PriorConfig]):
    """Plans each episode in an MDP drawn from the posterior (PSRL). Knows the true prior, or the paper's.

    Strens, A Bayesian Framework for Reinforcement Learning, 2000; Osband, Russo and Van Roy, (More) Efficient
    Reinforcement Learning via Posterior Sampling, 2013. Either prior is Dirichlet(1) for each row of transitions and
    normal of variance 1 for each mean reward; the noise of rewards, of variance 1, is known.
    """

    Config: ClassVar[type[Settings]] = PriorConfig
    paper_prior: ClassVar[Prior] = Prior(mean=0.0, weight=1.0)

    def plan(self, counts: Counts, streams: Streams) -> np.ndarray:
        """Return action values of one MDP drawn for each world."""
        noise = streams.normal(counts.visits.shape[2:]) / np.sqrt(1 + counts.visits)
        rewards = mean_rewards(counts, self.prior) + noise
        return optimal_action_values(rewards, sample_dirichlet(1 + counts.transitions, streams), self.family.horizon)


@register_agent("mdp-greedy")
class MDPGreedy(MDPReference[PriorConfig]):
    """Plans each episode in the mean MDP of the posterior, without exploration. Knows the true prior, or the paper's.

    The paper's prior (`prior: paper`) counts for next to nothing: an action is worth 0 until it is tried.
    """

    Config: ClassVar[type[Settings]] = PriorConfig
    paper_prior: ClassVar[Prior] = Prior(mean=0.0, weight=1e-4)

    def plan(self, counts: Counts, streams: Streams) -> np.ndarray:
        """Return action values of the mean MDP."""
        rewards, transitions = mean_rewards(counts, self.prior), mean_transitions(counts, self.prior)
        return optimal_action_values(rewards, transitions, self.family.horizon)


class UCRL2Config(PriorConfig):
    """Settings of UCRL2."""

    confidence_scale: Positive = 0.09
    """Factor on the radii of the confidence sets. The proof holds at 1, where exploration outlasts these trials."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Chance that the confidence sets miss the true MDP."""


@register_agent("ucrl2")
class UCRL2(MDPReference[UCRL2Config]):
    """Plans each episode in the best MDP that is still plausible (UCRL2). Knows the true prior, or the paper's.

    Jaksch, Ortner and Auer, Near-optimal Regret Bounds for Reinforcement Learning, 2010, planned for the steps of one
    episode. The radii are those of github.com/iosband/TabulaRL, which the RL^2 paper's code builds on:
    `sqrt(4 log(2 S A t / delta) / n)` for mean rewards, `sqrt(4 S log(2 S A t / delta) / n)` for transitions, each
    times `confidence_scale`; t is the number of the episode, n the number of visits. The RL^2 paper reports the best of
    21 scales from 1e-4 to 1; 0.09 reproduces it. The paper's prior (`prior: paper`) counts for next to nothing: an
    action's mean reward is 0 until it is tried.
    """

    Config: ClassVar[type[Settings]] = UCRL2Config
    paper_prior: ClassVar[Prior] = Prior(mean=0.0, weight=1e-4)

    def plan(self, counts: Counts, streams: Streams) -> np.ndarray:
        """Return optimistic action values."""
        rewards = mean_rewards(counts, self.prior)
        radius = self.config.confidence_scale * confidence_radii(counts.visits, counts.episodes, self.config.delta)
        # The state after an episode's last step is not seen, so transitions have fewer visits than rewards.
        followed = counts.transitions.sum(axis=-1)
        shift = self.config.confidence_scale * confidence_radii(followed, counts.episodes, self.config.delta)
        shift *= math.sqrt(counts.transitions.shape[-1])
        transitions = mean_transitions(counts, self.prior)
        return optimistic_action_values(rewards + radius, transitions, shift, self.family.horizon)


def confidence_radii(visits: np.ndarray, episodes: np.ndarray, delta: float) -> np.ndarray:
    """Return `sqrt(4 log(2 S A t / delta) / max(n, 1))`, [*world, state, action].

    n is `visits`, [*world, state, action]; t is `episodes`, [*world].
    """
    states, actions = visits.shape[-2:]
    logarithm = np.log(2 * states * actions * episodes / delta)
    return np.sqrt(4 * logarithm[..., None, None] / np.maximum(visits, 1))


class KnowledgeGradientConfig(PriorConfig):
    """Settings of the knowledge gradient."""

    rounds: Count = 10
    """Episodes of the trial, over which an observation can pay off."""


@register_agent("knowledge-gradient")
class KnowledgeGradient(MDPReference[KnowledgeGradientConfig]):
    """Plays each state as a bandit, by the online knowledge gradient. Knows the true prior, or one of mean reward 0.

    Ryzhov, Powell and Frazier, The Knowledge Gradient Algorithm for a General Class of Online Learning Problems, 2012.
    An action's index is its posterior mean, plus what one more observation adds to the highest mean for each visit to
    come. The visits to come are the steps left, shared evenly by the states. Transitions are left aside: rows are so
    even that taking the action of highest true mean reward in every state earns 99 % of the optimum. The RL^2 paper
    does not have this reference; `prior: paper` gives it the mean reward of 0 that the paper's references assume.
    """

    Config: ClassVar[type[Settings]] = KnowledgeGradientConfig
    rounds_setting: ClassVar[str] = "rounds"
    paper_prior: ClassVar[Prior] = Prior(mean=0.0, weight=1.0)

    def begin(self, streams: Streams) -> PlanningLearner:
        """Return a learner that has seen nothing and plans before every step."""
        return PlanningLearner(self.plan, self.family, streams, each_step=True)

    def plan(self, counts: Counts, streams: Streams) -> np.ndarray:
        """Return the actions' indices in place of action values, the same for every step of the episode."""
        means = mean_rewards(counts, self.prior)
        left = self.config.rounds * self.family.horizon - counts.visits.sum(axis=(-2, -1)) - 1
        visits_left = np.maximum(left, 0.0)[..., None, None] / means.shape[-2]
        index = means + visits_left * knowledge_gradients(means, 1 / (1 + counts.visits))
        return np.broadcast_to(index, (self.family.horizon, *index.shape))


def knowledge_gradients(means: np.ndarray, variances: np.ndarray) -> np.ndarray:
    """Return the expected rise of the highest posterior mean by one more observation of each action, [..., action].

    `means` and `variances` belong to normal posteriors, [..., action]; an observation's noise has variance 1.
    """
    from scipy.special import ndtr  # imported late: it takes longer than everything else in this file

    ordered = np.sort(means, axis=-1)
    highest_other = np.where(means == ordered[..., -1:], ordered[..., -2:-1], ordered[..., -1:])
    # Standard deviation of the posterior mean after the observation.
    deviation = variances / np.sqrt(variances + 1)
    z = -np.abs(means - highest_other) / deviation
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return deviation * (density + z * ndtr(z))


@register_agent("value-iteration")
class ValueIteration(Oracle):
    """Sees each MDP and plays it optimally: the upper bound for every learner."""

    plays: ClassVar[tuple[str, ...]] = ("tabular-mdp",)
    pools_replicas = False

    def __init__(self, config: NoSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        family = require_family(type(self), family)
        self.family = family

    def begin_knowing(self, tasks: Tasks, streams: Streams) -> PlanningLearner:
        """Return a learner that plans in the MDPs `tasks` themselves."""
        transitions = tasks.values["transitions"] / tasks.values["transitions"].sum(axis=-1, keepdims=True)
        best = optimal_action_values(tasks.values["rewards"], transitions, self.family.horizon)
        known = np.repeat(best[:, :, None], streams.shape[1], axis=2)
        return PlanningLearner(lambda counts, streams: known, self.family, streams)
