"""Results of training runs over several seeds and settings: tables, pictures and the commands that repeat them."""

from __future__ import annotations

import io
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import MetarlError
from .evaluation import Evaluation
from .files import write_atomically
from .log import METRICS, PROVENANCE
from .report import COLORS, MARKERS, before, dressed, interval_text, number_text
from .statistics import iqm, stratified_bootstrap
from .streams import generator

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EVALUATION = "evaluation.json"
_SAME = frozenset({"seed", "wandb", "threads", "device", "checkpoint_every"})
"""Parts of a config in which runs of one setting may differ."""


@dataclass(frozen=True)
class RunResult:
    """What one training run left behind."""

    path: Path
    """Its folder."""
    config: Mapping[str, Any]
    """Its resolved configuration."""
    evaluation: Evaluation
    """How its agent did in unseen tasks."""
    metrics: Sequence[Mapping[str, float]]
    """One line an update."""
    sessions: Sequence[Mapping[str, Any]]
    """What ran it: command, commit, versions."""

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return int(self.config["seed"])

    @property
    def env_steps(self) -> int:
        """Environment steps of training."""
        return int(self.metrics[-1]["env_steps"]) if self.metrics else 0

    @property
    def unfinished(self) -> bool:
        """Whether updates are left to make."""
        return not self.metrics or self.metrics[-1]["update"] + 1 < self.config["num_updates"]

    @property
    def minutes(self) -> float:
        """Minutes of rollouts and updates, without evaluations."""
        steps = np.diff([0.0, *(line["env_steps"] for line in self.metrics)])
        return float(sum(n / line["time/steps_per_second"] for n, line in zip(steps, self.metrics, strict=True))) / 60

    @property
    def commits(self) -> tuple[str, ...]:
        """Commits that it was trained at, the first ten digits of each."""
        return tuple(dict.fromkeys(str(session.get("git_commit"))[:10] for session in self.sessions))


@dataclass(frozen=True)
class Group:
    """Runs of one setting, each with a training seed of its own."""

    name: str
    """What tells it from the others."""
    runs: Sequence[RunResult]
    """By seed."""

    @cached_property
    def returns(self) -> np.ndarray:
        """Undiscounted return, mean over replicas. [seed, task, round]"""
        return np.stack([run.evaluation.returns for run in self.runs])

    @property
    def env_steps(self) -> np.ndarray:
        """Environment steps spent in the new task by the end of each round, mean over seeds and tasks. [round]"""
        return np.mean([run.evaluation.env_steps for run in self.runs], axis=0)

    @cached_property
    def iqm(self) -> np.ndarray:
        """Interquartile mean of the return over seeds and tasks. [round]"""
        return iqm(self.returns.reshape(-1, self.returns.shape[-1]))

    @cached_property
    def interval(self) -> np.ndarray:
        """Its 95 % interval by bootstrap over tasks, stratified by seed. [round, 2]"""
        return self._interval(self.returns)

    @cached_property
    def gain(self) -> tuple[float, np.ndarray]:
        """Last round less first, paired by task: IQM, and the ends of its 95 % interval."""
        change = self.returns[..., -1] - self.returns[..., 0]
        return float(iqm(change.reshape(-1))), self._interval(change)

    @property
    def success_rate(self) -> np.ndarray | None:
        """Mean over seeds and tasks of the successes; None where the family knows no success. [round]"""
        rates = [run.evaluation.success_rate for run in self.runs]
        known = [rate for rate in rates if rate is not None]
        return np.mean(known, axis=0) if len(known) == len(rates) else None

    def _interval(self, values: np.ndarray) -> np.ndarray:
        ends = stratified_bootstrap(values, iqm, rng=generator(0, "results"))
        return np.stack(ends, axis=-1)


def read_run(path: str | Path) -> RunResult:
    """Return what a run's folder holds; a last line of metrics that was cut off is left out.

    Raises MetarlError for a folder that holds no run, and for a run that was not evaluated.
    """
    from .config import resolved
    from .train import run_config

    path = Path(path)
    config = resolved(run_config(path))
    if not (path / EVALUATION).is_file():
        raise MetarlError(f"run {path} has no {EVALUATION}; write it with `metarl evaluate {path}`")
    sessions: list[Mapping[str, Any]] = []
    if (path / PROVENANCE).is_file():
        sessions = json.loads((path / PROVENANCE).read_text(encoding="utf-8"))["sessions"]
    return RunResult(path, config, Evaluation.load(path / EVALUATION), list(_lines(path / METRICS)), sessions)


def _lines(path: Path) -> Iterator[Mapping[str, float]]:
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # killed in the middle of it
            return


