"""The commands and versions that repeat a page, without paths of the machine that wrote it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..base.terminal import shell_line
from ..evaluation.record import UNTRAINED, Evaluation
from ..trials.plan import TrialPlan
from .groups import Group
from .runs import EVALUATION, RunResult, family_changes


def commands(groups: Sequence[Group], again: str) -> list[str]:
    """Return the command lines that repeat all runs and evaluations, each once, and `again`, which writes the page."""
    agents = {run.path: run.evaluation.agent.name for group in groups for run in group.runs}
    lines = [
        line
        for group in groups
        for line in (
            *(each for run in group.runs for each in _run_commands(run)),
            *(
                _evaluate_command(file.parent, each, file.name, reference=each.agent.name != agents.get(file.parent))
                for file, each in (zip(group.files, group.evaluations, strict=True) if group.files else ())
            ),
        )
    ]
    return [*dict.fromkeys(lines), again]


def _run_commands(run: RunResult) -> Iterator[str]:
    """Yield the commands that trained a run and evaluated its agent, on other splits too."""
    for session in run.sessions:
        if command := session.get("command"):
            yield shell_line(["metarl", *(portable(str(word)) for word in command[1:])])
    yield _evaluate_command(run.path, run.evaluation, EVALUATION)
    for split, evaluation in run.other_splits.items():
        yield _evaluate_command(run.path, evaluation, f"evaluation-{split}.json")
    if run.agreement is not None:
        yield _teacher_command(run.path, run.agreement.plan)
    for file, evaluation in run.changed:
        settings = [f"family.{change}" for change in family_changes(evaluation, run.evaluation)]
        reference = evaluation.agent.name != run.evaluation.agent.name
        yield _evaluate_command(run.path, evaluation, file.name, settings, reference=reference)
    measured: dict[str, list[Evaluation]] = {}
    for _, evaluation in run.by_shots:
        measured.setdefault(evaluation.label, []).append(evaluation)
    for first, *others in measured.values():
        shots = ",".join(map(str, sorted(each.settings["shots"] for each in (first, *others))))
        reference = first.agent.name != run.evaluation.agent.name
        yield f"{_evaluate_command(run.path, first, '', reference=reference)} --shots {shots}"


def _teacher_command(run: Path, plan: TrialPlan) -> str:
    """Return the command that measured a run's agent beside its teacher."""
    words: list[object] = ["metarl", "evaluate", portable(str(run)), "--teacher"]
    words += ["--rounds", plan.rounds, "--replicas", plan.replicas, "--tasks", plan.num_tasks]
    words += ["--deterministic"] if plan.deterministic else []
    words += [] if plan.seed == 0 else ["--seed", plan.seed]
    words += [] if plan.split == "test" else ["--split", plan.split]
    return shell_line(words)


def _evaluate_command(
    run: Path, evaluation: Evaluation, file: str, settings: Sequence[str] = (), *, reference: bool = False
) -> str:
    """Return the command that evaluated the run's agent, or a reference, in its family or with other settings of it."""
    path, agent, plan = portable(str(run)), evaluation.agent, evaluation.plan
    words: list[object] = ["metarl", "evaluate", path]
    if reference:
        words += ["--agent", agent.name.removesuffix(UNTRAINED)]
    words += [f"agent.{key}={json.dumps(value)}" for key, value in agent.settings.items()]
    words += settings
    words += ["--rounds", plan.rounds, "--replicas", plan.replicas, "--tasks", plan.num_tasks]
    if plan.budget > 1:
        words += ["--budget", plan.budget]
    if plan.deterministic:
        words.append("--deterministic")
    if plan.seed != 0:
        words += ["--seed", plan.seed]
    if (agent.trained or {}).get("checkpoint") == "last":
        words += ["--checkpoint", "last"]
    if plan.split != "test":  # by default `metarl evaluate` names the file of another split differently
        words += ["--split", plan.split, *(["--json", f"{path}/{file}"] if file else [])]
    return shell_line(words)


def portable(word: str) -> str:
    """Return a word of a command line with absolute paths made relative, also in the value of `key=value`.

    A path outside the current folder becomes `runs/` and its last part.
    """
    key, equals, value = word.partition("=")
    if equals and Path(value).is_absolute():
        return f"{key}={portable(value)}"
    path = Path(word)
    if not path.is_absolute():
        return word
    inside = path.is_relative_to(Path.cwd())
    return str(path.relative_to(Path.cwd())) if inside else str(Path("runs") / path.name)


def versions_line(groups: Sequence[Group]) -> str:
    """Return the versions that trained or evaluated the runs, and the commits of the evaluations."""
    evaluations = [evaluation for group in groups for evaluation in group.evaluations]
    sessions = [session for group in groups for run in group.runs for session in run.sessions]
    found: dict[str, dict[str, None]] = {}
    for versions in (
        *(session.get("versions", {}) for session in sessions),
        *(evaluation.versions for evaluation in evaluations),
    ):
        for name, version in versions.items():
            found.setdefault(name, {})[version] = None
    listed = ", ".join(f"{name} {' and '.join(versions)}" for name, versions in found.items())
    commits = dict.fromkeys((evaluation.commit or "unknown")[:10] for evaluation in evaluations)
    return f"{listed}. Evaluated at commit {', '.join(commits)} of metarl."
