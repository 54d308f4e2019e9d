"""Gradient-based meta-learning: a starting point, learned through the adaptation steps that begin there.

Finn, Abbeel and Levine, "Model-Agnostic Meta-Learning", ICML 2017. What adapts, by which inner objective and step size,
against which baseline, and how the starting point moves are objects of their own; see the modules beside this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.streams import Streams
from metarl.base.threads import acting
from metarl.families.family import TaskFamily
from metarl.trials.agent import Learner, TrainableAgent
from metarl.trials.episodes import Episodes, TimeStep, Trial

from ..common.advantage import discounted_returns, explained_variance, generalized_advantages, normalize_advantages
from ..common.moments import RunningMoments
from ..common.policy import LOG_STD, MLPPolicy, Parameters, action_head
from ..common.ppo import masked_mean
from ..common.state import StateDict, load_tensors, require_same_shapes
from .adaptation import LEARNED_RATE, adaptation, norm_of, step_size
from .baselines import Baseline, LinearBaseline, NetworkBaseline, flat_observations
from .config import MAMLConfig
from .inner_objectives import INNER_OBJECTIVES
from .meta_steps import MetaStep, Outcome, PPOStep, ReptileStep, Round, TRPOStep, require_finite


class Played(NamedTuple):
    """What is known of a round of one task, at parameters that may have moved since they acted."""

    kl: Tensor
    """KL(acting || present) in nats, mean over steps."""
    entropy: Tensor
    """Of the policy in nats, mean over steps."""
    objective: Tensor
    """Loss of the round by the outer objective."""


class MAML(TrainableAgent):
    """Adapts by policy-gradient steps from a starting point that was meta-learned through those steps."""

    Config: ClassVar[type[MAMLConfig]] = MAMLConfig

    def __init__(self, config: MAMLConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        self.config, self.device = config, device
        self.dtype = getattr(torch, config.dtype)
        self.head = action_head(family.action_space, config.distribution)
        context = config.context_size if config.adapts == "context" else 0
        self.policy = MLPPolicy(family.observation_space, self.head, config.hidden_sizes, context)
        generator = torch.Generator().manual_seed(seed)
        initial = self.policy.initial_parameters(
            generator, initial_std=config.initial_std, dtype=self.dtype, device=device
        )
        self.adaptation = adaptation(config.adapts, self.policy, tuple(initial), config.latent_size)
        self.step_size = step_size(config.inner_lr_kind, config.inner_lr)
        self.inner_objective = INNER_OBJECTIVES[config.inner_objective]
        parameters = self.adaptation.meta_parameters(initial, generator)
        parameters |= self.step_size.meta_parameters(self.adaptation.start(parameters))
        self.parameters = {name: value.clone().requires_grad_(True) for name, value in parameters.items()}
        self.meta_step = self._meta_step()
        self._looks_back = config.outer_rounds == "all" or config.inner_kl_coef > 0 or config.ent_coef > 0
        self.moments = RunningMoments(self.policy.sizes[0]) if config.normalize_observations else None
        self.baseline = self._baseline(generator)

    def _meta_step(self) -> MetaStep:
        config = self.config
        if config.meta_gradient == "reptile":
            return ReptileStep(
                self.parameters,
                learning_rate=config.learning_rate,
                max_grad_norm=config.max_grad_norm,
                inner_lr=config.inner_lr,
            )
        if config.outer == "trpo":
            return TRPOStep(
                max_kl=config.max_kl,
                damping=config.cg_damping,
                cg_iterations=config.cg_iterations,
                backtracks=config.line_search_steps,
            )
        return PPOStep(
            self.parameters,
            learning_rate=config.learning_rate,
            max_grad_norm=config.max_grad_norm,
            num_epochs=config.num_epochs,
            clip_range=config.clip_range,
            target_kl=config.target_kl,
        )

    def _baseline(self, generator: torch.Generator) -> Baseline:
        if self.config.baseline == "linear":
            return LinearBaseline()
        return NetworkBaseline(
            self.policy.sizes[0],
            (64, 64),
            learning_rate=self.config.baseline_lr,
            num_epochs=self.config.baseline_epochs,
            generator=generator,
            dtype=self.dtype,
            device=self.device,
        )

    @property
    def min_rounds(self) -> int:
        """Rounds that a trial to learn from needs: one to measure, and one to adapt on if anything adapts."""
        return 1 if self.config.adapts == "nothing" else 2

    def begin(self, streams: Streams) -> MAMLLearner:
        """Return a learner at the meta-learned starting point in every task."""
        return MAMLLearner(self, streams)

    # The mathematics, for one task: everything below runs under vmap over the tasks.

    def outputs(self, meta: Parameters, fast: Parameters, observations: Tensor) -> Tensor:
        """Return what the head is given, [..., num_outputs], for observations [..., d]."""
        return self.policy(self.adaptation.policy(meta, fast), observations)

    def inner_loss(self, fast: Parameters, meta: Parameters, played: Round) -> tuple[Tensor, Played]:
        """Return the inner loss, and what else is wanted of the round at the same parameters."""
        outputs = self.outputs(meta, fast, played.observations)
        log_prob = self.head.log_prob(outputs, played.actions)
        loss = self.inner_objective(log_prob, played.old_log_prob, played.advantages, played.mask)
        if not self._looks_back:  # only to be told of: nothing to differentiate
            outputs, log_prob = outputs.detach(), log_prob.detach()
        kl = masked_mean(self.head.kl(played.old_outputs, outputs), played.mask)
        entropy = masked_mean(self.head.entropy(outputs), played.mask)
        return loss, Played(kl, entropy, self.meta_step.objective(log_prob, played)[0])

    def inner_step(self, meta: Parameters, fast: Parameters, played: Round) -> tuple[dict[str, Tensor], Played, Tensor]:
        """Return the fast parameters after a step, what `inner_loss` says, and the norm of the inner gradient."""
        gradients, seen = torch.func.grad(self.inner_loss, has_aux=True)(fast, meta, played)
        if self.config.meta_gradient != "second-order":
            gradients = {name: gradient.detach() for name, gradient in gradients.items()}
        norm = norm_of({name: gradient.detach() for name, gradient in gradients.items()})
        return self.step_size.step(meta, fast, gradients), seen, norm

    def outer_loss(self, meta: Parameters, rounds: tuple[Round, ...]) -> tuple[Tensor, Outcome]:
        """Return the loss of the last round after adapting to the others, penalty included, and what is known of it.

        With `outer_rounds` all, it is the mean of the losses of all rounds, each after adapting to those before it.
        """
        fast = self.adaptation.start(meta)
        last = rounds[-1]
        seen: list[Played] = []
        norms: list[Tensor] = []
        for played in rounds[:-1]:
            if fast:
                fast, known, norm = self.inner_step(meta, fast, played)
                norms.append(norm)
            else:
                known = self.inner_loss(fast, meta, played)[1]
            seen.append(known)
        outputs = self.outputs(meta, fast, last.observations)
        objective, clipped, deviation = self.meta_step.objective(self.head.log_prob(outputs, last.actions), last)
        entropy = masked_mean(self.head.entropy(outputs), last.mask)
        nothing = torch.zeros_like(objective)
        inner_kl = torch.stack([known.kl for known in seen]).mean() if seen else nothing
        if self.config.outer_rounds == "all":
            objective = torch.stack([*(known.objective for known in seen), objective]).mean()
        loss = objective + self.config.inner_kl_coef * inner_kl
        if self.config.ent_coef:
            loss = loss - self.config.ent_coef * torch.stack([*(known.entropy for known in seen), entropy]).mean()
        return loss, Outcome(
            loss=objective,
            kl=masked_mean(self.head.kl(last.old_outputs, outputs), last.mask),
            inner_kl=inner_kl,
            clip_fraction=clipped,
            ratio_deviation=deviation,
            entropy=entropy,
            inner_gradient_norm=torch.stack(norms).mean() if norms else nothing,
        )

    # For all tasks at once.

    def _meta(self) -> dict[str, Tensor]:
        return {name: parameter.detach() for name, parameter in self.parameters.items()}

    def _over_tasks(self, function: Callable[..., Any], *shared: bool) -> Callable[..., Any]:
        """Return `function` of one task as one of all, in chunks; arguments marked `shared` are the same for all."""
        in_dims = tuple(None if same else 0 for same in shared)
        return torch.vmap(function, in_dims=in_dims, chunk_size=self.config.task_chunk_size)

    def task_gradients(self, rounds: tuple[Round, ...]) -> tuple[dict[str, Tensor], Outcome]:
        """Return the gradient of every task's outer loss, [task, ...], and the outcomes, [task]."""
        gradient = torch.func.grad(self.outer_loss, has_aux=True)
        with torch.no_grad():
            gradients, outcome = self._over_tasks(gradient, True, False)(self._meta(), rounds)
        return gradients, outcome

    def outcomes(self, parameters: Parameters, rounds: tuple[Round, ...]) -> Outcome:
        """Return every task's outcome, [task]."""
        meta = {name: value.detach() for name, value in parameters.items()}
        with torch.no_grad():
            outcome: Outcome = self._over_tasks(lambda m, r: self.outer_loss(m, r)[1], True, False)(meta, rounds)
        return outcome

    def kl_products(
        self, rounds: tuple[Round, ...], coefficient: float
    ) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
        """Return v -> (H + coefficient) v, H the Hessian of the mean over tasks of the outer KL, through the adaptation."""

        def kl_gradient(meta: Parameters, rounds: tuple[Round, ...]) -> Any:
            return torch.func.grad(lambda m: self.outer_loss(m, rounds)[1].kl)(meta)

        def hessian_product(meta: Parameters, vector: Parameters, rounds: tuple[Round, ...]) -> Any:
            def along(m: Parameters) -> Tensor:
                gradient = kl_gradient(m, rounds)
                return torch.stack([(gradient[name] * vector[name]).sum() for name in vector]).sum()

            return torch.func.grad(along)(meta)

        over_tasks = self._over_tasks(hessian_product, True, True, False)

        def product(vector: dict[str, Tensor]) -> dict[str, Tensor]:
            with torch.no_grad():
                products = over_tasks(self._meta(), vector, rounds)
            return {name: value.mean(0) + coefficient * vector[name] for name, value in products.items()}

        return product

    def adapted(self, fast: Parameters, played: Round) -> dict[str, Tensor]:
        """Return the fast parameters of every task after one step, [task, ...], in one vmapped call."""
        if not fast:
            return {}
        with torch.no_grad():
            moved, _, _ = self._over_tasks(self.inner_step, True, False, False)(self._meta(), fast, played)
        for name, value in moved.items():
            wrong = ~torch.isfinite(value).flatten(1).all(1)
            if wrong.any():
                raise MetarlError(
                    f"an inner step made {name} not finite in {int(wrong.sum())} of {len(wrong)} tasks; take a lower "
                    "agent.inner_lr"
                )
        return dict(moved)

    def adapted_to_all(self, rounds: tuple[Round, ...]) -> dict[str, Tensor]:
        """Return the fast parameters of every task after an inner step on each of the rounds, [task, ...]."""
        fast = self.stacked(len(rounds[0].mask))
        for played in rounds:
            fast = self.adapted(fast, played)
        return fast

    def stacked(self, num_tasks: int) -> dict[str, Tensor]:
        """Return the fast parameters that tasks begin with, a copy for each, [task, ...]."""
        start = self.adaptation.start(self._meta())
        return {name: value.expand(num_tasks, *value.shape).clone() for name, value in start.items()}

    # Arrays in, parameters out.

    def observed(self, observations: np.ndarray) -> Tensor:
        """Return flat observations [..., d] as the policy sees them."""
        seen = observations if self.moments is None else self.moments.normalize(observations)
        return torch.as_tensor(seen, dtype=self.dtype, device=self.device)

    def prepared(self, episodes: Episodes, fast: Parameters) -> tuple[Round, float]:
        """Return a round ready for the losses, and how much of its returns the baseline explains.

        `fast` [task, ...] are those that acted: their outputs are computed here once. Raises MetarlError where the
        episodes' numbers are not finite.
        """
        advantages, explained = self.advantages(episodes)
        if not np.isfinite(advantages).all():
            raise MetarlError(
                "the advantages are not finite; look at the family's rewards and observations, or take a lower agent.inner_lr"
            )
        observations = self.observed(_task_first(flat_observations(episodes)[0]))
        kind = self.dtype if np.issubdtype(episodes.actions.dtype, np.floating) else None
        actions = torch.as_tensor(_task_first(episodes.actions), dtype=kind, device=self.device)
        with torch.no_grad():
            outputs = torch.vmap(self.outputs, in_dims=(None, 0, 0))(self._meta(), fast, observations)
            log_prob = self.head.log_prob(outputs, actions)
        return Round(
            observations=observations,
            actions=actions,
            advantages=self._tensor(_task_first(advantages)),
            mask=self._tensor(_task_first(episodes.mask)),
            old_outputs=outputs,
            old_log_prob=log_prob,
        ), explained

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)

    def returns(self, episodes: Episodes) -> np.ndarray:
        """Return discounted returns to the end of the episode, [time, task, replica]: what the baseline predicts."""
        nothing = np.zeros(episodes.mask.shape[1:])
        return discounted_returns(episodes.rewards, episodes.mask, self.config.discount, nothing)

    def advantages(self, episodes: Episodes) -> tuple[np.ndarray, float]:
        """Return advantages [time, task, replica] normalized within each task, and the share that the baseline explains."""
        config, mask, returns = self.config, episodes.mask, self.returns(episodes)
        values = self.baseline.values(episodes, returns)
        # What follows a termination is worth nothing; what follows the time limit is worth what the baseline says.
        bootstrap = np.where(episodes.terminations.any(axis=0), 0.0, values.final)
        raw = generalized_advantages(
            episodes.rewards, values.steps, mask, bootstrap, discount=config.discount, gae_lambda=config.gae_lambda
        )
        return normalize_advantages(raw, mask, axis=(0, 2)), explained_variance(values.steps, returns, mask)

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one meta-update from a trial.

        Raises MetarlError for fewer rounds than `min_rounds`, and where a term is not finite; the agent is then as it
        was before.
        """
        if len(trial.rounds) < self.min_rounds:
            raise MetarlError(
                f"rounds is {len(trial.rounds)}; it must be at least {self.min_rounds}: one to adapt on, one to measure"
            )
        before = self.state_dict()
        try:
            return self._updated(trial, rng)
        except MetarlError:
            self.load_state_dict(before)
            raise

    def _updated(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        rounds, metrics = self.replayed(trial)
        metrics |= self.meta_step(self, rounds)
        self._keep_exploring()
        after = self.outcomes(self.parameters, rounds)
        require_finite(after, {}, "after the update")
        metrics |= {name: float(getattr(after, name).mean()) for name in ("kl", "inner_kl", "entropy")}
        metrics["inner_gradient_norm"] = float(after.inner_gradient_norm.mean())
        metrics |= self._rates()
        metrics |= self.baseline.learn([(episodes, self.returns(episodes)) for episodes in trial.rounds], rng)
        if self.moments is not None:
            for episodes in trial.rounds:
                self.moments.add(flat_observations(episodes)[0][episodes.mask])
        return metrics

    def _keep_exploring(self) -> None:
        """Raise the deviations that tasks begin with to their floor."""
        meta = self._meta()
        begun = self.adaptation.policy(meta, self.adaptation.start(meta))
        if LOG_STD in begun:
            with torch.no_grad():
                self.parameters[LOG_STD] += (math.log(self.config.min_std) - begun[LOG_STD]).clamp(min=0)

    def _rates(self) -> dict[str, float]:
        """Return the least, the mean and the greatest of the learned step sizes; nothing where they are fixed."""
        rates = [value.detach().flatten() for name, value in self.parameters.items() if name.startswith(LEARNED_RATE)]
        if not rates:
            return {}
        every = torch.cat(rates)
        return {f"inner_lr_{name}": float(getattr(every, name)()) for name in ("min", "mean", "max")}

    def replayed(self, trial: Trial) -> tuple[tuple[Round, ...], dict[str, float]]:
        """Return the rounds with what the policies that played them gave, by adapting once more, and what to log."""
        fast = self.stacked(len(trial.tasks))
        rounds: list[Round] = []
        explained, moved = [], []
        for number, episodes in enumerate(trial.rounds, start=1):
            try:
                played, share = self.prepared(episodes, fast)
            except MetarlError as error:
                raise MetarlError(f"round {number}: {error}") from None
            rounds.append(played)
            explained.append(share)
            if number < len(trial.rounds) and fast:
                fast = self.adapted(fast, played)
                moved.append(self._moved(fast, played))
        metrics = {"explained_variance": float(np.mean(explained))}
        return tuple(rounds), metrics | ({"adaptation_kl": float(np.mean(moved))} if moved else {})

    def _moved(self, fast: Parameters, played: Round) -> float:
        """Return how far an inner step moved the policies: KL(acting || adapted) on the round, in nats."""
        with torch.no_grad():
            outputs = torch.vmap(self.outputs, in_dims=(None, 0, 0))(self._meta(), fast, played.observations)
            return float(masked_mean(self.head.kl(played.old_outputs, outputs), played.mask))

    def _parts(self) -> dict[str, MetaStep | Baseline]:
        return {"meta_step": self.meta_step, "baseline": self.baseline}

    def _tensors(self) -> StateDict:
        moments = {} if self.moments is None else self.moments.tensors
        return {**self.parameters, **{f"moments.{name}": value for name, value in moments.items()}}

    def state_dict(self) -> StateDict:
        """Return meta-parameters, the optimiser's state, and what the baseline has learned."""
        state = {name: value.detach().clone() for name, value in self._tensors().items()}
        for part, holder in self._parts().items():
            state |= {f"{part}.{name}": value for name, value in holder.state_dict().items()}
        return state

    def load_state_dict(self, state: StateDict) -> None:
        """Restore what `state_dict` gave. Raises MetarlError where names or shapes differ."""
        require_same_shapes(self.state_dict(), state)
        load_tensors(self._tensors(), state)
        for part, holder in self._parts().items():
            prefix = f"{part}."
            holder.load_state_dict(
                {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            )


def _task_first(array: np.ndarray) -> np.ndarray:
    """Return [time, task, ...] as [task, time, ...], in one piece of memory."""
    return np.ascontiguousarray(np.moveaxis(array, 1, 0))


class MAMLLearner(Learner):
    """One set of fast parameters for each task, moved by one policy-gradient step after each round."""

    def __init__(self, agent: MAML, streams: Streams) -> None:
        self.agent, self.streams = agent, streams
        self.fast = agent.stacked(streams.shape[0])

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        """Return actions of each task's own policy, [task, replica, *action]."""
        agent = self.agent
        observations = timestep.observations.reshape(*self.streams.shape, -1)
        with acting():
            outputs = torch.vmap(agent.outputs, in_dims=(None, 0, 0))(
                agent.parameters, self.fast, agent.observed(observations)
            )
            if deterministic:
                return agent.head.mode(outputs)
            return agent.head.sample(outputs, self.streams.where(timestep.active))

    def adapt(self, episodes: Episodes) -> None:
        """Take one inner step in every task."""
        if self.fast:
            played, _ = self.agent.prepared(episodes, self.fast)
            self.fast = self.agent.adapted(self.fast, played)
            if self.agent.device == "cuda":
                torch.cuda.synchronize()  # whoever times adaptation shall not find it in the next action
