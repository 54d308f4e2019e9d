"""Checkpoints: one safetensors file with an agent's tensors and the state of training. They are data, never code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from ..base.errors import MetarlError
from ..base.files import require_regular, write_atomically
from ..base.settings import Settings, validate
from ..trials.agent import require_tensors

if TYPE_CHECKING:
    from torch import Tensor


class Meta(Settings):
    """Description of a checkpoint. It holds no time, path or host, so that a resumed run writes the same bytes."""

    format: Literal[1] = 1
    """Version of the checkpoint format."""
    update: Annotated[int, Field(ge=0)]
    """Meta-updates made."""
    env_steps: Annotated[int, Field(ge=0)]
    """Environment steps of training, including those of the run it started from."""
    start_env_steps: Annotated[int, Field(ge=0)] = 0
    """Environment steps at the start of this run: zero, or those of the run it started from."""
    best: float | None
    """Best validation IQM so far, of the score `evaluation.best_by`. None before the first evaluation."""
    config: dict[str, Any]
    """Resolved configuration of the run."""
    versions: dict[str, str]
    """Versions of the packages that influence results."""
    teachers: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the checkpoint of each run that teaches, by its folder."""
    taken: tuple[str, ...] = ()
    """Tensors that were taken of the run it started from; none where the whole agent was."""


_KEY = "metarl"  # a single entry, because safetensors writes several in no fixed order
_CHECKSUM = "checksum"
_REMEDY = "give a .safetensors file that `metarl train` wrote"
_OTHER = (
    "restore it from a copy, or take the run's other checkpoint: `--checkpoint best|last` in `metarl evaluate`, "
    "start_from=RUN in a new training"
)
"""Remedy for a checkpoint whose content is damaged."""


def copy_state(state: Mapping[str, Tensor], meta: Meta) -> dict[str, Tensor]:
    """Return a copy of an agent's `state_dict` on the CPU, which shares no memory with the agent.

    Raises MetarlError if the state is not a dict of tensors, or if a tensor holds a number that is not finite.
    """
    require_tensors(state)
    for name, tensor in state.items():
        if not _is_finite(tensor):
            raise MetarlError(
                f"update {meta.update - 1}: {name!r} of the agent is no longer finite and is not saved: take a lower "
                "learning rate and resume from the checkpoint before"
            )
    # Clones, because safetensors refuses tensors that share memory.
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.items()}


def save(path: str | Path, state: Mapping[str, Tensor], meta: Meta) -> None:
    """Write an agent's `state_dict` and `meta`. The write is atomic: a crash leaves the previous checkpoint in place.

    Raises MetarlError as `copy_state` does, and if the file cannot be written.
    """
    write_atomically(path, to_bytes(state, meta))


def to_bytes(state: Mapping[str, Tensor], meta: Meta) -> bytes:
    """Return the content of a checkpoint. Raises MetarlError as `copy_state` does."""
    import safetensors.torch

    tensors = copy_state(state, meta)
    description = meta.model_dump(mode="json")
    text = json.dumps({**description, _CHECKSUM: _checksum(tensors, description)}, sort_keys=True)
    data: bytes = safetensors.torch.save(tensors, metadata={_KEY: text})
    return data


def load(path: str | Path) -> tuple[dict[str, Tensor], Meta]:
    """Return the tensors and the description of a checkpoint. Nothing in the file is executed.

    Raises MetarlError for a file that is missing, cut off, or not a checkpoint of this package, for one whose content
    does not have its checksum, and for numbers that are not finite.
    """
    try:
        require_regular(path)
        _refuse_pickle(Path(path))
        # As bytes: safetensors opens no path that is not UTF-8.
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise MetarlError(f"checkpoint {path} does not exist; {_REMEDY}") from None
    except OSError as error:
        raise MetarlError(f"checkpoint {path} cannot be read ({error.strerror or error}); {_REMEDY}") from None
    return from_bytes(data, path)


def from_bytes(data: bytes, path: str | Path) -> tuple[dict[str, Tensor], Meta]:
    """Return the tensors and the description in the content of a checkpoint, which errors call `path`.

    Raises MetarlError as `load` does.
    """
    import safetensors
    from safetensors.torch import load as load_tensors

    try:
        state = load_tensors(data)
        text = _metadata(data).get(_KEY)
    except (safetensors.SafetensorError, ValueError) as error:
        why = str(error).split("\n", 1)[0]
        raise MetarlError(f"checkpoint {path} is cut off or not a checkpoint ({why}); {_REMEDY}") from None
    return state, _verify(state, text, path)


def _metadata(data: bytes) -> Mapping[str, str]:
    """Return the texts in the header of a safetensors file, which `safetensors` has checked."""
    size = int.from_bytes(data[:8], "little")
    found: Mapping[str, str] = json.loads(data[8 : 8 + size]).get("__metadata__") or {}
    return found


def _checksum(state: Mapping[str, Tensor], description: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a description and of the names, types, shapes and bytes of all tensors."""
    import torch

    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(state):
        tensor = state[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _is_finite(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex()) or bool(tensor.isfinite().all())


def _refuse_pickle(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(9)
    # Safetensors begin with eight bytes of header length, whose first may look like a pickle's, and the header's brace.
    if start[8:] != b"{" and (start[:1] == b"\x80" or start[:2] == b"PK"):
        raise MetarlError(f"checkpoint {path} is a pickle, which could run code, and was not opened; {_REMEDY}")


def _verify(state: Mapping[str, Tensor], text: str | None, path: str | Path) -> Meta:
    """Return the description in a checkpoint's `text`. Raises MetarlError unless all of the file is as it was saved."""
    if text is None:
        raise MetarlError(f"checkpoint {path} is a safetensors file of another program; {_REMEDY}")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise MetarlError(f"checkpoint {path} is damaged: its description is not JSON; {_OTHER}")
    checksum = data.pop(_CHECKSUM, None)
    meta = validate(Meta, data, where=f"checkpoint {path} is damaged")
    if checksum is None:
        raise MetarlError(f"checkpoint {path} has no checksum: an older metarl wrote it; train the agent again")
    if checksum != _checksum(state, data):
        raise MetarlError(
            f"checkpoint {path} is damaged: its content does not have the checksum saved with it; {_OTHER}"
        )
    for name, tensor in state.items():
        if not _is_finite(tensor):
            raise MetarlError(f"checkpoint {path} holds {name!r} with numbers that are not finite; {_OTHER}")
    return meta
