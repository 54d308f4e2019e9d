"""Model parallel memories: processes divide the layers of one memory among them.

A mesh of processes has two axes. Along `tensor` each layer is divided: processes hold some heads or units of it, read
the same input and sum what they put out (Shoeybi et al., Megatron-LM, 2019; torch's DTensor). Along `data`, processes
have other tasks; each keeps a part of every parameter, and a layer is gathered while it computes (Rajbhandari et al.,
ZeRO stage 3, 2020; torch's FSDP2).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from metarl.base.errors import MetarlError
from metarl.base.ranks import DATA, TENSOR, ranks

from ..common.adam import MOMENTS
from .contract import Layer, own_part

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor
    from torch.distributed.tensor.parallel import ParallelStyle


class Sharding:
    """The layers of a memory, divided over a mesh; all else of a network is whole in each process.

    All processes make the same calls in the same order.
    """

    def __init__(self, network: nn.Module, layers: Sequence[Layer], mesh: DeviceMesh) -> None:
        # It warns that a whole copy of what lies on both axes takes two exchanges.
        logging.getLogger("torch.distributed.tensor").setLevel(logging.ERROR)
        self.mesh, self.layers, self.ranks = mesh, list(layers), ranks()
        self.num_parts = mesh[TENSOR].size()
        self.gathers = mesh[DATA].size() > 1
        """Whether layers are gathered along the data axis, and their gradients summed over it."""
        self._orders: dict[str, tuple[int, Tensor]] = {}
        names = {id(layer): name for name, layer in network.named_modules()}
        for layer in self.layers:
            if self.num_parts > 1:
                self._divide(names[id(layer)], layer)
            if self.gathers:
                self._gather_when_used(layer)
        self.parameters: Mapping[str, nn.Parameter] = dict(network.named_parameters())
        self.gather()

    def _divide(self, name: str, layer: Layer) -> None:
        """Divide a layer along the tensor axis, after its rows and columns are put in the order of the parts."""
        from torch.distributed.tensor import Shard, distribute_tensor
        from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

        divided, mesh = layer.divided, self.mesh[TENSOR]
        styles: dict[str, ParallelStyle] = {}
        for axis, sections in ((0, divided.rows), (1, divided.columns)):
            for key, sizes in sections.items():
                order = _order(sizes, self.num_parts)
                module = getattr(layer, key)
                if isinstance(module, nn.Linear):
                    styles[key] = ColwiseParallel() if axis == 0 else RowwiseParallel()
                    self._put_in_order(f"{name}.{key}.weight", module.weight, axis, order)
                    if axis == 0:
                        self._put_in_order(f"{name}.{key}.bias", module.bias, 0, order)
                else:
                    self._put_in_order(f"{name}.{key}", module, 0, order)
                    setattr(layer, key, nn.Parameter(distribute_tensor(module.data, mesh, [Shard(0)])))
        parallelize_module(layer, mesh, styles)
        for count in divided.counts:
            setattr(layer, count, getattr(layer, count) // self.num_parts)

    def _put_in_order(self, name: str, parameter: Tensor, axis: int, order: Tensor) -> None:
        for each in (name, *(f"optimizer.{name}.{moment}" for moment in MOMENTS)):
            self._orders[each] = (axis, order)
        parameter.data = _permuted(parameter.data, axis, order)

    def _gather_when_used(self, layer: Layer) -> None:
        from torch.distributed.fsdp import fully_shard

        sharded = fully_shard(layer, mesh=self.mesh[DATA], reshard_after_forward=True)
        # Each process's loss is its part of a sum.
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)

    def gather(self) -> None:
        """Keep all layers whole along the data axis, to act or to read trials, which processes do at their own pace."""
        for layer in self.layers if self.gathers else ():
            cast(Any, layer).set_reshard_after_forward(False)
            cast(Any, layer).unshard()

    def scatter(self) -> None:
        """Keep of each layer this process's part; it is gathered while it computes."""
        for layer in self.layers if self.gathers else ():
            cast(Any, layer).reshard()
            cast(Any, layer).set_reshard_after_forward(True)

    def is_summed(self, parameter: Tensor) -> bool:
        """Return whether a parameter's gradient is summed over the data axis where it is computed."""
        return self.gathers and hasattr(parameter, "to_local")

    def whole(self, name: str, tensor: Tensor) -> Tensor:
        """Return a copy of the entry `name` of an agent's state on the CPU, whole and in its own order."""
        found = cast(Any, tensor).full_tensor() if hasattr(tensor, "full_tensor") else tensor
        if name in self._orders:
            axis, order = self._orders[name]
            found = _permuted(found, axis, order.argsort())
        return found.detach().to("cpu", copy=True)

    def part(self, name: str, whole: Tensor, like: Tensor) -> Tensor:
        """Return what `whole` gave in the place of `like`: the part of it that this process holds."""
        if not hasattr(like, "full_tensor"):
            return whole
        from torch.distributed.tensor import distribute_tensor

        if name in self._orders:
            axis, order = self._orders[name]
            whole = _permuted(whole, axis, order)
        spread = cast("DTensor", like)
        return distribute_tensor(whole.to(like), spread.device_mesh, spread.placements, src_data_rank=None)

    def norm(self, gradients: Sequence[Tensor]) -> float:
        """Return the norm of gradients of all parameters, each number counted once."""
        import torch.distributed as dist

        total = torch.zeros((), dtype=torch.float64, device=gradients[0].device)
        for gradient in gradients:
            copies = self.mesh.size()
            if hasattr(gradient, "to_local"):
                spread = cast("DTensor", gradient)
                for placement, size in zip(spread.placements, spread.device_mesh.shape, strict=True):
                    copies //= 1 if placement.is_replicate() else size
            total += own_part(gradient).double().square().sum() / copies
        dist.all_reduce(total)
        return float(total.sqrt())


def _permuted(tensor: Tensor, axis: int, order: Tensor) -> Tensor:
    return tensor.index_select(axis, order.to(tensor.device))


def _order(sizes: Sequence[int], num_parts: int) -> Tensor:
    """Return the rows of sections of `sizes` such that each of the parts, one behind the other, has some of each."""
    sections = torch.arange(sum(sizes)).split(list(sizes))
    return torch.cat([section.chunk(num_parts)[part] for part in range(num_parts) for section in sections])


def require_divisible(layers: Sequence[Layer], num_parts: int) -> None:
    """Raise MetarlError unless each layer can be divided into `num_parts` parts."""
    for layer in layers:
        for count in layer.divided.counts:
            if getattr(layer, count) % num_parts:
                raise MetarlError(
                    f"parallel.tensor is {num_parts}, but {getattr(layer, count)} {count} of a layer cannot be divided "
                    "by it; take a number that divides them"
                )
