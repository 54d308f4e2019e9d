"""The page of results: tables, pictures, and the commands that repeat them."""

from __future__ import annotations

import io
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from .errors import MetarlError
from .evaluation import Evaluation
from .files import write_atomically
from .measures import adaptation_speed, cvar, differences, improvements, steps_to
from .report import counted, decimals_for, interval_text, number_text
from .results import EVALUATION, Group
from .results_pictures import adaptation_figure, profile_figure, training_figure
from .statistics import iqm


def summary_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return the table of all groups, header first; of trials of many rounds the first, the last and their sum."""
    rounds = max(group.returns.shape[-1] for group in groups)
    shown = list(range(rounds)) if rounds <= _ROUNDS else [0, -1]
    names = [f"round {n + 1}" for n in shown] if rounds <= _ROUNDS else ["first round", "last round"]
    sums = any(group.returns.shape[-1] == 1 or group.returns.shape[-1] > _ROUNDS for group in groups)
    totals = ["trial", "trial, mean"]
    if rounds == 1:  # which is the trial
        names, totals = [], ["return", "return, mean"]
    header = ["problem", "", "seeds", "env steps", "minutes", *names]
    header += [*(["gain"] if rounds > 1 else []), *(totals if sums else [])]
    knows_success = any(group.success_rate is not None for group in groups)
    rows = [(*header, *(["success by round"] if knows_success else []))]
    for group in groups:
        cells = [*_training_cells(group)]
        if rounds > 1:
            cells += [_round_cell(group, n) for n in shown]
            cells.append(_with_interval(*group.gain) if group.returns.shape[-1] > 1 else "")
        if sums:
            trials = group.totals
            cells.append(_with_interval(float(iqm(trials.reshape(-1))), group.interval_of(trials)))
            cells.append(_with_interval(float(trials.mean()), group.mean_interval_of(trials)))
        if knows_success:
            rate = group.success_rate
            cells.append("" if rate is None else " / ".join(f"{rate[n]:.2f}" for n in shown if n < len(rate)))
        rows.append((group.problem, group.name, *cells))
    return _told_apart(rows, groups)


def _told_apart(rows: list[tuple[str, ...]], groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return a table, whose first column is the problem, without that column where all groups are on one."""
    return rows if len({group.problem for group in groups}) > 1 else [row[1:] for row in rows]


_ROUNDS = 4
"""Rounds that have a column each; of longer trials there are the first and the last, and their sum."""


def _training_cells(group: Group) -> tuple[str, str, str]:
    """Return seeds, environment steps and minutes of training; nothing for a reference."""
    if not group.runs:
        return ("", "", "")
    unfinished = " (unfinished)" if any(run.unfinished for run in group.runs) else ""
    seeds = ", ".join(str(run.seed) for run in group.runs)
    steps = np.mean([run.env_steps for run in group.runs]) / 1e6
    return seeds, f"{steps:.3g} M{unfinished}", f"{np.mean([run.minutes for run in group.runs]):.1f}"


def _round_cell(group: Group, number: int) -> str:
    known = number < group.returns.shape[-1]
    return _with_interval(group.iqm[number], group.interval[number]) if known else ""


def measure_rows(groups: Sequence[Group], threshold: float | None = None) -> list[tuple[str, ...]]:
    """Return the measures of adaptation of groups of several rounds, header first; `threshold` is a return to be reached."""
    header = ["problem", "", "worst tenth, first round", "worst tenth, last round"]
    header += ["rounds to 90 % of the gain", "env steps to 90 % of the gain"]
    if threshold is not None:
        header += [f"reach {threshold:g}", f"rounds to {threshold:g}, median", f"env steps to {threshold:g}, median"]
    rows: list[tuple[str, ...]] = [tuple(header)]
    for group in groups:
        if group.returns.shape[-1] > 1:
            worst = np.array([cvar(group.returns[..., n].reshape(-1)) for n in (0, -1)])
            cells = [
                *(number_text(value, _decimals(worst)) for value in worst),
                *_soon(*adaptation_speed(group.iqm, group.env_steps)),
            ]
            if threshold is not None:
                steps = np.stack([evaluation.env_steps_per_task for evaluation in group.evaluations])
                reached, *soon = steps_to(group.returns, steps, threshold)
                cells += [f"{reached:.0%}", *_soon(*soon)]
            rows.append((group.problem, group.name, *cells))
    return _told_apart(rows, groups)


def _soon(rounds: float, env_steps: float) -> tuple[str, str]:
    if math.isinf(rounds):
        return "never", "never"
    return number_text(rounds, 0), number_text(env_steps, 0)


