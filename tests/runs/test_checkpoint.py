from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from metarl.base.errors import MetarlError
from metarl.base.files import require_writable, sweep
from metarl.runs import checkpoint
from metarl.runs.checkpoint import Meta

STATE = {
    "weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
    "step": torch.tensor(7.0),
    "count": torch.tensor(3, dtype=torch.int64),
    "double": torch.tensor([0.1], dtype=torch.float64),
}
META = Meta(update=3, env_steps=120, best=-1.25, config={"seed": 0, "tags": []}, versions={"metarl": "0"})


def save_example(folder: Path) -> Path:
    path = folder / "last.safetensors"
    checkpoint.save(path, STATE, META)
    return path


def test_a_checkpoint_gives_back_every_tensor_bit_for_bit_and_what_was_said(tmp_path: Path) -> None:
    state, meta = checkpoint.load(save_example(tmp_path))
    assert meta == META
    assert state.keys() == STATE.keys()
    for name, tensor in STATE.items():
        assert state[name].dtype == tensor.dtype
        assert state[name].shape == tensor.shape
        assert torch.equal(state[name], tensor)


@pytest.mark.parametrize("length", range(0, 256, 8))
def test_a_checkpoint_is_read_whatever_the_length_of_its_description(tmp_path: Path, length: int) -> None:
    # The first byte of the file is the last of that length: in one of 32 it is the one that a pickle begins with.
    meta = META.model_copy(update={"config": {"text": "x" * length}})
    checkpoint.save(tmp_path / "a.safetensors", STATE, meta)
    assert checkpoint.load(tmp_path / "a.safetensors")[1] == meta


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"best": np.zeros(2)}, "state_dict holds 'best' of class ndarray; it must hold torch tensors by name"),
        ({"count": 3}, "state_dict holds 'count' of class int"),
        (torch.zeros(2), "state_dict returns an object of class Tensor; return a dict of tensors"),
    ],
)
def test_a_state_that_holds_no_tensors_is_refused(tmp_path: Path, state: Any, words: str) -> None:
    with pytest.raises(MetarlError, match=words):
        checkpoint.save(tmp_path / "a.safetensors", state, META)
    assert not list(tmp_path.iterdir())


def test_the_same_state_makes_the_same_bytes_in_whatever_order_it_comes(tmp_path: Path) -> None:
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    checkpoint.save(first, STATE, META)
    checkpoint.save(second, dict(reversed(STATE.items())), META.model_copy())
    assert first.read_bytes() == second.read_bytes()


def test_tensors_that_share_memory_or_are_strided_are_saved(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    checkpoint.save(tmp_path / "a.safetensors", {"one": base, "two": base, "turned": base.T}, META)
    state, _ = checkpoint.load(tmp_path / "a.safetensors")
    assert torch.equal(state["turned"], base.T)


def test_a_number_that_is_not_finite_is_not_saved(tmp_path: Path) -> None:
    path = save_example(tmp_path)
    before = path.read_bytes()
    with pytest.raises(MetarlError, match="update 2: 'weight' of the agent is no longer finite"):
        checkpoint.save(path, {"weight": torch.tensor([float("nan")])}, META)
    assert path.read_bytes() == before


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_a_failed_save_leaves_the_old_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = save_example(tmp_path)
    before = path.read_bytes()

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full) if fails == "fsync" else monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(MetarlError, match="No space left on device"):
        checkpoint.save(path, {"weight": torch.zeros(2)}, META)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def _write_pickle(path: Path, bomb: Bomb) -> None:
    path.write_bytes(pickle.dumps({"weight": bomb}))


def _old_pickle(path: Path, bomb: Bomb) -> None:
    path.write_bytes(pickle.dumps(bomb, protocol=0))


def _write_torch_file(path: Path, bomb: Bomb) -> None:
    torch.save({"weight": bomb}, path)


def _torch_saved_the_old_way(path: Path, bomb: Bomb) -> None:
    torch.save({"weight": bomb}, path, _use_new_zipfile_serialization=False)


def _in_a_tensor(path: Path, bomb: Bomb) -> None:
    data = torch.frombuffer(bytearray(pickle.dumps(bomb)), dtype=torch.uint8)
    path.write_bytes(safetensors.torch.save({"weight": data}))


def _in_the_description(path: Path, bomb: Bomb) -> None:
    text = pickle.dumps(bomb, protocol=0).decode()
    path.write_bytes(safetensors.torch.save({"weight": torch.zeros(1)}, metadata={"metarl": text}))


