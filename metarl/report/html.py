"""The page of results as one file of HTML, which opens from disk and loads nothing from a network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from ..base.html import html_document, html_text, json_in_script, plotly_source
from .about import About
from .answer_plots import instance_panel, reliability_panel
from .captions import definitions
from .cells import Text
from .changes import change_panel
from .commands import commands, versions_line
from .groups import Group
from .html_tables import metrics
from .learning import learning_panel
from .panel import Choice, Panel, Plot, style_of
from .plots import adaptation_panel, profile_panel
from .run_panels import configs, tracked
from .shots import shots_panel
from .task_pictures import task_pictures
from .task_plots import tasks_panel
from .teachers import agreement_panel
from .trade_offs import trade_off_panel
from .videos import videos

_BODY = Template("""<header>
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
$script</script>""")
_MARKS = {
    "circle": '<circle cx="17" cy="8" r="4.5"/>',
    "square": '<rect x="13" y="4" width="8" height="8"/>',
    "triangle-up": '<path d="M17 3l5 9h-10z"/>',
    "diamond": '<path d="M17 2.5l5.5 5.5-5.5 5.5-5.5-5.5z"/>',
    "triangle-down": '<path d="M17 13l5-9h-10z"/>',
    "triangle-left": '<path d="M12 8l9-5v10z"/>',
    "triangle-right": '<path d="M22 8l-9-5v10z"/>',
}
"""Markers of plotly.js as SVG for the legend, 34 wide and 16 high."""
_STROKES = {"solid": "none", "dash": "7 4", "dot": "2 3", "dashdot": "7 3 2 3", "longdash": "11 4"}
"""Line styles of plotly.js as dashes of SVG for the legend."""


_NO_PLACES = "Tasks differ in nothing that could be an axis: they are all the same, or sets of classes."


@dataclass(frozen=True)
class _Section:
    """One tab of the page."""

    key: str
    """Identifier in the page and in its address."""
    name: str
    """Heading, in plain text."""
    content: str
    """HTML under the heading."""


def html_page(groups: Sequence[Group], about: About) -> str:
    """Return the page; the same runs give the same text. Raises MetarlError where plotly is not installed."""
    panels: list[Panel] = []
    sections = _sections(groups, about, panels)
    body = _BODY.substitute(
        title=html_text(about.title_of(groups)),
        head=_head(groups, about),
        tabs="\n".join(_tab(section, number == 0) for number, section in enumerate(sections)),
        sections="\n".join(map(_section, sections)),
        panels=json_in_script([dataclasses.asdict(panel) for panel in panels]),
        plotly=plotly_source(),
        script=_asset("page.js"),
    )
    return html_document(about.title_of(groups), _asset("page.css"), body)


def _sections(groups: Sequence[Group], about: About, panels: list[Panel]) -> list[_Section]:
    """Return the sections in their order, and add their panels to `panels`."""
    problems: dict[str, list[Group]] = {}
    for group in groups:
        problems.setdefault(group.problem, []).append(group)

    def plots(panel_of: Callable[[Sequence[Group]], Panel | None], without: str = "") -> str:
        return _plots(panels, {problem: panel_of(alike) for problem, alike in problems.items()}, without)

    def some(panel_of: Callable[[Sequence[Group]], Panel | None]) -> str:
        """Return the panels of those problems that have one."""
        found = {problem: panel_of(alike) for problem, alike in problems.items()}
        return _plots(panels, {problem: panel for problem, panel in found.items() if panel is not None}, "")

    return [
        _Section(
            "adaptation",
            "Adaptation",
            plots(adaptation_panel) + some(instance_panel) + some(shots_panel) + some(change_panel),
        ),
        _Section("metrics", "Metrics", metrics(groups, about.asked)),
        _Section("tasks", "Tasks", task_pictures(groups) + plots(tasks_panel, _NO_PLACES)),
        _Section("profile", "Profile", plots(profile_panel) + some(reliability_panel) + some(trade_off_panel)),
        _Section(
            "learning", "Learning", plots(learning_panel, "The runs logged no validation.") + some(agreement_panel)
        ),
        _Section("videos", "Videos", videos(groups)),
        _Section("configs", "Configs", configs(groups)),
        _Section("wandb", "W&B", tracked(groups)),
        _Section("commands", "Commands", _commands(groups, about.again)),
    ]


def _asset(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _tab(section: _Section, selected: bool) -> str:
    state = 'aria-selected="true" tabindex="0"' if selected else 'aria-selected="false" tabindex="-1"'
    return (
        f'<button type="button" role="tab" id="tab-{section.key}" aria-controls="{section.key}" {state}>'
        f"{html_text(section.name)}</button>"
    )


def _section(section: _Section) -> str:
    return (
        f'<section role="tabpanel" id="{section.key}" aria-labelledby="tab-{section.key}" tabindex="0">\n'
        f"<h2>{html_text(section.name)}</h2>\n{section.content}\n</section>"
    )


def _head(groups: Sequence[Group], about: About) -> str:
    """Return the part above all sections: notes, counts, runs that are left out, and definitions."""
    facts = "".join(f"<li><b>{number:,}</b> {noun}</li>" for number, noun in _facts(groups))
    first, *warnings = ("".join(map(_part, paragraph)) for paragraph in definitions(groups))
    return "\n".join(
        [
            *(f"<p>{html_text(note)}</p>" for note in about.notes),
            f'<ul class="facts">{facts}</ul>',
            *(f'<p class="warning">{html_text(line)}</p>' for line in about.left_out_lines()),
            *(f"<p>{warning}</p>" for warning in warnings),
            f'<details><summary>How the numbers are defined</summary><p class="definitions">{first}</p></details>',
        ]
    )


def _facts(groups: Sequence[Group]) -> list[tuple[int, str]]:
    """Return how many problems, settings, runs, references and tasks the page has, each with its noun."""
    problems = {group.problem: group.evaluations[0].num_tasks for group in groups}
    trained = sum(1 for group in groups if group.runs)
    counts = [
        (len(problems) if len(problems) > 1 else 0, "problem"),
        (trained, "setting"),
        (sum(len(group.runs) for group in groups), "training run"),
        (len(groups) - trained, "reference"),
        (sum(problems.values()), "task"),
    ]
    return [(number, noun if number == 1 else f"{noun}s") for number, noun in counts if number]


def _part(text: Text) -> str:
    return f"<strong>{html_text(text.text)}</strong>" if text.emphasis else html_text(text.text)


def _plots(panels: list[Panel], found: Mapping[str, Panel | None], without: str) -> str:
    """Return the panels of each problem as HTML and add them to `panels`, whose numbers the script draws by."""
    parts = []
    for problem, panel in found.items():
        if len(found) > 1:
            parts.append(f"<h3>{html_text(problem)}</h3>")
        if panel is None:
            parts.append(f'<p class="soft">{html_text(without)}</p>')
            continue
        parts.append(_panel(len(panels), panel))
        panels.append(panel)
    return "\n".join(parts)


def _panel(number: int, panel: Panel) -> str:
    controls = "".join(_control(place, choice) for place, choice in enumerate(panel.choices))
    legend = "".join(f"<li>{_legend_button(group, name, panel.drawn)}</li>" for group, name in panel.legend)
    maps = not panel.legend
    plots = "".join(_plot(f"plot-{number}-{place}", place, plot, maps) for place, plot in enumerate(panel.plots))
    return (
        f'<div class="panel" data-panel="{number}">\n<p class="soft"><strong>{html_text(panel.title)}.</strong> '
        f"{html_text(panel.note)}</p>\n"
        + (f'<div class="controls">{controls}</div>\n' if controls else "")
        + (f'<ul class="legend">{legend}</ul>\n' if legend else "")
        + f'<div class="plots{" maps" if maps else ""}">{plots}</div>\n</div>'
    )


def _control(place: int, choice: Choice) -> str:
    options = "".join(
        f"<option{' selected' if option.chosen else ''}>{html_text(option.label)}</option>" for option in choice.options
    )
    select = f'<select data-choice="{place}" autocomplete="off">{options}</select>'
    return f"<label>{html_text(choice.label)} {select}</label>"


def _plot(key: str, place: int, plot: Plot, captioned: bool) -> str:
    title = html_text(plot.title)
    caption = f"<figcaption>{title}</figcaption>" if captioned else ""
    return (
        f'<figure>{caption}<div class="plot" data-plot="{place}" id="{key}" role="group" aria-label="{title}">'
        "</div></figure>"
    )


def _legend_button(number: int, name: str, drawn: str) -> str:
    color, symbol, dash = style_of(number)
    line = f'<path d="M0 8h34" stroke="{color}" stroke-width="2.5" stroke-dasharray="{_STROKES[dash]}"/>'
    sample = f"{line if 'lines' in drawn else ''}{_MARKS[symbol] if 'markers' in drawn else ''}"
    picture = f'<svg width="34" height="16" aria-hidden="true" fill="{color}">{sample}</svg>'
    return (
        f'<button type="button" aria-pressed="true" data-group="{number}">{picture}'
        f"<span>{html_text(name)}</span></button>"
    )


def _commands(groups: Sequence[Group], again: str) -> str:
    lines = html_text("\n".join(commands(groups, again)))
    return (
        "<p>These commands repeat every run and evaluation of the page.</p>\n"
        f'<pre tabindex="0">{lines}</pre>\n<p class="soft">{html_text(versions_line(groups))}</p>'
    )
