"""RL^2: a policy with a memory that learns to learn, trained by PPO over whole trials, or on right answers.

Duan et al., RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning, 2016; Wang et al., 2016.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from metarl.base.errors import MetarlError
from metarl.base.ranks import ranks
from metarl.base.settings import Settings
from metarl.base.streams import Streams
from metarl.base.threads import cpu_by_default, one_thread
from metarl.families.family import TaskFamily
from metarl.trials.agent import NUM_UPDATES, Learner, TrainableAgent
from metarl.trials.episodes import Trial
from metarl.trials.registered import register_agent

from ..common.adam import Adam
from ..common.encoders import ObservationEncoder
from ..common.heads import action_head
from ..common.isolation import own_torch
from ..common.over_ranks import place_of, sum_over_ranks
from ..common.ppo import masked_mean
from ..common.sequences import Sequences, sequences
from ..common.state import StateDict, load_training_state, require_fitting, restore_on_error, training_state
from ..common.task_numbers import TaskNumbers
from ..memories.contract import State, stack_states
from ..memories.sharding import Sharding
from ..supervised.answers import AnswerHead, answer_head
from . import divided
from .config import RL2Config
from .exploring_starts import ExploringLearner
from .from_targets import FromTargets, require_steps
from .from_teacher import FromTeacher, learned_from
from .inputs import InputReader, Inputs
from .learner import RL2Learner
from .lesson import Lesson, Pieces, Steps
from .network import RecurrentNetwork

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


class Shard(NamedTuple):
    """The gradient of a part of a minibatch."""

    gradients: tuple[Tensor, ...]
    steps: float
    """Number of steps that the gradient is a mean over."""
    metrics: dict[str, float]


@register_agent("rl2")
class RL2(TrainableAgent):
    """Adapts by remembering: a memory that sees actions, rewards and episode ends, trained by PPO over whole trials."""

    Config: ClassVar[type[Settings]] = RL2Config
    pools_replicas = False
    shaped_by: ClassVar[tuple[str, ...]] = ("memory", "critic", "learns_from")
    sums_over_ranks = True
    taken_together: ClassVar[tuple[tuple[str, ...], ...]] = (("value", "value_scale"),)

    @cpu_by_default()
    def __init__(self, config: RL2Config, family: TaskFamily, *, seed: int, device: str) -> None:
        self.config, self.device = config, device
        self.dtype = getattr(torch, config.dtype)
        self.head, self.horizon = action_head(family.action_space), family.horizon
        encoder = ObservationEncoder(config.encoder, family.observation_space)
        self.answers = self._answers(family)
        shown = None if self.answers is None else family.target_space
        self.inputs = InputReader(
            encoder, self.head, shown, rewards=config.reads_rewards, dtype=config.dtype, device=device
        )
        told = {"critic: memory": config.critic == "informed", "inference_coef: 0": config.inference_coef > 0}
        self.task_numbers = TaskNumbers(family) if any(told.values()) else None
        num_task_numbers = 0 if self.task_numbers is None else len(self.task_numbers)
        if self.task_numbers is not None and not num_task_numbers:
            remedy = " and ".join(setting for setting, asked in told.items() if asked)
            raise MetarlError(
                f"all training tasks of {family.name!r} are the same: there is nothing to tell of them; take {remedy}"
            )
        # With more threads the last bits of orthogonal weights would follow from their number. torch's modules first
        # draw weights from the generator of the process, which are not used.
        with one_thread(), own_torch(seed):
            self.network = self.make_network(encoder, num_task_numbers)
            self.network.initialize(torch.Generator().manual_seed(seed))
        self.network.to(device=device, dtype=self.dtype)
        self.optimizer = Adam(self.network.parameters(), config.ppo.learning_rate.start)
        self.sharding: Sharding | None = None
        """How processes divide the memory; None: they do not."""
        self.num_updates = torch.zeros((), dtype=torch.int64)
        self.lesson = self.make_lesson(family)

    def make_network(self, encoder: ObservationEncoder, num_task_numbers: int) -> RecurrentNetwork:
        """Return a network whose weights mean nothing yet; `config`, `inputs`, `head` and `answers` are there."""
        return RecurrentNetwork(
            self.inputs.num_numbers, num_task_numbers, encoder, self.answers or self.head, self.config
        )

    def make_lesson(self, family: TaskFamily) -> Lesson:
        """Return what the steps of trials teach; the network is there."""
        if self.answers is not None:
            return FromTargets(self.network, self.answers, family)
        return FromTeacher(self.config, self.network, self.head, self.num_updates)

    def _answers(self, family: TaskFamily) -> AnswerHead | None:
        """Return the answers that are learned; None where rewards are learned from."""
        if self.config.learns_from == "rewards":
            return None
        head = answer_head("rl2", family, device=self.device)
        require_steps(family)
        return head

    @property
    def can_be_taught(self) -> bool:  # type: ignore[override]
        """Whether it learns from rewards, or from a teacher in their place."""
        return self.answers is None

    @property
    def answers_in_training(self) -> bool:  # type: ignore[override]  # elsewhere a constant, here a setting decides
        """Whether a trial of training needs the agent's actions: it reads them where it learns from rewards."""
        return self.answers is None

    def divide(self, mesh: DeviceMesh) -> None:
        """Divide the layers of the memory over processes. Raises MetarlError for a memory that cannot be."""
        self.sharding, self.optimizer = divided.divide(self.network, self.config.memory.name, self.optimizer, mesh)

    def freeze(self, names: Collection[str]) -> None:
        """Keep these parameters as they are in updates. Raises MetarlError for other names, and for the value head."""
        if any(name.startswith("value.") for name in names):
            raise MetarlError("the value head follows the scale of returns, so it cannot be frozen; leave 'value' out")
        self.optimizer.freeze(self._parameters, names)

    def exchanging(self) -> AbstractContextManager[object]:
        """Return a block in which the processes that divide the network exchange parts of it, if there are any."""
        return nullcontext() if self.sharding is None else self.sharding.ranks.exchanging()

    def begin(self, streams: Streams) -> RL2Learner:
        """Return a learner with an empty memory in every replica of every task."""
        if self.sharding is not None:
            with self.exchanging():
                self.sharding.gather()
        return RL2Learner(self, streams)

    def begin_training(self, streams: Streams) -> Learner:
        """Return a learner whose trials begin with exploration if `exploring_starts` asks for it."""
        starts, learner = self.config.exploring_starts, self.begin(streams)
        return ExploringLearner(learner, self.head, starts, streams) if starts.share else learner

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)

    def update(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        """Make one meta-update over a batch of whole trials: PPO, or descent on the loss of the answers.

        Steps that explored are seen, but not learned from. Raises MetarlError where a gradient is not finite or all
        steps explored, and leaves the agent as it was.
        """
        with restore_on_error(self._held, self._load), one_thread(), self.exchanging():
            return self._learn(trial, rng)

    def memory_estimate(self, num_tasks: int, replicas: int, rounds: int) -> int:
        """Return about how many bytes an update takes: copies of the steps, and what a gradient holds of them."""
        steps = num_tasks * replicas * rounds * self.horizon
        held = steps // min(self.config.ppo.num_minibatches, num_tasks * replicas)
        return self.inputs.num_bytes(steps) + self.network.num_bytes(held, self.config.ppo.num_shards)

    def _learn(self, trial: Trial, rng: np.random.Generator) -> dict[str, float]:
        trials = sequences(trial, with_targets=self.answers is not None)
        learned = learned_from(trial, trials)
        if not learned.any():
            raise MetarlError("every step of the trials explored; take a lower agent.exploring_starts.steps")
        features: Tensor | None = None
        if self.lesson.reads_features(trial) or self.config.bptt_steps is not None:
            features, inputs, state = self.read(trials)
        else:
            inputs = self._inputs(trials)
            state = stack_states([self.network.memory.initial_state(inputs.numbers.shape[1])])
        tasks = self._tasks(trial)
        told, measures = self.lesson.prepare(trial, trials, features, tasks)
        steps = Steps(inputs.numbers[:-1], inputs.raw[:-1], self._tensor(learned), told)
        cut = steps.map(lambda values: self._cut(values, values[-1]))
        pieces = Pieces(cut._replace(mask=self._cut(steps.mask, torch.zeros_like(steps.mask[-1]))), state, tasks)
        self.optimizer.learning_rate = self.config.ppo.learning_rate.at(int(self.num_updates))
        history = self._descend(pieces, learned.sum(axis=0), rng)
        if self.config.normalize_inputs:
            self.inputs.observe(trial)
        metrics = {name: float(np.mean([step[name] for step in history])) for name in history[0]}
        schedules = {"learning_rate": self.config.ppo.learning_rate, **self.lesson.schedules}
        metrics |= {name: schedule.at(int(self.num_updates)) for name, schedule in schedules.items()}
        metrics |= {**self.lesson.log_first(history[0]), **measures}
        self.num_updates += 1
        return metrics

    def _tasks(self, trial: Trial) -> Tensor:
        """Return the task of each trial as numbers, for a critic or a loss that knows it, [trial, number]."""
        replicas = trial.exploring_steps.shape[1]
        if self.task_numbers is None:
            return self._tensor(np.zeros((len(trial.tasks) * replicas, 0)))
        return self._tensor(np.repeat(self.task_numbers.scaled(trial.tasks), replicas, axis=0))

    def _inputs(self, trials: Sequences) -> Inputs:
        """Return the inputs of trials, [time + 1, trial, ...]."""
        first = np.zeros(trials.timesteps.previous_rewards.shape, dtype=bool)
        first[0] = True
        return self.inputs(trials.timesteps, first)

    def read(self, trials: Sequences) -> tuple[Tensor, Inputs, State]:
        """Return features and inputs of trials, both [time + 1, trial, ...], with the memory's present weights.

        The third is the memory at the start of each piece, [piece, trial, ...].
        """
        inputs = self._inputs(trials)
        # As many trials at a time as in a shard of a minibatch: the activations then fit a processor's cache.
        sharded = self.config.ppo.num_minibatches * self.num_shards if self.device == "cpu" else 1
        if self.sharding is not None:
            self.sharding.gather()
        with ThreadPoolExecutor(self.num_shards) as pool:
            size = -(-inputs.numbers.shape[1] // sharded)
            shards = zip(*(values.split(size, dim=1) for values in inputs), strict=True)
            read = list(pool.map(lambda shard: self._read(Inputs(*shard)), shards))
        features, states = zip(*read, strict=True)
        state = {name: torch.cat([each[name] for each in states], dim=1) for name in states[0]}
        return torch.cat(features, dim=1), inputs, state

    def _read(self, inputs: Inputs) -> tuple[Tensor, State]:
        """Return features [time + 1, trial, ...], and the memory at each piece's start, [piece, trial, ...]."""
        state, states, parts = self.network.memory.initial_state(inputs.numbers.shape[1]), [], []
        time = len(inputs.numbers) - 1
        with torch.no_grad():
            encoded = self.network.encode(inputs)
            # What follows the last step is read last, so that no piece begins with it but by chance.
            for piece in (*encoded[:time].split(self.config.bptt_steps or time), encoded[time:]):
                states.append(state)
                features, state = self.network.memory.sequence(piece, state)
                parts.append(features)
        return torch.cat(parts), stack_states(states[:-1])

    def _cut(self, values: Tensor, filling: Tensor) -> Tensor:
        """Return [time, trial, ...] as [time of a piece, piece, trial, ...], the last piece padded with `filling`."""
        length = min(self.config.bptt_steps or len(values), len(values))
        num_pieces = -(-len(values) // length)
        missing = num_pieces * length - len(values)
        filled = torch.cat([values, filling.expand(missing, *filling.shape)]) if missing else values
        return filled.unflatten(0, (num_pieces, length)).transpose(0, 1)

    def _minibatches(self, num_trials: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        for _ in range(self.config.ppo.num_epochs):
            yield from np.array_split(rng.permutation(num_trials), min(self.config.ppo.num_minibatches, num_trials))

    def _descend(self, pieces: Pieces, steps: np.ndarray, rng: np.random.Generator) -> list[dict[str, float]]:
        """Take the steps of an update and return what to log of each; `steps` are those learned from in each trial.

        Minibatches are drawn from the trials of all processes that train together. Each computes the part of its own.
        """
        counts, (first, total) = np.concatenate(ranks().gather(steps)), place_of(len(steps))
        norms, measured, names = [], [], [""]
        if self.sharding is not None:
            self.sharding.scatter()
        with ThreadPoolExecutor(self.num_shards) as pool:
            for chosen in self._minibatches(total, rng):
                own = chosen[(chosen >= first) & (chosen < first + len(steps))] - first
                norm, metrics = self._step(pool, own, pieces, max(1, int(counts[chosen].sum())))
                if not math.isfinite(norm):
                    raise MetarlError(f"the gradient's norm is {norm}; take a lower agent.ppo.learning_rate")
                norms.append(norm)
                measured.append(list(metrics.values()))
                names = list(metrics) or names
        # A process has a trial in every epoch, but not in every minibatch.
        rows = np.array([values or [0.0] * len(names) for values in measured])
        means = np.stack(ranks().gather(rows)).sum(axis=0).tolist()
        return [
            {**dict(zip(names, row, strict=True)), "gradient_norm": norm}
            for row, norm in zip(means, norms, strict=True)
        ]

    def _step(
        self, pool: Executor, trials: np.ndarray, pieces: Pieces, num_steps: int
    ) -> tuple[float, dict[str, float]]:
        """Take a step on a minibatch of `num_steps` steps, its gradient computed in shards side by side.

        Returns the gradient's norm, and this process's part of what to log, none if it has no trial in the minibatch.
        """
        if self.sharding is not None:
            return self._divided_step(self.sharding, trials, pieces, num_steps)
        parameters = list(self.network.parameters())
        shards = np.array_split(trials, min(self.num_shards, len(trials))) if len(trials) else []
        parts = list(pool.map(functools.partial(self._gradient, pieces, parameters), shards))
        weights = np.array([part.steps for part in parts]) / num_steps
        own = [torch.zeros_like(parameter) for parameter in parameters]
        if parts:
            own = [
                torch.stack([g * w for g, w in zip(gradients, weights, strict=True)]).sum(dim=0)
                for gradients in zip(*(part.gradients for part in parts), strict=True)
            ]
        self.optimizer.receive(sum_over_ranks(own))
        norm = float(nn.utils.clip_grad_norm_(parameters, self.config.ppo.max_grad_norm))
        if math.isfinite(norm):
            self.optimizer.step()
        if not parts:
            return norm, {}
        means = weights @ np.array([list(part.metrics.values()) for part in parts])
        return norm, dict(zip(parts[0].metrics, means.tolist(), strict=True))

    def _divided_step(
        self, sharding: Sharding, trials: np.ndarray, pieces: Pieces, num_steps: int
    ) -> tuple[float, dict[str, float]]:
        """Take the step of `_step` with the other processes of a mesh, which all compute at the same time."""
        # A process without a trial in the minibatch computes with one of no weight.
        loss, metrics, steps = self._loss(pieces, trials if len(trials) else np.zeros(1, dtype=np.int64))
        weight = steps / num_steps if len(trials) else 0.0
        norm = divided.descend(sharding, self.optimizer, loss * weight, self.config.ppo.max_grad_norm)
        return norm, {name: value * weight for name, value in metrics.items()} if len(trials) else {}

    def _gradient(self, pieces: Pieces, parameters: Sequence[Tensor], trials: np.ndarray) -> Shard:
        loss, metrics, steps = self._loss(pieces, trials)
        unused = "advised" in pieces.steps.told  # advice alone uses no values
        gradients = torch.autograd.grad(loss, parameters, allow_unused=unused, materialize_grads=unused)
        return Shard(gradients, steps, metrics)

    def _loss(self, pieces: Pieces, trials: np.ndarray) -> tuple[Tensor, dict[str, float], float]:
        """Return the mean loss of trials over their steps, what to log of it, and the number of steps."""
        config, batch = self.config, pieces.of(torch.as_tensor(trials, device=self.device))
        steps = batch.steps
        encoded = self.network.encode(Inputs(steps.inputs, steps.raw))
        features, _ = self.network.memory.sequence(encoded, batch.state)
        loss, metrics = self.lesson.loss(features, batch.tasks, steps)
        if config.inference_coef:
            inference_loss = masked_mean(self.network.inference_loss(features, batch.tasks), steps.mask)
            loss = loss + config.inference_coef * inference_loss
            metrics["inference_loss"] = inference_loss.item()
        return loss, {"loss": loss.item(), **metrics}, float(steps.mask.sum())

    @property
    def num_shards(self) -> int:
        """Parts of a minibatch at the same time. Processes that divide the network exchange parts of it in order."""
        return self.config.ppo.num_shards if self.sharding is None else 1

    @property
    def _parameters(self) -> Mapping[str, Tensor]:
        return dict(self.network.named_parameters()) if self.sharding is None else self.sharding.parameters

    def _tensors(self) -> StateDict:
        return {
            **self._parameters,
            **{f"input_moments.{name}": value for name, value in self.inputs.moments.tensors.items()},
            **self.lesson.tensors,
            NUM_UPDATES: self.num_updates,
        }

    @cpu_by_default()
    def state_dict(self) -> StateDict:
        """Return parameters, running statistics and optimiser state."""
        with self.exchanging():
            return self._held() if self.sharding is None else divided.whole_state(self.sharding, self._held())

    @cpu_by_default()
    def load_state_dict(self, state: StateDict) -> None:
        """Restore what `state_dict` gave. Raises MetarlError where names or shapes differ."""
        require_fitting(self.state_dict(), state)
        self._load(state if self.sharding is None else divided.own_state(self.sharding, state, self._held()))

    def _held(self) -> StateDict:
        """Return a copy of what this process holds of the state."""
        return training_state(self._tensors(), self.optimizer, self._parameters)

    def _load(self, held: StateDict) -> None:
        """Restore what `_held` gave."""
        if self.sharding is not None:
            self.sharding.scatter()
        load_training_state(self._tensors(), self.optimizer, self._parameters, held)
