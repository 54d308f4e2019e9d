"""`check_family` and `check_agent`, for authors, and `check_all`, over everything registered."""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..base.code import find_class, imported_modules, is_reference
from ..base.errors import MetarlError, UserCodeError, author_traceback, did_you_mean, first_line, user_code
from ..base.meter import Report, counted, ignore, part_of
from ..base.progress import complain, say
from ..base.terminal import visible
from ..families.declaration import is_yaml
from ..families.family import FAMILIES, TaskFamily, missing_requirement
from ..families.load import add_options, load, split_options
from ..trials.agent import Agent, require_agent_class
from ..trials.registered import AGENTS, what_to_install
from .agent import AGENT_CHECKS, SPACE_CHECKS, check_actions
from .declared import OTHER, FamilyCheck, check_success, fit_remedies
from .extent import FULL, Extent, choose_extent, describe_loss, limit, measure
from .family import COMPARING, SINGLE
from .probes import Subject as AgentSubject
from .probes import other_spaces
from .questions import check_answers, families_for
from .repeats import SOURCES, check_repeats, find_shared_generators

T = TypeVar("T")


def resolve(target: str) -> Any:
    """Return the family or agent that `target` names.

    It is a registered name, a family's YAML file, `module:Name` or `path/to/file.py:Name`. Raises MetarlError if there
    is none.
    """
    if is_yaml(target):
        return load(target)
    if is_reference(target):
        return find_class(target)
    for registry in (FAMILIES, AGENTS):
        if target in list(registry):
            return registry[target]
    known = [*FAMILIES, *AGENTS]
    raise MetarlError(
        f"target {target!r} is neither a family nor an agent; {did_you_mean(target, known)} "
        "(of your own, write module:Name, or add --import MODULE)"
    )


def check(target: str, report: Report = ignore) -> None:
    """Check the family or agent that `target` names, and write one line for each fault to the error stream.

    `report` is told the share of the checks that were made.

    Raises MetarlError if there is a fault, if the target is not found, and if it is neither a family nor an agent.
    """
    found = resolve(target)
    if isinstance(found, TaskFamily) or (inspect.isclass(found) and issubclass(found, TaskFamily)):
        if missing := missing_requirement(found):
            raise MetarlError(missing)
        findings = check_family(found, report=report)
    elif inspect.isclass(found) and issubclass(found, Agent):
        if target in list(AGENTS) and (missing := what_to_install(target)):
            raise MetarlError(missing)
        findings, left_out = _check_agent(found, report=report)
        for line in left_out:
            say(f"{target}: {line}")
    else:
        raise MetarlError(
            f"target {target!r} is {found!r}; give a class that extends metarl.TaskFamily or metarl.Agent"
        )
    for finding in findings:
        sys.stderr.write(f"{visible(finding)}\n")
    if findings:
        raise MetarlError(f"{target} breaks {len(findings)} of the rules; repair what each line above names")


def check_family(family: TaskFamily | type[TaskFamily] | str, *, report: Report = ignore) -> list[str]:
    """Return one line for each rule that a family breaks: the fault, the rule, the remedy.

    A class, or a registered name, is checked in each of its presets. Raises MetarlError for an unknown name.
    """
    found = resolve(family) if isinstance(family, str) else family
    name = found.name
    if isinstance(found, TaskFamily):
        return _check_instance(f"family {found.title!r}", found, report)
    findings = []
    presets = found.presets or {"": {}}
    for number, (preset, settings) in enumerate(presets.items()):
        title = f"family {name!r}" + (f", preset {preset!r}" if preset else "")
        try:
            own, options = split_options(found, settings)
            made = add_options(found(**own), **options)
        except Exception as error:  # the author's class: any error at all may come out of it
            findings.append(
                f"{title}: it cannot be made ({first_line(error)}); give every setting a default or a preset"
            )
        else:
            findings += _check_instance(title, made, part_of(report, number, len(presets)))
    return findings


def _check_instance(title: str, family: TaskFamily, report: Report = ignore) -> list[str]:
    comparing: Sequence[FamilyCheck] = COMPARING
    others: Sequence[FamilyCheck] = SINGLE
    repeats: FamilyCheck = check_repeats
    if family.origin.by_settings:
        repeats, comparing = fit_remedies(repeats), [*map(fit_remedies, comparing)]
        others = [*map(fit_remedies, others), check_success]
    extent = _find_extent(title, family)
    unrepeated = run_checks(title, [limit(repeats, extent)], family)
    findings = run_checks(title, [limit(c, extent) for c in others], family, part_of(report, 0, 2), told=unrepeated)
    if unrepeated:  # each check that compares two plays would find the same fault again
        return unrepeated + findings
    plays = [limit(check, extent) for check in comparing]
    compared = run_checks(title, plays, family, part_of(report, 1, 2), told=findings)
    if len(compared) > 1 and (shared := find_shared_generators(family, extent)):
        more = f"{len(compared)} rules are broken, first: {compared[0].removeprefix(f'{title}: ')}"
        remedy = OTHER if family.origin.by_settings else f"draw every random number from {SOURCES}"
        compared = [f"{title}: it draws from {shared}; {remedy} ({more})"]
    return findings + compared


