"""Agents that make a head for each task from its answered questions, on features that are meta-learned.

An update: each round but the first is answered with the head that the rounds before it make. Adam lowers the loss of
these answers, through the making of the head.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.schedule import Schedule, ScheduledRate
from metarl.base.settings import Positive, Settings, Widths
from metarl.base.streams import Streams
from metarl.base.threads import acting, cpu_by_default
from metarl.families.family import TaskFamily
from metarl.trials.agent import AnsweringLearner, TrainableAgent
from metarl.trials.episodes import Episodes, Trial
from metarl.trials.export import ExportedStep

from ..common.encoders import AutoEncoder, EncoderSettings, ObservationEncoder
from ..common.over_ranks import TaskNoise, shares
from ..common.policy import ACTIVATIONS, MLP, Parameters
from ..common.ppo import masked_mean
from ..common.scheduled_adam import ScheduledAdam
from ..common.state import StateDict, load_tensors, optimizer_state, require_fitting, restore_on_error
from ..maml.exported import exported_step
from ..maml.policy import ENCODER
from .advice import is_teachable, over_questions, round_loss, with_advice
from .answered import Advice, Answered
from .answers import AnswerHead, NumberError, answer_head, finds_boxes, logits_of, mean_score, question_first
from .memory import heads_bytes, input_bytes, round_sizes
from .reader import Reader
from .support import Support, TaskHead, join, means


class FeatureSettings(Settings):
    """Settings of the features, and of how they are learned."""

    encoder: EncoderSettings = AutoEncoder()
    """How observations become numbers, by its name or with its settings, as for maml-ppo."""
    hidden_sizes: Widths = (64, 64)
    """Units of the layers behind the encoder; those of the last are the features. An empty list takes the encoder's."""
    activation: Literal["relu", "tanh"] = "relu"
    """Activation of every layer."""
    learns_features: bool = True
    """Learn the features; otherwise they stay as they are drawn, or as another run left them (`start_from`)."""
    learning_rate: ScheduledRate = Schedule(start=1e-3)
    """Step size of Adam: a number, or `{start: A, end: B, updates: N}`."""
    max_grad_norm: Positive = 10.0
    """Largest norm of the gradient; a longer one is scaled down."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the network."""


class ErrorSettings(FeatureSettings):
    """The same, and what is lowered where answers are numbers."""

    number_error: NumberError = "squared"
    """Loss of answers that are numbers: the squared error, or the absolute one, as where that is the reward."""


HEAD, WEIGHTS = "head.", "weights"
"""Beginning of the names of a head's parameters, and the name of a head that was made."""


