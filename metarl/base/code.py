"""Code of a user's own: families and agents named `module:Name` or `path/to/file.py:Name`, and modules to import.

Whatever is imported is told once on the error stream. A module is looked for among those that Python finds by itself,
and then in the current folder. What a run folder names is not looked for there: see `only_installed`.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import itertools
import re
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import MetarlError, did_you_mean, user_code
from .progress import complain

_WORD = r"[^\W\d]\w*"
_MODULE = re.compile(rf"{_WORD}(\.{_WORD})*")
_FORMS = "write module:Name or path/to/file.py:Name"

LOCAL = "<locals>"
"""What Python puts into the name of a class that is made in a function."""

INSTALL: Mapping[str, str] = {
    "ale_py": "ale-py",
    "gym_quadruped": "gym-quadruped",
    "gymnasium_robotics": "gymnasium-robotics",
    "highway_env": "highway-env",
    "metaworld": "metaworld==3.1.1",
    "minigrid": "minigrid",
    "miniworld": "miniworld",
    "shimmy": "shimmy",
}
"""What pip installs for modules that documentation and configs name."""

_looks_here: ContextVar[bool] = ContextVar("looks_here", default=True)
_imported: dict[str, None] = {}
_renamed: dict[str, str] = {}
_RENAMING = re.compile(rf"(?P<old>{_MODULE.pattern}(?::{_MODULE.pattern})?)=(?P<new>.+)")


def is_reference(name: str) -> bool:
    """Return whether a name is that of a class in a module or file. Registered names have no colon."""
    return ":" in name


def imported_modules() -> tuple[str, ...]:
    """Return the modules that this process imported by name for its user, in their order."""
    return tuple(_imported)


def import_by_option(word: str) -> None:
    """Import a module that a user names, or of OLD=NEW the new one, which old runs then find by its former name.

    OLD and NEW are modules or packages, or both are classes, `module:Name`. NEW may also begin with the path of a file.
    Raises MetarlError as `import_code` and `find_class` do, and for a module in place of a class.
    """
    parts = _RENAMING.fullmatch(word)
    if parts is None:
        import_code(word)
        return
    old, new = parts["old"], parts["new"]
    if is_reference(old) != is_reference(new):
        raise MetarlError(f"{word!r} names a module and a class; write module=module, or module:Name=module:Name")
    if is_reference(new):
        find_class(new)
        _renamed[old] = canonical(new)
        module = _split(old)[0]
        if module not in sys.modules and not is_findable(module):
            _renamed.setdefault(module, _renamed[old].partition(":")[0])
    else:
        _renamed[old] = import_code(new).__name__


def renamed(name: str) -> str:
    """Return the name of today of a module or of `module:Name`: another one where `import_by_option` was told it."""
    if name in _renamed:
        return _renamed[name]
    module, colon, attribute = name.partition(":")
    tops = itertools.accumulate(module.split("."), lambda outer, inner: f"{outer}.{inner}")
    for top in reversed(list(tops)):
        if top in _renamed:
            return f"{_renamed[top]}{module.removeprefix(top)}{colon}{attribute}"
    return name


def how_to_import(module: str) -> str:
    """Return the option that imports the module of a run that is not found."""
    return f"--import path/to/{module.partition('.')[0]}.py (renamed: --import {module}=NEW)"


@contextlib.contextmanager
def only_installed() -> Iterator[None]:
    """Find modules only where Python finds them by itself, not in the current folder, and no files by their paths.

    For names in a run folder or a checkpoint: either may come from a stranger, with code beside it.
    """
    token = _looks_here.set(False)
    try:
        yield
    finally:
        _looks_here.reset(token)


def import_code(target: str, folder: Path | None = None) -> ModuleType:
    """Import and return a module, given by its dotted name or by the path of its file.

    `folder` is another place to look for it. Raises MetarlError for a module that is not found and for a file whose
    module has the name of another, and UserCodeError for one whose import fails.
    """
    if target.endswith(".py"):
        return _import_file(target)
    target = renamed(target)
    if _MODULE.fullmatch(target) is None:
        raise MetarlError(f"{target!r} names no module; write words with dots between, or the path of a .py file")
    found = sys.modules.get(target)
    if found is None:
        spec = _locate(target, folder)
        found = _import(target, spec)
    _imported[target] = None
    return found


def find_class(named: str) -> Any:
    """Return what `module:Name` or `path/to/file.py:Name` names, and import its module. Raises MetarlError."""
    target, name = _split(renamed(named))
    module = import_code(target)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            where = f"module {module.__name__!r}" + ("" if found is module else f" has {found.__name__!r}, which")
            raise MetarlError(f"{where} has no {part!r}; {_how_to_reach(module, part)}")
        found = getattr(found, part)
    return found


def _how_to_reach(module: ModuleType, name: str) -> str:
    """Return the remedy for a class that a module does not have."""
    file = source_file(module.__name__)
    text = file.read_text(encoding="utf-8", errors="replace") if file is not None and file.suffix == ".py" else ""
    if re.search(rf"^[ \t]+class {name}\b", text, re.MULTILINE):
        return "it is made inside a function, where nothing can import it: move it to the top of the module"
    if module.__name__ == "__main__":
        return "put the class into a module of its own"
    return did_you_mean(name, [each for each in vars(module) if not each.startswith("_")])


def reference(cls: type) -> str:
    """Return the name `module:Name` of a class, without the functions that it is made in: it stands in tables."""
    return f"{cls.__module__}:{cls.__qualname__.rpartition(f'{LOCAL}.')[2]}"


def canonical(name: str) -> str:
    """Return the name of today, without its folder: 'path/to/file.py:Name' becomes 'file:Name'."""
    if not is_reference(name):
        return name
    name = renamed(name)
    target, attribute = _split(name)
    return f"{_of_file(target)[0]}:{attribute}" if target.endswith(".py") else name


def file_name(name: str) -> str:
    """Return a name of a family or an agent as a part of a file's name."""
    return re.sub(r"[^\w.+=,@-]", "-", name)