def comparison_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return how each trained group's trials compare to each reference's and each group's before it, header first."""
    header = (
        "problem",
        "",
        "less",
        "mean difference of the trial's return",
        "of the other's",
        "probability of improvement",
    )
    rows: list[tuple[str, ...]] = [header]
    for n, group in enumerate(groups):
        for other in (*(each for each in groups if not each.runs), *(each for each in groups[:n] if each.runs)):
            alike = group.problem == other.problem and group.returns.shape[-1] == other.returns.shape[-1]
            if not group.runs or not alike:
                continue
            change, wins = (compare(group.totals, other.totals) for compare in (differences, improvements))
            whole = abs(float(other.totals.mean()))
            rows.append(
                (
                    group.problem,
                    group.name,
                    other.name,
                    _with_interval(float(change.mean()), group.interval_beside(change)),
                    f"{change.mean() / whole:+.1%}" if whole else "",
                    _with_interval(float(wins.mean()), group.interval_beside(wins).clip(0, 1)),
                )
            )
    return _told_apart(rows, groups)


def _with_interval(value: float, ends: np.ndarray) -> str:
    decimals = _decimals(np.array([value, *ends]))
    return f"{number_text(value, decimals)} {interval_text(ends, lambda end: number_text(end, decimals))}"


def _decimals(values: np.ndarray) -> int:
    """Return the decimals of a page, one less than of a table of one run."""
    return max(0, decimals_for(values) - 1)


def markdown(
    groups: Sequence[Group],
    title: str,
    notes: Sequence[str],
    pictures: Mapping[str, str],
    again: str,
    threshold: float | None = None,
) -> str:
    """Return the page; `pictures` are file names by what they show, `again` is the command that writes it."""
    parts = [f"# {title}", *notes, *_what(groups), _table(summary_rows(groups))]
    parts += [f"![{text}]({name})" for text, name in pictures.items()]
    if len(measures := measure_rows(groups, threshold)) > 1:
        parts += ["## Measures of adaptation", _table(measures)]
    if len(comparisons := comparison_rows(groups)) > 1:
        parts += ["## Side by side, paired by task", _table(comparisons)]
    parts += ["## Single seeds", _table(_seed_rows(groups)), "## Again", _commands(groups, again), _versions(groups)]
    return "\n\n".join(parts) + "\n"


def _what(groups: Sequence[Group]) -> list[str]:
    """Return in words what the numbers of a page are."""
    evaluations = list({group.problem: group.evaluations[0] for group in groups}.values())
    counts = dict.fromkeys(
        f"{counted(evaluation.num_tasks, f'{evaluation.split} task')}, "
        f"{counted(evaluation.replicas, 'episode')} a round in each"
        for evaluation in evaluations
    )
    what = (
        f"{'; '.join(counts)}. Returns are undiscounted, of episodes "
        "with exploration noise; IQM over training seeds and tasks, with the 95 % interval by bootstrap over both; of a single "
        "seed it is over tasks, and says nothing of other training seeds. Gain is the last "
        "round less the first, paired by task; trial is the sum over rounds. Minutes are wall-clock time of rollouts and "
        "updates, without evaluations; env steps and minutes are means over seeds. docs/evaluation.md defines each measure."
    )
    several = any(len(group.runs) > 1 for group in groups)
    return [what, *dict.fromkeys(filter(None, (_not_unseen(evaluation, several) for evaluation in evaluations)))]


