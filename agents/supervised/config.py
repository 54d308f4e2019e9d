"""Settings of supervised MAML and its relatives."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from metarl.base.schedule import Schedule, ScheduledRate
from metarl.base.settings import Count, Positive, Settings, Widths

from ..common.encoders import AutoEncoder, EncoderSettings
from ..maml.adaptation import AdaptAll, AdaptContext, AdaptLastLayers, AdaptLatent, Adapts, context_size
from ..maml.config import require_composable
from ..maml.reptile import ReptileConfig
from ..maml.step_size import StepSizeKind
from ..sequences.config import DecodingSettings, EncoderDecoderSettings
from .answers import NumberError


class LayersSettings(Settings):
    """An encoder and fully connected layers, as `encoder`, `hidden_sizes` and `activation` describe them."""

    name: Literal["layers"] = "layers"
    """Fully connected layers."""


NetworkKind = Annotated[LayersSettings | EncoderDecoderSettings, Field(discriminator="name")]
"""The kind of network."""


class NetworkSettings(Settings):
    """Settings of the network of a supervised agent."""

    network: NetworkKind = LayersSettings()
    """Kind of network: layers, or an encoder-decoder where questions and answers are sequences of tokens."""
    encoder: EncoderSettings = AutoEncoder()
    """How observations become numbers, by its name or with its settings, as for maml-ppo."""
    hidden_sizes: Widths = (40, 40)
    """Units of each hidden layer; an empty list makes the network linear behind the encoder."""
    activation: Literal["relu", "tanh"] = "relu"
    """Activation of the hidden layers."""
    decoding: DecodingSettings = DecodingSettings()
    """How an encoder-decoder writes answers."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of the network."""

    @model_validator(mode="after")
    def _fit_network(self) -> Self:
        layers = isinstance(self.network, LayersSettings)
        for key in ("decoding",) if layers else ("encoder", "hidden_sizes", "activation"):
            if getattr(self, key) != NetworkSettings.model_fields[key].default:
                raise ValueError(
                    f"{key} is set, and network {self.network.name!r} has none; leave it out, or take "
                    f"network: {'encoder-decoder' if layers else 'layers'}"
                )
        return self


class AdamConfig(Settings):
    """Adam on the loss after adaptation, one step for each trial."""

    name: Literal["adam"] = "adam"
    """Adam."""
    learning_rate: ScheduledRate = Schedule(start=1e-3)
    """Step size of Adam on the meta-parameters: a number, or `{start: A, end: B, updates: N}`."""
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


class SupervisedConfig(NetworkSettings):
    """Settings of gradient-based meta-learning from right answers. A trial adapts after every round but the last."""

    number_error: NumberError = "squared"
    """Loss of answers that are numbers: the squared error, or the absolute one, as where that is the reward."""
    adapts: Adapts = AdaptAll()
    """Parameters that an inner step moves: all (MAML), the last layer (ANIL) or several (MeLU), a context vector in the
    input of the first layer (CAVIA), a latent vector from which all are decoded, or nothing."""
    outputs: Literal["own", "alike", "prototypes"] = "own"
    """How the outputs of classes begin in a task, as labels mean another class in every task: each with weights of its
    own; `alike`, all with the same ones (UNICORN-MAML: Ye and Chao, ICLR 2022); or `prototypes`, with the means of the
    first answered round's classes (Proto-MAML: Triantafillou et al., ICLR 2020). The last two need `adapts: all` or
    `last-layer`, and `prototypes` an outer step by Adam."""
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
        if self.outputs != "own" and not isinstance(self.adapts, AdaptAll | AdaptLastLayers):
            raise ValueError(
                f"outputs is {self.outputs!r}, and adapts is {self.adapts.name!r}, which moves no output; take adapts: "
                "all or last-layer, or outputs: own"
            )
        if self.outputs == "prototypes" and isinstance(self.outer, ReptileConfig):
            raise ValueError("outputs is 'prototypes', and outer is 'reptile', which learns no prototypes; take adam")
        vector = isinstance(self.adapts, AdaptContext | AdaptLatent) or context_size(self.adapts) > 0
        if isinstance(self.network, EncoderDecoderSettings) and vector:
            raise ValueError(
                f"adapts is {self.adapts.name!r} with a vector in the first layer or for all parameters, which network "
                "'encoder-decoder' has not; take adapts: all without bias_size, last-layer or nothing"
            )
        return self