def source_file(module: str) -> Path | None:
    """Return the file of an imported module, None where it has none."""
    file = getattr(sys.modules.get(module), "__file__", None)
    return None if file is None else Path(file).resolve()


def is_findable(module: str) -> bool:
    """Return whether Python finds a module by itself."""
    return _find(module.partition(".")[0]) is not None


def _split(named: str) -> tuple[str, str]:
    target, _, name = named.rpartition(":")
    if not target or _MODULE.fullmatch(name) is None:
        raise MetarlError(f"{named!r} names no class; {_FORMS}")
    return target, name


def _import_file(path: str) -> ModuleType:
    module, folder = _of_file(path)
    if not _looks_here.get() and module not in sys.modules:
        raise MetarlError(f"{path!r} is the path of a file; a run names its code by module: add --import {path}")
    loaded = sys.modules.get(module)
    if loaded is None:
        spec = _locate(module, folder)
        origin = spec.origin or ""
    else:
        origin = str(getattr(loaded, "__file__", ""))
    top = module.partition(".")[0]
    ours = {folder / f"{top}.py", folder / top / "__init__.py", Path(path).resolve()}
    if Path(origin).resolve() not in ours:
        raise MetarlError(f"the name of {path} is that of another module, {top!r} in {origin}; rename the file")
    return import_code(module, folder)


def _of_file(path: str) -> tuple[str, Path]:
    """Return the dotted name of a file's module, and the folder that Python must search for it."""
    file = Path(path).resolve()
    if not file.is_file():
        raise MetarlError(f"{path} does not exist; give the path of a .py file")
    parts = [] if file.name == "__init__.py" else [file.stem]
    folder = file.parent
    while (folder / "__init__.py").exists():
        parts.insert(0, folder.name)
        folder = folder.parent
    module = ".".join(parts)
    if _MODULE.fullmatch(module) is None:
        raise MetarlError(f"{path} cannot be imported: {module!r} is no name of a module; rename the file")
    return module, folder


def _locate(module: str, folder: Path | None) -> ModuleSpec:
    """Return where the top package of a module is, and let Python search the folder that it is found in."""
    top = module.partition(".")[0]
    spec = _find(top)
    if spec is None or spec.origin is None:  # a folder without __init__.py is found last
        place = folder or (Path.cwd() if _looks_here.get() else None)
        if place is not None and str(place) not in sys.path:
            sys.path.append(str(place))  # last, so that no file of the folder hides another module
            importlib.invalidate_caches()
            spec = _find(top) or spec
            if spec is None:
                sys.path.remove(str(place))
    if spec is None:
        raise MetarlError(f"module {module!r} is not found; {_how_to_find(top)}")
    return spec


def _how_to_find(module: str) -> str:
    if module in INSTALL:
        return f"pip install {INSTALL[module]}"
    if not _looks_here.get():
        return f"put its folder on PYTHONPATH, or add {how_to_import(module)}"
    here = [path.stem for path in Path.cwd().glob("*.py")]
    near = did_you_mean(module, here) if here else ""
    guess = f"{near} " if near.startswith("did you mean") else ""
    return f"{guess}give a module of this folder or of an installed package, or the path of a .py file"


def _find(top: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(top)
    except (ImportError, ValueError):  # such as a module that was put into sys.modules by hand
        return None


def _import(module: str, spec: ModuleSpec) -> ModuleType:
    place = spec.origin or next(iter(spec.submodule_search_locations or ()), "an unknown place")
    complain("metarl: ", f"importing {module} from {place}")
    try:
        with user_code(f"module {module!r} cannot be imported"):
            __import__(module)  # its traceback has no frames of importlib
    except MetarlError as error:
        cause = error.__cause__
        if (
            isinstance(cause, ModuleNotFoundError)
            and cause.name is not None
            and f"{module}.".startswith(f"{cause.name}.")
        ):
            raise MetarlError(f"module {module!r} is not found: there is no {cause.name!r} in {place}") from None
        if isinstance(cause, SystemExit):
            raise MetarlError(
                f"module {module!r} ends the process when it is imported; put what it runs behind "
                "`if __name__ == '__main__':`"
            ) from None
        if cause is None:
            raise MetarlError(f"module {module!r} cannot be imported: {error}") from None
        raise
    return sys.modules[module]