def _not_unseen(evaluation: Evaluation, several_seeds: bool) -> str:
    """Return which tasks were trained on, '' where none was."""
    if evaluation.unseen:
        return ""
    if evaluation.split == "train":
        return "The agents were trained on this split: **none of these tasks is unseen**."
    different = counted(evaluation.num_different_tasks, "different task")
    return (
        f"{evaluation.family} has finitely many tasks, these are {different}: **none of these is unseen**, and intervals "
        f"are of their episodes' chance {'and of training seeds' if several_seeds else 'alone'}."
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _seed_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    once = all(group.returns.shape[-1] == 1 for group in groups)
    returns = ("return", "return, mean") if once else ("IQM by round", "mean by round", "trial, mean")
    rows: list[tuple[str, ...]] = [("problem", "", "seed", *returns, "checkpoint of update", "minutes", "commit")]
    for group in groups:
        for run in group.runs:
            evaluation = run.evaluation
            decimals = _decimals(evaluation.iqm)
            shown = slice(None) if evaluation.rounds <= _ROUNDS else slice(None, None, evaluation.rounds - 1)
            cells = [
                " / ".join(number_text(value, decimals) for value in values[shown])
                for values in (evaluation.iqm, evaluation.mean)
            ]
            total = float(evaluation.totals.mean())
            cells += [] if once else [number_text(total, _decimals(np.array([total])))]
            cells.append(f"{(evaluation.trained or {}).get('updates', '?')} of {run.config['num_updates']}")
            cells += [f"{run.minutes:.1f}", ", ".join(run.commits)]
            rows.append((group.problem, group.name, str(run.seed), *cells))
    return _told_apart(rows, groups)


def _commands(groups: Sequence[Group], again: str) -> str:
    lines = []
    for group in groups:
        for run in group.runs:
            commands = [session["command"] for session in run.sessions if session.get("command")]
            lines += [shlex.join(["metarl", *(portable(str(word)) for word in command[1:])]) for command in commands]
            lines.append(_evaluate_command(run.path, run.evaluation, EVALUATION))
        if group.beside is not None:
            (evaluation,) = group.evaluations
            lines.append(_evaluate_command(group.beside.parent, evaluation, group.beside.name, reference=True))
    return "\n".join(["```sh", *dict.fromkeys(lines), again, "```"])


def _evaluate_command(run: Path, evaluation: Evaluation, file: str, *, reference: bool = False) -> str:
    """Return the command that measured the run's agent, or a reference in its tasks."""
    path = portable(str(run))
    words: list[object] = ["metarl", "evaluate", path]
    if reference:
        words += ["--agent", evaluation.agent.removesuffix(" (untrained)")]
        words += [f"agent.{key}={json.dumps(value)}" for key, value in evaluation.agent_settings.items()]
    words += ["--rounds", evaluation.rounds, "--replicas", evaluation.replicas, "--tasks", evaluation.num_tasks]
    if evaluation.budget > 1:
        words += ["--budget", evaluation.budget]
    if evaluation.seed != 0:
        words += ["--seed", evaluation.seed]
    if (evaluation.trained or {}).get("checkpoint") == "last":
        words += ["--checkpoint", "last"]
    if evaluation.split != "test":  # whose file would have another name
        words += ["--split", evaluation.split, "--json", f"{path}/{file}"]
    return shlex.join(map(str, words))


def portable(word: str) -> str:
    """Return a word of a command line, or what stands behind its '=', without the place of files on this machine."""
    key, equals, value = word.partition("=")
    if equals and Path(value).is_absolute():
        return f"{key}={portable(value)}"
    path = Path(word)
    if not path.is_absolute():
        return word
    inside = path.is_relative_to(Path.cwd())
    return str(path.relative_to(Path.cwd())) if inside else str(Path("runs") / path.name)


def _versions(groups: Sequence[Group]) -> str:
    """Return every version that trained or measured one of the runs, and the commits that measured them."""
    found: dict[str, dict[str, None]] = {}
    runs = [run for group in groups for run in group.runs]
    evaluations = [evaluation for group in groups for evaluation in group.evaluations]
    commits = dict.fromkeys((evaluation.commit or "unknown")[:10] for evaluation in evaluations)
    told = [session.get("versions", {}) for run in runs for session in run.sessions]
    for versions in (*told, *(evaluation.versions for evaluation in evaluations)):
        for name, version in versions.items():
            found.setdefault(name, {})[version] = None
    listed = ", ".join(f"{name} {' and '.join(versions)}" for name, versions in found.items())
    return f"{listed}. Evaluated at commit {', '.join(commits)}."


def write_page(
    groups: Sequence[Group],
    path: str | Path,
    *,
    title: str | None,
    notes: Sequence[str],
    again: str,
    threshold: float | None = None,
) -> None:
    """Write the page and its three pictures beside it. Raises MetarlError where they cannot be written."""
    path = Path(path)
    pictures = {}
    if len({group.problem for group in groups}) == 1:  # returns on different problems do not share an axis
        pictures = {
            "Return against environment steps spent in the new task": adaptation_figure(groups),
            "Share of seeds and tasks whose last round is above a return": profile_figure(groups),
            "Validation return against environment steps of training": training_figure(groups),
        }
    names = {}
    for (text, figure), word in zip(pictures.items(), ("adaptation", "profile", "training"), strict=False):
        names[text] = f"{path.stem}-{word}.png"
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=100)
        write_atomically(path.with_name(names[text]), picture.getvalue())
    families = dict.fromkeys(evaluation.family for group in groups for evaluation in group.evaluations)
    page = markdown(groups, title or f"Results on {' and '.join(families)}", notes, names, again, threshold)
    write_atomically(path, page.encode())


def page_path(path: str | Path) -> Path:
    """Return the path of a page. Raises MetarlError for one that does not end in .md."""
    if Path(path).suffix != ".md":
        raise MetarlError(f"{path} has suffix {Path(path).suffix!r}; a page is written as '.md'")
    return Path(path)
