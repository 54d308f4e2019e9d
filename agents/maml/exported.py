"""The policy of MAML in one task, as a module that can be exported."""

from __future__ import annotations

from torch import Tensor, nn

from metarl.families.layout import Layout
from metarl.trials.export import ExportedStep

from ..common.exported import Inputs, ObservationInputs, Scaling, action_outputs
from ..common.moments import RunningMoments
from ..common.policy import MLPPolicy, Parameters


def exported_step(
    policy: MLPPolicy, parameters: Parameters, layout: Layout, moments: RunningMoments | None
) -> ExportedStep:
    """Return the step of a policy with `parameters` of its own, which scales observations by `moments`."""
    observations = ObservationInputs(layout)
    return ExportedStep(_Step(policy, parameters, observations, Scaling(moments)), observations.examples())


class _Step(nn.Module):
    """From an observation to actions."""

    def __init__(
        self, policy: MLPPolicy, parameters: Parameters, observations: ObservationInputs, scaling: Scaling
    ) -> None:
        super().__init__()
        self.policy, self.observations, self.scaling = policy, observations, scaling
        # torch refuses dots in the names of buffers.
        self.names = {name: name.replace(".", "-") for name in parameters}
        for name, value in parameters.items():
            self.register_buffer(self.names[name], value.detach().cpu().clone())

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        parameters = {name: self.get_buffer(buffer) for name, buffer in self.names.items()}
        numbers = self.scaling(self.observations.numbers(inputs, self.observations.parts))
        dtype = next(iter(parameters.values())).dtype
        return action_outputs(self.policy.head, self.policy(parameters, numbers.to(dtype)))
