"""In-context learning of sequences: answered pairs stay in sight, and a network looks tokens up in them.

An update: each round but the first is answered with the pairs of the rounds before it. Adam lowers the cross-entropy.
Nothing is fitted to a task: reading its pairs adapts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.schedule import Schedule, ScheduledRate
from metarl.base.settings import Positive, Settings
from metarl.base.streams import Streams
from metarl.base.threads import acting, cpu_by_default
from metarl.families.family import TaskFamily
from metarl.trials.agent import AnsweringLearner, TrainableAgent
from metarl.trials.episodes import Episodes, Trial
from metarl.trials.registered import register_agent

from ..common.over_ranks import shares
from ..common.policy import Parameters
from ..common.scheduled_adam import ScheduledAdam
from ..common.state import StateDict, load_tensors, require_fitting, restore_on_error
from ..supervised.answers import answer_head, question_first
from ..supervised.memory import input_bytes, itemsize, round_sizes
from ..supervised.reader import Reader
from .config import DecodingSettings
from .context import Context, ContextNetwork, ContextSettings, Taught
from .decoding import Decoded
from .network import SequenceAnswers, decode, num_activations
from .rows import Rows, by_length
from .tokens import trim, with_end

CHUNK_FLOATS = 2**24
"""Activations that the tasks which are answered at once may hold."""


class InContextConfig(Settings):
    """Settings of in-context learning of sequences."""

    network: ContextSettings = ContextSettings()
    """Settings of the network."""
    decoding: DecodingSettings = DecodingSettings()
    """How answers are written."""
    learning_rate: ScheduledRate = Schedule(start=1e-3)
    """Step size of Adam: a number, or a mapping with `start`, `end` and `updates`."""
    max_grad_norm: Positive = 1.0
    """Largest norm of the gradient; a longer one is scaled down."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the network."""


@register_agent("in-context")
class InContext(TrainableAgent):
    """Looks the tokens of a question up in answered pairs, by attention (meta seq2seq: Lake, NeurIPS 2019)."""

    Config: ClassVar[type[Settings]] = InContextConfig
    shaped_by: ClassVar[tuple[str, ...]] = ("network",)
    sums_over_ranks = True
    answers_in_training = False

    @cpu_by_default()
    def __init__(self, config: InContextConfig, family: TaskFamily, *, seed: int, device: str) -> None:
        self.config, self.family, self.device = config, family, device
        answer_head("in-context", family, device=device)  # refuses families without right answers
        self.network = ContextNetwork(config.network, "agent 'in-context'", family)
        self.answers = SequenceAnswers(family)
        dtype = getattr(torch, config.dtype)
        initial = self.network.initial_parameters(torch.Generator().manual_seed(seed))
        self.parameters = {
            name: value.to(device=device, dtype=dtype).clone().requires_grad_(True) for name, value in initial.items()
        }
        self.adam = ScheduledAdam(self.parameters, config.learning_rate, config.max_grad_norm)
        self.reader = Reader(self.network.encoder, family, dtype=config.dtype, device=device)

    @property
    def min_rounds(self) -> int:
        """Two rounds: one to read, and one to answer."""
        return 2

    @cpu_by_default()
    def begin(self, streams: Streams) -> InContextLearner:
        """Return a learner that was shown no pair."""
        return InContextLearner(self, streams.shape[0])

    def memory_estimate(self, num_tasks: int, replicas: int, rounds: int) -> int:
        """Return about how many bytes of the machine's memory an update takes."""
        questions = num_tasks * sum(round_sizes(self.family, replicas, rounds))
        inputs = input_bytes(self.network.encoder, self.config.dtype, questions)
        if self.device != "cpu":
            return inputs
        return inputs + itemsize(self.config.dtype) * questions * self.activations(replicas, rounds)

    def activations(self, replicas: int, rounds: int) -> int:
        """Return the floats that a gradient through the answer to one question holds, its attention to pairs too."""
        settings, languages = self.network.settings, self.network.languages
        pairs = sum(round_sizes(self.family, replicas, rounds)[:-1])
        read = settings.meaning_layers * languages.source_length * languages.source_length
        read += settings.decoder_layers * languages.target_length * languages.target_length
        own = num_activations(settings, languages.source_length, languages.target_length)
        return 2 * own + 3 * settings.num_heads * pairs * read

    @cpu_by_default()
    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Take a step of Adam on the loss of each round but the first, given those before it.

        Raises MetarlError for fewer than two rounds, and for a gradient that is not finite. It is then unchanged.
        """
        if len(trial.rounds) < self.min_rounds:
            raise MetarlError(f"rounds is {len(trial.rounds)}; it must be at least 2: one to read, one to answer")
        with restore_on_error(self.state_dict, self.load_state_dict):
            return self._update(trial)

    def _update(self, trial: Trial) -> dict[str, float]:
        read = [self.reader.read(episodes) for episodes in trial.rounds]
        rounds = [Rows.of(data) for data in read]
        with torch.no_grad():
            before = self.answered(self.parameters, self.no_pairs(len(rounds[0].mask)), rounds[0])
        losses, last = [], before
        for number, data in enumerate(rounds[1:], start=1):
            last = self.answered(self.parameters, self.context(self.parameters, rounds[:number]), data)
            losses.append(last.losses.sum() / _num_tokens(data))
        own = shares([float(_num_tokens(data)) for data in rounds[1:]])
        shared = [share * each for share, each in zip(own, losses, strict=True)]
        norm = self.adam.descend_loss(torch.stack(shared).mean(), "agent.learning_rate")
        scores = {} if trial.answered else self._scores(trial, before, last)
        first = float(before.losses.sum() / _num_tokens(rounds[0]))
        return {**scores, "loss": float(losses[-1].detach()), "loss_before": first, "gradient_norm": norm}

    def _scores(self, trial: Trial, before: Taught, after: Taught) -> dict[str, float]:
        """Return the scores of the answers of the update, whose every token stands behind the right ones before it."""
        found = {}
        for name, episodes, each in (
            ("return_before", trial.rounds[0], before),
            ("return_after", trial.rounds[-1], after),
        ):
            answers = self.answers.actions(each.chosen)
            shape = (answers.shape[0], len(episodes.mask), -1, answers.shape[-1])
            found[name] = self.reader.score(episodes, answers.reshape(shape))
        return found

    def no_pairs(self, num_tasks: int) -> Context:
        """Return the context of tasks that have shown nothing."""
        nothing = torch.zeros(num_tasks, 0, 1, dtype=torch.int64, device=self.device)
        return self.network.read(self.parameters, nothing, nothing, nothing[..., 0])

    def context(self, parameters: Parameters, rounds: list[Rows]) -> Context:
        """Return the pairs of rounds as a context."""
        questions, answers = (
            trim(torch.cat([getattr(each, name) for each in rounds], dim=1)) for name in Rows._fields[:2]
        )
        return self.network.read(parameters, questions, answers, torch.cat([each.mask for each in rounds], dim=1))

    def answered(self, parameters: Parameters, context: Context, data: Rows) -> Taught:
        """Return what the network says of the right answers of a round, computed in groups of like length."""
        shape, order, groups = data.targets.shape, *by_length(data)
        losses, chosen = [], []
        for rows in groups:
            found = self.network.taught(parameters, context, rows.questions, rows.targets)
            room = (0, shape[-1] - rows.targets.shape[-1])
            losses.append(torch.nn.functional.pad(found.losses * rows.mask[..., None], room))
            chosen.append(torch.nn.functional.pad(found.chosen, room))
        place = order.argsort(1)[..., None].expand(shape)
        return Taught(torch.cat(losses, dim=1).gather(1, place), torch.cat(chosen, dim=1).gather(1, place))

    def freeze(self, names: Collection[str]) -> None:
        """Keep these parameters as they are in updates. Raises MetarlError for other names."""
        self.adam.freeze(names)

    @cpu_by_default()
    def state_dict(self) -> StateDict:
        """Return the parameters and the optimiser's state."""
        state = {name: value.detach().clone() for name, value in self.parameters.items()}
        return state | self.adam.state_dict()

    @cpu_by_default()
    def load_state_dict(self, state: StateDict) -> None:
        """Restore the result of `state_dict`. Raises MetarlError where names or shapes differ."""
        require_fitting(self.state_dict(), state)
        load_tensors(self.parameters, state)
        self.adam.load_state_dict(state)