class HeadAgent(TrainableAgent):
    """Features that all tasks share, and a head for each task. Write `make_head`, and give it a name."""

    Config: ClassVar[type[Settings]] = FeatureSettings
    shaped_by: ClassVar[tuple[str, ...]] = ("activation",)
    sums_over_ranks = True
    answers_in_training = False
    title: ClassVar[str]
    """Name of the agent in messages."""
    takes_boxes: ClassVar[bool] = False
    """Whether `make_head` makes heads that read maps of cells."""

    @abstractmethod
    def make_head(self, size: int) -> TaskHead:
        """Return what makes heads on `size` features; `self.config` and `self.answers` are there."""

    @cpu_by_default()
    def __init__(self, config: FeatureSettings, family: TaskFamily, *, seed: int, device: str) -> None:
        self.config, self.device, self.family = config, device, family
        error: NumberError = config.number_error if isinstance(config, ErrorSettings) else "squared"
        _require_known_answers(self, family)
        self.encoder = ObservationEncoder(config.encoder, family.observation_space, maps=finds_boxes(family))
        self.answers: AnswerHead = answer_head(self.title, family, error, grid=self.encoder.grid, device=device)
        self.can_be_taught = is_teachable(self.answers)
        sizes = (self.encoder.num_features, *config.hidden_sizes)
        self.layers = MLP(sizes, activation=config.activation) if config.hidden_sizes else None
        self.size = sizes[-1]
        """Number of features."""
        self.head, generator = self.make_head(self.size), torch.Generator().manual_seed(seed)
        dtype = getattr(torch, config.dtype)
        initial = {} if self.layers is None else self.layers.initial_parameters(generator)
        initial |= {ENCODER + name: value for name, value in self.encoder.initial_parameters(generator).items()}
        drawn = {name: value.to(device=device, dtype=dtype).clone() for name, value in initial.items()}
        self.features = {name: value.requires_grad_(config.learns_features) for name, value in drawn.items()}
        head = self.head.initial_parameters(generator).items()
        made = {HEAD + name: value.to(device=device, dtype=dtype).clone().requires_grad_(True) for name, value in head}
        self.parameters = self.features | made
        learned = {name: value for name, value in self.parameters.items() if value.requires_grad}
        self.adam = ScheduledAdam(learned, config.learning_rate, config.max_grad_norm)
        self.reader = Reader(self.encoder, family, dtype=config.dtype, device=device)

    @property
    def min_rounds(self) -> int:
        """Two rounds: one to make heads from, and one to measure."""
        return 2

    @property
    def of_head(self) -> dict[str, Tensor]:
        """Parameters of the head."""
        return within(self.parameters, HEAD)

    @cpu_by_default()
    def begin(self, streams: Streams) -> HeadLearner:
        """Return a learner whose heads know nothing."""
        return HeadLearner(self, streams.shape[0])

    def memory_estimate(self, num_tasks: int, replicas: int, rounds: int) -> int:
        """Return about how many bytes of the machine's memory an update takes: features, and heads on them."""
        config, sizes = self.config, round_sizes(self.family, replicas, rounds)
        questions = num_tasks * sum(sizes)
        inputs = input_bytes(self.encoder, config.dtype, questions)
        if self.device != "cpu":
            return inputs
        heads = num_tasks * sum(self.head.num_held(sum(sizes[:n]), sizes[n]) for n in range(1, rounds))
        layers, learned = self.encoder.num_cells * sum(config.hidden_sizes), config.learns_features
        return inputs + heads_bytes(
            self.encoder,
            layers,
            config.dtype,
            rounds=[num_tasks * size for size in sizes],
            heads=heads,
            learned=learned,
        )

    def embed(self, numbers: Tensor, raw: Tensor) -> Tensor:
        """Return features [task, question, size] of observations [task, time, replica, ...]; cell by cell of maps."""
        features = self.encoder.in_chunks(within(self.features, ENCODER), numbers, raw)
        return self.behind_encoder(self.features, features).flatten(1, 2)

    def behind_encoder(self, parameters: Parameters, features: Tensor) -> Tensor:
        """Return features [..., size] of those of the encoder [..., num_features]."""
        if self.layers is None:
            return features
        return ACTIVATIONS[self.config.activation](self.layers(parameters, features))

    def support(self, data: Answered) -> Support:
        """Return a round as what heads are made from."""
        answers, mask = self.answers.vectors(data.targets).to(data.mask.dtype), data.mask.flatten(1, 2)
        features = self.embed(data.observations, data.raw)
        targets = data.targets.flatten(1, 2)
        return Support(features, self.answers.focus(features, targets), answers.flatten(1, 2), targets, mask)

    def start(self, num_tasks: int) -> Tensor:
        """Return heads that know nothing of their tasks: zeros, [task, num_own, size], where they are linear."""
        dtype = getattr(torch, self.config.dtype)
        return torch.zeros(num_tasks, self.answers.num_own, self.size, dtype=dtype, device=self.device)

    @cpu_by_default()
    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Take a step of Adam on the loss of each round but the first, given those before it.

        Raises MetarlError for fewer than two rounds, and for a gradient that is not finite. It is then unchanged.
        """
        if len(trial.rounds) < self.min_rounds:
            raise MetarlError(f"rounds is {len(trial.rounds)}; it must be at least 2: one to adapt to, one to measure")
        with restore_on_error(self.state_dict, self.load_state_dict):
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            return self._update(trial, TaskNoise(generator, len(trial.tasks)))

    def loss(
        self, rounds: list[Support], noise: TaskNoise | None, advice: Sequence[tuple[Advice, ...]] = ()
    ) -> tuple[Tensor, list[Tensor], dict[str, float]]:
        """Return the loss of an update with all penalties, the outputs of each round, and what to log.

        `advice` is what a teacher would answer in each round; () without one.
        """
        weights = self.start(len(rounds[0].mask))
        outputs = [self.head.outputs(self.of_head, weights, rounds[0].features)]
        losses, logged = [], dict[str, float]()
        for number, data in enumerate(rounds[1:], start=1):
            fitted = self.head.fit(self.of_head, join(rounds[:number]), noise)
            outputs.append(self.head.outputs(self.of_head, fitted.weights, data.features))
            own = round_loss(self.answers, outputs[-1], data, advice[number] if advice else ())
            losses.append(own + fitted.penalty)
            logged = {"loss": float(own.detach()), **means(fitted.metrics)}
        return torch.stack(losses).mean(), outputs, logged

    def _update(self, trial: Trial, noise: TaskNoise) -> dict[str, float]:
        asked = with_advice([self.reader.read(episodes) for episodes in trial.rounds], trial, self.answers)
        rounds = [self.support(data) for data in asked]
        loss, outputs, logged = self.loss(rounds, noise, [over_questions(data.advice) for data in asked])
        before = masked_mean(self.answers.loss(outputs[0], rounds[0].targets), rounds[0].mask)
        (share,) = shares([len(trial.tasks)])
        norm = self.adam.descend_loss(share * loss, "agent.learning_rate")
        scores = {} if trial.answered else self._scores(trial, outputs)
        return {**scores, **logged, "loss_before": float(before.detach()), "gradient_norm": norm}

    def _scores(self, trial: Trial, outputs: list[Tensor]) -> dict[str, float]:
        """Return the scores that the answers of the update have, in the first and in the last round."""
        found = {}
        for name, episodes, each in (
            ("return_before", trial.rounds[0], outputs[0]),
            ("return_after", trial.rounds[-1], outputs[-1]),
        ):
            answers = self.answers.best(each.unflatten(1, (len(episodes.mask), -1)))
            found[name] = mean_score(self.family, episodes, np.moveaxis(answers, 1, 0))
        return found

    def freeze(self, names: Collection[str]) -> None:
        """Keep these parameters as they are in updates. Raises MetarlError for other names."""
        self.adam.freeze(names)

    @cpu_by_default()
    def state_dict(self) -> StateDict:
        """Return the parameters and the optimiser's state, which is zero for features that are not learned."""
        state = {name: value.detach().clone() for name, value in self.parameters.items()}
        adam = self.adam.state_dict() | optimizer_state(self.adam.optimizer, self.parameters)
        return state | {f"adam.{name}": value for name, value in adam.items()}

    @cpu_by_default()
    def load_state_dict(self, state: StateDict) -> None:
        """Restore the result of `state_dict`. Raises MetarlError where names or shapes differ."""
        require_fitting(self.state_dict(), state)
        load_tensors(self.parameters, state)
        self.adam.load_state_dict(
            {name.removeprefix("adam."): value for name, value in state.items() if name.startswith("adam.")}
        )


