"""`metarl evaluate`: measure how an agent adapts to unseen tasks."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.code import canonical, file_name
from ..base.errors import MetarlError
from ..base.ranks import is_launched, ranks
from .arguments import (
    add_quiet_option,
    add_trial_arguments,
    add_wandb_option,
    add_workers_option,
    agent_choice,
    at_least,
    counts,
    family_choice,
    runs_and_settings,
    trial_plan,
)
from .parser import add_command, is_no_option
from .teacher import evaluate_teacher, require_alone
from .workers import joined_if_launched

if TYPE_CHECKING:
    from ..evaluation.record import Evaluation
    from ..families.family import TaskFamily
    from ..runs.config import TrainConfig
    from ..trials.plan import TrialPlan
    from .resolve import AgentChoice, ResolvedAgent


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "evaluate", run, "measure how an agent adapts to unseen tasks", is_no_option)
    add_trial_arguments(parser)
    parser.add_argument(
        "--family", metavar="NAME", help="measure --agent on this family, without a run: results go to references/NAME"
    )
    parser.add_argument(
        "--tasks", dest="num_tasks", type=at_least(1), default=40, metavar="N", help="number of tasks (default: 40)"
    )
    parser.add_argument(
        "--budget", type=at_least(1), default=1, metavar="B", help="play B rounds from one measured round to the next"
    )
    parser.add_argument(
        "--shots",
        type=counts,
        metavar="N,N",
        help="measure with each of these numbers of examples (the family's setting shots): results go to "
        "RUN/shots-N.json, beside which a report draws the curve",
    )
    parser.add_argument(
        "--teacher",
        action="store_true",
        help="ask the run's teacher too, at every step: how often it agrees, and what it and the student cost, go to "
        "RUN/teacher.json, which a report draws",
    )
    add_workers_option(parser, "measure by N processes here, each with its share of the tasks")
    add_wandb_option(parser)
    add_quiet_option(parser)
    parser.add_argument(
        "--json",
        metavar="F",
        help="result file (default: RUN/evaluation.json; RUN/changed-family.key=value.json with family.key=value; "
        "--agent, agent.key=value, --budget, --deterministic and --split add a suffix; a result of other options keeps "
        "that file as F.replaced-1)",
    )
    parser.add_argument(
        "--plot",
        metavar="F",
        help="picture, .png or .svg (default: RUN/adaptation.png with the same suffix; with --json F, F.png)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Evaluate the agent of each run, or of a family; print the tables, write the numbers and the pictures."""
    if arguments.teacher:
        require_alone(arguments)
    if arguments.workers > 1 and not is_launched():
        from .workers import run_workers, without

        raise SystemExit(run_workers(without(arguments.words, ("--workers",)), arguments.workers))
    with joined_if_launched():
        _run(arguments)


def _run(arguments: argparse.Namespace) -> None:
    # Options that contradict each other are told before a run is loaded, a missing run before the first is measured.
    trial_plan(arguments)
    _asked_outputs(arguments)
    for option in ("json", "plot", "wandb"):
        if arguments.shots and getattr(arguments, option):
            raise MetarlError(f"--{option} was given with --shots, which writes a file for each number: leave it out")
    found = [(choice, choice.config()) for choice in _choices(arguments)]
    measure = _evaluate_shots if arguments.shots else _evaluate
    if arguments.teacher:
        measure = evaluate_teacher
    for choice, config, plan in [(*each, trial_plan(arguments, each[1])) for each in found]:
        measure(arguments, choice, config, plan)


def _choices(arguments: argparse.Namespace) -> list[AgentChoice]:
    """Return the agent of each run, or the agent for a family. Raises MetarlError where neither is given."""
    runs, _ = runs_and_settings(arguments)
    if arguments.family is not None:
        if runs:
            raise MetarlError(f"--family and run {runs[0]} were both given; a run has its family: leave one out")
        folder = Path("references", file_name(canonical(arguments.family)))
        choice = family_choice(arguments, folder)
        if arguments.wandb:
            raise MetarlError("--wandb was given with --family; results are logged beside a run: leave it out")
        return [choice]
    if not runs:
        raise MetarlError(
            "no run was given; write `metarl evaluate RUN` with the folder of a run, or `metarl evaluate --family NAME "
            "--agent NAME`"
        )
    for option in ("json", "plot"):
        if len(runs) > 1 and getattr(arguments, option) is not None:
            raise MetarlError(f"--{option} was given with {len(runs)} runs; it names one file: leave it out")
    return [agent_choice(arguments, run) for run in runs]


def _evaluate(arguments: argparse.Namespace, choice: AgentChoice, config: TrainConfig, plan: TrialPlan) -> None:
    from ..base.meter import meter
    from ..base.progress import say
    from ..evaluation.evaluate import evaluate
    from ..evaluation.figure import plot
    from ..evaluation.table import table
    from .resolve import resolve_agent

    resolved = resolve_agent(choice, config, plan)
    if arguments.wandb and resolved.changed:
        raise MetarlError(
            f"family.{next(iter(resolved.changed))} was given with --wandb; W&B has results on the run's own family: "
            "leave one of both out"
        )
    if choice.family and not (arguments.json and arguments.plot):
        choice.run_dir.mkdir(parents=True, exist_ok=True)
    result, picture = _outputs(arguments, resolved, plan)
    tasks = _tasks_picture(arguments, resolved, plan)
    with meter("evaluate", shown=not arguments.quiet) as report:
        evaluation = evaluate(
            resolved.agent, resolved.family, plan, record=resolved.record, threads=arguments.threads, report=report
        )
    if not ranks().leads:
        return
    _remove_older_tasks(resolved, plan, result)
    _save(evaluation, result, keep=arguments.json is None)
    plot([evaluation], picture)
    say(f"{table([evaluation])}\n\nnumbers: {result}\npicture: {picture}")
    if tasks is not None:
        _draw_answers(resolved, plan, tasks)
        say(f"tasks: {tasks}")
    if arguments.wandb:
        from .wandb import log_evaluation

        log_evaluation(resolved, config, evaluation, picture)


