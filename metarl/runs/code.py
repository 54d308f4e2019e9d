"""The code of a user's own that a run needs: where it was found, kept in the run folder, and found again from anywhere.

A run folder may come from a stranger, so it brings no code: it names modules, and folders that this user wrote.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import site
import stat
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ..base.code import (
    LOCAL,
    canonical,
    how_to_import,
    import_code,
    imported_modules,
    is_findable,
    is_reference,
    only_installed,
    renamed,
    source_file,
)
from ..base.errors import MetarlError
from ..base.files import path_inside, read_inside, write_atomically
from ..base.progress import warn
from ..base.settings import Settings, validate
from ..families.family import FAMILIES, TaskFamily
from ..trials.registered import AGENTS

CODE = "code.json"
"""Name of the file in a run folder. A run of built-in families and agents has none."""


class Module(Settings):
    """A module that a run needs."""

    module: Annotated[str, Field(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*$", max_length=500)]
    """Dotted name."""
    folder: str | None = None
    """Folder that Python must search for it. None if it is installed, so that the name is enough."""
    sha256: str | None = None
    """Digest of its file, None if it is installed."""
    models: Mapping[str, str] = Field(default_factory=dict)
    """Digest of the model file, such as MJCF with its meshes, of each class of a family that names one."""


class Code(Settings):
    """The content of `code.json`."""

    modules: tuple[Module, ...] = ()
    """In the order of import."""


def record_code(run_dir: str | Path, family: str, agent: str) -> list[str]:
    """Write which modules a run needs besides metarl: those of its family and agent, and those imported by name.

    Modules that an earlier session of the run needed stay, but for those that were renamed since. Without any, no file
    is written. Returns the modules that neither name, `family` or `agent`, tells to import.
    """
    played, trained = FAMILIES[family], AGENTS[agent]
    for kind, name, cls in (("family", family, played), ("agent", agent, trained)):
        if LOCAL in cls.__qualname__:
            warn(
                f"{kind} {name!r} is class {cls.__name__}, made inside a function of {cls.__module__}: no other "
                "process can load the run; move the class to the top of a module"
            )
    names = dict.fromkeys([*imported_modules(), played.__module__, trained.__module__])
    modules = {each.module: each for each in _read(run_dir).modules if renamed(each.module) == each.module}
    modules |= {name: _describe(name, played) for name in names if _is_own(name)}
    if modules:
        content = Code(modules=tuple(modules.values())).model_dump(mode="json")
        write_atomically(path_inside(run_dir, CODE), f"{json.dumps(content, indent=2)}\n".encode())
    told = {canonical(each).partition(":")[0] for each in (family, agent) if is_reference(each)}
    return [name for name in modules if name not in told]


def recall_code(run_dir: str | Path) -> None:
    """Import the modules that a run needs, from where it found them.

    Warns of a file that has changed since, of code or of a family's model. Raises MetarlError for a module that is
    gone, and for a folder that a stranger may have named: inside the run folder, relative, or of another user.
    """
    with only_installed():
        for record in _read(run_dir).modules:
            _recall(record, Path(run_dir))


def _read(run_dir: str | Path) -> Code:
    try:
        data = json.loads(read_inside(run_dir, CODE))
    except (FileNotFoundError, NotADirectoryError):
        return Code()
    except (OSError, ValueError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise MetarlError(f"{Path(run_dir) / CODE} is damaged; restore it from a copy, or remove it and add --import")
    return validate(Code, data, where=str(Path(run_dir) / CODE))


def _is_own(module: str) -> bool:
    return module.partition(".")[0] not in ("metarl", "__main__", "builtins")


def _describe(module: str, family: type[TaskFamily]) -> Module:
    file, digest = source_file(module), family.model_digest() if family.__module__ == module else ""
    models = {family.__name__: digest} if digest else {}
    if file is None or _is_installed(file):
        return Module(module=module, models=models)
    depth = module.count(".") + (file.name == "__init__.py")
    return Module(module=module, folder=str(file.parents[depth]), sha256=_digest(file), models=models)


def _is_installed(file: Path) -> bool:
    paths = sysconfig.get_paths()
    places = [paths[name] for name in ("purelib", "platlib", "stdlib", "platstdlib")]
    return any(file.is_relative_to(Path(place).resolve()) for place in [*places, *site.getsitepackages()])


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _recall(record: Module, run_dir: Path) -> None:
    module = renamed(record.module)
    if module not in sys.modules and not is_findable(module) and record.folder is not None:
        _require_trusted(record.folder, module, run_dir)
        import_code(module, Path(record.folder))
    elif module in sys.modules or is_findable(module):
        import_code(module)
    else:
        raise MetarlError(f"run {run_dir} needs module {module!r}, which is not installed; {_remedy(module)}")
    file = source_file(module)
    if record.sha256 is not None and file is not None and _digest(file) != record.sha256:
        _warn_once(f"{file} has changed since {run_dir} was trained; its results may not be repeated")
    for name, digest in record.models.items():
        family = getattr(sys.modules.get(module), name, None)
        if isinstance(family, type) and issubclass(family, TaskFamily) and family.model_digest() != digest:
            _warn_once(
                f"the model file of {module}:{name}, or a file it refers to, has changed since {run_dir} was trained; "
                "its results may not be repeated"
            )


@functools.cache
def _warn_once(message: str) -> None:
    warn(message)


def _require_trusted(folder: str, module: str, run_dir: Path) -> None:
    """Raise MetarlError unless a recorded folder has the module, and only its user or the system wrote it there."""
    place = Path(folder)
    if not place.is_absolute():
        raise MetarlError(f"{run_dir / CODE} names the relative folder {folder!r} for {module!r}; {_remedy(module)}")
    top = module.partition(".")[0]
    package = place / top
    found = [package / "__init__.py"] if package.is_dir() else [place / f"{top}.py"]
    if not found[0].is_file():
        raise MetarlError(f"run {run_dir} needs module {module!r}, which is gone from {folder}; {_remedy(module)}")
    for path in (place, *_parents_inside(found[0], place), found[0]):
        resolved = path.resolve()
        if resolved.is_relative_to(run_dir.resolve()):
            raise MetarlError(f"run {run_dir} has its own code, {path}, which is not run; {_remedy(module)}")
        if problem := _foreign(resolved):
            raise MetarlError(f"{path} holds code of run {run_dir}, but {problem}; {_remedy(module)}")


def _parents_inside(file: Path, place: Path) -> Iterable[Path]:
    return [parent for parent in file.parents if parent != place and parent.is_relative_to(place)]


def _foreign(path: Path) -> str:
    """Return why other users may have written a file or a folder, '' if they cannot have."""
    if not hasattr(os, "getuid"):
        return ""
    about = path.stat()
    if about.st_uid not in (os.getuid(), 0):
        return "it belongs to another user"
    shared = about.st_mode & stat.S_IWOTH and not (path.is_dir() and about.st_mode & stat.S_ISVTX)
    return "everybody can write it" if shared else ""


def _remedy(module: str) -> str:
    return f"put its folder on PYTHONPATH, or add {how_to_import(module)}"
