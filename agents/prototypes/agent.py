"""Prototypical and Matching Networks: classes by comparison with the examples of a task, in a learned space."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import ClassVar, Literal

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.schedule import Schedule, ScheduledRate
from metarl.base.settings import Positive, Settings, Widths
from metarl.base.streams import Streams
from metarl.base.threads import acting, cpu_by_default
from metarl.families.family import TaskFamily
from metarl.families.spaces import Boxes
from metarl.trials.agent import AnsweringLearner, TrainableAgent
from metarl.trials.episodes import Episodes, Trial
from metarl.trials.export import ExportedStep
from metarl.trials.registered import register_agent

from ..common.encoders import BlocksEncoder, EncoderSettings, ObservationEncoder
from ..common.over_ranks import shares
from ..common.policy import Parameters
from ..common.scheduled_adam import ScheduledAdam
from ..common.state import StateDict, load_tensors, require_fitting, restore_on_error
from ..maml.exported import exported_step
from ..maml.policy import ENCODER
from ..supervised.advice import is_teachable, round_loss, with_advice
from ..supervised.answered import Answered
from ..supervised.answers import answer_head, finds_boxes, logits_of, question_first
from ..supervised.memory import heads_bytes, input_bytes, round_sizes
from ..supervised.network import EncodedNetwork
from ..supervised.reader import Reader
from .comparison import Distance, matching_logits, prototype_logits

SCALE = "log_scale"
"""Name of the parameter that holds the logarithm of the scale of likeness."""
POINTS, LABELS = "points", "labels"
"""Names of the examples of a task in an exported step."""


class PrototypesConfig(Settings):
    """Settings of agents that compare questions with examples."""

    encoder: EncoderSettings = BlocksEncoder()
    """How observations become numbers, by its name or with its settings, as for maml-ppo."""
    hidden_sizes: Widths = ()
    """Units of fully connected layers behind the encoder, the last of which is the space of comparison. With none, that
    space is the features of the encoder."""
    compares: Literal["prototypes", "examples"] = "prototypes"
    """Compare with the mean example of each class (Prototypical Networks), or with all examples (Matching Networks)."""
    distance: Distance = "euclidean"
    """Likeness: minus the squared Euclidean distance, or the cosine times a learned scale."""
    initial_scale: Positive | None = None
    """Scale of likeness at the start: 1 over the number of features for euclidean and 10 for cosine by default."""
    learning_rate: ScheduledRate = Schedule(start=1e-3)
    """Step size of Adam: a number, or `{start: A, end: B, updates: N}`."""
    max_grad_norm: Positive = 10.0
    """Largest norm of the gradient; a longer one is scaled down."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the network."""


