"""What adapts to a task: each choice is its settings and a small object.

Parameters are dicts of tensors by name. Meta-training improves the *meta-parameters*; an inner step moves the *fast*
parameters, of which each task has its own. Together they give the parameters that the policy runs with.

Where observations have images, an encoder stands before the network. It adapts where all parameters do; where the last
layer, a context or a latent vector adapts, it is meta-learned and the same in all tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from metarl.base.errors import MetarlError
from metarl.base.settings import Count, Positive, Settings, Width

from ..common.codes import Penalties
from ..common.policy import CONTEXT, Parameters
from .policy import ENCODER


class AdaptAll(Settings):
    """All parameters of the policy adapt, those of its encoder too: MAML (Finn et al., ICML 2017)."""

    name: Literal["all"] = "all"
    """All parameters."""
    bias_size: Annotated[int, Field(ge=0, le=2**14)] = 0
    """Length of a vector in the input of the first layer that is meta-learned and adapts as well, so that an inner step
    can move the first layer's bias far without its weights (bias transformation: Finn, Yu et al., CoRL 2017). 0 leaves
    it out."""


class AdaptLastLayers(Settings):
    """The last layers of the policy adapt, and no encoder: one of them is ANIL (Raghu et al., ICLR 2020).

    All but the first are the decision layers of MeLU (Lee et al., KDD 2019), whose first layers embed users and items.
    """

    name: Literal["last-layer"] = "last-layer"
    """The last layer, or several."""
    count: Count = 1
    """Layers that adapt, counted from the last: that of the outputs, and hidden ones."""


class AdaptContext(Settings):
    """A context vector in the input of the first layer adapts, no encoder: CAVIA (Zintgraf et al., ICML 2019)."""

    name: Literal["context"] = "context"
    """A context vector."""
    size: Width = 8
    """Length of the context vector."""


class AdaptLatent(Settings):
    """A latent vector adapts, from which all parameters behind the encoder are decoded.

    After LEO (Rusu et al., ICLR 2019), whose encoder of images is the same in all tasks too.
    """

    name: Literal["latent"] = "latent"
    """A latent vector."""
    size: Width = 16
    """Length of the latent vector."""


class AdaptNothing(Settings):
    """Nothing adapts: one policy for all tasks."""

    name: Literal["nothing"] = "nothing"
    """Nothing."""


Adapts = Annotated[
    AdaptAll | AdaptLastLayers | AdaptContext | AdaptLatent | AdaptNothing,
    Field(discriminator="name"),
]
"""The parameters that an inner step moves."""


class AdaptCode(Settings):
    """A latent vector adapts, which an encoder of the first round's steps begins: LEO (Rusu et al., ICLR 2019)."""

    name: Literal["code"] = "code"
    """A latent vector from an encoder."""
    size: Width = 16
    """Length of the latent vector."""
    num_inner_steps: Count = 1
    """Inner steps on each round."""
    initial_std: Positive = 0.1
    """Deviation of the vector's distribution at the start. An update draws from it."""
    width: Width = 64
    """Units of the layer by which the encoder reads a step."""
    num_related: Count = 32
    """Most steps that are related to each other. Of longer rounds, runs of steps are: each counts with their mean."""
    penalties: Penalties = Penalties()
    """Weights of the further terms of the outer loss."""


PolicyAdapts = Annotated[
    AdaptAll | AdaptLastLayers | AdaptContext | AdaptLatent | AdaptCode | AdaptNothing,
    Field(discriminator="name"),
]
"""The same where rewards are learned from."""


def context_size(adapts: PolicyAdapts) -> int:
    """Return the length of the vector that stands beside the observation in the first layer's input."""
    match adapts:
        case AdaptContext():
            return adapts.size
        case AdaptAll():
            return adapts.bias_size
        case _:
            return 0


