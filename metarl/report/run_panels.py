"""The sections of a page of HTML on single runs: configs side by side, and addresses at W&B."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..base.errors import MetarlError
from ..base.files import path_inside
from ..base.html import html_text
from ..base.terminal import shell_line
from ..base.yaml_text import dump_yaml
from ..runs.record import URLS
from .commands import portable
from .groups import Group, setting_of
from .runs import RunResult, flatten


def _runs(groups: Sequence[Group]) -> list[RunResult]:
    return [run for group in groups for run in group.runs]


def configs(groups: Sequence[Group]) -> str:
    """Return the keys in which the settings differ, side by side, and the whole config of each setting."""
    trained = [group for group in groups if group.runs]
    settings = [flatten(setting_of(group.runs[0])) for group in trained]
    keys = dict.fromkeys(key for each in settings for key in each)
    differing = [
        key for key in keys if any(each.get(key, _ABSENT) != settings[0].get(key, _ABSENT) for each in settings)
    ]
    parts = [_side_by_side(trained, settings, differing)] if differing else []
    if not differing:
        parts.append("<p>All runs have one setting and differ in their seeds.</p>" if len(trained) == 1 else "")
    for group in trained:
        name = f"{group.problem}: {group.name}" if len({each.problem for each in trained}) > 1 else group.name
        text = html_text(dump_yaml(group.runs[0].config))
        parts.append(
            f'<details><summary>{html_text(name)}: whole config</summary><pre tabindex="0">{text}</pre></details>'
        )
    return "\n".join(parts)


_ABSENT = object()


def _side_by_side(groups: Sequence[Group], settings: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    several = len({group.problem for group in groups}) > 1
    names = [f"{group.problem}: {group.name}" if several else group.name for group in groups]
    head = "".join(f'<th scope="col" class="name">{html_text(name)}</th>' for name in ("key", *names))
    lines = "\n".join(
        f'<tr><th scope="row" class="name"><code>{html_text(key)}</code></th>'
        + "".join(_value(each[key]) if key in each else '<td class="name none">not set</td>' for each in settings)
        + "</tr>"
        for key in keys
    )
    return (
        "<p>Keys in which the settings differ.</p>\n"
        '<div class="scroll" role="region" aria-label="Keys that differ" tabindex="0">'
        f'<table class="differs">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>'
    )


def _value(value: object) -> str:
    return f'<td class="name">{html_text(str(value))}</td>'


def tracked(groups: Sequence[Group]) -> str:
    """Return the address of each run at W&B, or the command that uploads a run that was logged offline."""
    items = "".join(
        f"<li><code>{html_text(portable(str(run.path)))}</code>: {_where(run)}</li>" for run in _runs(groups)
    )
    return f'<ul class="list">{items}</ul>'


def _where(run: RunResult) -> str:
    folder = run.path / "wandb"
    parts = [_link(url) for url in _urls(run.path)]
    if offline := sorted(path.name for path in folder.glob("offline-run-*")):
        words = ["wandb", "sync", *(f"{portable(str(run.path))}/wandb/{name}" for name in offline)]
        parts.append(f"logged offline; upload it with <code>{html_text(shell_line(words))}</code>")
    if parts:
        return "; ".join(parts)
    if online := sorted(path.name.rsplit("-", 1)[-1] for path in folder.glob("run-*")):
        wandb = run.config["log"]["wandb"]
        return html_text(
            f"logged online as {', '.join(online)} in project {wandb['project']!r}; the address was not recorded"
        )
    if "wandb" not in run.config["log"]["to"]:
        return "not logged (<code>log</code> does not name <code>wandb</code>)"
    if run.config["log"]["wandb"]["mode"] == "disabled":
        return "not logged (<code>wandb.mode</code> is <code>disabled</code>)"
    return "its folder holds no files of W&amp;B"


_MOST_ADDRESSES = 2**16
"""Bytes of addresses that are read."""


def _urls(run_dir: Path) -> list[str]:
    try:
        with path_inside(run_dir, f"wandb/{URLS}").open("rb") as file:
            return list(dict.fromkeys(file.read(_MOST_ADDRESSES).decode().split()))
    except (OSError, UnicodeDecodeError, MetarlError):
        return []  # the section says that no address is known


def _link(url: str) -> str:
    text = html_text(url)
    # A link with another scheme, such as javascript:, could run code.
    return f'<a href="{text}" rel="noopener noreferrer">{text}</a>' if url.startswith(("https://", "http://")) else text