class HeadLearner(AnsweringLearner):
    """A head for each task, made anew from all rounds so far after each of them."""

    def __init__(self, agent: HeadAgent, num_tasks: int) -> None:
        self.agent, self.weights = agent, agent.start(num_tasks)
        self.rounds: list[Support] = []

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the best answers of each task's own head, [question, task, replica, *action]."""
        agent = self.agent
        with acting():
            features = agent.embed(*agent.reader.observe(observations))
            outputs = agent.head.outputs(agent.of_head, self.weights, features).unflatten(1, (len(observations), -1))
            self.confidences = question_first(agent.answers.confidence(outputs))
            self.outputs = logits_of(agent.answers, outputs)
            return np.moveaxis(agent.answers.best(outputs), 0, 1)

    @cpu_by_default()
    def adapt(self, episodes: Episodes) -> None:
        """Make the heads. Raises MetarlError for one that is not finite."""
        agent = self.agent
        with torch.no_grad():
            self.rounds.append(agent.support(agent.reader.read(episodes)))
            weights = agent.head.fit(agent.of_head, join(self.rounds), None).weights
        wrong = ~weights.isfinite().flatten(1).all(1)
        if wrong.any():
            raise MetarlError(
                f"the head is not finite in {int(wrong.sum())} of {len(wrong)} tasks; train with a lower "
                "agent.learning_rate"
            )
        self.weights = weights

    def exported_step(self) -> ExportedStep:
        """Return the features with the head of now, which knows nothing before a round has shown its answers."""
        agent = self.agent
        parameters = {name: value.detach() for name, value in agent.parameters.items()} | {WEIGHTS: self.weights[0]}
        return exported_step(_OneTask(agent), agent.answers.exported, parameters)


def _require_known_answers(agent: HeadAgent, family: TaskFamily) -> None:
    """Raise MetarlError for a family of boxes and an agent whose heads read no maps."""
    if finds_boxes(family) and not agent.takes_boxes:
        raise MetarlError(
            f"agent {agent.title!r} finds no boxes, which family {family.name!r} asks for; take leo, maml or prototypes"
        )


class _OneTask:
    """The features, and the head of one task on them, as a function of parameters."""

    def __init__(self, agent: HeadAgent) -> None:
        self.agent, self.encoder = agent, agent.encoder

    def __call__(self, parameters: Parameters, numbers: Tensor, raw: Tensor) -> Tensor:
        agent, encoded = self.agent, self.encoder(within(parameters, ENCODER), numbers, raw)
        features = agent.behind_encoder(parameters, encoded)
        return agent.head.outputs(within(parameters, HEAD), parameters[WEIGHTS][None], features[None])[0]


def within(parameters: Parameters, prefix: str) -> dict[str, Tensor]:
    """Return the parameters whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in parameters.items() if name.startswith(prefix)}
