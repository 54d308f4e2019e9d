"""Files are written whole, streams are never replaced, and a stranger's folder stays in itself."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from metarl.base.errors import MetarlError
from metarl.base.files import (
    folder_inside,
    keep_aside,
    path_inside,
    read_inside,
    require_regular,
    require_writable,
    write_atomically,
)


def test_a_file_of_the_folder_is_read_also_over_links_that_stay_inside(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "wandb").mkdir(parents=True)
    (folder / "a.txt").write_text("a")
    (folder / "b.txt").symlink_to("a.txt")
    (folder / "wandb" / "latest").symlink_to(folder)
    (tmp_path / "alias").symlink_to(folder)
    for root in (folder, tmp_path / "alias"):
        assert read_inside(root, "a.txt") == read_inside(root, "b.txt") == b"a"
    assert path_inside(folder, "new.txt") == folder / "new.txt"
    assert folder_inside(folder, "wandb") == folder / "wandb"
    with pytest.raises(FileNotFoundError):
        read_inside(folder, "no.txt")


def _link(folder: Path) -> None:
    (folder / "a").symlink_to(folder.parent / "secret")


def _dangling(folder: Path) -> None:
    (folder / "a").symlink_to(folder.parent / "nothing-yet")


def _by_a_folder(folder: Path) -> None:
    (folder / "inner").symlink_to(folder.parent)
    (folder / "a").symlink_to("inner/secret")


def _chain(folder: Path) -> None:
    (folder / "b").symlink_to("../secret")
    (folder / "a").symlink_to("b")


def _device(folder: Path) -> None:
    (folder / "a").symlink_to("/dev/null")


@pytest.mark.parametrize("plant", [_link, _dangling, _by_a_folder, _chain, _device])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, plant: Callable[[Path], None]) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    plant(folder)
    for use in (path_inside, read_inside, folder_inside):
        with pytest.raises(MetarlError, match=r"a leads out of .*; a run folder holds its own files"):
            use(folder, "a")
    assert not (tmp_path / "nothing-yet").exists()


def test_a_link_out_at_any_depth_of_a_folder_is_refused(tmp_path: Path) -> None:
    deep = tmp_path / "run" / "wandb" / "x" / "files"
    deep.mkdir(parents=True)
    folder_inside(tmp_path / "run", "wandb")
    (deep / "media").symlink_to(tmp_path)
    with pytest.raises(MetarlError, match="media leads out of"):
        folder_inside(tmp_path / "run", "wandb")


def test_only_the_own_links_of_a_program_may_lead_out_of_its_folder(tmp_path: Path) -> None:
    logs = tmp_path / "run" / "wandb" / "session" / "logs"
    logs.mkdir(parents=True)
    (logs / "debug-core.log").symlink_to(tmp_path / "elsewhere" / "core.log")
    folder_inside(tmp_path / "run", "wandb", "*/logs/debug-core.log")
    (logs / "debug.log").symlink_to(tmp_path)
    with pytest.raises(MetarlError, match=r"debug\.log leads out of"):
        folder_inside(tmp_path / "run", "wandb", "*/logs/debug-core.log")


def test_a_name_with_dots_or_a_sibling_with_the_same_start_is_outside(tmp_path: Path) -> None:
    for name in ("run", "run-2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    for name in ("../run-2/a", str(tmp_path / "run-2" / "a")):
        with pytest.raises(MetarlError, match="leads out of"):
            read_inside(tmp_path / "run", name)


def test_a_fifo_and_a_circle_of_links_are_refused_and_block_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(MetarlError, match="is a FIFO, not a file"):
        read_inside(tmp_path, "fifo")
    with pytest.raises(MetarlError, match="is a FIFO; give the path of a file"):
        require_regular(tmp_path / "fifo")
    with pytest.raises(MetarlError, match="one cannot be read"):
        path_inside(tmp_path, "one")
    for use in (require_writable, lambda path: write_atomically(path, b"")):
        with pytest.raises(MetarlError, match="one cannot be written"):
            use(tmp_path / "one")


def test_a_nul_character_costs_one_line(tmp_path: Path) -> None:
    for use in (lambda: path_inside("a\0b", "x"), lambda: require_writable("\0"), lambda: write_atomically("\0", b"")):
        with pytest.raises(MetarlError, match="holds a NUL character"):
            use()


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    for name, old in (("old.json", b"old"), ("new.json", None)):
        target, link = tmp_path / "there" / name, tmp_path / name
        if old is not None:
            target.write_bytes(old)
        link.symlink_to(target)
        require_writable(link)
        write_atomically(link, b"written")
        assert link.is_symlink() and not target.is_symlink()
        assert target.read_bytes() == b"written"
    assert sorted(path.name for path in (tmp_path / "there").iterdir()) == ["new.json", "old.json"]


def test_a_device_is_written_to_and_stays_a_device() -> None:
    before = Path("/dev/null").stat()
    require_writable("/dev/null")
    write_atomically("/dev/null", b"x" * 1000)
    assert (Path("/dev/null").stat().st_ino, Path("/dev/null").stat().st_mode) == (before.st_ino, before.st_mode)


def test_a_device_of_ones_own_is_written_to(tmp_path: Path) -> None:
    try:
        os.mknod(tmp_path / "null", 0o600 | 0o020000, os.makedev(1, 3))
        (tmp_path / "null").write_bytes(b"")
    except PermissionError:
        pytest.skip("only root makes devices")
    write_atomically(tmp_path / "null", b"x")
    assert (tmp_path / "null").is_char_device()


def test_a_fifo_gives_its_reader_every_byte_and_stays(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fifo, data, got = tmp_path / "fifo", os.urandom(300_000), []
    os.mkfifo(fifo)
    require_writable(fifo)
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    write_atomically(fifo, data)
    reader.join(10)
    assert got == [data]
    assert fifo.is_fifo()


@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1", "out.txt"])
def test_the_process_own_output_is_written_in_order_and_not_replaced(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out.txt"
    code = (
        "import sys; from metarl.base.files import *; print('before'); require_writable(sys.argv[1]);"
        "write_atomically(sys.argv[1], b'data\\n'); print('after')"
    )
    with out.open("wb") as file:
        inode = os.fstat(file.fileno()).st_ino
        subprocess.run([sys.executable, "-c", code, name], stdout=file, cwd=tmp_path, check=True, timeout=60)
    assert out.read_text() == "before\ndata\nafter\n"
    assert out.stat().st_ino == inode
    assert [path.name for path in tmp_path.iterdir()] == ["out.txt"]


def test_two_threads_that_write_one_file_leave_one_whole_file(tmp_path: Path) -> None:
    path, texts = tmp_path / "a.json", [bytes([65 + i]) * 200_000 for i in range(4)]

    def write(text: bytes) -> None:
        for _ in range(5):
            write_atomically(path, text)

    threads = [threading.Thread(target=write, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in texts
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_what_is_kept_aside_stays_whatever_is_put_in_its_place(tmp_path: Path) -> None:
    path, names = tmp_path / "a.json", []
    for content in (b"1", b"2", b"3"):
        path.write_bytes(content)
        names.append(keep_aside(path, "replaced").name)
        path.write_bytes(b"rewritten")
    assert names == ["a.json.replaced-1", "a.json.replaced-2", "a.json.replaced-3"]
    assert [(tmp_path / name).read_bytes() for name in names] == [b"1", b"2", b"3"]


def test_what_cannot_be_kept_aside_costs_one_line(tmp_path: Path) -> None:
    with pytest.raises(MetarlError, match="cannot be written"):
        keep_aside(tmp_path / "missing.json", "replaced")
