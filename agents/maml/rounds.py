"""From episodes to rounds: observations, advantages and the acting policy's log-probabilities, as tensors by task."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from metarl.base.errors import MetarlError, reword
from metarl.trials.episodes import Episodes, Trial

from ..common.advantage import discounted_returns, explained_variance, generalized_advantages, normalize_advantages
from ..common.encoders import ObservationEncoder, Observed
from ..common.heads import ActionHead
from ..common.moments import RunningMoments
from ..common.over_ranks import mean_of_all, normal_by_task
from ..common.policy import Parameters
from .baselines import Baseline
from .codes import OutcomeReader
from .config import MAMLConfig
from .over_tasks import OverTasks
from .records import Outcome, Round


class Rounds:
    """Makes the rounds of an update, or of an adaptation, from episodes."""

    def __init__(
        self,
        config: MAMLConfig,
        over_tasks: OverTasks[Round, Outcome],
        head: ActionHead,
        encoder: ObservationEncoder,
        baseline: Baseline,
        moments: RunningMoments | None,
        device: str,
        outcomes: OutcomeReader | None = None,
    ) -> None:
        self.config, self.over_tasks, self.head, self.encoder = config, over_tasks, head, encoder
        self.baseline, self.moments, self.outcomes = baseline, moments, outcomes
        self.dtype, self.device = getattr(torch, config.dtype), device

    def observe(self, observations: np.ndarray) -> Observed:
        """Return observations [..., *observation] as the policy's input: numbers and raw parts, as tensors."""
        seen = self.encoder.observe(observations, self.moments)
        return Observed(self._tensor(seen.numbers), torch.as_tensor(seen.raw, device=self.device))

    def returns(self, episodes: Episodes) -> np.ndarray:
        """Return discounted returns to the end of the episode, [time, task, replica]: the baseline's targets."""
        zeros = np.zeros(episodes.mask.shape[1:])
        return discounted_returns(episodes.rewards, episodes.mask, self.config.discount, zeros)

    def advantages(self, episodes: Episodes) -> tuple[np.ndarray, float]:
        """Return advantages [time, task, replica], normalized by task, and the baseline's explained variance."""
        config, mask, returns = self.config, episodes.mask, self.returns(episodes)
        values = self.baseline.values(episodes, returns)
        # After a termination nothing follows; after the time limit, the baseline's value stands for the rest.
        bootstrap = np.where(episodes.terminations.any(axis=0), 0.0, values.final)
        raw = generalized_advantages(
            episodes.rewards, values.steps, mask, bootstrap, discount=config.discount, gae_lambda=config.gae_lambda
        )
        return normalize_advantages(raw, mask, axis=(0, 2)), explained_variance(values.steps, returns, mask)

    def make(self, episodes: Episodes, fast: Parameters) -> tuple[Round, float]:
        """Return the round of episodes that the fast parameters [task, ...] acted in, and the explained variance.

        Raises MetarlError if an advantage is not finite.
        """
        advantages, explained = self.advantages(episodes)
        if not np.isfinite(advantages).all():
            raise MetarlError(
                "the advantages are not finite; check the family's rewards and observations, or take a lower "
                "agent.inner_lr"
            )
        observations, raw = self.observe(_task_first(episodes.observations))
        kind = self.dtype if np.issubdtype(episodes.actions.dtype, np.floating) else None
        actions = torch.as_tensor(_task_first(episodes.actions), dtype=kind, device=self.device)
        outputs = self.over_tasks.outputs(fast, observations, raw)
        return Round(
            observations=observations,
            raw=raw,
            actions=actions,
            advantages=self._tensor(_task_first(advantages)),
            mask=self._tensor(_task_first(episodes.mask)),
            old_outputs=outputs,
            old_log_prob=self.head.log_prob(outputs, actions),
            outcomes=self._outcomes(episodes),
            noise=observations.new_zeros(len(observations), 0 if self.outcomes is None else self.outcomes.code_size),
        ), explained

    def _outcomes(self, episodes: Episodes) -> Tensor:
        """Return what an encoder of steps reads beside observations and actions; no numbers where there is none."""
        if self.outcomes is None:
            return self._tensor(np.zeros((*_task_first(episodes.mask).shape, 0)))
        seen = (
            self.encoder.observe(each, self.moments) for each in (episodes.observations, episodes.final_observations)
        )
        return self._tensor(_task_first(self.outcomes(episodes, *(each.numbers for each in seen))))

    def draw(self, rounds: tuple[Round, ...], rng: np.random.Generator) -> tuple[Round, ...]:
        """Return the rounds with the noise of an update's codes, which the first round holds."""
        first, *later = rounds
        if self.outcomes is None:
            return rounds
        return first._replace(noise=self._tensor(normal_by_task(first.noise.shape, rng))), *later

    def replay(self, trial: Trial) -> tuple[tuple[Round, ...], dict[str, float]]:
        """Return the rounds of a trial and what to log. It adapts again to recompute the acting policies' outputs."""
        fast = self.over_tasks.start(len(trial.tasks))
        rounds: list[Round] = []
        explained, kls = [], []
        for number, episodes in enumerate(trial.rounds, start=1):
            try:
                data, share = self.make(episodes, fast)
            except MetarlError as error:  # a lost rank stays one
                raise reword(error, f"round {number}: {error}") from None
            rounds.append(data)
            explained.append(share)
            if number < len(trial.rounds) and fast:
                fast = self.over_tasks.adapt(fast, data)
                kls.append(self._adaptation_kl(fast, data))
        metrics = {"explained_variance": float(np.mean(explained))}
        return tuple(rounds), metrics | ({"adaptation_kl": float(np.mean(kls))} if kls else {})

    def _adaptation_kl(self, fast: Parameters, data: Round) -> float:
        """Return how far an inner step moved the policies: KL(acting || adapted) on the round, in nats."""
        outputs = self.over_tasks.outputs(fast, data.observations, data.raw)
        kl = self.head.kl(data.old_outputs, outputs)
        return mean_of_all(torch.where(data.mask > 0, kl, 0.0).sum(), data.mask.sum())

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)


def _task_first(array: np.ndarray) -> np.ndarray:
    """Return [time, task, ...] as a contiguous [task, time, ...]."""
    return np.ascontiguousarray(np.moveaxis(array, 1, 0))
