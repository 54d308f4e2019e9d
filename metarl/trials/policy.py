"""An agent in a loop of the user's own: actions for observations, one environment or several."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike

from ..base.errors import MetarlError
from ..base.streams import generator
from ..base.versions import versions
from ..families.family import TaskFamily
from ..families.layout import Layout
from ..families.spaces import action_at, shape_of
from .agent import Agent, Oracle, require_agent
from .asked import answer_all, learn_all
from .export import require_exportable, write_step
from .lone import Interface, LoneTrial, clip_action
from .registered import agent_name
from .shown import shown_targets


class Policy:
    """An agent that plays environments which the caller steps, and adapts to the task of each.

    A trial is what happens in one task: the agent adapts from episode to episode, and `reset` makes it forget the task.
    An episode ends with `end_episode`. Agents that adapt by gradient steps do so at the end of every
    `episodes_per_round` episodes of an environment; agents with a memory carry it on from episode to episode.

    >>> import metarl
    >>> family = metarl.load("point-dense", horizon=5)
    >>> policy = metarl.Policy(metarl.make_agent("random", family), family)
    >>> policy.act([0.0, 0.0]).shape
    (2,)
    >>> policy.end_episode([0.1, 0.0], -1.0, terminated=False, truncated=True)
    >>> policy.rounds
    1
    """

    def __init__(
        self,
        agent: Agent,
        family: TaskFamily,
        *,
        num_envs: int | None = None,
        episodes_per_round: int = 1,
        deterministic: bool = False,
        seed: int = 0,
    ) -> None:
        """Make a policy at the start of a trial.

        Args:
            agent: The agent; it is not changed.
            family: The family that tells observations, actions and the longest episode.
            num_envs: Number of environments, each with a task of its own; then every array has an axis of them in
                front. None for a single environment, without that axis.
            episodes_per_round: Episodes in a task between two adaptations.
            deterministic: Take the agent's mode at every step instead of a sample.
            seed: Seed of the agent's samples.

        Raises:
            MetarlError: for an oracle, which must be shown its tasks, and for a count below one.
        """
        require_agent(agent)
        if isinstance(agent, Oracle):
            raise MetarlError(
                f"{type(agent).__name__} is an oracle, which must be shown its tasks; take an agent that is not"
            )
        for name, value in (("num_envs", num_envs), ("episodes_per_round", episodes_per_round)):
            if value is not None and value < 1:
                raise MetarlError(f"{name} is {value}; it must be at least 1")
        self.agent, self.family = agent, family
        self._interface = Interface.of(family)
        self.num_envs, self.episodes_per_round = num_envs, episodes_per_round
        self.deterministic, self.seed = deterministic, seed
        self._begun = np.zeros(num_envs or 1, dtype=np.int64)
        self._trials: list[LoneTrial] = []
        self._after_end = np.zeros(num_envs or 1, dtype=bool)
        """Environments whose episode ended in `act`, so that the next observation is a first one."""
        self.reset()

    @property
    def layout(self) -> Layout:
        """How observations lie in one array."""
        return self._interface.layout

    @property
    def rounds(self) -> int | np.ndarray:
        """Rounds finished in the present trial; int64 [env] with `num_envs`."""
        counts = np.array([trial.rounds for trial in self._trials])
        return int(counts[0]) if self.num_envs is None else counts

    def reset(self, *, seed: int | None = None, mask: ArrayLike | None = None) -> None:
        """Begin a new trial: the agent forgets the task.

        Without `seed`, every trial has random numbers of its own, which follow from the policy's seed. With `seed`, the
        numbers are those of `run_trial` with it. `mask` marks the environments that change their task, bool [env].
        """
        chosen = np.ones(len(self._begun), dtype=bool) if mask is None else self._flags("mask", mask)
        trials: list[Any] = self._trials or [None] * len(chosen)
        for index in np.flatnonzero(chosen):
            begun = int(self._begun[index])
            own = int(generator(self.seed, "policy", begun).integers(2**63)) if seed is None else seed
            trials[index] = LoneTrial(self.agent, self._interface, self.episodes_per_round, seed=own, index=int(index))
        self._trials = trials
        self._begun += chosen
        self._after_end &= ~chosen

    def freeze(self) -> None:
        """Stop adapting between rounds until the next `reset`. A memory goes on: it is part of how its agent acts."""
        for trial in self._trials:
            trial.frozen = True

    def act(
        self,
        observation: Any,
        reward: ArrayLike = 0.0,
        terminated: ArrayLike = False,
        truncated: ArrayLike = False,
        target: Any = None,
    ) -> Any:
        """Return the action for an observation. The other arguments are what the step before gave, as `step` returns.

        A family that reveals right answers needs `target`, that of the step before, as `info["target"]` holds it; one
        that reveals them round by round needs none after `freeze`.
        Leave them out at the first step of an episode. With `num_envs`, all five are arrays [env, ...], as a vector
        environment of Gymnasium gives them. Where an episode has ended, its observation is the last one, the action is
        not used, and the next observation is the first of a new episode: this is Gymnasium's `NEXT_STEP`, the default
        of `make_vec`. In other modes call `end_episode`, and pass no ends here.

        Raises MetarlError for an observation that does not fit the family, for the end of an episode in a single
        environment, for an episode longer than the family's horizon, and for a target that is missing or in vain.
        """
        observations, rewards, terminations, truncations = self._outcome(observation, reward, terminated, truncated)
        ended = terminations | truncations
        if self.num_envs is None and ended[0]:
            raise MetarlError(
                "the episode is over; call end_episode with these arguments, reset the environment, and act on its "
                "first observation"
            )
        self._require_first_steps(rewards, ended)
        self._require_noise()
        targets = self._targets(target, np.ones_like(ended), begins=self._trials[0].at_start)
        self._end(ended, observations, rewards, terminations, truncations, targets)
        space = self._interface.action_space
        actions = np.broadcast_to(action_at(space, 0.0), (len(self._trials), *shape_of(space))).copy()
        for index in map(int, np.flatnonzero(~ended)):
            seen = observations[index], float(rewards[index]), targets[index]
            actions[index] = self._trials[index].act(*seen, deterministic=self.deterministic)
        self._after_end = ended
        actions = clip_action(actions, space)
        if self.num_envs is not None:
            return actions
        return int(actions[0]) if isinstance(space, spaces.Discrete) else actions[0]

    def end_episode(
        self,
        observation: Any,
        reward: ArrayLike = 0.0,
        terminated: ArrayLike = False,
        truncated: ArrayLike = False,
        target: Any = None,
    ) -> None:
        """Tell how an episode ended: what its last step gave. After the last episode of a round, the agent adapts.

        With `num_envs`, the arguments are arrays [env, ...], and only environments with an end are looked at. `target`
        is as in `act`.

        Raises MetarlError where no episode ends, where one ends before its first step, and for a target that is missing
        or in vain.
        """
        given = self._outcome(observation, reward, terminated, truncated)
        ended = given[2] | given[3]
        if not ended.any():
            raise MetarlError("terminated and truncated are both False; end_episode needs the one that is True")
        self._require_noise()
        self._end(ended, *given, self._targets(target, ended, begins=False))

    def learn(self, observations: Any, targets: Any) -> None:
        """Show the agent answered questions: an episode of them, however many, such as what a new user rated so far.

        For families that ask questions, and a single environment. It is the same as acting on each question, with the
        reward of the agent's own answer and the right one as `target`, and ending the episode: after it, the agent
        adapts. To learn from more answers at once, `reset` and show all.

        Args:
            observations: The questions, [question, *observation].
            targets: Their right answers, [question, *target].

        Raises:
            MetarlError: for another family, several environments, in mid-episode, and for arrays that do not fit.
        """
        learn_all(self.family, self._single("learn"), observations, targets, deterministic=self.deterministic)

    def answer(self, observations: Any) -> np.ndarray:
        """Return answers to many questions at once, [question, *action], as the agent has adapted so far.

        For families that ask questions, and a single environment. Nothing is learned, and no step is taken.
        `observations` is [question, *observation].

        Raises MetarlError for another family, several environments, an agent whose memory changes with every question,
        and for an array that does not fit.
        """
        return answer_all(self.family, self._single("answer"), observations, deterministic=self.deterministic)

    def _single(self, method: str) -> LoneTrial:
        """Return the trial of the only environment. Raises MetarlError where there are several."""
        if self.num_envs is not None:
            raise MetarlError(f"{method} is for a single environment; leave num_envs out, or call act and end_episode")
        return self._trials[0]

    def export(self, path: str | Path, *, env: int | None = None) -> None:
        """Write the policy's step to a file that runs without this package.

        The step takes raw observations in a batch and returns the deterministic action and the numbers that define the
        distribution of samples. An agent that adapts by gradient steps is written as it is now, adapted to the task or
        not; one with a memory takes its memory as an input, zeros at the start of a trial, and returns the next one.
        Metadata in the file, named metarl.json, describes its inputs.

        Args:
            path: A file that ends in .onnx, or in .pt2 for `torch.export.load`.
            env: Environment whose policy is written, where `num_envs` is above one.

        Raises:
            MetarlError: for another ending, a package that is not installed, and an agent that cannot be exported.
        """
        require_exportable(path)
        if env is None and len(self._trials) > 1:
            raise MetarlError(
                f"the policy plays {len(self._trials)} environments, each with a task of its own; say which policy to "
                "export, such as env=0"
            )
        if env is not None and not 0 <= env < len(self._trials):
            raise MetarlError(f"env is {env}; it must be from 0 to {len(self._trials) - 1}")
        trial, agent = self._trials[env or 0], agent_name(self.agent)
        if (step := trial.learner.exported_step()) is None:
            raise MetarlError(
                f"agent {agent!r} cannot be exported: its policy is no module of torch; agents that adapt by gradient "
                "steps (maml-ppo), agents of right answers (maml, prototypes), rl2 with memory gru, lstm or none, and "
                "varibad with gru or lstm can"
            )
        family = self.family
        about = {
            "family": family.name,
            "agent": agent,
            "observation_space": str(family.observation_space),
            "action_space": str(family.action_space),
            "horizon": family.horizon,
            "rounds": trial.rounds,
            "versions": versions(),
        }
        write_step(step, path, about)

    def _end(
        self,
        ended: np.ndarray,
        observations: np.ndarray,
        rewards: np.ndarray,
        terminations: np.ndarray,
        truncations: np.ndarray,
        targets: Sequence[np.ndarray | None],
    ) -> None:
        for index in np.flatnonzero(ended):
            self._trials[index].end_episode(
                observations[index],
                float(rewards[index]),
                targets[int(index)],
                terminated=bool(terminations[index]),
                truncated=bool(truncations[index]),
            )

    def _targets(self, target: Any, where: np.ndarray, *, begins: bool) -> list[np.ndarray | None]:
        """Return the target of the step before of each environment; only those of `where` may need one."""
        needed = where & np.array([trial.needs_target for trial in self._trials])
        return shown_targets(self._interface, target, needed, single=self.num_envs is None, begins=begins)

    def _outcome(
        self, observation: Any, reward: ArrayLike, terminated: ArrayLike, truncated: ArrayLike
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the arguments of a step as arrays [env, ...]. Raises MetarlError where one does not fit."""
        layout, num = self.layout, len(self._begun)
        lead = () if self.num_envs is None else (num,)
        observations = layout.flatten(observation, lead) if layout.composed else np.asarray(observation)
        if observations.shape != (shape := (*lead, *layout.shape)):
            raise MetarlError(
                f"the observation has shape {observations.shape}; it must be {shape}, as family {self.family.name!r} "
                "gives it" + ("" if self.num_envs is None else f" in {num} environments")
            )
        if np.issubdtype(observations.dtype, np.floating) and not np.isfinite(observations).all():
            raise MetarlError("the observation is not finite; end the episode before the simulation breaks down")
        rewards = np.asarray(reward, dtype=np.float64)
        if not np.isfinite(rewards).all():
            raise MetarlError(f"the reward is {rewards.tolist()}; it must be finite")
        flags = self._flags("terminated", terminated), self._flags("truncated", truncated)
        observations = observations.reshape(num, *layout.shape).astype(layout.dtype)
        return observations, self._fit("reward", rewards), *flags

    def _flags(self, name: str, value: ArrayLike) -> np.ndarray:
        return self._fit(name, np.asarray(value, dtype=bool))

    def _fit(self, name: str, array: np.ndarray) -> np.ndarray:
        """Return an array [env]; one number serves all environments."""
        num = len(self._begun)
        if array.ndim > 0 and array.shape != (num,):
            raise MetarlError(f"{name} has shape {array.shape}; it must be {'()' if num == 1 else (num,)}")
        return np.broadcast_to(array, (num,))

    def _require_first_steps(self, rewards: np.ndarray, ended: np.ndarray) -> None:
        """Raise MetarlError where the step after an end is not a first one: the environment resets in another mode."""
        wrong = self._after_end & (ended | (rewards != 0))
        if wrong.any():
            index = int(np.flatnonzero(wrong)[0])
            raise MetarlError(
                f"environment {index} ended its episode in the step before, and now has reward {rewards[index]:g}; the "
                "first step of an episode has none: make the environments with Gymnasium's NEXT_STEP, or call "
                "end_episode"
            )

    def _require_noise(self) -> None:
        if self.deterministic and self.agent.pools_replicas and not all(trial.frozen for trial in self._trials):
            raise MetarlError(
                f"deterministic is True, but {type(self.agent).__name__} learns between rounds from its exploration "
                "noise; set policy.deterministic to False until it has adapted, and call policy.freeze() before True"
            )
