"""Results of training runs over several seeds and settings: tables, pictures and the commands that repeat them."""

from __future__ import annotations

import io
import itertools
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .config import resolved, shortened
from .errors import MetarlError
from .evaluation import Evaluation
from .files import write_atomically
from .log import read_metrics, read_sessions
from .report import counted, decimals_for, interval_text, number_text
from .results_pictures import adaptation_figure, training_figure
from .statistics import iqm, iqm_interval
from .streams import generator

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
        return tuple(dict.fromkeys((session.get("git_commit") or "unknown")[:10] for session in self.sessions))


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
        if all(rate is None for rate in rates):
            return None
        # A class may speak of success only where there was one: the seed that says nothing of it had none.
        return np.mean([np.zeros(self.returns.shape[-1]) if rate is None else rate for rate in rates], axis=0)

    def _interval(self, values: np.ndarray) -> np.ndarray:
        # The evaluation's own draws: of a single seed, its file and the page say the same.
        return iqm_interval(values, rng=generator(self.runs[0].evaluation.seed, "bootstrap"))


def read_run(path: str | Path) -> RunResult:
    """Return what a run's folder holds; a last line of metrics that was cut off is left out.

    Raises MetarlError for a folder that holds no run or a damaged one, and for a run whose agent was not evaluated.
    """
    from .train import run_config

    path = Path(path)
    config = resolved(run_config(path))
    if not (path / EVALUATION).is_file():
        raise MetarlError(f"run {path} has no {EVALUATION}; write it with `metarl evaluate {path}`")
    run = RunResult(path, config, Evaluation.load(path / EVALUATION), read_metrics(path), read_sessions(path))
    _require_own(run)
    return run


def _require_own(run: RunResult) -> None:
    """Refuse an evaluation that is of somebody else, such as the random agent in the run's tasks."""
    trained = run.evaluation.trained or {}
    mine = (run.config["agent"]["name"], run.seed)
    measured = (run.evaluation.agent, trained.get("training_seed", run.seed))
    if measured != mine:
        raise MetarlError(
            f"{run.path / EVALUATION} is of agent {measured[0]!r}, training seed {measured[1]}, the run is of "
            f"{mine[0]!r}, {mine[1]}; write it again with `metarl evaluate {run.path}`"
        )


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
        _require_one_of_each_seed(members)
    return [Group(name, members) for name, members in zip(_names(groups), groups, strict=True)]


def _require_one_of_each_seed(members: Sequence[RunResult]) -> None:
    """Refuse runs of one setting, by seed, that cannot be pooled."""
    first = members[0]
    for run, following in itertools.pairwise(members):
        if run.seed == following.seed:
            raise MetarlError(
                f"{run.path} and {following.path} have setting and seed in common; give each seed of a setting once"
            )
        rounds = first.evaluation.rounds, following.evaluation.rounds
        if rounds[0] != rounds[1]:
            raise MetarlError(
                f"{first.path / EVALUATION} and {following.path / EVALUATION} differ in rounds: {rounds[0]}, "
                f"{rounds[1]}; evaluate all seeds of a setting alike"
            )


def _setting(run: RunResult) -> dict[str, Any]:
    return {key: value for key, value in run.config.items() if key not in _SAME}


def _names(groups: Sequence[Sequence[RunResult]]) -> list[str]:
    """Return each group's agent, with what differs between groups of the same agent."""
    agents = [members[0].config["agent"]["name"] for members in groups]
    flat = [_flat(_setting(members[0])) for members in groups]
    names = []
    for agent, setting in zip(agents, flat, strict=True):
        others = [other for other, name in zip(flat, agents, strict=True) if name == agent]
        differing = [key for key in setting if any(key not in other or other[key] != setting[key] for other in others)]
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
        if difference := _difference(first.evaluation, run.evaluation):
            raise MetarlError(
                f"{first.path / EVALUATION} and {run.path / EVALUATION} {difference}; report runs of one family "
                "together, evaluated alike"
            )


def _difference(first: Evaluation, other: Evaluation) -> str:
    """Return in words the first thing that keeps two evaluations from being compared, '' where nothing does."""
    pairs = [
        (what, getattr(first, what), getattr(other, what)) for what in ("family", "split", "replicas", "num_tasks")
    ]
    names = dict.fromkeys([*first.settings, *other.settings])
    pairs[1:1] = [(f"settings: {name}", first.settings.get(name), other.settings.get(name)) for name in names]
    for what, mine, theirs in pairs:
        if mine != theirs:
            return f"differ in {what}: {shortened(mine)}, {shortened(theirs)}"
    for number, (mine, theirs) in enumerate(zip(first.tasks, other.tasks, strict=True), start=1):
        if mine != theirs:
            return f"are of different tasks: number {number} is {shortened(mine)}, {shortened(theirs)}"
    return ""


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
        rows.append((group.name, seeds, f"{steps:.3g} M{unfinished}", f"{minutes:.1f}", *cells, gain, *success))
    return rows


