"""A learner in one task whose episodes come one after the other, from an environment that somebody else steps."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from gymnasium import spaces

from ..base.errors import MetarlError
from ..base.streams import Streams
from ..families.family import TaskFamily
from ..families.layout import Layout, layout_of
from ..families.spaces import ActionSpace, shape_of
from ..families.task import Reveal
from .agent import Agent, Learner
from .episodes import Episodes, TimeStep
from .shown import reveals_targets


@dataclass
class _Episode:
    """An episode while it is played."""

    observations: list[np.ndarray] = field(default_factory=list)
    actions: list[np.ndarray] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    targets: list[np.ndarray] = field(default_factory=list)
    """Right answers of the steps, where the family reveals them."""
    terminated: bool = False
    truncated: bool = False
    final_observation: np.ndarray | None = None

    def add(self, reward: float, target: np.ndarray | None) -> None:
        """Add what a step gave."""
        self.rewards.append(reward)
        if target is not None:
            self.targets.append(target)


@dataclass(frozen=True)
class Interface:
    """What a loop needs to know of a family, looked up once: a family may make its spaces anew at each look."""

    name: str
    """Name of the family."""
    horizon: int
    """Most steps of an episode."""
    reveal: Reveal
    """When targets are shown."""
    layout: Layout
    """How observations lie in an array."""
    action_space: ActionSpace
    """Space of one action."""
    target_space: ActionSpace | None
    """Space of one target; None where none is known."""

    @classmethod
    def of(cls, family: TaskFamily) -> Interface:
        """Return the interface of a family."""
        layout = layout_of(family.observation_space, family.name)
        return cls(family.name, family.horizon, family.reveal, layout, family.action_space, family.target_space)


class LoneTrial:
    """A trial in one task, step by step: what `run_trial` plays at once in batches, with the same numbers.

    The replicas of a round are played one after the other. The learner adapts when the last of them has ended.
    """

    def __init__(self, agent: Agent, family: Interface, replicas: int, *, seed: int, index: int) -> None:
        self.family, self.replicas = family, replicas
        self.learner: Learner = agent.begin(Streams.of(seed, "learner", np.array([[index]]), np.arange(replicas)))
        self.rounds = 0
        """Rounds that were finished."""
        self.frozen = False
        """Whether the learner adapts no more between rounds."""
        self._before: list[_Episode] = []
        self._round = [_Episode()]

    @property
    def at_start(self) -> bool:
        """Whether the next step is the first of an episode."""
        return not self._round[-1].actions

    @property
    def needs_target(self) -> bool:
        """Whether the right answer of the step before is needed; not where it would come after the last adaptation."""
        used = self.family.reveal == "step" or not self.frozen
        return used and not self.at_start and reveals_targets(self.family)

    def act(
        self,
        observation: np.ndarray,
        reward: float,
        target: np.ndarray | None = None,
        *,
        deterministic: bool,
        limited: bool = True,
    ) -> np.ndarray:
        """Return the action for an observation, not clipped.

        `reward` and `target` are those of the step before; they are ignored at the first step of an episode. Unless
        `limited`, an episode may be longer than the family's.
        """
        episode, horizon = self._round[-1], self.family.horizon
        if limited and len(episode.actions) == horizon:
            raise MetarlError(
                f"the episode has {horizon} steps already, the most that family {self.family.name!r} has; call "
                "end_episode with truncated=True, then begin the next episode"
            )
        if episode.actions:
            episode.add(reward, target)
        actions = self.learner.act(self._timestep(observation), deterministic=deterministic)
        action = actions[0, len(self._round) - 1].astype(self.family.action_space.dtype)
        episode.observations.append(observation)
        episode.actions.append(action)
        return action

    def add_steps(
        self, observations: np.ndarray, actions: np.ndarray, rewards: np.ndarray, targets: np.ndarray
    ) -> None:
        """Add steps [step, ...] that the learner took at once; `end_episode` gives the outcome of the last."""
        episode = self._round[-1]
        episode.observations.extend(observations)
        episode.actions.extend(actions.astype(self.family.action_space.dtype))
        episode.rewards.extend(rewards[:-1].tolist())
        episode.targets.extend(targets[:-1])

    def _timestep(self, observation: np.ndarray) -> TimeStep:
        """Return the time step of the replica that plays; the others wait."""
        replica = len(self._round) - 1
        episode = self._round[-1]
        if not episode.actions and self._before:
            episode = self._before[replica]
        observations = self.family.layout.zeros((1, self.replicas))
        observations[0, replica] = observation
        action = self.family.action_space
        previous = np.zeros((1, self.replicas, *shape_of(action)), dtype=action.dtype)
        rewards = np.zeros((1, self.replicas))
        targets = _no_targets(self.family, (1, self.replicas)) if self.family.reveal == "step" else None
        if episode.actions:
            previous[0, replica], rewards[0, replica] = episode.actions[-1], episode.rewards[-1]
            if targets is not None:
                targets[0, replica] = episode.targets[-1]
        active = np.arange(self.replicas)[None] == replica
        return TimeStep(
            observations=observations,
            previous_actions=previous,
            previous_rewards=rewards,
            previous_terminations=active & episode.terminated,
            previous_truncations=active & episode.truncated,
            active=active,
            previous_targets=targets,
        )

    def end_episode(
        self,
        observation: np.ndarray,
        reward: float,
        target: np.ndarray | None = None,
        *,
        terminated: bool,
        truncated: bool,
    ) -> None:
        """End the episode after its last step, which gave `reward` and led to `observation`."""
        episode = self._round[-1]
        if not episode.actions:
            raise MetarlError("the episode ends before its first step; act on its first observation before it ends")
        episode.add(reward, target)
        # A termination counts where both are given, as no reward can follow.
        episode.terminated, episode.truncated = terminated, truncated and not terminated
        episode.final_observation = observation
        if len(self._round) == self.replicas:
            if not self.frozen:
                self.learner.adapt(_join(self._round, self.family))
            self.rounds += 1
            self._before, self._round = self._round, []
        self._round.append(_Episode())


def _no_targets(family: Interface, lead: tuple[int, ...]) -> np.ndarray | None:
    """Return zeros in the place of targets that a family reveals, [*lead, *target]; None where it reveals none."""
    space = family.target_space if reveals_targets(family) else None
    return None if space is None else np.zeros((*lead, *shape_of(space)), dtype=space.dtype)


def _join(played: list[_Episode], family: Interface) -> Episodes:
    """Return the episodes of one task as a round, each a replica, padded to the longest."""
    time, replicas = max(len(each.actions) for each in played), len(played)
    action = family.action_space
    observations = family.layout.zeros((time, 1, replicas))
    actions = np.zeros((time, 1, replicas, *shape_of(action)), dtype=action.dtype)
    rewards = np.zeros((time, 1, replicas))
    targets = _no_targets(family, (time, 1, replicas))
    terminations, truncations, mask = (np.zeros((time, 1, replicas), dtype=bool) for _ in range(3))
    for replica, each in enumerate(played):
        steps = len(each.actions)
        observations[:steps, 0, replica], actions[:steps, 0, replica] = each.observations, each.actions
        rewards[:steps, 0, replica], mask[:steps, 0, replica] = each.rewards, True
        if targets is not None:
            targets[:steps, 0, replica] = each.targets
        terminations[steps - 1, 0, replica] = each.terminated
        truncations[steps - 1, 0, replica] = each.truncated
    finals = [each.final_observation for each in played]
    return Episodes(
        observations=observations,
        actions=actions,
        rewards=rewards,
        terminations=terminations,
        truncations=truncations,
        mask=mask,
        final_observations=np.stack([final for final in finals if final is not None])[None],
        successes=None,
        targets=targets,
    )


def clip_action(action: np.ndarray, space: spaces.Space[object]) -> np.ndarray:
    """Return an action as the environment takes it: within the bounds of a box."""
    return np.clip(action, space.low, space.high) if isinstance(space, spaces.Box) else action
