"""Pages on everything registered: the gallery of families, a page for each family, the table of agents."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError

from metarl.base.registry import Registry
from metarl.cli.pages import space_in_words
from metarl.families.family import FAMILIES, TaskFamily, missing_requirement
from metarl.families.load import load
from metarl.families.words import in_words
from metarl.trials.agent import Oracle
from metarl.trials.registered import AGENTS

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "families" / "pictures"
KINDS = {
    "points": "Points on a plane",
    "tabular": "Bandits, grids and tabular MDPs",
    "control": "Classic control",
    "mujoco": "MuJoCo bodies",
    "external": "Environments of other packages",
}
"""Heading by the folder of `envs` that a family is in. Other folders come last, under their own names."""
PAGES = {
    "maml": "Gradient-based",
    "rl2": "Memory-based",
    "supervised": "From right answers",
    "sequences": "Sequences",
    "leo": "LEO",
    "sb3": "stable-baselines3",
    "references": "References",
}
"""Heading by the folder of `agents` that an agent is in."""


def first_line(cls: type[Any]) -> str:
    """Return the first line of a class's docstring."""
    return (inspect.getdoc(cls) or "").split("\n", 1)[0]


def by_folder(registry: Registry[Any], order: Sequence[str]) -> dict[str, list[str]]:
    """Return the registered names by the folder that they are in, the folders of `order` first."""
    if registry.broken:
        raise PluginError(
            f"a plug-in failed to import: {registry.broken}; repair it, or its {registry.kinds} are left out"
        )
    folders: dict[str, list[str]] = {folder: [] for folder in order}
    for name in registry:
        parts = registry[name].__module__.split(".")
        if parts[0] == "metarl":  # a plug-in documents itself
            folders.setdefault(parts[2], []).append(name)
    return {folder: names for folder, names in folders.items() if names}


def families_by_kind() -> dict[str, list[str]]:
    """Return the names of the families under each heading of the gallery."""
    folders = by_folder(FAMILIES, list(KINDS))
    return {KINDS.get(folder, folder.capitalize()): names for folder, names in folders.items()}


def family_navigation() -> list[dict[str, Any]]:
    """Return the entries of the navigation for the pages of single families."""
    return [{kind: [{name: f"families/{name}.md"} for name in names]} for kind, names in families_by_kind().items()]


def gallery() -> str:
    """Return a section for each kind of family, and in it a card for each family."""
    parts = []
    for kind, names in families_by_kind().items():
        cards = "".join(map(_card, names))
        parts.append(f'## {kind}\n\n<div class="gallery">{cards}</div>')
    return "\n\n".join(parts)


def parameters_table() -> str:
    """Return a table of what tasks hide: each parameter with its meaning and the families that have it.

    The meaning is that of the first of these families.
    """
    holders: dict[str, list[str]] = {}
    meanings: dict[str, str] = {}
    for name in (name for names in families_by_kind().values() for name in names):
        for key, parameter in load(name).parameters.items():
            holders.setdefault(key, []).append(f"[{name}]({name}.md)")
            meanings.setdefault(key, parameter.meaning)
    rows = ((f"`{key}`", meanings[key], ", ".join(names)) for key, names in sorted(holders.items()))
    return table(("parameter", "meaning", "families"), rows)


def _card(name: str) -> str:
    # Links of raw HTML are not rewritten by MkDocs: they are those of the built site.
    return (
        f'<a href="{name}.html"><img src="pictures/{name}.png" alt="" loading="lazy">'
        f"<strong>{name}</strong><span>{first_line(FAMILIES[name])}</span></a>"
    )


def family_pages() -> dict[str, str]:
    """Return the Markdown of every family's page by its path."""
    return {f"families/{name}.md": _family_page(name) for names in families_by_kind().values() for name in names}


