"""The network of VariBAD: a memory that holds a belief, layers that act on it, and a decoder that learns it."""

from __future__ import annotations

import itertools
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..common.encoders import ObservationEncoder
from ..common.heads import ActionHead
from ..memories.contract import Memory, State
from ..rl2.network import RecurrentNetwork
from .config import VariBADConfig
from .elbo import Belief

_LOG_VAR = 10.0
"""Largest logarithm of a variance, either way: beyond it a belief is certain, or knows nothing."""


class BeliefMemory(Memory):
    """A memory of everything seen, its belief, and features of the present observation and the belief.

    Features are those of the policy, then the belief's means, then its logarithms of variances.
    """

    def __init__(self, memory: Memory, observed: Tensor, config: VariBADConfig) -> None:
        """Wrap `memory`. `observed` are the places of the present observation among its inputs, int64 [n]."""
        super().__init__()
        self.memory, self.belief_size, self.names = memory, config.belief.size, memory.names
        self.policy_gradient = config.belief.policy_gradient
        self.register_buffer("observed", observed, persistent=False)
        self.belief = nn.Linear(memory.size, 2 * self.belief_size)
        sizes = (len(observed) + 2 * self.belief_size, *config.belief.policy_sizes)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise(sizes))
        self.num_features = sizes[-1]
        self.size = self.num_features + 2 * self.belief_size

    def initialize(self, generator: torch.Generator) -> None:
        """Draw orthogonal weights; the first beliefs are all near the standard normal one."""
        self.memory.initialize(generator)
        for linear, gain in ((self.belief, 0.1), *((cast(nn.Linear, each), 2**0.5) for each in self.layers)):
            nn.init.orthogonal_(linear.weight, gain, generator=generator)
            nn.init.zeros_(linear.bias)

    def initial_state(self, num_trials: int) -> State:
        """Return that of the memory within."""
        return self.memory.initial_state(num_trials)

    def step(self, inputs: Tensor, state: State, moving: Tensor) -> tuple[Tensor, State]:
        """Return features of one step, and the memory after it."""
        features, state = self.memory.step(inputs, state, moving)
        return self._features(inputs, features), state

    def sequence(self, inputs: Tensor, state: State, resets: Tensor | None = None) -> tuple[Tensor, State]:
        """Return features of a sequence, and the memory after it."""
        features, state = self.memory.sequence(inputs, state, resets)
        return self._features(inputs, features), state

    def exported_step(self, inputs: Tensor, state: State) -> tuple[Tensor, State]:
        """Return what `step` returns where all trials move."""
        features, state = self.memory.exported_step(inputs, state)
        return self._features(inputs, features), state

    def _features(self, inputs: Tensor, remembered: Tensor) -> Tensor:
        mean, log_var = self.belief(remembered).chunk(2, dim=-1)
        belief = torch.cat([mean, _LOG_VAR * torch.tanh(log_var / _LOG_VAR)], dim=-1)
        seen = belief if self.policy_gradient else belief.detach()
        x = torch.cat([inputs.index_select(-1, cast(Tensor, self.observed)), seen], dim=-1)
        for layer in self.layers:
            x = F.relu(layer(x))
        return torch.cat([x, belief], dim=-1)


class Decoder(nn.Module):
    """What a latent task says of transitions."""

    def __init__(self, latent_size: int, num_inputs: int, sizes: tuple[int, ...], num_outputs: int) -> None:
        super().__init__()
        first, *widths = (*sizes, num_outputs)
        # Two parts of one layer: each is computed once for all that it meets of the other.
        self.of_latent, self.of_inputs = nn.Linear(latent_size, first), nn.Linear(num_inputs, first, bias=False)
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in itertools.pairwise((first, *widths)))

    def initialize(self, generator: torch.Generator) -> None:
        """Draw orthogonal weights; biases are zero."""
        for module in (self.of_latent, self.of_inputs, *self.layers):
            linear = cast(nn.Linear, module)
            nn.init.orthogonal_(linear.weight, 2**0.5, generator=generator)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(self, latents: Tensor, inputs: Tensor) -> Tensor:
        """Return means [..., m] of latent tasks [..., size] and transitions [..., n], whose shapes broadcast."""
        x = self.of_latent(latents) + self.of_inputs(inputs)
        for layer in self.layers:
            x = layer(F.relu(x))
        return x


class BeliefNetwork(RecurrentNetwork):
    """The network of RL^2 around a belief. Heads read the policy's features."""

    def __init__(
        self,
        num_numbers: int,
        num_task_numbers: int,
        encoder: ObservationEncoder,
        head: ActionHead,
        config: VariBADConfig,
        *,
        observed: Tensor,
        num_transition: int,
        num_decoded: int,
    ) -> None:
        """Make it. `num_transition` numbers tell the decoder of a step, of which it decodes `num_decoded`."""
        self._observed = observed
        super().__init__(num_numbers, num_task_numbers, encoder, head, config)
        belief = config.belief
        if self.inference is not None:  # it asks the belief, not what the policy makes of it
            self.inference = nn.Linear(2 * belief.size, num_task_numbers)
        self.decoder = Decoder(belief.size, num_transition, belief.decoder_sizes, num_decoded)

    def _memory(self, config: VariBADConfig, num_inputs: int) -> BeliefMemory:  # type: ignore[override]
        return BeliefMemory(super()._memory(config, num_inputs), self._observed, config)

    def _num_features(self, config: VariBADConfig) -> int:  # type: ignore[override]
        return config.belief.policy_sizes[-1]

    def initialize(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`."""
        super().initialize(generator)
        self.decoder.initialize(generator)

    def belief(self, features: Tensor) -> Belief:
        """Return the belief that features [..., size] end with."""
        return Belief(*features[..., self.policy.in_features :].chunk(2, dim=-1))

    def actions(self, features: Tensor) -> Tensor:
        """Return the outputs of the action head, [..., num_outputs]."""
        return super().actions(features[..., : self.policy.in_features])

    def values(self, features: Tensor, tasks: Tensor) -> Tensor:
        """Return values in normalized units, [..., trial]."""
        return super().values(features[..., : self.policy.in_features], tasks)

    def inference_loss(self, features: Tensor, tasks: Tensor) -> Tensor:
        """Return the mean squared error of the task that is read from the belief's mean and variance, [..., trial]."""
        return super().inference_loss(features[..., self.policy.in_features :], tasks)
