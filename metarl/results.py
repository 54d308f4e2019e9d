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
from .statistics import crossed_bootstrap, iqm, iqm_interval
from .streams import generator

EVALUATION, REFERENCES = "evaluation.json", "evaluation-*.json"
"""Files in a run's folder: how its agent did in unseen tasks, and how others did in the same."""
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
    """What tells it from the others on the same problem."""
    problem: str
    """Family, with what tells its settings from those of others."""
    runs: Sequence[RunResult]
    """By seed; none of a reference, which was not trained."""
    evaluations: Sequence[Evaluation]
    """One for each run, or that of the reference."""
    beside: Path | None = None
    """File of the reference's evaluation; None of a trained agent."""

    @cached_property
    def returns(self) -> np.ndarray:
        """Undiscounted return, mean over replicas. [seed, task, round]"""
        return np.stack([evaluation.returns for evaluation in self.evaluations])

    @property
    def totals(self) -> np.ndarray:
        """Return of the whole trial, the sum over rounds. [seed, task]"""
        return np.stack([evaluation.totals for evaluation in self.evaluations])

    @property
    def env_steps(self) -> np.ndarray:
        """Environment steps spent in the new task by the end of each round, mean over seeds and tasks. [round]"""
        return np.mean([evaluation.env_steps for evaluation in self.evaluations], axis=0)

    @cached_property
    def iqm(self) -> np.ndarray:
        """Interquartile mean of the return over seeds and tasks. [round]"""
        return iqm(self.returns.reshape(-1, self.returns.shape[-1]))

    @cached_property
    def interval(self) -> np.ndarray:
        """Its 95 % interval by bootstrap over seeds and tasks. [round, 2]"""
        return self.interval_of(self.returns)

    @cached_property
    def gain(self) -> tuple[float, np.ndarray]:
        """Last round less first, paired by task: IQM, and the ends of its 95 % interval."""
        change = self.returns[..., -1] - self.returns[..., 0]
        return float(iqm(change.reshape(-1))), self.interval_of(change)

    @property
    def success_rate(self) -> np.ndarray | None:
        """Mean over seeds and tasks of the successes; None where the family knows no success. [round]"""
        rates = [evaluation.success_rate for evaluation in self.evaluations]
        if all(rate is None for rate in rates):
            return None
        # A class may speak of success only where there was one: the seed that says nothing of it had none.
        return np.mean([np.zeros(self.returns.shape[-1]) if rate is None else rate for rate in rates], axis=0)

    def interval_of(self, values: np.ndarray) -> np.ndarray:
        """Return the 95 % interval of the IQM of `values` [seed, task, ...], [..., 2]."""
        return iqm_interval(values, rng=self._draws())

    def mean_interval_of(self, values: np.ndarray) -> np.ndarray:
        """Return the 95 % interval of the mean of `values` [seed, task], [2]; NaN where there is one task only."""
        if values.shape[1] == 1:
            return np.full(2, np.nan)
        return np.stack(crossed_bootstrap(values, lambda pooled, axis: pooled.mean(axis=axis), rng=self._draws()))

    def _draws(self) -> np.random.Generator:
        # The evaluation's own: of a single seed, its file and the page say the same.
        return generator(self.evaluations[0].seed, "bootstrap")


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
    problems: dict[str, list[RunResult]] = {}
    for run in runs:
        key = json.dumps([run.evaluation.family, dict(run.evaluation.settings)], sort_keys=True)
        problems.setdefault(key, []).append(run)
    names = _problem_names([members[0].evaluation for members in problems.values()])
    return [
        group
        for name, members in zip(names, problems.values(), strict=True)
        for group in (*_trained(name, members), *_references(name, members))
    ]


def _trained(problem: str, runs: Sequence[RunResult]) -> list[Group]:
    """Return the runs on one problem by setting."""
    _require_comparable([(run.path / EVALUATION, run.evaluation) for run in runs])
    settings: dict[str, list[RunResult]] = {}
    for run in runs:
        settings.setdefault(json.dumps(_setting(run), sort_keys=True), []).append(run)
    groups = [sorted(members, key=lambda run: run.seed) for members in settings.values()]
    for members in groups:
        _require_one_of_each_seed(members)
    return [
        Group(name, problem, members, [run.evaluation for run in members])
        for name, members in zip(_names(groups), groups, strict=True)
    ]


