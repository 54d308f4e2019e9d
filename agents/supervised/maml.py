"""Supervised MAML: a starting point, meta-learned through gradient steps on right answers (Finn et al., ICML 2017).

An update: `Reader` turns a trial's episodes into rounds; objective.py computes one task's loss after adaptation;
agents/maml/over_tasks.py maps it over all tasks; Adam or Reptile moves the starting point.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.settings import Settings
from metarl.base.streams import Streams
from metarl.base.threads import acting, cpu_by_default
from metarl.families.family import TaskFamily
from metarl.trials.agent import AnsweringLearner, TrainableAgent
from metarl.trials.episodes import Episodes, Trial
from metarl.trials.export import ExportedStep
from metarl.trials.registered import register_agent

from ..common.scheduled_adam import ScheduledAdam
from ..common.state import StateDict, load_tensors, require_fitting, restore_on_error
from ..maml.adaptation import AdaptNothing, AlikeOutputs, context_size, make_adaptation
from ..maml.meta_step import mean_gradient
from ..maml.over_tasks import AtTasks, OverTasks
from ..maml.reptile import ReptileConfig
from ..maml.step_size import make_step_size
from .advice import is_teachable, with_advice
from .answered import Answered
from .answers import ClassAnswers, Scoring, logits_of, question_first
from .config import SupervisedConfig
from .make import make_network
from .memory import inner_steps_bytes, input_bytes, round_sizes
from .network import AnsweringNetwork, EncodedNetwork
from .objective import Outcome, SupervisedObjective
from .prototype_start import PrototypeStart
from .reader import Reader


@register_agent("maml")
class SupervisedMAML(TrainableAgent):
    """Adapts by gradient steps on right answers from a starting point that was meta-learned through those steps."""

    Config: ClassVar[type[Settings]] = SupervisedConfig
    memory_setting: ClassVar[str] = "task_chunk_size"
    sums_over_ranks = True
    shaped_by: ClassVar[tuple[str, ...]] = ("network", "activation", "outputs")
    answers_in_training = False

    @cpu_by_default()
    def __init__(self, config: SupervisedConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        self.config, self.device, self.family = config, device, family
        network, head = make_network(
            "maml", config, family, error=config.number_error, context_size=context_size(config.adapts), device=device
        )
        generator = torch.Generator().manual_seed(seed)
        initial = network.initial_parameters(generator, dtype=getattr(torch, config.dtype), device=device)
        adaptation = make_adaptation(config.adapts, network.last_layers, tuple(initial))
        if config.outputs != "own":
            _require_classes(family, config.outputs)
        if config.outputs == "alike":
            adaptation = AlikeOutputs(adaptation, network.last_layers(1))
        step_size = make_step_size(config.outer.inner_lr_kind, config.inner_lr)
        meta = adaptation.meta_parameters(initial, generator)
        meta |= step_size.meta_parameters(adaptation.start(meta))
        self.parameters = {name: value.clone().requires_grad_(True) for name, value in meta.items()}
        self.objective = SupervisedObjective(
            network,
            head,
            adaptation,
            step_size,
            num_inner_steps=config.num_inner_steps,
            first_order=config.outer.meta_gradient == "first-order",
            all_rounds=config.outer.rounds == "all",
            first_start=_prototypes(network, head) if config.outputs == "prototypes" else None,
        )
        self.can_be_taught = is_teachable(head) and not isinstance(config.outer, ReptileConfig)
        self.over_tasks = OverTasks(self.objective, self.parameters, config.task_chunk_size)
        adapts = not isinstance(config.adapts, AdaptNothing)
        self.reader = Reader(
            network.encoder, family, dtype=config.dtype, device=device, adapts=adapts, related=network.related
        )
        self.meta_step = ScheduledAdam(self.parameters, config.outer.learning_rate, config.outer.max_grad_norm)

    @property
    def min_rounds(self) -> int:
        """Rounds that a trial to learn from needs: one to measure, and one to adapt to if anything adapts."""
        return 1 if isinstance(self.config.adapts, AdaptNothing) else 2

    @cpu_by_default()
    def begin(self, streams: Streams) -> SupervisedLearner:
        """Return a learner at the meta-learned starting point in every task."""
        return SupervisedLearner(self, streams)

    def memory_estimate(self, num_tasks: int, replicas: int, rounds: int) -> int:
        """Return about how many bytes of the machine's memory an update takes: see memory.py."""
        sizes, network = round_sizes(self.family, replicas, rounds), self.objective.policy
        inputs = input_bytes(network.encoder, self.config.dtype, num_tasks * sum(sizes))
        if self.device != "cpu":
            return inputs
        num_parameters = sum(value.numel() for value in self.parameters.values())
        at_once = self.over_tasks.at_once(num_tasks)
        return inputs + inner_steps_bytes(self.config, network, num_parameters, num_tasks, at_once, sizes)

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
            return self._update(trial)

    def _update(self, trial: Trial) -> dict[str, float]:
        cut = self.objective.policy.cut
        rounds = tuple(with_advice(list(map(cut, self.reader.read_all(trial.rounds))), trial, self.objective.head))
        if isinstance(self.config.outer, ReptileConfig):
            gradients, outcome = self._reptile(rounds)
        else:
            gradients, outcome = self.over_tasks.task_gradients(rounds)
        _require_finite(outcome, gradients)
        gradient, seen = mean_gradient(
            gradients,
            loss=outcome.loss,
            loss_before=outcome.inner_loss,
            inner_gradient_norm=outcome.inner_gradient_norm,
        )
        answered = {} if trial.answered else self._returns(trial, outcome)
        return {**answered, **seen, "gradient_norm": self.meta_step.descend(gradient)}

    def _reptile(self, rounds: tuple[Answered, ...]) -> tuple[dict[str, Tensor], Outcome]:
        """Return (start - adapted) / inner_lr of every task (Nichol et al., 2018, section 3), and the outcome."""
        outcome = self.over_tasks.outcomes(self.parameters, rounds)
        adapted = self.over_tasks.start(len(rounds[0].mask))
        for data in rounds:
            for _ in range(self.config.num_inner_steps):
                adapted = self.over_tasks.adapt(adapted, data)
        start = {name: value.detach() for name, value in self.parameters.items()}
        return {name: (start[name] - adapted[name]) / self.config.inner_lr for name in start}, outcome

    def _returns(self, trial: Trial, outcome: Outcome) -> dict[str, float]:
        """Return the scores that the answers of the update have, before and after adaptation."""
        answers = {"return_before": (trial.rounds[0], outcome.first), "return_after": (trial.rounds[-1], outcome.last)}
        return {
            name: self.reader.score(episodes, self.objective.head.best(outputs))
            for name, (episodes, outputs) in answers.items()
        }

    def freeze(self, names: Collection[str]) -> None:
        """Keep these parameters as they are in updates. Raises MetarlError for other names."""
        self.meta_step.freeze(names)

    @cpu_by_default()
    def state_dict(self) -> StateDict:
        """Return the meta-parameters and the optimiser's state."""
        state = {name: value.detach().clone() for name, value in self.parameters.items()}
        return state | {f"meta_step.{name}": value for name, value in self.meta_step.state_dict().items()}

    @cpu_by_default()
    def load_state_dict(self, state: StateDict) -> None:
        """Restore the result of `state_dict`. Raises MetarlError where names or shapes differ."""
        require_fitting(self.state_dict(), state)
        load_tensors(self.parameters, state)
        prefix = "meta_step."
        self.meta_step.load_state_dict(
            {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        )


class SupervisedLearner(AnsweringLearner):
    """One set of fast parameters for each task, moved by gradient steps on the right answers after each round."""

    def __init__(self, agent: SupervisedMAML, streams: Streams) -> None:
        self.agent = agent
        self.fast = agent.over_tasks.start(streams.shape[0])
        self.shown: list[Episodes] = []

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the best answers of each task's own network, [question, task, replica, *action]."""
        agent = self.agent
        with acting():
            numbers, raw = agent.reader.observe(observations, self.shown)
            outputs = agent.objective.policy.free(AtTasks(agent.over_tasks, self.fast), numbers, raw)
            self.confidences = question_first(agent.objective.head.confidence(outputs))
            self.outputs = logits_of(agent.objective.head, outputs)
            return np.moveaxis(agent.objective.head.best(outputs), 0, 1)

    @cpu_by_default()
    def adapt(self, episodes: Episodes) -> None:
        """Take the inner steps in every task."""
        self.shown.append(episodes)
        if self.fast:
            agent = self.agent
            data = agent.objective.policy.cut(agent.reader.read(episodes, self.shown))
            if agent.objective.first_start is not None and len(self.shown) == 1:
                self.fast |= agent.over_tasks.run(self.fast, agent.objective.first_start, data)
            for _ in range(agent.config.num_test_steps or agent.config.num_inner_steps):
                self.fast = agent.over_tasks.adapt(self.fast, data)

    def exported_step(self) -> ExportedStep:
        """Return the network with its present parameters: the meta-learned ones before an adaptation."""
        objective = self.agent.objective
        meta = {name: value.detach() for name, value in self.agent.parameters.items()}
        fast = {name: value[0] for name, value in self.fast.items()}
        return objective.policy.exported(objective.head.exported, objective.adaptation.policy(meta, fast))


def _prototypes(network: AnsweringNetwork, head: Scoring) -> PrototypeStart:
    assert isinstance(network, EncodedNetwork) and isinstance(head, ClassAnswers)  # as answers are classes
    return PrototypeStart(network, head)


def _require_classes(family: TaskFamily, outputs: str) -> None:
    """Raise MetarlError unless the right answers of a family are classes, one output each."""
    if not isinstance(family.target_space, spaces.Discrete):
        raise MetarlError(
            f"agent.outputs is {outputs!r}, and answers of family {family.name!r} are no classes with an output each; "
            "take agent.outputs=own"
        )


def _require_finite(outcome: Outcome, gradients: dict[str, Tensor]) -> None:
    """Raise MetarlError if a loss or a gradient is not finite."""
    terms = {"the inner gradient's norm": outcome.inner_gradient_norm, "the outer loss": outcome.loss}
    terms |= {f"the meta-gradient of {name}": value for name, value in gradients.items()}
    for name, value in terms.items():
        wrong = ~torch.isfinite(value).reshape(len(value), -1).all(1)
        if wrong.any():
            raise MetarlError(
                f"{name} is not finite in {int(wrong.sum())} of {len(value)} tasks; take a lower agent.inner_lr or "
                "agent.outer.learning_rate"
            )
