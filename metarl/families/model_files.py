"""Files of one's own that a family needs, such as a MuJoCo model with its meshes: found, copied and named by content.

A setting holds such a file as `models/DIGEST/NAME`, where the digest is that of the file and of all files it refers to.
The files lie in a cache of the user, and in the folder of each run that uses them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..base.cache import cache_folder
from ..base.code import INSTALL
from ..base.errors import MetarlError
from ..base.files import folder_inside
from .model_parts import SUFFIXES, find_parts

FOLDER = "models"
"""Folder of a run's model files."""
FILE_SETTINGS = ("arguments", "file")
"""Settings of families that may name files; a relative path in a YAML file begins at that file's folder."""
REFERENCE = re.compile(rf"{FOLDER}/([0-9a-f]{{32}})/([^/].*)")
"""A file in a setting."""
PACKAGED = re.compile(r"([A-Za-z_]\w*):([^/\\:][^:]*)")
"""A file in the folder of an installed package, as a YAML file names it: `package:models/robot.xml`."""
MOST_BYTES = 50 * 2**20
"""Largest size of a file and all that it refers to."""

_known: list[Path] = []
"""Folders of runs that were loaded, where a model may be found."""
_verified: dict[str, Path] = {}
"""Folder of each digest whose files were compared with it in this process."""


def absolute_paths(value: Any, folder: Path, key: str = "arguments", *, strict: bool = True) -> Any:
    """Return settings in which names of existing files, relative to `folder`, are absolute.

    `package:models/robot.xml` is a model in the folder of an installed package, which is not imported.

    Raises MetarlError for a path that begins with ./ or ../ and leads to no file, unless `strict` is False.
    """
    if isinstance(value, Mapping):
        return {n: absolute_paths(inner, folder, f"{key}.{n}", strict=strict) for n, inner in value.items()}
    if not isinstance(value, str) or REFERENCE.fullmatch(value) or not _may_be_file(value):
        return value
    if (packaged := PACKAGED.fullmatch(value)) and Path(value).suffix in SUFFIXES:
        return str(_find_packaged(key, packaged[1], packaged[2]))
    path = folder / value
    if path.is_file():
        return str(path.absolute())
    if strict and value.startswith(("./", "../")):
        raise MetarlError(
            f"{key} is {value!r}, but {path} does not exist; paths are relative to the file they stand in"
        )
    return value


def _find_packaged(key: str, package: str, name: str) -> Path:
    """Return the path of a file in an installed package. Raises MetarlError where either is missing."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # such as a module that was put into sys.modules by hand
        found = None
    if found is None:
        raise MetarlError(
            f"{key} is a file of package {package!r}, which is not installed; pip install "
            f"{INSTALL.get(package, package.replace('_', '-'))}"
        )
    for folder in found.submodule_search_locations or ():
        if (path := Path(folder) / name).is_file():
            return path.absolute()
    raise MetarlError(
        f"{key} is {package}:{name}, but package {package!r} has no such file; give the file's path below "
        f"{next(iter(found.submodule_search_locations or ()), 'the folder of a package')}"
    )


def _may_be_file(value: str) -> bool:
    return "\0" not in value and len(value) < 4096 and bool("/" in value or Path(value).suffix)


def adopt(value: Any, suffixes: Collection[str] | None = None) -> Any:
    """Return settings in which each path of a file is the reference of a copy; of files with `suffixes` alone, if any.

    A path begins with /, ./ or ../. Other words are left alone: Gymnasium has models of its own, such as ant.xml.
    """
    if isinstance(value, Mapping):
        return {name: adopt(inner, suffixes) for name, inner in value.items()}
    is_path = isinstance(value, str) and value.startswith(("/", "./", "../")) and _may_be_file(value)
    if not is_path or not Path(value).is_file() or (suffixes and Path(value).suffix not in suffixes):
        return value
    return _copy_to_cache(Path(value))


def located(value: Any) -> Any:
    """Return settings in which each reference is the path of the file. Raises MetarlError where its copy is lost."""
    if isinstance(value, Mapping):
        return {name: located(inner) for name, inner in value.items()}
    found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    if ".." in Path(found[2]).parts:
        raise MetarlError(f"{value!r} leads out of its folder; load the family from its YAML file again")
    return str(_locate(found[1]) / found[2])


def references(value: Any) -> Iterator[str]:
    """Yield the digest of every reference in settings."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, str) and (found := REFERENCE.fullmatch(value)):
        yield found[1]