def _references(problem: str, runs: Sequence[RunResult]) -> list[Group]:
    """Return what `metarl evaluate RUN --agent NAME` measured in the runs' tasks, each agent once."""
    first, files = runs[0], sorted(path for run in runs for path in run.path.glob(REFERENCES))
    measured = [(path, Evaluation.load(path)) for path in files]
    measured = [
        (path, evaluation)
        for path, evaluation in measured
        if evaluation.split == first.evaluation.split and evaluation.trained is None
    ]
    _require_comparable([(first.path / EVALUATION, first.evaluation), *measured])
    for path, evaluation in measured:
        if evaluation.rounds != first.evaluation.rounds:
            raise MetarlError(
                f"{path} has {counted(evaluation.rounds, 'round')}, {first.path / EVALUATION} has "
                f"{first.evaluation.rounds}; evaluate all on one problem alike"
            )
    found: dict[str, Group] = {}
    for path, evaluation in measured:
        found.setdefault(evaluation.agent, Group(evaluation.agent, problem, (), [evaluation], path))
    return list(found.values())


def _problem_names(evaluations: Sequence[Evaluation]) -> list[str]:
    """Return each problem's family, with the settings that differ between problems of the same family."""
    names = []
    for evaluation in evaluations:
        others = [other.settings for other in evaluations if other.family == evaluation.family]
        differing = (
            f"{key}={value}"
            for key, value in evaluation.settings.items()
            if any(other.get(key) != value for other in others)
        )
        names.append(" ".join([evaluation.family, *differing]))
    return names


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


def _require_comparable(evaluations: Sequence[tuple[Path, Evaluation]]) -> None:
    """Refuse evaluations, each with its file, of one problem that were not measured alike."""
    (path, first), *others = evaluations
    for other_path, other in others:
        if difference := _difference(first, other):
            raise MetarlError(f"{path} and {other_path} {difference}; evaluate all on one problem alike")


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
    several = len({group.problem for group in groups}) > 1
    return rows if several else [row[1:] for row in rows]


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


def difference_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """Return how each trained group's trials differ from each reference's in the same tasks, header first."""
    rows: list[tuple[str, ...]] = [
        ("problem", "", "less", "mean difference of the trial's return", "of the reference's")
    ]
    trained, references = ([group for group in groups if bool(group.runs) is kind] for kind in (True, False))
    for group, reference in itertools.product(trained, references):
        if group.problem == reference.problem and group.returns.shape[-1] == reference.returns.shape[-1]:
            change = group.totals - reference.totals
            whole = abs(float(reference.totals.mean()))
            share = f"{change.mean() / whole:+.1%}" if whole else ""
            cell = _with_interval(float(change.mean()), group.mean_interval_of(change))
            rows.append((group.problem, group.name, reference.name, cell, share))
    return rows


def _with_interval(value: float, ends: np.ndarray) -> str:
    decimals = _decimals(np.array([value, *ends]))
    return f"{number_text(value, decimals)} {interval_text(ends, lambda end: number_text(end, decimals))}"


def _decimals(values: np.ndarray) -> int:
    """Return the decimals of a page, one less than of a table of one run."""
    return max(0, decimals_for(values) - 1)


def markdown(groups: Sequence[Group], title: str, notes: Sequence[str], pictures: Mapping[str, str], again: str) -> str:
    """Return the page; `pictures` are file names by what they show, `again` is the command that writes it."""
    parts = [f"# {title}", *notes, *_what(groups), _table(summary_rows(groups))]
    parts += [f"![{text}]({name})" for text, name in pictures.items()]
    if len(differences := difference_rows(groups)) > 1:
        parts += ["## Beside the references, paired by task", _table(differences)]
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
        "updates, without evaluations; env steps and minutes are means over seeds."
    )
    return [what, *dict.fromkeys(filter(None, map(_not_unseen, evaluations)))]