def _family_page(name: str) -> str:
    family = load(name)
    cls = family.origin
    summary, _, details = (inspect.getdoc(cls) or "").partition("\n\n")
    parts = [
        f"# {name}",
        summary,
        f"![Tasks of {name}](pictures/{name}.png){{ .drawn }}",
        details,
        "## Tasks",
        table(("parameter", "unit", "meaning", "training range", "extrapolation"), _parameters(family)),
        _splits(family),
        "## Spaces",
        _spaces(family),
        "## Settings",
        table(("setting", "default"), _settings(family)),
        *_presets(cls),
        "## Use it",
        _use(name, cls),
        f"Source: {cls.source}." if cls.source else "",
    ]
    return "\n\n".join(filter(None, parts))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _parameters(family: TaskFamily) -> Iterable[Sequence[str]]:
    for name, parameter in family.parameters.items():
        outside = "none" if parameter.extrapolation is None else in_words(parameter.extrapolation)
        yield f"`{name}`", parameter.unit or "", parameter.meaning, in_words(parameter.train), outside


def _splits(family: TaskFamily) -> str:
    count = None if family.is_unseen("test") else family.num_tasks
    seen = f" The family has {count:,} tasks, so no validation or test task is unseen." if count else ""
    return f"Splits: {', '.join(family.splits)}.{seen} An episode has at most {family.horizon:,} steps."


def _spaces(family: TaskFamily) -> str:
    cls = family.origin
    if missing_requirement(cls):
        return f"The spaces are known once `{cls.requires}` is installed."
    preset = f"\n\nTasks and spaces are those of the preset `{next(iter(cls.presets))}`." if cls.presets else ""
    return (
        f"- Observation: {space_in_words(family.observation_space)}.\n"
        f"- Action: {space_in_words(family.action_space)}.{preset}"
    )


def _settings(family: TaskFamily) -> Iterable[Sequence[str]]:
    for field in dataclasses.fields(family.origin):  # type: ignore[arg-type]  # every family is a dataclass
        value = field.default if field.default is not dataclasses.MISSING else family.settings[field.name]
        yield f"`{field.name}`", f"`{value}`"


def _presets(cls: type[TaskFamily]) -> list[str]:
    if not cls.presets:
        return []
    rows = [(f"`{name}`", _assignments(settings)) for name, settings in cls.presets.items()]
    told = "A preset is a combination of settings that a paper uses. The first one is the default of `metarl.load`."
    return ["## Presets", told, table(("preset", "settings"), rows)]


def _assignments(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in settings.items()) or "the defaults"


def _use(name: str, cls: type[TaskFamily]) -> str:
    configs = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "configs" / name).glob("*.yaml"))
    lines = [f"metarl families {name}", *(f"metarl train {path}" for path in configs)]
    same = f" Its dynamics are those of Gymnasium's `{cls.gymnasium_id}`." if cls.gymnasium_id else ""
    return "```sh\n" + "\n".join(lines) + f"\n```\n\nThe Gymnasium id is `metarl/{cls.__name__}-v0`.{same}"


def agent_page(cls: type[Any]) -> str:
    """Return the name of the page on an agent, in the folder of agents."""
    folder = cls.__module__.split(".")[2]
    return "stable-baselines3.md" if folder == "sb3" else f"{folder}.md"


def agents_by_kind() -> dict[str, list[str]]:
    """Return the names of the agents under the heading of each kind."""
    folders = by_folder(AGENTS, list(PAGES))
    return {PAGES.get(folder, folder.capitalize()): names for folder, names in folders.items()}


def agents_table() -> str:
    """Return a section for each kind of agent, and in it a table of the agents."""
    parts = []
    for heading, names in agents_by_kind().items():
        page = agent_page(AGENTS[names[0]])
        rows = [(f"[`{name}`](../reference/agents.md#{name})", _told(AGENTS[name])) for name in names]
        parts.append(f"## {heading}\n\n[Read more about these agents]({page}).")
        parts.append(table(("agent", "in one line"), rows))
    return "\n\n".join(parts)


def _told(cls: type[Any]) -> str:
    return first_line(cls) + (" **Oracle: it is shown the task.**" if issubclass(cls, Oracle) else "")
