"""One classifier of all training classes, and a new last layer for each task: the transfer baseline of few-shot papers.

Chen, Liu, Kira, Wang and Huang, A Closer Look at Few-shot Classification, ICLR 2019: Baseline, and with `classifier:
cosine` Baseline++. The new layer is solved for, on features of length one as in Tian et al., ECCV 2020, in place of
their gradient steps.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import ClassVar, Literal

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from metarl.base.errors import MetarlError
from metarl.base.schedule import Schedule, ScheduledRate
from metarl.base.settings import Positive, Settings, Widths
from metarl.base.streams import Streams
from metarl.base.threads import acting, cpu_by_default
from metarl.families.distributions import Subset
from metarl.families.family import TaskFamily
from metarl.families.task import Tasks
from metarl.trials.agent import AnsweringLearner, TrainableAgent
from metarl.trials.episodes import Episodes, Trial
from metarl.trials.registered import register_agent

from ..common.encoders import BlocksEncoder, EncoderSettings, ObservationEncoder
from ..common.over_ranks import shares
from ..common.policy import MLP
from ..common.ppo import masked_mean
from ..common.scheduled_adam import ScheduledAdam
from ..common.state import StateDict, load_tensors, require_fitting, restore_on_error
from ..maml.policy import ENCODER
from ..supervised.answered import Answered
from ..supervised.memory import heads_bytes, input_bytes, round_sizes
from ..supervised.reader import Reader
from ..supervised.ridge import ridge_weights
from .fitting import join

WEIGHT, BIAS, SCALE = "classifier.weight", "classifier.bias", "classifier.log_scale"
"""Names of the parameters of the classifier of all training classes."""
INITIAL_SCALE = 10.0
"""Scale of the cosines at the start; it is learned."""
LOGIT_COPIES = 3
"""Numbers held of each logit: itself, its log-probability, and its gradient."""
CLASSES = "classes"
"""Parameter of a task that says which class each of its labels stands for."""


class PretrainedConfig(Settings):
    """Settings of the classifier and of its features."""

    encoder: EncoderSettings = BlocksEncoder()
    """How observations become numbers, by its name or with its settings, as for maml."""
    hidden_sizes: Widths = ()
    """Units of the layers behind the encoder; those of the last are the features. With none, the encoder's are."""
    classifier: Literal["linear", "cosine"] = "linear"
    """How training tells all classes apart: by a linear layer (Baseline), or by cosines times a learned scale
    (Baseline++)."""
    penalty: Positive = 1.0
    """Weight of the squared new layer of a task; features have length one there."""
    learning_rate: ScheduledRate = Schedule(start=1e-3)
    """Step size of Adam."""
    max_grad_norm: Positive = 10.0
    """Largest norm of the gradient; a longer one is scaled down."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the network."""


