"""The step of RL^2 as a module that can be exported: the memory comes in and goes out."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from metarl.base.errors import MetarlError
from metarl.trials.export import NEXT, ExportedStep

from ..common.exported import BATCH, ObservationInputs, Scaling, action_outputs, zeros_of
from ..common.exported import Inputs as StepInputs
from .config import RL2Config
from .inputs import InputReader
from .network import RecurrentNetwork

BEGUN = "begun"
"""State that tells whether the trial has had a step: the first one has no previous action and reward."""


def exported_step(network: RecurrentNetwork, reader: InputReader, config: RL2Config) -> ExportedStep:
    """Return the step of a network. Raises MetarlError unless it learned from rewards, with a GRU, an LSTM or none."""
    if config.learns_from == "targets":
        raise MetarlError(
            "an agent that learns from targets cannot be exported: an exported step has no input for the right answer "
            "of the step before; train with agent.learns_from=rewards"
        )
    if network.memory.names is None:
        raise MetarlError(
            f"memory {config.memory.name!r} cannot be exported: only gru, lstm and none have an export; train with "
            "agent.memory=gru or agent.memory=lstm"
        )
    step = _Step(network, reader)
    return ExportedStep(step, step.examples(), (*network.memory.names, BEGUN))


class _Step(nn.Module):
    """From an observation, the outcome of the step before and the memory, to actions and the next memory."""

    def __init__(self, network: RecurrentNetwork, reader: InputReader) -> None:
        super().__init__()
        network = copy.deepcopy(network).cpu().requires_grad_(False)
        # Training alone needs the values and the task.
        del network.value, network.insight, network.inference
        self.network, self.encoder, self.head = network, reader.encoder, reader.head
        # Without numbers there are no moments either: torch warns when it saves arrays of nothing.
        self.scaling = Scaling(reader.moments if reader.num_scaled else None)
        self.reads_rewards = reader.reads_rewards
        self.observations = ObservationInputs(reader.encoder.layout)

    def examples(self) -> dict[str, Tensor]:
        memory, flag = self.network.memory.initial_state(BATCH), torch.zeros(BATCH, dtype=torch.bool, device="cpu")
        reward = torch.zeros(BATCH, dtype=torch.float64, device="cpu")
        return {
            **self.observations.examples(),
            "previous_action": zeros_of(self.head.space),
            **({"previous_reward": reward} if self.reads_rewards else {}),
            "previous_terminated": flag,
            "previous_truncated": flag.clone(),
            **memory,
            BEGUN: flag.clone(),
        }

    def forward(self, inputs: StepInputs) -> dict[str, Tensor]:
        network, memory = self.network, self.network.memory
        assert memory.names is not None  # `exported_step` says so
        encoded = self.encoder(dict(network.encoder.items()), self._numbers(inputs), self._raw(inputs))
        features, after = memory.exported_step(encoded, {name: inputs[name] for name in memory.names})
        return {
            **action_outputs(self.head, network.actions(features)),
            **{NEXT + name: after[name] for name in memory.names},
            NEXT + BEGUN: torch.ones_like(inputs[BEGUN]),
        }

    def _numbers(self, inputs: StepInputs) -> Tensor:
        """Return what `InputReader` makes of a time step, [batch, num_numbers]."""
        encoder, size = self.encoder, self.encoder.num_scaled
        terminated = inputs["previous_terminated"]
        seen = [self.observations.numbers(inputs, encoder.vectors)] if encoder.vectors else []
        if self.reads_rewards:
            seen.append(inputs["previous_reward"].double()[:, None])
        scaled = self.scaling(torch.cat(seen, dim=-1)) if seen else terminated[:, None].double()[:, :0]
        before = torch.cat([scaled[:, size:], self.head.features_of(inputs["previous_action"]).double()], dim=-1)
        before = torch.where(inputs[BEGUN][:, None], before, torch.zeros_like(before))
        # A termination counts where both are given, as no reward can follow.
        ends = torch.stack([terminated, inputs["previous_truncated"] & ~terminated], dim=-1).double()
        choices = [encoder.one_hot_of(part, self.observations.rows(inputs, part)).double() for part in encoder.choices]
        numbers = torch.cat([scaled[:, :size], before, ends, *choices], dim=-1)
        return numbers.to(self.network.policy.weight.dtype)

    def _raw(self, inputs: StepInputs) -> Tensor:
        """Return the images and sequences, flattened, [batch, num_raw]; anything where there are none."""
        rows = [self.observations.rows(inputs, each.part) for each in self.encoder.encoded]
        dtype = self.network.policy.weight.dtype
        return torch.cat([row.to(dtype) for row in rows], dim=-1) if rows else inputs[BEGUN]
