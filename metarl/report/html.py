"""The page of results as one file of HTML: it opens from disk and asks no network for anything."""

from __future__ import annotations

import dataclasses
import html
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from string import Template

from ..base.errors import MetarlError
from ..base.text import counted
from .columns import explained
from .groups import Group
from .markdown import About, commands, default_title, definitions, left_out_lines, versions_line
from .plots import Panel, adaptation_panel, learning_panel, look, profile_panel
from .run_panels import configs, tracked, videos
from .runs import LeftOut
from .tables import Asked, tables
from .task_plots import tasks_panel

_PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="$policy">
<title>$title</title>
<style>
$style</style>
</head>
<body>
<header>
<h1>$title</h1>
$head
</header>
<nav class="tabs"><div role="tablist" aria-label="Parts of the page">
$tabs
</div></nav>
<main>
$sections
</main>
<script type="application/json" id="panels">$panels</script>
<script>$plotly</script>
<script>
$script</script>
</body>
</html>
""")
_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; media-src data:"
)
"""The browser is told to load nothing either."""
_MARKS = {
    "circle": '<circle cx="17" cy="8" r="4.5"/>',
    "square": '<rect x="13" y="4" width="8" height="8"/>',
    "triangle-up": '<path d="M17 3l5 9h-10z"/>',
    "diamond": '<path d="M17 2.5l5.5 5.5-5.5 5.5-5.5-5.5z"/>',
    "triangle-down": '<path d="M17 13l5-9h-10z"/>',
    "triangle-left": '<path d="M12 8l9-5v10z"/>',
    "triangle-right": '<path d="M22 8l-9-5v10z"/>',
}
"""Markers of plotly.js in a legend, 34 wide and 16 high."""
_STROKES = {"solid": "none", "dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3", "longdash": "11 4"}
"""Line styles of plotly.js in a legend."""


def html_page(groups: Sequence[Group], about: About) -> str:
    """Return the page; the same runs give the same text. Raises MetarlError where plotly is not installed."""
    problems: dict[str, list[Group]] = {}
    for group in groups:
        problems.setdefault(group.problem, []).append(group)
    panels: list[Panel] = []
    sections = {
        "Adaptation": _plots(panels, {name: adaptation_panel(each) for name, each in problems.items()}, ""),
        "Metrics": _metrics(groups, about.asked),
        "Tasks": _plots(
            panels, {name: tasks_panel(each) for name, each in problems.items()}, "All tasks are the same one."
        ),
        "Profile": _plots(panels, {name: profile_panel(each) for name, each in problems.items()}, ""),
        "Learning": _plots(
            panels, {name: learning_panel(each) for name, each in problems.items()}, "No validation was logged."
        ),
        "Videos": videos(groups),
        "Configs": configs(groups),
        "W&B": tracked(groups),
        "Again": _again(groups, about.again),
    }
    return _PAGE.substitute(
        policy=_POLICY,
        title=html.escape(about.title or default_title(groups)),
        style=_asset("page.css"),
        head=_head(groups, about.notes, about.left_out),
        tabs="\n".join(_tab(name, number == 0) for number, name in enumerate(sections)),
        sections="\n".join(_section(name, content) for name, content in sections.items()),
        panels=_json([dataclasses.asdict(panel) for panel in panels]),
        plotly=_plotly(),
        script=_asset("page.js"),
    )


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MetarlError("plotly is not installed; a page of HTML needs it: pip install 'plotly>=6'") from None
    return get_plotlyjs()


def _json(value: object) -> str:
    """Return JSON that can stand inside a script: no `<` can end it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _identifier(name: str) -> str:
    return re.sub(r"\W+", "", name).lower()


def _tab(name: str, selected: bool) -> str:
    key = _identifier(name)
    chosen = 'aria-selected="true" tabindex="0"' if selected else 'aria-selected="false" tabindex="-1"'
    return (
        f'<button type="button" role="tab" id="tab-{key}" aria-controls="{key}" {chosen}>{html.escape(name)}</button>'
    )


def _section(name: str, content: str) -> str:
    key = _identifier(name)
    return (
        f'<section role="tabpanel" id="{key}" aria-labelledby="tab-{key}" tabindex="0">\n'
        f"<h2>{html.escape(name)}</h2>\n{content}\n</section>"
    )


def _head(groups: Sequence[Group], notes: Sequence[str], left_out: Sequence[LeftOut]) -> str:
    """Return what stands above all sections: notes, what is compared, what was left out, and what numbers mean."""
    problems = dict.fromkeys(group.problem for group in groups)
    runs = sum(len(group.runs) for group in groups)
    trained = sum(1 for group in groups if group.runs)
    tasks = sum({group.problem: group.evaluations[0].num_tasks for group in groups}.values())
    counts = [(trained, "setting"), (runs, "training run"), (len(groups) - trained, "reference"), (tasks, "task")]
    counts = [(len(problems), "problem"), *counts] if len(problems) > 1 else counts
    facts = [(f"{number:,}", counted(number, noun).split(" ", 1)[1]) for number, noun in counts if number]
    listed = "".join(f"<li><b>{number}</b> {noun}</li>" for number, noun in facts)
    parts = [f"<p>{html.escape(note)}</p>" for note in notes]
    parts.append(f'<ul class="facts">{listed}</ul>')
    parts += [f'<p class="warning">{html.escape(line)}</p>' for line in left_out_lines(left_out)]
    first, *warnings = definitions(groups)
    parts += [f"<p>{_emphasised(text)}</p>" for text in warnings]
    parts.append(
        f'<details><summary>What the numbers are</summary><p class="definitions">{_emphasised(first)}</p></details>'
    )
    return "\n".join(parts)