@register_agent("pretrained-classifier")
class PretrainedClassifier(TrainableAgent):
    """Learns to tell all training classes apart, and fits a new last layer to each task (Chen et al., ICLR 2019).

    Only the update knows which class a label stands for: a learner sees labels alone.
    """

    Config: ClassVar[type[Settings]] = PretrainedConfig
    shaped_by: ClassVar[tuple[str, ...]] = ("classifier", "penalty")
    sums_over_ranks = True
    answers_in_training = False

    @cpu_by_default()
    def __init__(self, config: PretrainedConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        self.config, self.device, self.family = config, device, family
        self.labels, self.classes = _labels_of(family), np.sort(_classes_of(family).values)
        encoder = ObservationEncoder(config.encoder, family.observation_space)
        self.encoder, self.layers = encoder, MLP((encoder.num_features, *config.hidden_sizes), activation="relu")
        dtype, generator = getattr(torch, config.dtype), torch.Generator().manual_seed(seed)
        initial = self.layers.initial_parameters(generator)
        initial |= {ENCODER + name: value for name, value in encoder.initial_parameters(generator).items()}
        size = self.layers.sizes[-1]
        drawn = torch.randn(len(self.classes), size, generator=generator, dtype=torch.float64)
        initial[WEIGHT] = drawn / math.sqrt(size)
        if config.classifier == "linear":
            initial[BIAS] = torch.zeros(len(self.classes), dtype=torch.float64)
        else:
            initial[SCALE] = torch.tensor(math.log(INITIAL_SCALE), dtype=torch.float64)
        self.parameters = {
            name: value.to(device=device, dtype=dtype).clone().requires_grad_(True) for name, value in initial.items()
        }
        self.adam = ScheduledAdam(self.parameters, config.learning_rate, config.max_grad_norm)
        self.reader = Reader(encoder, family, dtype=config.dtype, device=device)

    @cpu_by_default()
    def begin(self, streams: Streams) -> PretrainedLearner:
        """Return a learner without examples."""
        return PretrainedLearner(self, streams)

    def embed(self, data: Answered) -> Tensor:
        """Return the features of a round, [task, question, size], those of all replicas."""
        return self.features(data.observations, data.raw).flatten(1, 2)

    def features(self, numbers: Tensor, raw: Tensor) -> Tensor:
        """Return the features of observations [..., d], [..., size]."""
        own = {name.removeprefix(ENCODER): v for name, v in self.parameters.items() if name.startswith(ENCODER)}
        features = self.encoder.in_chunks(own, numbers, raw)
        return F.relu(self.layers(self.parameters, features)) if self.config.hidden_sizes else features

    def class_logits(self, features: Tensor) -> Tensor:
        """Return logits of all training classes, [..., class], of features [..., size]."""
        weight = self.parameters[WEIGHT]
        if self.config.classifier == "linear":
            return F.linear(features, weight, self.parameters[BIAS])
        cosines = F.linear(F.normalize(features, dim=-1), F.normalize(weight, dim=-1))
        return self.parameters[SCALE].exp() * cosines

    def fit(self, features: Tensor, data: Answered) -> Tensor:
        """Return the new layer of each task, [task, label, size], of a round's features [task, question, size]."""
        mask = data.mask.flatten(1, 2)[..., None]
        labels = F.one_hot(data.targets.flatten(1, 2).long() - int(self.labels.start), int(self.labels.n))
        penalty = features.new_tensor(self.config.penalty)
        return ridge_weights(F.normalize(features, dim=-1) * mask, labels * mask, penalty)

    def best(self, weights: Tensor, features: Tensor) -> np.ndarray:
        """Return the likeliest labels, [task, question], of features [task, question, size]."""
        outputs = F.normalize(features, dim=-1) @ weights.transpose(1, 2)
        return outputs.argmax(-1).cpu().numpy() + int(self.labels.start)

    @cpu_by_default()
    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Take a step of Adam on the cross-entropy of all training classes; all questions of the trial are its batch.

        Raises MetarlError for tasks whose classes are none of training's, and if the gradient is not finite. The agent
        is then unchanged.
        """
        with restore_on_error(self.state_dict, self.load_state_dict):
            return self._update(trial)

    def _update(self, trial: Trial) -> dict[str, float]:
        rounds = [self.reader.read(episodes) for episodes in trial.rounds]
        data = join(rounds)
        places, mask = self._places(trial.tasks, data), data.mask.flatten(1, 2)
        features = self.embed(data)
        logits = self.class_logits(features)
        loss = masked_mean(F.cross_entropy(logits.flatten(0, 1), places.flatten(), reduction="none"), mask.flatten())
        (share,) = shares([float(mask.sum())])
        norm = self.adam.descend_loss(share * loss, "agent.learning_rate")
        told = masked_mean((logits.argmax(-1) == places).to(mask.dtype), mask)
        scores = {} if trial.answered else self._scores(trial, rounds, features.detach())
        return {**scores, "loss": float(loss.detach()), "class_accuracy": float(told), "gradient_norm": norm}

    def _places(self, tasks: Tasks, data: Answered) -> Tensor:
        """Return the place of each question's class among all training classes, int64 [task, question]."""
        classes = tasks.values[CLASSES]
        places = np.searchsorted(self.classes, classes).clip(max=len(self.classes) - 1)
        if (self.classes[places] != classes).any():
            wrong = classes[self.classes[places] != classes][0]
            raise MetarlError(f"class {wrong:g} of a task is none of training's; update from tasks of split 'train'")
        labels = data.targets.flatten(1, 2).long() - int(self.labels.start)
        return torch.as_tensor(places, device=self.device).gather(1, labels)

    def _scores(self, trial: Trial, rounds: list[Answered], features: Tensor) -> dict[str, float]:
        """Return the scores of the first round, without examples, and of the last, given those before it."""
        found = {}
        for name, number in (("return_before", 0), ("return_after", len(rounds) - 1)):
            episodes = trial.rounds[number]
            shape = rounds[number].mask.shape
            answers = np.full(shape, int(self.labels.start))
            if number:
                known = features.shape[1] - rounds[number].mask[0].numel()
                weights = self.fit(features[:, :known], join(rounds[:number]))
                answers = self.best(weights, features[:, known:]).reshape(shape)
            found[name] = self.reader.score(episodes, answers)
        return found

    def memory_estimate(self, num_tasks: int, replicas: int, rounds: int) -> int:
        """Return about how many bytes of the machine's memory an update takes: features, and logits of all classes."""
        config, asked = self.config, [num_tasks * size for size in round_sizes(self.family, replicas, rounds)]
        questions = sum(asked)
        inputs = input_bytes(self.encoder, config.dtype, questions)
        if self.device != "cpu":
            return inputs
        heads = LOGIT_COPIES * questions * len(self.classes)
        layers = sum(config.hidden_sizes)
        return inputs + heads_bytes(self.encoder, layers, config.dtype, rounds=asked, heads=heads, learned=True)

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


class PretrainedLearner(AnsweringLearner):
    """A last layer for each task, solved for anew from all rounds so far after each of them."""

    def __init__(self, agent: PretrainedClassifier, streams: Streams) -> None:
        self.agent, self.shape = agent, streams.shape
        self.rounds: list[Answered] = []
        self.points: list[Tensor] = []
        """Features of the rounds, [task, question, size] each."""
        self.weights: Tensor | None = None
        """The last layers, [task, label, size]; None before there is an example."""

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the likeliest labels, [question, task, replica]; the first one before there is an example."""
        agent = self.agent
        if self.weights is None:
            return np.full((len(observations), *self.shape), int(agent.labels.start))
        with acting():
            features = agent.features(*agent.reader.observe(observations)).flatten(1, 2)
            best = agent.best(self.weights, features)
        return np.moveaxis(best.reshape(self.shape[0], len(observations), self.shape[1]), 0, 1)

    @cpu_by_default()
    def adapt(self, episodes: Episodes) -> None:
        """Fit the last layers."""
        with acting():
            self.rounds.append(self.agent.reader.read(episodes))
            self.points.append(self.agent.embed(self.rounds[-1]))
            self.weights = self.agent.fit(torch.cat(self.points, dim=1), join(self.rounds))


def _labels_of(family: TaskFamily) -> spaces.Discrete:
    """Return the space of labels. Raises MetarlError for a family of other answers, or of none."""
    space = family.target_space
    if not isinstance(space, spaces.Discrete):
        told = "knows no right answers" if space is None else f"asks for {space}"
        raise MetarlError(
            f"agent 'pretrained-classifier' answers with classes, and family {family.name!r} {told}; take a family of "
            "classes, such as image-classes"
        )
    return space


def _classes_of(family: TaskFamily) -> Subset:
    """Return the distribution of the classes of training. Raises MetarlError where tasks do not say their classes."""
    parameter, space = family.parameters.get(CLASSES), _labels_of(family)
    if parameter is None or not isinstance(parameter.train, Subset) or parameter.train.size != space.n:
        raise MetarlError(
            f"agent 'pretrained-classifier' must know in training which class a label stands for, and family "
            f"{family.name!r} has no parameter 'classes' that says it, a metarl.Subset of size {space.n}; take another "
            "agent, such as prototypes"
        )
    return parameter.train