@pytest.mark.parametrize(
    "plant",
    [_write_pickle, _old_pickle, _write_torch_file, _torch_saved_the_old_way, _in_a_tensor, _in_the_description],
)
def test_a_pickle_is_refused_and_nothing_in_it_runs(tmp_path: Path, plant: Any) -> None:
    path, mark = tmp_path / "a.safetensors", tmp_path / "ran"
    plant(path, Bomb(mark))
    with pytest.raises(MetarlError) as caught:
        checkpoint.load(path)
    assert not mark.exists()
    assert "\n" not in str(caught.value)


def test_the_bomb_does_go_off_when_unpickled(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(Bomb(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_a_checkpoint_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = save_example(tmp_path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(MetarlError, match="cut off or not a checkpoint"):
            checkpoint.load(path)


def test_a_missing_file_a_folder_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(safetensors.torch.save(STATE, metadata={"format": "pt"}))
    for path, why in [
        (tmp_path / "no", "does not exist"),
        (tmp_path, "Is a directory"),
        (foreign, "of another program"),
    ]:
        with pytest.raises(MetarlError, match=why):
            checkpoint.load(path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "description is not JSON"),
        ("[" * 100_000, "description is not JSON"),
        ("[1]", "description is not JSON"),
        ("{}", "update: missing"),
        (json.dumps({**META.model_dump(), "format": 2}), "format is 2: it must be 1"),
        (json.dumps({**META.model_dump(), "update": "x"}), "update is 'x'"),
        (json.dumps({**META.model_dump(), "update": -1}), "update is -1"),
    ],
)
def test_a_damaged_description_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors.torch.save(STATE, metadata={"metarl": text}))
    with pytest.raises(MetarlError, match=why):
        checkpoint.load(path)


def test_a_flipped_bit_anywhere_is_refused_in_one_line(tmp_path: Path) -> None:
    path = save_example(tmp_path)
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    spots = [*range(0, header, 5), *range(header, len(whole))]
    for spot in spots:
        for bit in (0, 6) if spot >= header else (1,):
            damaged = bytearray(whole)
            damaged[spot] ^= 1 << bit
            path.write_bytes(damaged)
            with pytest.raises(MetarlError) as caught:
                checkpoint.load(path)
            assert "\n" not in str(caught.value)
    path.write_bytes(whole[:-3] + b"abc")
    with pytest.raises(MetarlError, match=r"does not have the checksum saved with it; restore it from a copy, or take"):
        checkpoint.load(path)


def test_tensors_that_were_exchanged_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.save(path, {"one": torch.zeros(2), "two": torch.ones(2)}, META)
    state, _ = checkpoint.load(path)
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    path.write_bytes(safetensors.torch.save({"one": state["two"], "two": state["one"]}, metadata=metadata))
    with pytest.raises(MetarlError, match="does not have the checksum"):
        checkpoint.load(path)


def test_a_checkpoint_without_a_checksum_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    text = json.dumps(META.model_dump(mode="json"))
    path.write_bytes(safetensors.torch.save(STATE, metadata={"metarl": text}))
    with pytest.raises(MetarlError, match="has no checksum: an older metarl wrote it; train the agent again"):
        checkpoint.load(path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), complex(0, float("nan"))])
def test_numbers_that_are_not_finite_are_refused_on_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: complex
) -> None:
    path = tmp_path / "a.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "_is_finite", lambda tensor: True)
        checkpoint.save(path, {"weight": torch.tensor([0.0, bad])}, META)
    with pytest.raises(MetarlError, match="holds 'weight' with numbers that are not finite; restore it from a copy"):
        checkpoint.load(path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.bool, torch.uint8, torch.complex64])
@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_tensors_of_every_type_and_shape_are_saved_with_a_checksum(
    tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    tensor = torch.ones(shape, dtype=dtype)
    checkpoint.save(tmp_path / "a.safetensors", {"a": tensor}, META)
    assert torch.equal(checkpoint.load(tmp_path / "a.safetensors")[0]["a"], tensor)


def test_what_a_killed_save_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    names = ["last.safetensors", ".last.safetensors.12.tmp", ".last.safetensors.tmp", ".other.12.tmp", "a.12.tmp"]
    for name in names:
        (tmp_path / name).write_text("")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / ".last.safetensors.12.tmp").write_text("")
    sweep(tmp_path, ["last.safetensors"])
    assert {path.name for path in tmp_path.iterdir()} == {*names, "inner"} - {".last.safetensors.12.tmp"}
    assert len(list((tmp_path / "inner").iterdir())) == 1


def test_a_path_that_cannot_be_written_is_told_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    for path in (tmp_path / "new" / "deep" / "a.json", tmp_path / "file"):
        require_writable(path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "kept"
    for path, why in [
        (tmp_path, "is a folder; give the path of a file"),
        (tmp_path / "file" / "a.json", "cannot be written .Not a directory"),
        ("/proc/a.json", "cannot be written .No such file"),
    ]:
        with pytest.raises(MetarlError, match=f"{path} {why}"):
            require_writable(path)