def _not_unseen(evaluation: Evaluation) -> str:
    """Return which tasks were trained on, '' where none was."""
    if evaluation.unseen:
        return ""
    if evaluation.split == "train":
        return "The agents were trained on this split: **none of these tasks is unseen**."
    different = counted(evaluation.num_different_tasks, "different task")
    return (
        f"{evaluation.family} has finitely many tasks, these are {different}: **none of these is unseen**, and intervals "
        "are of their episodes' chance alone."
    )


def _table(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _seed_rows(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    header = ("problem", "", "seed", "IQM by round", "mean by round", "trial, mean", "checkpoint of update", "minutes")
    rows: list[tuple[str, ...]] = [(*header, "commit")]
    for group in groups:
        for run in group.runs:
            evaluation = run.evaluation
            decimals = _decimals(evaluation.iqm)
            shown = slice(None) if evaluation.rounds <= _ROUNDS else slice(None, None, evaluation.rounds - 1)
            by_round = [
                " / ".join(number_text(value, decimals) for value in values[shown])
                for values in (evaluation.iqm, evaluation.mean)
            ]
            total = float(evaluation.totals.mean())
            kept = f"{(evaluation.trained or {}).get('updates', '?')} of {run.config['num_updates']}"
            trial = number_text(total, _decimals(np.array([total])))
            rows.append(
                (group.problem, group.name, str(run.seed), *by_round, trial, kept, f"{run.minutes:.1f}")
                + (", ".join(run.commits),)
            )
    return rows if len({row[0] for row in rows[1:]}) > 1 else [row[1:] for row in rows]


def _commands(groups: Sequence[Group], again: str) -> str:
    lines = []
    for group in groups:
        for run in group.runs:
            commands = [session["command"] for session in run.sessions if session.get("command")]
            lines += [shlex.join(["metarl", *(portable(str(word)) for word in command[1:])]) for command in commands]
            lines.append(_evaluate_command(run.path, run.evaluation, EVALUATION))
        if group.beside is not None:
            (evaluation,) = group.evaluations
            lines.append(_evaluate_command(group.beside.parent, evaluation, group.beside.name, group.name))
    return "\n".join(["```sh", *dict.fromkeys(lines), again, "```"])


def _evaluate_command(run: Path, evaluation: Evaluation, file: str, agent: str | None = None) -> str:
    """Return the command that measured the run's agent, or the reference `agent` in its tasks."""
    path = portable(str(run))
    words: list[object] = [
        "metarl",
        "evaluate",
        path,
        *(["--agent", agent.removesuffix(" (untrained)")] if agent else []),
    ]
    words += ["--rounds", evaluation.rounds, "--replicas", evaluation.replicas, "--tasks", evaluation.num_tasks]
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
    groups: Sequence[Group], path: str | Path, *, title: str | None, notes: Sequence[str], again: str
) -> None:
    """Write the page and its two pictures beside it. Raises MetarlError where they cannot be written."""
    path = Path(path)
    pictures = {}
    if len({group.problem for group in groups}) == 1:  # returns on different problems do not share an axis
        pictures = {
            "Return against environment steps spent in the new task": adaptation_figure(groups),
            "Validation return against environment steps of training": training_figure(groups),
        }
    names = {}
    for (text, figure), word in zip(pictures.items(), ("adaptation", "training"), strict=False):
        names[text] = f"{path.stem}-{word}.png"
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=100)
        write_atomically(path.with_name(names[text]), picture.getvalue())
    families = dict.fromkeys(evaluation.family for group in groups for evaluation in group.evaluations)
    page = markdown(groups, title or f"Results on {' and '.join(families)}", notes, names, again)
    write_atomically(path, page.encode())


def page_path(path: str | Path) -> Path:
    """Return the path of a page. Raises MetarlError for one that does not end in .md."""
    if Path(path).suffix != ".md":
        raise MetarlError(f"{path} has suffix {Path(path).suffix!r}; a page is written as '.md'")
    return Path(path)