@register_agent("prototypes")
class Prototypes(TrainableAgent):
    """Answers with the class whose examples are nearest in a learned space (Snell et al., NeurIPS 2017)."""

    Config: ClassVar[type[Settings]] = PrototypesConfig
    shaped_by: ClassVar[tuple[str, ...]] = ("compares", "distance")
    sums_over_ranks = True
    answers_in_training = False

    @cpu_by_default()
    def __init__(self, config: PrototypesConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        self.config, self.device, self.family = config, device, family
        _require_comparable(config, family)
        encoder = ObservationEncoder(config.encoder, family.observation_space, maps=finds_boxes(family))
        self.answers = answer_head("prototypes", family, grid=encoder.grid, device=device)
        self.can_be_taught = is_teachable(self.answers)
        sizes = (encoder.num_features, *config.hidden_sizes)
        self.network = EncodedNetwork(encoder, sizes[-1], config.hidden_sizes[:-1]) if config.hidden_sizes else None
        self.encoder = encoder
        dtype = getattr(torch, config.dtype)
        generator = torch.Generator().manual_seed(seed)
        if self.network is not None:
            parameters = self.network.initial_parameters(generator, dtype=dtype, device=device)
        else:
            drawn = encoder.initial_parameters(generator)
            parameters = {name: value.to(device=device, dtype=dtype) for name, value in drawn.items()}
        default = 10.0 if config.distance == "cosine" else 1.0 / sizes[-1]
        scale = math.log(config.initial_scale or default)
        shared = self.answers.initial_parameters(sizes[-1], generator)
        shared |= {SCALE: torch.tensor(scale, dtype=torch.float64)}
        parameters |= {name: value.to(dtype=dtype, device=device) for name, value in shared.items()}
        self.parameters = {name: value.clone().requires_grad_(True) for name, value in parameters.items()}
        self.adam = ScheduledAdam(self.parameters, config.learning_rate, config.max_grad_norm)
        self.reader = Reader(encoder, family, dtype=config.dtype, device=device)

    @property
    def min_rounds(self) -> int:
        """Two rounds: one of examples, and one to measure."""
        return 2

    @cpu_by_default()
    def begin(self, streams: Streams) -> PrototypesLearner:
        """Return a learner without examples."""
        return PrototypesLearner(self, streams)

    def memory_estimate(self, num_tasks: int, replicas: int, rounds: int) -> int:
        """Return about how many bytes of the machine's memory an update takes: points, and their comparison."""
        config, sizes = self.config, round_sizes(self.family, replicas, rounds)
        questions = num_tasks * sum(sizes)
        inputs = input_bytes(self.encoder, config.dtype, questions)
        if self.device != "cpu":
            return inputs
        # A question is compared with each class, or with each example for each class.
        known = [1 if config.compares == "prototypes" else sum(sizes[:number]) for number in range(rounds)]
        outputs, cells = self.answers.num_own, self.encoder.num_cells
        compared = cells * sum(size * outputs * each for size, each in zip(sizes[1:], known[1:], strict=True))
        return inputs + heads_bytes(
            self.encoder,
            cells * sum(config.hidden_sizes),
            config.dtype,
            rounds=[num_tasks * size for size in sizes],
            heads=4 * num_tasks * compared,
            learned=True,
        )

    def embed(self, numbers: Tensor, raw: Tensor) -> Tensor:
        """Return the points of observations [task, question, replica, ...] in the space of comparison."""
        features = self.encoder.in_chunks(self._of_encoder(), numbers, raw)
        return features if self.network is None else self.network.network(self.parameters, features)

    def _of_encoder(self) -> dict[str, Tensor]:
        return {name.removeprefix(ENCODER): value for name, value in self.parameters.items()}

    def examples(self, data: Answered, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points [task, example, d] and the one-hot classes [task, example, class] of a round's answers.

        `points` are those of the round's questions, [task, time, replica, ...], as `embed` gives them. Replicas of a
        task learn together. Questions that were not asked have no class. Of maps, an example is the mean point in its
        box, of the one class that is looked for.
        """
        labels = self.answers.vectors(data.targets)
        focus = self.answers.focus(points, data.targets)
        return focus.flatten(1, 2), (labels.to(points.dtype) * data.mask[..., None]).flatten(1, 2)

    def outputs(self, queries: Tensor, points: Tensor, labels: Tensor, parameters: Parameters | None = None) -> Tensor:
        """Return outputs [task, query, class] of points [task, query, d]; of maps those of each cell.

        `parameters` stand for the agent's own.
        """
        parameters = self.parameters if parameters is None else parameters
        rule = prototype_logits if self.config.compares == "prototypes" else matching_logits
        scale = parameters[SCALE].exp()
        logits = rule(queries.flatten(1, -2), points, labels, self.config.distance, scale)
        return self.answers.complete(parameters, logits.unflatten(1, queries.shape[1:-1]), queries)

    @cpu_by_default()
    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Take a step of Adam on the cross-entropy of each round but the first, given those before it.

        Raises MetarlError for fewer than two rounds, and if the gradient is not finite. The agent is then unchanged.
        """
        if len(trial.rounds) < self.min_rounds:
            raise MetarlError(
                f"rounds is {len(trial.rounds)}; it must be at least 2: examples, and questions to measure"
            )
        with restore_on_error(self.state_dict, self.load_state_dict):
            return self._update(trial)

    def _update(self, trial: Trial) -> dict[str, float]:
        rounds = with_advice([self.reader.read(episodes) for episodes in trial.rounds], trial, self.answers)
        maps = [self.embed(data.observations, data.raw) for data in rounds]
        examples = [self.examples(data, points) for data, points in zip(rounds, maps, strict=True)]
        losses, outputs = [], rounds[0].mask.new_zeros(0)
        for number in range(1, len(rounds)):
            points, labels = (torch.cat(parts, dim=1) for parts in zip(*examples[:number], strict=True))
            outputs = self.outputs(maps[number].flatten(1, 2), points, labels)
            asked = rounds[number]
            whole = outputs.unflatten(1, asked.mask.shape[1:])
            losses.append(round_loss(self.answers, whole, asked, asked.advice))
        loss = torch.stack(losses).mean()
        (share,) = shares([len(trial.tasks)])
        norm = self.adam.descend_loss(share * loss, "agent.learning_rate")
        answered = {} if trial.answered else self._returns(trial, maps[0].detach(), outputs)
        scale = float(self.parameters[SCALE].detach().exp())
        return {**answered, "loss": float(loss.detach()), "gradient_norm": norm, "scale": scale}

    def blind(self, points: Tensor) -> Tensor:
        """Return outputs [..., class] for points [..., d] where there is no example: all classes are as likely."""
        logits = points.new_zeros(*points.shape[:-1], self.answers.num_own)
        return self.answers.complete(self.parameters, logits, points)

    def _returns(self, trial: Trial, points: Tensor, outputs: Tensor) -> dict[str, float]:
        first, last = trial.rounds[0], trial.rounds[-1]
        before = self.answers.best(self.blind(points))
        after = self.answers.best(outputs.unflatten(1, last.mask.shape[::2]))
        return {"return_before": self.reader.score(first, before), "return_after": self.reader.score(last, after)}

    def freeze(self, names: Collection[str]) -> None:
        """Keep these parameters as they are in updates. Raises MetarlError for other names."""
        self.adam.freeze(names)

    @cpu_by_default()
    def state_dict(self) -> StateDict:
        """Return the parameters and the optimiser's state."""
        state = {name: value.detach().clone() for name, value in self.parameters.items()}
        return state | {f"adam.{name}": value for name, value in self.adam.state_dict().items()}

    @cpu_by_default()
    def load_state_dict(self, state: StateDict) -> None:
        """Restore the result of `state_dict`. Raises MetarlError where names or shapes differ."""
        require_fitting(self.state_dict(), state)
        load_tensors(self.parameters, state)
        own = {name.removeprefix("adam."): value for name, value in state.items() if name.startswith("adam.")}
        self.adam.load_state_dict(own)


class PrototypesLearner(AnsweringLearner):
    """Keeps the examples of each task."""

    def __init__(self, agent: Prototypes, streams: Streams) -> None:
        self.agent, self.shape = agent, streams.shape
        self.known: tuple[Tensor, Tensor] | None = None

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the best answers; of classes the first one before there is an example. [question, task, replica]"""
        agent = self.agent
        with acting():
            points = agent.embed(*agent.reader.observe(observations))
            if self.known is None:
                outputs = agent.blind(points)
            else:
                outputs = agent.outputs(points.flatten(1, 2), *self.known).unflatten(1, points.shape[1:3])
            self.confidences = question_first(agent.answers.confidence(outputs))
            self.outputs = logits_of(agent.answers, outputs)
            return np.moveaxis(agent.answers.best(outputs), 0, 1)

    @cpu_by_default()
    def adapt(self, episodes: Episodes) -> None:
        """Keep the answers that were revealed."""
        with acting():
            data = self.agent.reader.read(episodes)
            new = self.agent.examples(data, self.agent.embed(data.observations, data.raw))
            old = self.known
            self.known = new if old is None else (torch.cat([old[0], new[0]], 1), torch.cat([old[1], new[1]], 1))

    def exported_step(self) -> ExportedStep:
        """Return the comparison with the examples of now. Raises MetarlError before there are any."""
        agent = self.agent
        if self.known is None:
            raise MetarlError(
                "agent 'prototypes' has seen no example to compare with; export it after a round whose answers it was "
                "shown"
            )
        parameters = {name: value.detach() for name, value in agent.parameters.items()}
        parameters |= {name: value[0] for name, value in zip((POINTS, LABELS), self.known, strict=True)}
        return exported_step(_OneTask(agent), agent.answers.exported, parameters)


class _OneTask:
    """Logits by the examples of one task, as a function of parameters."""

    def __init__(self, agent: Prototypes) -> None:
        self.agent, self.encoder = agent, agent.encoder

    def __call__(self, parameters: Parameters, numbers: Tensor, raw: Tensor) -> Tensor:
        agent, own = self.agent, {name.removeprefix(ENCODER): value for name, value in parameters.items()}
        features = self.encoder(own, numbers, raw)
        queries = features if agent.network is None else agent.network.network(parameters, features)
        points, labels = (parameters[name][None] for name in (POINTS, LABELS))
        return agent.outputs(queries[None], points, labels, parameters)[0]


def _require_comparable(config: PrototypesConfig, family: TaskFamily) -> None:
    """Raise MetarlError for a family whose answers are neither classes nor boxes, and for boxes by all examples."""
    space = family.target_space
    if not isinstance(space, (spaces.Discrete, Boxes)):
        raise MetarlError(
            f"agent 'prototypes' answers with classes or boxes, and family {family.name!r} "
            + ("knows no right answers" if space is None else f"asks for {space}")
            + "; take a family of classes, such as image-classes, or an agent of numbers, such as kernel-regression"
        )
    if isinstance(space, Boxes) and config.compares != "prototypes":
        raise MetarlError(
            f"agent.compares is {config.compares!r}, and family {family.name!r} looks for one class, of which every "
            "example says the same; take compares: prototypes"
        )
