"""Settings of supervised MAML and its relatives."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from metarl.base.settings import Count, Positive, Settings, Widths

from ..common.encoders import AutoEncoder, EncoderSettings
from ..maml.adaptation import AdaptAll, Adapts
from ..maml.config import require_composable
from ..maml.reptile import ReptileConfig
from ..maml.step_size import StepSizeKind
from .answers import NumberError


class AdamConfig(Settings):
    """Adam on the loss after adaptation, one step for each trial."""

    name: Literal["adam"] = "adam"
    """Adam."""
    learning_rate: Positive = 1e-3
    """Step size of Adam on the meta-parameters."""
    max_grad_norm: Positive = 10.0
    """Largest norm of the meta-gradient; a longer one is scaled down."""
    meta_gradient: Literal["second-order", "first-order"] = "second-order"
    """Exact gradient through the inner steps, or the gradient with inner gradients as constants (FOMAML)."""
    inner_lr_kind: StepSizeKind = "fixed"
    """Inner step size: fixed, learned for each tensor, or learned for each parameter (Meta-SGD)."""
    rounds: Literal["last", "all"] = "last"
    """Rounds of a trial in the outer loss: the last one, as in MAML, or the mean over all of them."""


Outer = Annotated[AdamConfig | ReptileConfig, Field(discriminator="name")]
"""The meta-step and its settings."""


class SupervisedConfig(Settings):
    """Settings of gradient-based meta-learning from right answers. A trial adapts after every round but the last."""

    encoder: EncoderSettings = AutoEncoder()
    """How observations become numbers, by its name or with its settings, as for maml-ppo."""
    hidden_sizes: Widths = (40, 40)
    """Units of each hidden layer; an empty list makes the network linear behind the encoder."""
    activation: Literal["relu", "tanh"] = "relu"
    """Activation of the hidden layers."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the network."""
    number_error: NumberError = "squared"
    """Loss of answers that are numbers: the squared error, or the absolute one, as where that is the reward."""
    adapts: Adapts = AdaptAll()
    """Parameters that an inner step moves: all (MAML), the last layer (ANIL) or several (MeLU), a context vector in the
    input of the first layer (CAVIA), a latent vector from which all are decoded, or nothing."""
    inner_lr: Positive = 0.01
    """Step size of the inner steps; its initial value if `outer.inner_lr_kind` learns it."""
    num_inner_steps: Count = 1
    """Inner steps on each round in training."""
    num_test_steps: Count | None = None
    """Inner steps on each round in an evaluation; None takes as many as in training."""
    outer: Outer = AdamConfig()
    """Meta-step: Adam, or Reptile."""
    task_chunk_size: Count | None = None
    """Tasks whose gradients are computed at once; None takes all, or with images on a CPU as many as torch has threads.
    Fewer need less memory and more time; results do not change."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        require_composable(self.outer, self.adapts)
        return self
