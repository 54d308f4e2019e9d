"""A learner's step as a file that runs without this package: ONNX, or a program of `torch.export`."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.errors import MetarlError
from ..base.files import require_writable, write_atomically

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.export import ExportedProgram

METADATA = "metarl.json"
"""Name of the metadata inside the file: a property of an ONNX model, an extra file of a program."""
NEXT = "next_"
"""What stands before the name of a state where it is an output."""


@dataclass(frozen=True)
class ExportedStep:
    """What a learner computes at a step, for inputs as the environment gives them."""

    module: nn.Module
    """Takes a dict of inputs by name and returns a dict of outputs by name, each [batch, ...]. On the CPU."""
    inputs: Mapping[str, Tensor]
    """An example of every input, for a batch of two."""
    state: tuple[str, ...] = ()
    """Inputs that hold the memory: zeros at the start of a trial. The output `next_NAME` is that of the next step."""


def require_exportable(path: str | Path) -> None:
    """Raise MetarlError unless a step can be written to `path`, a file that ends in .onnx or .pt2."""
    suffix = Path(path).suffix
    if suffix not in (".onnx", ".pt2"):
        raise MetarlError(
            f"{path} ends in {suffix!r}; a policy is exported to a file that ends in .onnx, or in .pt2 for torch.export"
        )
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if suffix == ".onnx" and missing:
        raise MetarlError(
            f"an export to .onnx needs package {' and '.join(missing)}, which is not installed; pip install "
            f"{' '.join(missing)}, or export to .pt2"
        )
    require_writable(path)


def write_step(step: ExportedStep, path: str | Path, metadata: Mapping[str, Any]) -> None:
    """Write a step, with `metadata` and a description of its inputs. Raises as `require_exportable` does."""
    require_exportable(path)
    text = json.dumps({**metadata, **_interface(step)}, indent=2)
    with _without_noise():
        program = _traced(step)
        data = _onnx(program, step, text) if Path(path).suffix == ".onnx" else _pt2(program, text)
    write_atomically(path, data)


def _interface(step: ExportedStep) -> dict[str, Any]:
    """Return names, types and shapes of inputs, and which of them are the memory."""
    inputs = {
        name: {"shape": ["batch", *value.shape[1:]], "dtype": str(value.dtype).removeprefix("torch.")}
        for name, value in step.inputs.items()
    }
    return {"inputs": inputs, "state": {name: NEXT + name for name in step.state}}


def _traced(step: ExportedStep) -> ExportedProgram:
    import torch

    batch = torch.export.Dim("batch", min=1)
    shapes = {name: {0: batch} for name in step.inputs}
    with torch.no_grad():
        return torch.export.export(step.module.eval(), (dict(step.inputs),), dynamic_shapes=(shapes,), strict=False)


def _pt2(program: ExportedProgram, text: str) -> bytes:
    import torch

    file = io.BytesIO()
    torch.export.save(program, file, extra_files={METADATA: text})
    return file.getvalue()


def _onnx(program: ExportedProgram, step: ExportedStep, text: str) -> bytes:
    import onnx
    import torch

    with torch.no_grad():
        outputs = list(step.module(dict(step.inputs)))
    exported = torch.onnx.export(
        program, dynamo=True, verbose=False, input_names=list(step.inputs), output_names=outputs
    )
    if exported is None:
        raise MetarlError("torch made no ONNX model of the policy; export to .pt2")
    model = exported.model_proto
    onnx.helper.set_model_props(model, {METADATA: text})
    data: bytes = model.SerializeToString()
    return data


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
    """Keep silent what torch says of itself while it exports: deprecations inside, and that it has no torchvision."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.disabled
    logger.disabled = True
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning):
                warnings.filterwarnings("ignore", category=category, module="torch|copyreg")
            yield
    finally:
        logger.disabled = before