def grouped(runs: Sequence[RunResult]) -> list[Group]:
    """Return the runs by setting, in the order given. Raises MetarlError where their evaluations do not compare."""
    if not runs:
        raise MetarlError("no run given; write `metarl report RUN...`")
    _require_comparable(runs)
    settings: dict[str, list[RunResult]] = {}
    for run in runs:
        settings.setdefault(json.dumps(_setting(run), sort_keys=True), []).append(run)
    groups = [sorted(members, key=lambda run: run.seed) for members in settings.values()]
    for members in groups:
        seeds = [run.seed for run in members]
        if len(set(seeds)) < len(seeds):
            raise MetarlError(
                f"{members[0].path} and another have setting and seed in common; give each seed of a setting once"
            )
        if len({run.evaluation.rounds for run in members}) > 1:
            raise MetarlError(f"evaluations of {members[0].path} and its other seeds differ in rounds; repeat them")
    return [Group(name, members) for name, members in zip(_names(groups), groups, strict=True)]


def _setting(run: RunResult) -> dict[str, Any]:
    return {key: value for key, value in run.config.items() if key not in _SAME}


def _names(groups: Sequence[Sequence[RunResult]]) -> list[str]:
    """Return each group's agent, with what differs between groups of the same agent."""
    agents = [members[0].config["agent"]["name"] for members in groups]
    flat = [_flat(_setting(members[0])) for members in groups]
    names = []
    for agent, setting in zip(agents, flat, strict=True):
        others = [other for other, name in zip(flat, agents, strict=True) if name == agent]
        differing = [key for key in setting if any(other.get(key) != setting[key] for other in others)]
        names.append(" ".join([agent, *(f"{key}={setting[key]}" for key in differing)]))
    return names


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {prefix: value}
    parts = (_flat(inner, f"{prefix}.{key}" if prefix else key) for key, inner in value.items())
    return {key: inner for part in parts for key, inner in part.items()}


def _require_comparable(runs: Sequence[RunResult]) -> None:
    first = runs[0]
    for run in runs[1:]:
        for what in ("family", "settings", "split", "replicas"):
            mine, theirs = getattr(first.evaluation, what), getattr(run.evaluation, what)
            if mine != theirs:
                raise MetarlError(
                    f"evaluations of {first.path} and {run.path} differ in {what}: {mine!r}, {theirs!r}; "
                    "report runs of one family together, evaluated alike"
                )
        if list(first.evaluation.tasks) != list(run.evaluation.tasks):
            raise MetarlError(f"evaluations of {first.path} and {run.path} are of different tasks; evaluate them alike")


# The page.


def summary_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return the table of all groups, header first."""
    rounds = max(group.returns.shape[-1] for group in groups)
    knows_success = any(group.success_rate is not None for group in groups)
    header = ("", "seeds", "env steps", "minutes", *(f"round {n + 1}" for n in range(rounds)), "gain")
    rows: list[tuple[str, ...]] = [(*header, *(("success by round",) if knows_success else ()))]
    for group in groups:
        steps = np.mean([run.env_steps for run in group.runs]) / 1e6
        minutes = np.mean([run.minutes for run in group.runs])
        unfinished = " (unfinished)" if any(run.unfinished for run in group.runs) else ""
        cells = [_with_interval(group.iqm[n], group.interval[n]) for n in range(group.returns.shape[-1])]
        cells += [""] * (rounds - len(cells))
        gain = _with_interval(*group.gain) if group.returns.shape[-1] > 1 else ""
        rate = group.success_rate
        success = () if not knows_success else ("" if rate is None else " / ".join(f"{share:.2f}" for share in rate),)
        seeds = ", ".join(str(run.seed) for run in group.runs)
        rows.append((group.name, seeds, f"{steps:.1f} M{unfinished}", f"{minutes:.1f}", *cells, gain, *success))
    return rows


def _with_interval(value: float, ends: np.ndarray) -> str:
    decimals = max(0, 2 - int(math.log10(max(abs(value), *np.abs(ends), 1.0)))) if np.isfinite(ends).all() else 1
    return f"{number_text(value, decimals)} {interval_text(ends, lambda end: number_text(end, decimals))}"


def markdown(groups: Sequence[Group], title: str, notes: Sequence[str], pictures: Mapping[str, str], again: str) -> str:
    """Return the page; `pictures` are file names by what they show, `again` is the command that writes it."""
    evaluation = groups[0].runs[0].evaluation
    what = (
        f"{evaluation.num_tasks} {evaluation.split} tasks, {evaluation.replicas} episodes a round in each. Returns are "
        "undiscounted, of episodes with exploration noise; IQM over training seeds and tasks, with the 95 % bootstrap "
        "interval over tasks, stratified by seed. Gain is the last round less the first, paired by task. Minutes are of "
        "rollouts and updates, mean over seeds."
    )
    if not evaluation.unseen:
        what += " The family has finitely many tasks: **none of these is unseen**."
    parts = [f"# {title}", *notes, what, _table(summary_rows(groups))]
    parts += [f"![{text}]({name})" for text, name in pictures.items()]
    parts += ["## Single seeds", _table(_seed_rows(groups)), "## Again", _commands(groups, again), _versions(groups)]
    return "\n\n".join(parts) + "\n"


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _seed_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("", "seed", "IQM by round", "mean by round", "checkpoint of update", "minutes", "commit")
    ]
    for group in groups:
        for run in group.runs:
            by_round = (" / ".join(number_text(v, 1) for v in values) for values in _of_rounds(run.evaluation))
            trained = run.evaluation.trained or {}
            kept = f"{trained.get('updates', '?')} of {run.config['num_updates']}"
            rows.append((group.name, str(run.seed), *by_round, kept, f"{run.minutes:.1f}", ", ".join(run.commits)))
    return rows


def _of_rounds(evaluation: Evaluation) -> tuple[np.ndarray, np.ndarray]:
    return evaluation.iqm, evaluation.mean


def _commands(groups: Sequence[Group], again: str) -> str:
    lines = []
    for run in (run for group in groups for run in group.runs):
        for session in run.sessions:
            words = [str(word) for word in session["command"]]
            lines.append(shlex.join(["metarl", *(portable(word) for word in words[1:])]))
        evaluation = run.evaluation
        options = f"--rounds {evaluation.rounds} --replicas {evaluation.replicas} --tasks {evaluation.num_tasks}"
        split = "" if evaluation.split == "test" else f" --split {evaluation.split}"
        lines.append(f"metarl evaluate {portable(str(run.path))} {options}{split}")
    return "\n".join(["```sh", *dict.fromkeys(lines), again, "```"])


def portable(word: str) -> str:
    """Return a word of a command line without the place where this machine keeps its files."""
    path = Path(word)
    if not path.is_absolute():
        return word
    inside = path.is_relative_to(Path.cwd())
    return str(path.relative_to(Path.cwd())) if inside else str(Path("runs") / path.name)


def _versions(groups: Sequence[Group]) -> str:
    found = groups[0].runs[0].evaluation.versions
    return ", ".join(f"{name} {version}" for name, version in found.items()) + "."


# Pictures.


def adaptation_figure(groups: Sequence[Group]) -> Figure:
    """Return the picture of the return against the environment steps spent in the new task, a line for each group."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, group in enumerate(groups):
        color, marker = COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]
        steps, (low, high) = before(group.env_steps), group.interval.T
        axes.fill_between(steps, low, high, color=color, alpha=0.25, lw=0)
        axes.plot(steps, group.iqm, color=color, marker=marker, mec="white", lw=2, label=group.name)
    dressed(axes, [group.runs[0].evaluation for group in groups])
    figure.legend(loc="outside lower center", ncols=min(4, len(groups)), frameon=False, fontsize=9)
    return figure


