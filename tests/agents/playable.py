"""A family that an agent plays, for tests that run over all agents."""

from __future__ import annotations

import functools

from metarl.base.errors import MetarlError
from metarl.checks.probes import Subject, probes
from metarl.checks.questions import questions
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.families.questions import asks_questions
from metarl.trials.registered import AGENTS


@functools.cache
def family_for(name: str) -> TaskFamily:
    """Return the first family of the checks that an agent does not refuse, or one that it names itself."""
    cls = AGENTS[name]
    if cls.plays:
        return load(cls.plays[0])
    for family in [*probes(), *questions()]:
        try:
            Subject(cls, family).make()
        except MetarlError:
            continue
        return family
    raise AssertionError(f"agent {name!r} plays no family of the checks")


def needs_answers(name: str) -> bool:
    """Return whether an agent plays families of questions alone."""
    return asks_questions(family_for(name))