class InContextLearner(AnsweringLearner):
    """The pairs that each task has shown."""

    def __init__(self, agent: InContext, num_tasks: int) -> None:
        self.agent, self.rounds = agent, list[Rows]()
        with torch.no_grad():
            self.context = agent.no_pairs(num_tasks)

    def answer(self, observations: np.ndarray, *, deterministic: bool) -> np.ndarray:
        """Return the free-running answers to questions, [question, task, replica, *action]."""
        agent = self.agent
        with acting(), torch.no_grad():
            numbers, _ = agent.reader.observe(observations)
            lead, questions = numbers.shape[:-1], trim(numbers.flatten(1, 2).long())
            pairs = self.context.seen.shape[1] + self.context.answers.shape[1]
            held = questions.shape[1] * agent.config.network.num_heads * pairs * questions.shape[2]
            size = max(1, CHUNK_FLOATS // held)
            parts = [self._decode(slice(at, at + size), questions) for at in range(0, len(questions), size)]
            tokens = torch.cat([part.tokens for part in parts]).reshape(*lead, -1)
            likely = torch.cat([part.log_prob for part in parts]).reshape(lead).double().exp()
        self.confidences = question_first(likely.cpu().numpy())
        return np.moveaxis(agent.answers.actions(tokens), 0, 1)

    def _decode(self, tasks: slice, questions: Tensor) -> Decoded:
        network, parameters = self.agent.network, self.agent.parameters
        context, questions = Context(*(each[tasks] for each in self.context)), questions[tasks]

        def run(function: Any, *arguments: Any) -> Any:
            return function(parameters, *arguments)

        memory = network.remember(parameters, context, questions)
        return decode(self.agent.config.decoding, network.decoder, run, memory, questions)

    @cpu_by_default()
    def adapt(self, episodes: Episodes) -> None:
        """Read the pairs of a round. Raises MetarlError where the family reveals no targets."""
        agent = self.agent
        self.rounds.append(Rows.of(agent.reader.read(episodes)))
        with torch.no_grad():
            self.context = agent.context(agent.parameters, self.rounds)


def _num_tokens(data: Rows) -> Tensor:
    """Return the number of tokens of a round's right answers, their ends among them."""
    return (with_end(data.targets) * data.mask[..., None]).sum().clamp(min=1)
