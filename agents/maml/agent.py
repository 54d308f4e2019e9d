"""MAML: a starting point, meta-learned through the inner steps that begin there (Finn, Abbeel and Levine, ICML 2017).

An update: rounds.py turns a trial's episodes into rounds; objective.py computes one task's loss after adaptation;
over_tasks.py maps it over all tasks; a meta-step (ppo.py, trpo.py, reptile.py) moves the starting point.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection
from typing import ClassVar

import numpy as np
import torch

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.base.threads import acting, cpu_by_default
from metarl.families.family import TaskFamily
from metarl.trials.agent import Learner, TrainableAgent
from metarl.trials.episodes import Episodes, TimeStep, Trial
from metarl.trials.export import ExportedStep

from ..common.encoders import ObservationEncoder
from ..common.exported import action_outputs
from ..common.heads import action_head
from ..common.moments import RunningMoments
from ..common.policy import LOG_STD
from ..common.state import StateDict, load_tensors, require_fitting, restore_on_error
from .adaptation import AdaptCode, AdaptNothing, Latent, context_size, make_adaptation
from .baseline_inputs import BaselineInputs
from .baselines import Baseline, LinearBaseline, LinearBaselineConfig, NetworkBaseline
from .codes import CodedObjective, OutcomeReader, StepEncoder
from .config import MAMLConfig
from .exported import exported_step
from .memory import update_bytes
from .meta_step import MetaStep, mean_values, require_finite
from .objective import MetaObjective
from .over_tasks import OverTasks
from .policy import EncodedPolicy
from .ppo import PPOConfig, PPOStep
from .records import CODE_MEASURES, Outcome, Round
from .reptile import ReptileConfig, ReptileStep
from .rounds import Rounds
from .step_size import LEARNED_RATE, make_step_size
from .trpo import TRPOStep


class MAML(TrainableAgent):
    """Adapts by policy-gradient steps from a starting point that was meta-learned through those steps."""

    Config: ClassVar[type[MAMLConfig]] = MAMLConfig
    memory_setting: ClassVar[str] = "task_chunk_size"
    sums_over_ranks = True

    @cpu_by_default()
    def __init__(self, config: MAMLConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        self.config, self.device = config, device
        generator = torch.Generator().manual_seed(seed)
        head, self.horizon = action_head(family.action_space), family.horizon
        encoder = ObservationEncoder(config.encoder, family.observation_space)
        policy = EncodedPolicy(encoder, head, config.hidden_sizes, context_size(config.adapts))
        initial = policy.initial_parameters(
            generator, initial_std=config.initial_std, dtype=getattr(torch, config.dtype), device=device
        )
        adaptation = make_adaptation(config.adapts, policy.last_layers, tuple(initial))
        step_size = make_step_size(config.outer.inner_lr_kind, config.inner_lr)
        meta = adaptation.meta_parameters(initial, generator)
        meta |= step_size.meta_parameters(adaptation.start(meta))
        code = StepEncoder(config.adapts, policy) if isinstance(config.adapts, AdaptCode) else None
        if code is not None:
            like = next(iter(initial.values()))
            meta |= {name: value.to(like) for name, value in code.initial_parameters(generator).items()}
        self.parameters = {name: value.clone().requires_grad_(True) for name, value in meta.items()}
        self.meta_step = self._make_meta_step()
        self.frozen: frozenset[str] = frozenset()
        """Meta-parameters that updates leave as they are."""
        base = MetaObjective(
            config,
            policy,
            adaptation if code is None else Latent(code.config.size),
            step_size,
            self.meta_step.objective,
        )
        self.objective: MetaObjective | CodedObjective = base if code is None else CodedObjective(base, code)
        self.over_tasks: OverTasks[Round, Outcome] = OverTasks(self.objective, self.parameters, config.task_chunk_size)
        self.moments = RunningMoments(encoder.num_scaled) if config.normalize_observations else None
        self.outcomes = None if code is None else OutcomeReader(encoder, code.config.size)
        self.baseline = self._make_baseline(BaselineInputs(encoder), generator)
        self.rounds = Rounds(config, self.over_tasks, head, encoder, self.baseline, self.moments, device, self.outcomes)

    def _make_meta_step(self) -> MetaStep:
        outer = self.config.outer
        if isinstance(outer, PPOConfig):
            return PPOStep(self.parameters, outer)
        if isinstance(outer, ReptileConfig):
            return ReptileStep(self.parameters, outer, self.config.inner_lr)
        return TRPOStep(outer)

    def _make_baseline(self, inputs: BaselineInputs, generator: torch.Generator) -> Baseline:
        config = self.config.baseline
        if isinstance(config, LinearBaselineConfig):
            return LinearBaseline(inputs)
        dtype = getattr(torch, self.config.dtype)
        return NetworkBaseline(config, inputs, generator=generator, dtype=dtype, device=self.device)

    @property
    def min_rounds(self) -> int:
        """Rounds that a trial to learn from needs: one to measure, and one to adapt to if anything adapts."""
        return 1 if isinstance(self.config.adapts, AdaptNothing) else 2

    @cpu_by_default()
    def begin(self, streams: Streams) -> MAMLLearner:
        """Return a learner at the meta-learned starting point in every task."""
        return MAMLLearner(self, streams)

    def memory_estimate(self, num_tasks: int, replicas: int, rounds: int) -> int:
        """Return about how many bytes of the machine's memory an update takes: see `update_bytes`."""
        return update_bytes(
            self.config,
            self.objective.policy,
            sum(value.numel() for value in self.parameters.values()),
            tasks=num_tasks,
            at_once=self.over_tasks.at_once(num_tasks),
            steps=replicas * self.horizon,
            rounds=rounds,
            device=self.device,
        )

    @cpu_by_default()
    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one meta-update from a trial and return what to log.

        Raises MetarlError for fewer rounds than `min_rounds`, and if a term is not finite. The agent is then unchanged.
        """
        if len(trial.rounds) < self.min_rounds:
            raise MetarlError(
                f"rounds is {len(trial.rounds)}; it must be at least {self.min_rounds}: one to adapt to, one to measure"
            )
        with restore_on_error(self.state_dict, self.load_state_dict):
            return self._update(trial, rng)

    def _update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        rounds, metrics = self.rounds.replay(trial)
        rounds = self.rounds.draw(rounds, rng)
        metrics |= self.meta_step(self.over_tasks, rounds)
        self._raise_std_to_floor()
        metrics |= self._measure(rounds)
        metrics |= self._rates()
        metrics |= self.baseline.learn([(episodes, self.rounds.returns(episodes)) for episodes in trial.rounds], rng)
        if self.moments is not None:
            for episodes in trial.rounds:
                self.moments.add(self.rounds.encoder.scaled(episodes.observations[episodes.mask]))
        if self.outcomes is not None:
            for episodes in trial.rounds:
                self.outcomes.rewards.add(episodes.rewards[episodes.mask][:, None])
        return metrics

    def _raise_std_to_floor(self) -> None:
        """Raise the standard deviations that tasks begin with to `min_std`."""
        adaptation = self.objective.adaptation
        with torch.no_grad():
            start = adaptation.policy(self.parameters, adaptation.start(self.parameters))
            if LOG_STD in start and LOG_STD not in self.frozen:
                self.parameters[LOG_STD] += (math.log(self.config.min_std) - start[LOG_STD]).clamp(min=0)

    def _measure(self, rounds: tuple[Round, ...]) -> dict[str, float]:
        """Return the measures after the meta-step. Raises MetarlError if one is not finite."""
        after = self.over_tasks.outcomes(self.parameters, rounds)
        require_finite(after, {}, "after the update", self.meta_step.length_setting)
        names = ("kl", "inner_kl", "entropy", "inner_gradient_norm")
        of_code = dict(zip(CODE_MEASURES, after.of_code.unbind(1), strict=False))  # none without a code
        return mean_values(**{name: getattr(after, name) for name in names}, **of_code)

    def _rates(self) -> dict[str, float]:
        """Return the least, the mean and the greatest of the learned step sizes; nothing if they are fixed."""
        rates = [value.detach().flatten() for name, value in self.parameters.items() if name.startswith(LEARNED_RATE)]
        if not rates:
            return {}
        every = torch.cat(rates)
        return {f"inner_lr_{name}": float(getattr(every, name)()) for name in ("min", "mean", "max")}

    def _parts(self) -> dict[str, MetaStep | Baseline]:
        return {"meta_step": self.meta_step, "baseline": self.baseline}

    def _tensors(self) -> StateDict:
        moments = {} if self.moments is None else self.moments.tensors
        rewards = {} if self.outcomes is None else self.outcomes.rewards.tensors
        return {
            **self.parameters,
            **{f"moments.{name}": value for name, value in moments.items()},
            **{f"rewards.{name}": value for name, value in rewards.items()},
        }

    def freeze(self, names: Collection[str]) -> None:
        """Keep these parameters as they are in updates. Raises MetarlError for other names."""
        self.meta_step.freeze(names)
        self.frozen = frozenset(names)

    @cpu_by_default()
    def state_dict(self) -> StateDict:
        """Return the meta-parameters, the moments of observations, and the states of meta-step and baseline."""
        state = {name: value.detach().clone() for name, value in self._tensors().items()}
        for part, holder in self._parts().items():
            state |= {f"{part}.{name}": value for name, value in holder.state_dict().items()}
        return state

    @cpu_by_default()
    def load_state_dict(self, state: StateDict) -> None:
        """Restore the result of `state_dict`. Raises MetarlError where names or shapes differ."""
        require_fitting(self.state_dict(), state)
        load_tensors(self._tensors(), state)
        for part, holder in self._parts().items():
            prefix = f"{part}."
            holder.load_state_dict(
                {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            )


class MAMLLearner(Learner):
    """One set of fast parameters for each task, moved by one policy-gradient step after each round."""

    def __init__(self, agent: MAML, streams: Streams) -> None:
        self.agent, self.streams = agent, streams
        self.fast = agent.over_tasks.start(streams.shape[0])

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return the actions of each task's own policy, [task, replica, *action]."""
        agent, head = self.agent, self.agent.objective.head
        with acting():
            outputs = agent.over_tasks.outputs(self.fast, *agent.rounds.observe(timestep.observations))
            self.outputs = outputs.cpu().numpy()
            if deterministic:
                return head.mode(outputs)
            return head.sample(outputs, self.streams.where(timestep.active))

    @cpu_by_default()
    def adapt(self, episodes: Episodes) -> None:
        """Take one inner step in every task."""
        if self.fast:
            data, _ = self.agent.rounds.make(episodes, self.fast)
            self.fast = self.agent.over_tasks.adapt(self.fast, data)
            if self.agent.device == "cuda":
                torch.cuda.synchronize()  # otherwise the time of the adaptation counts as that of the next action

    def exported_step(self) -> ExportedStep:
        """Return the policy with its present parameters: the meta-learned ones before an adaptation."""
        agent, adaptation = self.agent, self.agent.objective.adaptation
        fast = {name: value[0] for name, value in self.fast.items()}
        meta = {name: value.detach() for name, value in agent.parameters.items()}
        policy = agent.objective.policy
        outputs = functools.partial(action_outputs, policy.head)
        return exported_step(policy, outputs, adaptation.policy(meta, fast), agent.moments)