def training_figure(groups: Sequence[Group]) -> Figure:
    """Return the picture of the validation return before (dashed) and after adaptation against training's env steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, group in enumerate(groups):
        for key, style in (("validation/return_before", "--"), ("validation/return_after", "-")):
            _learning_curve(axes, group, key, style, COLORS[i % len(COLORS)])
    axes.set_title(f"Meta-training on {groups[0].runs[0].evaluation.family}", loc="left", weight="bold", size=11)
    axes.set_xlabel("Environment steps of training")
    axes.set_ylabel("Validation return (IQM), last round; dashed: first")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", lw=0.8)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    figure.legend(loc="outside lower center", ncols=min(4, len(groups)), frameon=False, fontsize=9)
    return figure


def _learning_curve(axes: Axes, group: Group, key: str, style: str, color: str) -> None:
    curves = [[(line["env_steps"], line[key]) for line in run.metrics if key in line] for run in group.runs]
    for curve in curves:
        if curve:
            axes.plot(*zip(*curve, strict=True), color=color, ls=style, lw=0.7, alpha=0.45)
    shared = min(map(len, curves))
    if shared:
        mean = np.mean([curve[:shared] for curve in curves], axis=0)
        axes.plot(*mean.T, color=color, ls=style, lw=2, label=group.name if style == "-" else None)


def write_page(
    groups: Sequence[Group], path: str | Path, *, title: str | None, notes: Sequence[str], again: str
) -> None:
    """Write the page and its two pictures beside it. Raises MetarlError where they cannot be written."""
    path = Path(path)
    pictures = {
        "Return against environment steps spent in the new task": adaptation_figure(groups),
        "Validation return against environment steps of training": training_figure(groups),
    }
    names = {}
    for (text, figure), word in zip(pictures.items(), ("adaptation", "training"), strict=True):
        names[text] = f"{path.stem}-{word}.png"
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=100)
        write_atomically(path.with_name(names[text]), picture.getvalue())
    family = groups[0].runs[0].evaluation.family
    page = markdown(groups, title or f"Results on {family}", notes, names, again)
    write_atomically(path, page.encode())


def page_path(path: str | Path) -> Path:
    """Return the path of a page. Raises MetarlError for one that does not end in .md."""
    if Path(path).suffix != ".md":
        raise MetarlError(f"{path} has suffix {Path(path).suffix!r}; a page is written as '.md'")
    return Path(path)