class Adaptation(Protocol):
    """Says which parameters are meta-learned, which adapt, and how the policy's follow from both."""

    def meta_parameters(self, policy: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the initial meta-parameters, given the initial parameters of the policy."""
        ...

    def start(self, meta: Parameters) -> dict[str, Tensor]:
        """Return the fast parameters that every task begins with."""
        ...

    def policy(self, meta: Parameters, fast: Parameters) -> Parameters:
        """Return the parameters that the policy runs with."""
        ...


class Subset:
    """Some of the policy's own parameters adapt, from their meta-learned values."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def meta_parameters(self, policy: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the policy's parameters."""
        return policy

    def start(self, meta: Parameters) -> dict[str, Tensor]:
        """Return the meta-learned values of the parameters that adapt."""
        return {name: meta[name] for name in self.names}

    def policy(self, meta: Parameters, fast: Parameters) -> Parameters:
        """Return all parameters, the adapted values in place of the meta-learned ones."""
        return {**meta, **fast}


class Everything(Subset):
    """All parameters adapt, and a meta-learned vector beside the observations, which starts at zero."""

    def __init__(self, names: tuple[str, ...], bias_size: int) -> None:
        super().__init__((*names, CONTEXT) if bias_size else names)
        self.bias_size = bias_size

    def meta_parameters(self, policy: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the policy's parameters and the vector."""
        zeros = next(iter(policy.values())).new_zeros(self.bias_size)
        return {**policy, CONTEXT: zeros} if self.bias_size else policy


class AlikeOutputs:
    """All outputs begin in a task with the same weights, the mean of what was learned.

    A class has another label in each task, so what tells the outputs' own weights apart is chance (Ye and Chao, ICLR
    2022: "How to train your MAML to excel in few-shot classification", UNICORN-MAML).
    """

    def __init__(self, adaptation: Adaptation, last_layer: tuple[str, ...]) -> None:
        self.adaptation, self.last_layer = adaptation, last_layer

    def meta_parameters(self, policy: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return those of the adaptation."""
        return self.adaptation.meta_parameters(policy, generator)

    def start(self, meta: Parameters) -> dict[str, Tensor]:
        """Return the fast parameters that every task begins with."""
        start = self.adaptation.start(meta)
        return start | {name: start[name].mean(0, keepdim=True).expand_as(start[name]) for name in self.last_layer}

    def policy(self, meta: Parameters, fast: Parameters) -> Parameters:
        """Return the parameters that the policy runs with."""
        return self.adaptation.policy(meta, fast)


class Context:
    """A context vector beside the observations adapts, starting from zero; all tasks share the network."""

    def __init__(self, size: int) -> None:
        self.size = size

    def meta_parameters(self, policy: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the policy's parameters; the vector itself is not meta-learned."""
        return policy

    def start(self, meta: Parameters) -> dict[str, Tensor]:
        """Return a context of zeros, [size]."""
        return {CONTEXT: next(iter(meta.values())).new_zeros(self.size)}

    def policy(self, meta: Parameters, fast: Parameters) -> Parameters:
        """Return the shared network and the task's context."""
        return {**meta, **fast}


START, DECODER = "latent.start", "latent.decoder."


class Latent:
    """A short vector adapts; a linear decoder turns it into an offset of every parameter behind the policy's encoder.

    From LEO it takes the low-dimensional space and the learned decoder. It has no encoder: the vector starts at a
    learned place, and the gradient of the first round moves it.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def meta_parameters(self, policy: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the policy's parameters, the decoder, and the vector's start, which is zero."""
        decoded = {name: value for name, value in policy.items() if not name.startswith(ENCODER)}
        total = sum(value.numel() for value in decoded.values())
        # |D D^T g| is about scale^2 sqrt(size total) |g|. This scale makes a step as long as one on the parameters.
        scale = (self.size * total) ** -0.25
        decoder = {
            f"{DECODER}{name}": scale
            * torch.randn(*value.shape, self.size, generator=generator, dtype=torch.float64).to(value)
            for name, value in decoded.items()
        }
        return {**policy, **decoder, START: next(iter(policy.values())).new_zeros(self.size)}

    def start(self, meta: Parameters) -> dict[str, Tensor]:
        """Return the learned start, [size]."""
        return {START: meta[START]}

    def policy(self, meta: Parameters, fast: Parameters) -> Parameters:
        """Return the policy's parameters plus the decoded offsets."""
        shared = {name: value for name, value in meta.items() if name.startswith(ENCODER)}
        return shared | {
            name.removeprefix(DECODER): meta[name.removeprefix(DECODER)] + decoder @ fast[START]
            for name, decoder in meta.items()
            if name.startswith(DECODER)
        }


CODE = "latent.code"
"""Name of a latent vector that an encoder began."""


class Coded:
    """A latent vector adapts. Before the first round is encoded, it is at its learned start in every task.

    Then it has another name, which tells that it was encoded.
    """

    def __init__(self, size: int) -> None:
        self.latent = Latent(size)

    def meta_parameters(self, policy: dict[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
        """Return the policy's parameters, the decoder, and the vector's start, which is zero."""
        return self.latent.meta_parameters(policy, generator)

    def start(self, meta: Parameters) -> dict[str, Tensor]:
        """Return the learned start, [size]."""
        return self.latent.start(meta)

    def policy(self, meta: Parameters, fast: Parameters) -> Parameters:
        """Return the policy's parameters plus the decoded offsets."""
        return self.latent.policy(meta, {START: fast[CODE] if CODE in fast else fast[START]})


def make_adaptation(
    adapts: PolicyAdapts, last_layers: Callable[[int], tuple[str, ...]], names: tuple[str, ...]
) -> Adaptation:
    """Return the adaptation that settings ask for. `names` are those of all parameters, `last_layers` of the last n.

    Raises MetarlError for more last layers than there are.
    """
    match adapts:
        case AdaptContext():
            return Context(adapts.size)
        case AdaptLatent():
            return Latent(adapts.size)
        case AdaptCode():
            return Coded(adapts.size)
        case AdaptLastLayers():
            own = last_layers(adapts.count)
            if (have := len(own) // 2) < adapts.count:
                raise MetarlError(
                    f"agent.adapts.count is {adapts.count}, and the network has {have} layers, that of its outputs "
                    "among them; take fewer, or more agent.hidden_sizes"
                )
            return Subset(own)
        case AdaptNothing():
            return Subset(())
        case AdaptAll():
            return Everything(names, adapts.bias_size)
