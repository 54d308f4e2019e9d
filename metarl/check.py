"""Checks of families and agents: what the tests run over the registries, and what authors run on their own."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from .agent import AGENTS
from .errors import MetarlError, did_you_mean
from .replay import first_line
from .task import FAMILIES, TaskFamily

T = TypeVar("T")


def resolve(target: str) -> Any:
    """Return what `target` names: a registered family or agent, or `module:attribute` of an importable module.

    Raises MetarlError where there is no such thing.
    """
    if ":" in target:
        return _attribute(*target.split(":", 1))
    for registry in (FAMILIES, AGENTS):
        if target in list(registry):
            return registry[target]
    known = [*FAMILIES, *AGENTS]
    raise MetarlError(
        f"target {target!r} is neither a family nor an agent; {did_you_mean(target, known)} "
        "(one that is not registered goes by module:attribute)"
    )


def _attribute(module: str, attribute: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:  # as `python -m` would: a command on the path does not look into the current folder
        sys.path.append(here)
    try:
        found = importlib.import_module(module)
    except Exception as error:  # the author's module: any error at all may come out of it
        raise MetarlError(
            f"module {module!r} cannot be imported ({first_line(error)}); give module:attribute"
        ) from None
    if not hasattr(found, attribute):
        names = [name for name in vars(found) if not name.startswith("_")]
        raise MetarlError(f"module {module!r} has no {attribute!r}; {did_you_mean(attribute, names)}")
    return getattr(found, attribute)


def check(target: str) -> None:
    """Check a family or an agent, by name or `module:attribute`, and write what is wrong to the error stream.

    Raises MetarlError where something is, where the target is not to be found, and where it is neither.
    """
    found = resolve(target)
    if isinstance(found, TaskFamily) or (inspect.isclass(found) and issubclass(found, TaskFamily)):
        findings = check_family(found)
    elif inspect.isclass(found) and hasattr(found, "begin"):
        findings = check_agent(found)
    else:
        raise MetarlError(f"target {target!r} is {found!r}; give a class that extends TaskFamily, or an agent's class")
    for finding in findings:
        sys.stderr.write(f"{finding}\n")
    if findings:
        raise MetarlError(
            f"{target} breaks {len(findings)} of the rules that keep results honest; each line above is one"
        )


def check_family(family: TaskFamily | type[TaskFamily] | str) -> list[str]:
    """Return a line for each rule that a family breaks: the fault, the rule, the remedy.

    A class, or its name in the registry, is checked in each of its presets. Raises MetarlError for an unknown name.
    """
    found = resolve(family) if isinstance(family, str) else family
    name = getattr(found, "name", None)
    if name is None:
        return [f"{found!r} has no name; decorate the class with @register('its-name')"]
    if isinstance(found, TaskFamily):
        return _check_settled(f"family {name!r}", found)
    findings = []
    for preset, settings in (found.presets or {"": {}}).items():
        title = f"family {name!r}" + (f", preset {preset!r}" if preset else "")
        try:
            made = found(**settings)
        except Exception as error:  # the author's class: any error at all may come out of it
            findings.append(
                f"{title}: it cannot be made ({first_line(error)}); give every setting a default or a preset"
            )
        else:
            findings += _check_settled(title, made)
    return findings


def _check_settled(title: str, family: TaskFamily) -> list[str]:
    from .family_checks import FAMILY_CHECKS

    return run_checks(title, FAMILY_CHECKS, family)


def check_agent(agent: type[Any] | str, families: Sequence[TaskFamily] | None = None) -> list[str]:
    """Return a line for each rule that an agent's class breaks: the fault, the rule, the remedy.

    `families` are what it is tried on, by default one with continuous and one with discrete actions, whose episodes
    end early at different times; those whose spaces it refuses with a MetarlError are left out. Raises MetarlError for
    an unknown name.
    """
    from .agent_checks import AGENT_CHECKS, Subject, probes

    cls = resolve(agent) if isinstance(agent, str) else agent
    title = f"agent {cls.__name__}"
    findings, refused = [], []
    for family in probes() if families is None else families:
        subject = Subject(cls, family)
        try:
            subject.make()
        except MetarlError as error:
            refused.append(str(error))
        except Exception as error:  # the author's class: any error at all may come out of it
            findings.append(f"{title} on {family.name}: it cannot be made ({first_line(error)}); see RegisteredAgent")
        else:
            findings += run_checks(f"{title} on {family.name}", AGENT_CHECKS, subject)
            continue
    if refused and len(refused) == len(probes() if families is None else families):
        findings.append(f"{title}: it refuses every family it was tried on: {refused[0]}; it must take one")
    return findings


def run_checks(title: str, checks: Sequence[Callable[[T], Iterator[str]]], subject: T) -> list[str]:
    """Return what the checks find, each line under `title`; a check that breaks is a finding too."""
    findings = []
    for check in checks:
        try:
            findings += [f"{title}: {finding}" for finding in check(subject)]
        except Exception as error:  # the author's code: any error at all may come out of it
            told = f"{title}: {first_line(error)}"
            if not any(finding.startswith(told) for finding in findings):  # once will do
                findings.append(f"{told}, when this was checked: {(inspect.getdoc(check) or '').splitlines()[0]}")
    return findings
