"""Results that are kept: in the process, and from one process to the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarl.base.stored import Arrays, Store


def new_store() -> Store[Arrays]:
    return Store("things", "things", dict, dict)


def test_a_result_is_made_once_whatever_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path))
    made = list[str]()

    def make() -> Arrays:
        made.append("made")
        return {"x": np.arange(3)}

    store = new_store()
    first = store.get(["a", 1], make)
    assert store.get(["a", 1], make) is first
    np.testing.assert_array_equal(new_store().get(["a", 1], make)["x"], np.arange(3))
    assert made == ["made"]
    store.get(["a", 2], make)
    assert made == ["made", "made"]


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 cut"])
def test_a_damaged_file_of_the_cache_is_made_anew(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METARL_CACHE", str(tmp_path))
    new_store().get("key", lambda: {"x": np.zeros(2)})
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(content)
    np.testing.assert_array_equal(new_store().get("key", lambda: {"x": np.ones(2)})["x"], 1)
    np.testing.assert_array_equal(new_store().get("key", lambda: {"x": np.zeros(2)})["x"], 1)


def test_a_cache_that_cannot_be_written_costs_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "things").write_text("a file in the folder's place")
    monkeypatch.setenv("METARL_CACHE", str(tmp_path))
    assert new_store().get("key", lambda: {"x": np.ones(2)})["x"].sum() == 2
    assert "things are made anew in each process" in capsys.readouterr().err