def _evaluate_shots(arguments: argparse.Namespace, choice: AgentChoice, config: TrainConfig, plan: TrialPlan) -> None:
    """Evaluate an agent with several numbers of examples, and write a file for each."""
    from ..base.files import require_writable
    from ..base.meter import meter, part_of
    from ..base.progress import say
    from ..evaluation.evaluate import evaluate
    from ..evaluation.table import shots_table
    from .resolve import resolve_agent

    resolved, asked = resolve_agent(choice, config, plan), arguments.shots
    if resolved.changed:
        raise MetarlError(f"family.{next(iter(resolved.changed))} was given with --shots; leave one of both out")
    families = [_with_shots(resolved.family, shots) for shots in asked]
    if choice.family:
        choice.run_dir.mkdir(parents=True, exist_ok=True)
    files = [resolved.result("shots", plan, f"-{shots}.json") for shots in asked]
    for file in files:
        require_writable(file)
    found = {}
    with meter("evaluate", shown=not arguments.quiet) as report:
        for number, (shots, family, file) in enumerate(zip(asked, families, files, strict=True)):
            part = part_of(report, number, len(asked))
            options = {"record": resolved.record, "threads": arguments.threads, "report": part}
            found[shots] = evaluate(resolved.agent, family, plan, **options)
            if not ranks().leads:
                continue
            _save(found[shots], file, keep=True)  # an interrupted command has what was measured before
    if ranks().leads:
        say(f"{shots_table(found)}\n\nnumbers: {', '.join(map(str, files))}")


def _with_shots(family: TaskFamily, shots: int) -> TaskFamily:
    """Return the family with another number of examples. Raises MetarlError for a family that has no such setting."""
    from ..families.load import load

    if "shots" not in family.settings:
        raise MetarlError(
            f"--shots was given, and family {family.name!r} has no setting shots; leave it out, or take a family that "
            "has, such as image-classes"
        )
    return load(family.name, **{**family.settings, "shots": shots})


def _tasks_picture(arguments: argparse.Namespace, resolved: ResolvedAgent, plan: TrialPlan) -> Path | None:
    """Return the path of the picture of answered tasks.

    None for a family that does not draw its tasks, and where the results have names of the user's. Raises MetarlError
    if it cannot be written: before the evaluation, not after it.
    """
    from ..base.files import require_writable
    from ..pictures.answers import draws_answers

    if arguments.json or arguments.plot or not draws_answers(resolved.family):
        return None
    path = resolved.result("tasks", plan, ".png")
    require_writable(path)
    return path


def _remove_older_tasks(resolved: ResolvedAgent, plan: TrialPlan, result: Path) -> None:
    """Remove the picture of the answers of the result that new numbers take the place of.

    A report shows the picture beside the numbers. Where drawing is interrupted, or not asked for, there is then none.
    """
    if result.resolve() == resolved.result("evaluation", plan, ".json").resolve():
        resolved.result("tasks", plan, ".png").unlink(missing_ok=True)


def _draw_answers(resolved: ResolvedAgent, plan: TrialPlan, path: Path) -> None:
    """Write a picture of the first tasks with the agent's answers."""
    from ..base.figures import save_figure
    from ..pictures.answers import answers_figure

    save_figure(answers_figure(resolved.agent, resolved.family, plan, agent_name=resolved.record.name), path, dpi=100)


def _asked_outputs(arguments: argparse.Namespace) -> tuple[Path | None, Path | None]:
    """Return the paths of the numbers and of the picture that the options name.

    Raises MetarlError if they are one, and if the numbers cannot be written.
    """
    from ..base.figures import picture_suffix
    from ..base.files import is_stream, require_writable

    result, picture = (None if each is None else Path(each) for each in (arguments.json, arguments.plot))
    if result is not None:
        require_writable(result)
    if picture is None and result is not None and not is_stream(result):  # nothing lies beside a pipe or a device
        picture = result.parent / f"{result.stem}.png"
    if picture is not None:
        picture_suffix(picture)
    if result is not None and result == picture:
        raise MetarlError(f"numbers and picture would both be {result}; give --json another name, such as F.json")
    return result, picture


def _outputs(arguments: argparse.Namespace, resolved: ResolvedAgent, plan: TrialPlan) -> tuple[Path, Path]:
    """Return the paths of the numbers and of the picture.

    Raises MetarlError if a file cannot be written: before the evaluation, not after it.
    """
    from ..base.files import require_writable

    result, picture = _asked_outputs(arguments)
    # Reports hold what was measured on the run's own family, in files by the name of evaluation.
    result = result or resolved.result("changed" if resolved.changed else "evaluation", plan, ".json")
    picture = picture or resolved.result("adaptation", plan, ".png")
    for path in (result, picture):
        require_writable(path)
    return result, picture


def _save(evaluation: Evaluation, path: Path, *, keep: bool) -> None:
    """Write the numbers. With `keep`, another result of that name stays beside them, and a warning says where.

    An evaluation repeats to the last digit, so that a file with the same content is the same result.
    """
    from ..base.files import keep_aside
    from ..base.progress import warn

    content = evaluation.to_json().encode()
    if keep and path.is_file() and not (path.stat().st_size == len(content) and path.read_bytes() == content):
        warn(f"{path} held another result, which is kept as {keep_aside(path, 'replaced')}; reports read {path.name}")
    evaluation.save(path)
