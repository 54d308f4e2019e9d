"""The page of results: tables, pictures, and the commands that repeat them."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..base.files import write_atomically
from ..base.text import counted
from ..evaluation.record import UNTRAINED, Evaluation
from .figures import adaptation_figure, profile_figure, training_figure
from .groups import Group
from .runs import EVALUATION, LeftOut
from .tables import NOTHING, SUMMARY, Asked, tables


@dataclass(frozen=True)
class About:
    """What results are written with, whatever their form."""

    again: str
    """The command that writes them."""
    title: str | None = None
    """By default it names the families."""
    notes: Sequence[str] = ()
    """Paragraphs under the title."""
    asked: Asked = NOTHING
    """What only some pages tell."""
    left_out: Sequence[LeftOut] = ()
    """What could not be read."""


def markdown(groups: Sequence[Group], about: About, pictures: Mapping[str, str]) -> str:
    """Return the page; `pictures` are file names by what they show."""
    title = about.title or default_title(groups)
    parts = [f"# {title}", *about.notes, *left_out_lines(about.left_out), *definitions(groups)]
    shown = tables(groups, about.asked)
    parts += [_table(shown.pop(SUMMARY)), *(f"![{text}]({name})" for text, name in pictures.items())]
    for heading, rows in shown.items():
        parts += [f"## {heading}", _table(rows)]
    parts.append("## Again")
    parts += ["\n".join(["```sh", *commands(groups, about.again), "```"]), versions_line(groups)]
    return "\n\n".join(parts) + "\n"


def left_out_lines(left_out: Sequence[LeftOut]) -> list[str]:
    """Return a line for each run or reference that is not on the page, which says why."""
    return [
        f"Left out: {' '.join(each.why.replace(str(each.path), portable(str(each.path))).split())}."
        for each in left_out
    ]


def definitions(groups: Sequence[Group]) -> list[str]:
    """Return in words what the numbers of a page are; what must not be overlooked stands between two `**`."""
    evaluations = list({group.problem: group.evaluations[0] for group in groups}.values())
    counts = dict.fromkeys(
        f"{counted(evaluation.num_tasks, f'{evaluation.split} task')}, "
        f"{counted(evaluation.replicas, 'episode')} a round in each"
        for evaluation in evaluations
    )
    modes = {evaluation.deterministic for group in groups for evaluation in group.evaluations}
    still = ", but where a row says `deterministic`" if True in modes else ""
    what = (
        f"{'; '.join(counts)}. Returns are undiscounted, of episodes "
        f"with exploration noise{still}; IQM over training seeds and tasks, with the 95 % interval by bootstrap over both; of a single "
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


def commands(groups: Sequence[Group], again: str) -> list[str]:
    """Return the command lines that repeat the runs and their evaluations, and `again`, which writes the page."""
    lines = []
    own = {run.path: run.evaluation.agent for group in groups for run in group.runs}
    for group in groups:
        for run in group.runs:
            typed = [session["command"] for session in run.sessions if session.get("command")]
            lines += [shlex.join(["metarl", *(portable(str(word)) for word in command[1:])]) for command in typed]
            lines.append(_evaluate_command(run.path, run.evaluation, EVALUATION))
            lines += [
                _evaluate_command(run.path, elsewhere, f"evaluation-{split}.json")
                for split, elsewhere in run.elsewhere.items()
            ]
        if group.files:
            measured = zip(group.files, group.evaluations, strict=True)
            lines += [
                _evaluate_command(file.parent, each, file.name, reference=each.agent != own.get(file.parent))
                for file, each in measured
            ]
    return [*dict.fromkeys(lines), again]


def _evaluate_command(run: Path, evaluation: Evaluation, file: str, *, reference: bool = False) -> str:
    """Return the command that measured the run's agent, or a reference in its tasks."""
    path = portable(str(run))
    words: list[object] = ["metarl", "evaluate", path]
    if reference:
        words += ["--agent", evaluation.agent.removesuffix(UNTRAINED)]
    words += [f"agent.{key}={json.dumps(value)}" for key, value in evaluation.agent_settings.items()]
    words += ["--rounds", evaluation.rounds, "--replicas", evaluation.replicas, "--tasks", evaluation.num_tasks]
    if evaluation.budget > 1:
        words += ["--budget", evaluation.budget]
    if evaluation.deterministic:
        words.append("--deterministic")
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


def versions_line(groups: Sequence[Group]) -> str:
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


def write_page(groups: Sequence[Group], path: str | Path, about: About) -> None:
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
    write_atomically(path, markdown(groups, about, names).encode())


def default_title(groups: Sequence[Group]) -> str:
    """Return the title of a page that was given none."""
    families = dict.fromkeys(evaluation.family for group in groups for evaluation in group.evaluations)
    return f"Results on {' and '.join(families)}"