def keep_models(run_dir: str | Path, settings: Mapping[str, Any]) -> None:
    """Copy the model files of settings into a run folder. Raises MetarlError where that cannot be written."""
    for digest in references(settings):
        folder = folder_inside(run_dir, FOLDER) / digest
        if not folder.is_dir():
            _copy_whole(_files_in(_locate(digest)), folder)


def know_models(run_dir: str | Path) -> None:
    """Let references be found in a run folder too."""
    folder = Path(run_dir).absolute()
    if folder not in _known and (folder / FOLDER).is_dir():
        _known.append(folder)


def fingerprint(path: Path) -> str:
    """Return the digest of a file and of all that it refers to."""
    return _digest(_parts_by_name(path)[0])


def _copy_to_cache(path: Path) -> str:
    files, name = _parts_by_name(path)
    digest = _digest(files)
    if digest not in _verified:
        folder = cache_folder(FOLDER) / digest
        if not folder.is_dir() or _digest(_files_in(folder)) != digest:
            shutil.rmtree(folder, ignore_errors=True)
            _copy_whole(files, folder)
        _verified[digest] = folder
    return f"{FOLDER}/{digest}/{name}"


def _parts_by_name(path: Path) -> tuple[dict[str, Path], str]:
    """Return a file and all that it refers to, by their names below the folder that holds them all, and its own name.

    Raises MetarlError where they are too large.
    """
    path = Path(os.path.normpath(path.absolute()))
    parts = [path, *find_parts(path)]
    size = sum(part.stat().st_size for part in parts)
    if size > MOST_BYTES:
        raise MetarlError(
            f"{path} and its {len(parts) - 1} other files have {size / 2**20:.0f} MB; a run holds a copy of at most "
            f"{MOST_BYTES / 2**20:.0f} MB: simplify its meshes and textures"
        )
    root = Path(os.path.commonpath([part.parent for part in parts]))
    return {part.relative_to(root).as_posix(): part for part in parts}, path.relative_to(root).as_posix()


def _digest(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{hashlib.sha256(files[name].read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:32]


def _files_in(folder: Path) -> dict[str, Path]:
    """Return the files in a folder by their names. A link is not one of them."""
    paths = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return {path.relative_to(folder).as_posix(): path for path in paths if path.is_file() and not path.is_symlink()}


def _locate(digest: str) -> Path:
    """Return the folder of a digest in the cache, copied there from a run folder where it is not there yet."""
    if digest in _verified and _verified[digest].is_dir():
        return _verified[digest]
    cached = cache_folder(FOLDER) / digest
    for source in (cached, *(folder / FOLDER / digest for folder in _known)):
        if not source.is_dir():
            continue
        files = _files_in(source if source == cached else folder_inside(source.parents[1], f"{FOLDER}/{digest}"))
        if sum(path.stat().st_size for path in files.values()) > MOST_BYTES or _digest(files) != digest:
            if source != cached:
                raise MetarlError(f"{source} was changed: its files are not those of {digest}; restore it from a copy")
            shutil.rmtree(cached, ignore_errors=True)
            continue
        _require_inside(source, files)
        if source != cached:
            _copy_whole(files, cached)
        _verified[digest] = cached
        return cached
    raise MetarlError(
        f"model files {FOLDER}/{digest} are neither in the run nor in {cache_folder(FOLDER)}; restore the run's "
        f"folder {FOLDER}, or load the family from its YAML file again"
    )


def _require_inside(folder: Path, files: Mapping[str, Path]) -> None:
    """Raise MetarlError where a model refers to a file outside its folder: it may come from a stranger."""
    for path in files.values():
        for part in find_parts(path, strict=False):
            if not part.is_relative_to(folder):
                raise MetarlError(f"{path} refers to {part}, outside the run; a run's models hold their own files")


def _copy_whole(files: Mapping[str, Path], folder: Path) -> None:
    """Copy files into a new folder, which appears with all of them or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, path in files.items():
                target = temporary / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
            temporary.chmod(0o755)
            if not folder.is_dir():
                temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        if folder.is_dir():  # another process was faster
            return
        raise MetarlError(
            f"model files cannot be copied to {folder} ({error.strerror}); free some space, or set METARL_CACHE to a "
            "folder you may write to"
        ) from None
