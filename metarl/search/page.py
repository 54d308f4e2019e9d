"""The page of a study as one file of HTML, which opens from disk and loads nothing from a network; and its pictures."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import optuna
import optuna.visualization.matplotlib
from optuna import visualization
from optuna.study import Study
from optuna.trial import TrialState

from ..base.figures import save_figure
from ..base.files import write_atomically
from ..base.html import html_document, html_text, json_in_script, plotly_source
from .confirm import Confirmation
from .plan import Plan, without_password
from .results import STATES, best_of, short_text
from .space import Choices, Parameter

PAGE = "page.html"
"""File in a study's folder."""
_BODY = Template("""<h1>$title</h1>
$content
<script type="application/json" id="figures">$figures</script>
<script>$plotly</script>
<script>
const config = {displaylogo: false, responsive: true, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]]};
for (const [id, figure] of Object.entries(JSON.parse(document.getElementById("figures").textContent))) {
  Plotly.newPlot(id, figure.data, figure.layout, config);
}
</script>""")
_FIGURES: Sequence[tuple[str, str, str, Callable[[Study], Any], dict[str, Any]]] = (
    (
        "history",
        "History",
        "Score of each finished trial, and the best so far.",
        lambda study: visualization.plot_optimization_history(study, target_name="Score"),
        {"xaxis.title": "Trial"},
    ),
    (
        "curves",
        "Learning curves",
        "Running mean of the scores by the environment steps of all seeds of a trial, which pruners compare.",
        visualization.plot_intermediate_values,
        {"xaxis.title": "Environment steps of training", "yaxis.title": "Running mean of the scores"},
    ),
    (
        "importances",
        "Importances",
        "Share of each setting in what separates the better trials from the rest, by PED-ANOVA.",
        lambda study: visualization.plot_param_importances(study, target_name="score"),
        {},
    ),
    (
        "parallel",
        "Parallel coordinates",
        "A line for each finished trial. Drag along an axis to choose a part of it.",
        lambda study: visualization.plot_parallel_coordinate(study, target_name="Score"),
        {},
    ),
    (
        "slices",
        "Slices",
        "Score against each setting. Darker trials are later.",
        lambda study: visualization.plot_slice(study, target_name="Score"),
        {},
    ),
)
"""Identifier, heading, note and maker of each figure, with what its layout says otherwise."""


def write_page(plan: Plan, study: Study, confirmation: Confirmation | None, again: str) -> None:
    """Write the page of a study with a finished trial; `again` is the command that goes on with it."""
    figures = _figures(study)
    parts = [_head(plan, study, confirmation)]
    for key, heading, note, *_ in _FIGURES:
        if key in figures:
            parts.append(
                f'<h2>{heading}</h2>\n<p class="soft">{note}</p>\n<div class="plot" id="{key}" role="img" '
                f'aria-label="{heading}"></div>'
            )
    parts += [
        f"<h2>Trials</h2>\n{_trials(plan, study)}",
        f"<h2>Command</h2>\n<pre>{html_text(without_password(again))}</pre>",
    ]
    body = _BODY.substitute(
        title=html_text(plan.name),
        content="\n".join(parts),
        figures=json_in_script(figures),
        plotly=plotly_source(),
    )
    style = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
    write_atomically(plan.folder / PAGE, html_document(plan.name, style, body).encode())


def write_pictures(plan: Plan, study: Study) -> None:
    """Write the history and the slices as pictures too, once two trials are finished."""
    import matplotlib
    from matplotlib import pyplot

    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < 2:
        return
    drawn: dict[str, Callable[..., Any]] = {
        "history.png": visualization.matplotlib.plot_optimization_history,
        "slices.png": visualization.matplotlib.plot_slice,
    }
    for name, draw in drawn.items():
        # Optuna changes matplotlib's style for all figures to come.
        with matplotlib.rc_context(), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            figure = np.ravel(draw(study, target_name="Score"))[0].figure
            save_figure(figure, plan.folder / name, dpi=100)
            pyplot.close(figure)


def _figures(study: Study) -> dict[str, Any]:
    """Return the figures that the trials give, as plotly.js takes them."""
    if len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))) < 2:
        return {}  # a point is no plot, and importances need two
    found = {}
    for key, _, _, make, layout in _FIGURES:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            try:
                figure = make(study)
            except (ValueError, RuntimeError):  # such as importances where all scores are the same
                continue
        figure.update_layout({"title": None, "template": "plotly_white", "margin": {"t": 30}, **layout})
        found[key] = json.loads(figure.to_json())
    return found


def _head(plan: Plan, study: Study, confirmation: Confirmation | None) -> str:
    """Return what was searched, by what and at which cost, and what it found."""
    trials, best = study.get_trials(deepcopy=False), best_of(plan, study)
    spent = sum(sum(each.user_attrs.get("env_steps", ())) for each in trials)
    counts = [(word, sum(each.state == state for each in trials)) for state, word in STATES.items()]
    facts = [(f"{number:,}", word) for word, number in counts if number]
    facts += [(f"{plan.seeds:,}", "seeds a trial"), (f"{spent:,}", "env steps"), (plan.sampler, "sampler")]
    facts.append((plan.pruner, "pruner"))
    assert best is not None
    lines = [
        f'<ul class="facts">{"".join(f"<li><b>{html_text(value)}</b> {word}</li>" for value, word in facts)}</ul>',
        f"<p>Best: trial {best.number}, score {best.score:.5g}: the mean over its seeds of the best score in "
        "validation tasks. The highest of many scores flatters; <code>--confirm</code> measures the settings on fresh "
        "seeds and test tasks.</p>",
    ]
    if confirmation is not None:
        lines.append(f"<p><b>{html_text(confirmation.line)}</b></p>")
    return "\n".join([*lines, "<h2>Settings</h2>", _settings(plan, best.labels)])


def _settings(plan: Plan, labels: dict[str, Any]) -> str:
    rows = [[each.key, _range(each), short_text(labels[each.key])] for each in plan.space]
    return _table(["setting", "searched", "best"], rows)


def _range(parameter: Parameter) -> str:
    if isinstance(parameter, Choices):
        return ", ".join(map(str, parameter.labels))
    step = "" if parameter.step is None else f" in steps of {parameter.step}"
    return f"{parameter.low} to {parameter.high}{step}{', logarithmic' if parameter.log else ''}"


def _trials(plan: Plan, study: Study) -> str:
    keys = [each.key for each in plan.space]
    rows = []
    for each in study.get_trials(deepcopy=False):
        score = "" if each.value is None else f"{each.value:.5g}"
        steps = f"{sum(each.user_attrs.get('env_steps', ())):,}"
        labels = [short_text(each.params.get(key, "")) for key in keys]
        rows.append([str(each.number), STATES[each.state], score, steps, *labels, each.user_attrs.get("error", "")])
    return _table(["trial", "state", "score", "env steps", *keys, "error"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; the cells of a last column `error` are words."""
    cells = "".join(f"<th>{html_text(each)}</th>" for each in head)
    lines = []
    for row in rows:
        kinds = [' class="words"' if name == "error" else "" for name in head]
        lines.append("".join(f"<td{kind}>{html_text(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)))
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{cells}</tr></thead><tbody>\n{body}\n</tbody></table></div>'