def _emphasised(text: str) -> str:
    """Return plain text as HTML, strong what stands between two `**`."""
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", html.escape(text))


def _plots(panels: list[Panel], found: Mapping[str, Panel | None], without: str) -> str:
    """Return the panels of each problem as HTML and add them to `panels`, which the script draws by number."""
    parts = []
    for problem, panel in found.items():
        if len(found) > 1:
            parts.append(f"<h3>{html.escape(problem)}</h3>")
        if panel is None:
            parts.append(f'<p class="soft">{html.escape(without)}</p>')
            continue
        parts.append(_panel(len(panels), panel))
        panels.append(panel)
    return "\n".join(parts)


def _panel(number: int, panel: Panel) -> str:
    controls = "".join(
        f'<label>{html.escape(choice.label)} <select data-choice="{n}" autocomplete="off">'
        + "".join(
            f"<option{' selected' if option.chosen else ''}>{html.escape(option.label)}</option>"
            for option in choice.options
        )
        + "</select></label>"
        for n, choice in enumerate(panel.choices)
    )
    legend = "".join(f"<li>{_legend_button(group, name, panel.drawn)}</li>" for group, name in panel.legend)
    maps = not panel.legend
    plots = "".join(
        f"<figure>{f'<figcaption>{html.escape(plot.title)}</figcaption>' if maps else ''}"
        f'<div class="plot" data-plot="{n}" id="plot-{number}-{n}" role="group" aria-label="{html.escape(plot.title)}">'
        "</div></figure>"
        for n, plot in enumerate(panel.plots)
    )
    return (
        f'<div class="panel" data-panel="{number}">\n<p class="soft"><strong>{html.escape(panel.title)}.</strong> '
        f"{html.escape(panel.note)}</p>\n"
        + (f'<div class="controls">{controls}</div>\n' if controls else "")
        + (f'<ul class="legend">{legend}</ul>\n' if legend else "")
        + f'<div class="plots{" maps" if maps else ""}">{plots}</div>\n</div>'
    )


def _legend_button(number: int, name: str, drawn: str) -> str:
    color, symbol, dash = look(number)
    line = f'<path d="M0 8h34" stroke="{color}" stroke-width="2.5" stroke-dasharray="{_STROKES[dash]}"/>'
    sample = f"{line if 'lines' in drawn else ''}{_MARKS[symbol] if 'markers' in drawn else ''}"
    return (
        f'<button type="button" aria-pressed="true" data-group="{number}"><svg width="34" height="16" aria-hidden="true" '
        f'fill="{color}">{sample}</svg><span>{html.escape(name)}</span></button>'
    )


def _metrics(groups: Sequence[Group], asked: Asked) -> str:
    shown = tables(groups, asked)
    parts = [f"<h3>{html.escape(title)}</h3>\n{_table(title, rows)}" for title, rows in shown.items()]
    headings = dict.fromkeys(heading for rows in shown.values() for heading in rows[0])
    terms = "".join(
        f"<dt>{html.escape(heading)}</dt><dd>{html.escape(explained(heading))}</dd>"
        for heading in headings
        if explained(heading)
    )
    parts.append(
        f'<details class="legend-of-columns"><summary>What the columns mean</summary><dl>{terms}</dl></details>'
    )
    return "\n".join(parts)


def _table(title: str, rows: Sequence[Sequence[str]]) -> str:
    header, *body = rows
    names = [heading in ("problem", "", "less") for heading in header]
    head = "".join(_heading(heading, name) for heading, name in zip(header, names, strict=True))
    lines = "\n".join(
        "<tr>" + "".join(_cell(cell, name) for cell, name in zip(row, names, strict=True)) + "</tr>" for row in body
    )
    return (
        f'<div class="scroll" role="region" aria-label="{html.escape(title)}" tabindex="0"><table>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )


def _heading(heading: str, name: bool) -> str:
    text, why = html.escape(heading or "agent"), html.escape(explained(heading))
    told = f'<abbr title="{why}">{text}</abbr>' if why else text
    return f'<th scope="col"{" class=name" if name else ""}>{told}</th>'


def _cell(cell: str, name: bool) -> str:
    if name:
        return f'<th scope="row" class="name">{html.escape(cell)}</th>'
    text = re.sub(r"\[[^][]*\]$", r'<span class="interval">\g<0></span>', html.escape(cell))
    return f"<td>{text}</td>"


def _again(groups: Sequence[Group], again: str) -> str:
    lines = html.escape("\n".join(commands(groups, again)))
    return f'<p>The commands that repeat all of it.</p>\n<pre tabindex="0">{lines}</pre>\n<p class="soft">{html.escape(versions_line(groups))}</p>'