def _with_interval(value: float, ends: np.ndarray) -> str:
    decimals = _decimals(np.array([value, *ends]))
    return f"{number_text(value, decimals)} {interval_text(ends, lambda end: number_text(end, decimals))}"


def _decimals(values: np.ndarray) -> int:
    """Return the decimals of a page, one less than of a table of one run."""
    return max(0, decimals_for(values) - 1)


def markdown(groups: Sequence[Group], title: str, notes: Sequence[str], pictures: Mapping[str, str], again: str) -> str:
    """Return the page; `pictures` are file names by what they show, `again` is the command that writes it."""
    evaluation = groups[0].runs[0].evaluation
    parts = [f"# {title}", *notes, _what(evaluation), _table(summary_rows(groups))]
    parts += [f"![{text}]({name})" for text, name in pictures.items()]
    parts += ["## Single seeds", _table(_seed_rows(groups)), "## Again", _commands(groups, again), _versions(groups)]
    return "\n\n".join(parts) + "\n"


def _what(evaluation: Evaluation) -> str:
    """Return in words what the numbers of a page are."""
    tasks = counted(evaluation.num_tasks, f"{evaluation.split} task")
    what = (
        f"{tasks}, {counted(evaluation.replicas, 'episode')} a round in each. Returns are undiscounted, of episodes "
        "with exploration noise; IQM over training seeds and tasks, with the 95 % bootstrap interval over tasks, "
        "stratified by seed: the seeds share the tasks, and it says little of other training seeds. Gain is the last "
        "round less the first, paired by task. Minutes are wall-clock time of rollouts and updates, without "
        "evaluations; env steps and minutes are means over seeds."
    )
    if evaluation.unseen:
        return what
    if evaluation.split == "train":
        return f"{what} The agents were trained on this split: **none of these tasks is unseen**."
    different = counted(evaluation.num_different_tasks, "different task")
    return (
        f"{what} The family has finitely many tasks, these are {different}: **none of these is unseen**, and intervals "
        "are of their episodes' chance alone."
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _seed_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("", "seed", "IQM by round", "mean by round", "checkpoint of update", "minutes", "commit")
    ]
    for group in groups:
        for run in group.runs:
            decimals = _decimals(run.evaluation.iqm)
            of_rounds = (run.evaluation.iqm, run.evaluation.mean)
            by_round = (" / ".join(number_text(value, decimals) for value in values) for values in of_rounds)
            trained = run.evaluation.trained or {}
            kept = f"{trained.get('updates', '?')} of {run.config['num_updates']}"
            rows.append((group.name, str(run.seed), *by_round, kept, f"{run.minutes:.1f}", ", ".join(run.commits)))
    return rows


def _commands(groups: Sequence[Group], again: str) -> str:
    lines = []
    for run in (run for group in groups for run in group.runs):
        commands = [session["command"] for session in run.sessions if session.get("command")]
        lines += [shlex.join(["metarl", *(portable(str(word)) for word in command[1:])]) for command in commands]
        lines.append(_evaluate_command(run))
    return "\n".join(["```sh", *dict.fromkeys(lines), again, "```"])


def _evaluate_command(run: RunResult) -> str:
    evaluation, path = run.evaluation, portable(str(run.path))
    words = ["metarl", "evaluate", path, "--rounds", evaluation.rounds, "--replicas", evaluation.replicas]
    words += ["--tasks", evaluation.num_tasks]
    if evaluation.seed != 0:
        words += ["--seed", evaluation.seed]
    if (evaluation.trained or {}).get("checkpoint") == "last":
        words += ["--checkpoint", "last"]
    if evaluation.split != "test":  # whose file would have another name
        words += ["--split", evaluation.split, "--json", f"{path}/{EVALUATION}"]
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
    commits: dict[str, None] = {}
    for run in (run for group in groups for run in group.runs):
        commits[(run.evaluation.commit or "unknown")[:10]] = None
        for versions in (*(session.get("versions", {}) for session in run.sessions), run.evaluation.versions):
            for name, version in versions.items():
                found.setdefault(name, {})[version] = None
    listed = ", ".join(f"{name} {' and '.join(versions)}" for name, versions in found.items())
    return f"{listed}. Evaluated at commit {', '.join(commits)}."


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