def _find_extent(title: str, family: TaskFamily) -> Extent:
    """Return how much the checks play, and say so where a slow family is played less than others."""
    try:
        pace = measure(family)
    except Exception:  # the author's class may raise anything, and the checks tell it better
        return FULL
    extent = choose_extent(family, pace)
    if loss := describe_loss(family, pace, extent):
        complain("metarl: ", f"{title}: {loss}")
    return extent


def check_agent(
    agent: type[Agent] | str, families: Sequence[TaskFamily] | None = None, *, report: Report = ignore
) -> list[str]:
    """Return one line for each rule that an agent's class breaks: the fault, the rule, the remedy.

    It plays `families`. By default these are the ones that it names in `plays`, or else families with actions and
    observations of every kind, whose episodes end early at different times. A family that the agent's constructor
    refuses with a MetarlError is left out; any other error of it is a fault. Raises MetarlError for an unknown name,
    and for anything but a class that extends `metarl.Agent`.
    """
    return _check_agent(agent, families, report)[0]


def _check_agent(
    agent: type[Agent] | str, families: Sequence[TaskFamily] | None = None, report: Report = ignore
) -> tuple[list[str], list[str]]:
    """Return the findings, and a line for each family that the agent refuses."""
    cls = resolve(agent) if isinstance(agent, str) else agent
    require_agent_class(cls)
    title = f"agent {cls.__name__}"
    findings: list[str] = []
    refused: dict[str, str] = {}
    brief: set[str] = set()
    if families is None:
        # Of an agent that plays several, those whose packages are there are enough.
        plays = [name for name in cls.plays if not missing_requirement(FAMILIES[name])] or cls.plays
        families = [load(name) for name in plays] or families_for(cls)
        brief = {family.name for family in other_spaces()}
    for number, family in enumerate(families):
        subject, named = AgentSubject(cls, family), f"{title} on {family.name}"
        try:
            with user_code(f"{named}, __init__"):
                subject.make()
        except UserCodeError as error:
            findings += _told_once(error, findings)
        except MetarlError as error:
            refused[family.name] = str(error)
        else:
            part = part_of(report, number, len(families))
            checks = SPACE_CHECKS if family.name in brief else AGENT_CHECKS
            # Wrong actions break every other check too.
            findings += run_checks(named, [check_actions], subject) or run_checks(
                named, (*checks, check_answers), subject, part
            )
    if refused and len(refused) == len(families):
        why = next(iter(refused.values()))
        findings.append(f"{title}: it refuses every family: {why}; name a family that it plays in `plays`")
    return findings, [f"not checked on {name}: {why}" for name, why in refused.items()]


def _told_once(error: UserCodeError, findings: Sequence[str]) -> list[str]:
    """Return the finding of an agent that cannot be made, and print its author's traceback; nothing if it was told."""
    cause = error.__cause__
    fault = f"{first_line(cause)}{_place(cause)}" if cause is not None else str(error)
    if any(fault in finding for finding in findings):
        return []
    sys.stderr.write(visible(author_traceback(error)))
    return [f"{error}{_place(cause)}; raise MetarlError for spaces that it cannot play"]


@dataclass(frozen=True)
class Subject:
    """A registered family in one of its presets, or a registered agent."""

    kind: str
    """'family' or 'agent'."""
    name: str
    preset: str | None = None
    """None for an agent, and for a family without presets."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" + (f", preset {self.preset}" if self.preset else "")


@dataclass(frozen=True)
class Verdict:
    """Result of the checks of one subject."""

    subject: Subject
    findings: Sequence[str]
    """One line for each rule that is broken."""
    skipped: str
    """Checks that were left out, with the reason; '' for none."""
    seconds: float | None
    """Duration of the checks, None if none was made."""

    def __str__(self) -> str:
        word = "FAILED" if self.findings else "skipped" if self.seconds is None else "passed"
        took = " " * 8 if self.seconds is None else f"{self.seconds:6.1f} s"
        return f"{word:7} {took}  {self.subject}" + (f" ({self.skipped})" if self.skipped else "")


def subjects() -> list[Subject]:
    """Return every registered agent, and every registered family in each of its presets."""
    agents = [Subject("agent", name) for name in AGENTS]
    return agents + [
        Subject("family", name, preset) for name in FAMILIES for preset in FAMILIES[name].presets or [None]
    ]


def check_all(jobs: int, chosen: Sequence[Subject] | None = None, *, report: Report = ignore) -> None:
    """Check `chosen` (default: everything registered) in `jobs` processes, and print each result as it comes.

    Raises MetarlError if a rule is broken, and if a plug-in failed to import.
    """
    chosen = subjects() if chosen is None else chosen
    began, verdicts = time.monotonic(), []
    for verdict in _verdicts(chosen, min(jobs, len(chosen))):
        say(str(verdict))
        for finding in verdict.findings:
            sys.stderr.write(f"{visible(finding)}\n")
        verdicts.append(verdict)
        report(len(verdicts), len(chosen))
    failed = [str(verdict.subject) for verdict in verdicts if verdict.findings]
    skipped = sum(verdict.seconds is None for verdict in verdicts)
    passed = len(verdicts) - len(failed) - skipped
    say(f"{passed} passed, {len(failed)} failed, {skipped} skipped in {time.monotonic() - began:.0f} s")
    broken = {**FAMILIES.broken, **AGENTS.broken}
    for plugin, why in broken.items():
        complain("", f"plug-in {plugin} failed to import: {why}")
    if failed or broken:
        raise MetarlError(f"these did not pass: {'; '.join([*failed, *(f'plug-in {p}' for p in broken)])}")


def _verdicts(chosen: Sequence[Subject], jobs: int) -> Iterator[Verdict]:
    """Yield each verdict as soon as it is reached."""
    if jobs <= 1:
        yield from map(judge, chosen)
        return
    # Not forked: native threads of the parent would be missing in the child.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin_worker, initargs=(imported_modules(),))
    try:
        for future in as_completed([pool.submit(_judge_in_worker, subject) for subject in chosen]):
            verdict = future.result()
            if isinstance(verdict, _Failure):
                sys.stderr.write(visible(verdict.traceback))
                raise MetarlError(verdict.line)
            yield verdict
    except BrokenProcessPool:
        raise MetarlError(
            "a checking process was killed; run with --jobs 1: its last line names the subject before the fatal one"
        ) from None
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker(modules: Sequence[str]) -> None:
    """Prepare a process. It imports the modules of the user's own that register what is checked."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each process has one core
    # Kept, because a pool says of an error here only that its process ended.
    try:
        for module in modules:
            with user_code(f"module {module!r} cannot be imported in a process of the check"):
                importlib.import_module(module)
    except MetarlError as error:
        told = author_traceback(error) if isinstance(error, UserCodeError) else ""
        _failures.append(_Failure(str(error), told))


@dataclass(frozen=True)
class _Failure:
    """Why a process could not be prepared."""

    line: str
    traceback: str
    """The author's."""


_failures: list[_Failure] = []


def _judge_in_worker(subject: Subject) -> Verdict | _Failure:
    return _failures[0] if _failures else judge(subject)


def judge(subject: Subject) -> Verdict:
    """Check one subject, unless it needs a package that is not installed."""
    began = time.perf_counter()
    if subject.kind == "agent":
        if missing := what_to_install(subject.name):
            return Verdict(subject, (), missing, None)
        findings, left_out = _check_agent(subject.name)
        return Verdict(subject, findings, "; ".join(left_out), time.perf_counter() - began)
    cls = FAMILIES[subject.name]
    if missing := missing_requirement(cls):
        return Verdict(subject, (), missing, None)
    title = f"family {subject.name!r}" + (f", preset {subject.preset!r}" if subject.preset else "")
    try:
        findings = _check_instance(title, load(subject.name, subject.preset))
    except Exception as error:  # the author's class: any error at all may come out of it
        findings = [f"{title}: it cannot be made ({first_line(error)}); see `metarl families {subject.name}`"]
    return Verdict(subject, findings, _unchecked(cls), time.perf_counter() - began)


def _unchecked(cls: type[TaskFamily]) -> str:
    """Return the reasons why some checks do not apply to a family."""
    reasons = {
        "not checked that it hides the task, which it shows on purpose": cls.shows_task,
        "not checked that worlds wait, which they cannot": not cls.pauses,
    }
    return "; ".join(reason for reason, applies in reasons.items() if applies)


def run_checks(
    title: str,
    checks: Sequence[Callable[[T], Iterator[str]]],
    subject: T,
    report: Report = ignore,
    *,
    told: Sequence[str] = (),
) -> list[str]:
    """Return the findings of the checks, each line after `title`. A check that raises an error is a finding too.

    An error is told once: not again where it is among the findings or in `told`, in another task or step.
    """
    findings: list[str] = []
    for check in counted(checks, report, len(checks)):
        try:
            findings += [f"{title}: {finding}" for finding in check(subject)]
        except MetarlError as error:
            line = str(error).removeprefix(f"{title}, ") + _place(error.__cause__)
            fault = line.rpartition(": ")[2]  # behind the task and the step
            if not any(fault in finding for finding in [*told, *findings]):
                findings.append(f"{title}: {line}")
                if isinstance(error, UserCodeError):
                    sys.stderr.write(author_traceback(error))
        except Exception as error:  # the author's code: any error at all may come out of it
            line = f"{title}: {first_line(error)}{_place(error)}"
            if not any(finding.startswith(line) for finding in [*told, *findings]):
                findings.append(f"{line}, when this was checked: {(inspect.getdoc(check) or '').splitlines()[0]}")
    return findings


def _place(error: BaseException | None) -> str:
    """Return where the author's code raised an error, such as ' at poles.py:12'; '' if none of it was running."""
    if error is None:
        return ""
    ours = {"metarl", "numpy", "gymnasium", "torch"}
    frames = [
        f" at {Path(frame.f_code.co_filename).name}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] not in ours
    ]
    return frames[-1] if frames else ""
