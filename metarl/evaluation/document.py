"""Reads evaluation files, which may come from anybody: types, sizes and numbers are checked, then arrays are made."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, NoReturn

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainValidator, ValidationError

from ..base.errors import MetarlError
from ..base.files import require_regular
from ..base.settings import rule_in, shorten
from ..families.task import Measure, Tasks
from ..trials.plan import TrialPlan

FORMAT = "metarl evaluation 2"
"""First entry of every evaluation file; files of another format are refused."""
LARGEST = 1e100
"""Largest size of a return, a reward or a number of a task: sums and squares of larger ones overflow."""
MOST_STEPS = 2**53
"""Most environment steps of a trial: beyond it a float does not count in ones."""
MOST_BYTES = 2**28
"""Largest file that is read: as Python's lists it takes some gigabytes."""
MOST_TASKS = 100_000
"""Most tasks of an evaluation: resampling them for an interval takes some gigabytes."""
MOST_SCORES = 2_000_000
"""Most tasks times rounds of an evaluation: their file stays well below `MOST_BYTES`."""
_MOST_DIMENSIONS = 8
"""Most dimensions of a task's parameter."""

Words = Annotated[str, Field(min_length=1, max_length=1000)]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Share = Annotated[float, Field(ge=0, le=1)]
Steps = Annotated[float, Field(ge=0, le=MOST_STEPS)]


class Entry(BaseModel):
    """A part of an evaluation file: types as written, no number that is not finite, nothing unknown."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, frozen=True)


class AgentEntry(Entry):
    """What a file says of the agent, as `AgentRecord` has it."""

    name: Words
    settings: dict[str, JsonValue]
    trained: dict[str, JsonValue] | None
    oracle: bool


class MeasureEntry(Entry):
    """What a file says of its numbers, as `Measure` has it."""

    name: Words
    per_step: bool
    percent: bool


class CalibrationEntry(Entry):
    """What a file says of answers by how sure the learner was, as `Calibration` has it."""

    model_config = ConfigDict(extra="ignore")

    counts: list[Annotated[int, Field(ge=0, le=MOST_STEPS)]]
    confidence: list[Share | None]
    accuracy: list[Share | None]

    @property
    def bins(self) -> tuple[list[int], list[float], list[float]]:
        """Counts, confidence and accuracy, with NaN for null."""
        confidence, accuracy = (
            [math.nan if share is None else share for share in shares] for shares in (self.confidence, self.accuracy)
        )
        return self.counts, confidence, accuracy


class OutcomeEntry(Entry):
    """What a file says of one outcome, as `Told` has it."""

    meaning: Words
    percent: bool
    values: list[list[Number | None]] | list[Number | None]
    objective: bool = False


_RETURN = MeasureEntry(**Measure()._asdict())
"""The measure of a file that names none."""


def read_plan(entry: Any) -> TrialPlan:
    """Return the plan in a file, or one as it is.

    Raises ValueError unless it has every field of a plan, and a value that it can have.
    """
    if isinstance(entry, TrialPlan):
        return entry
    names = [field.name for field in fields(TrialPlan)]
    if not isinstance(entry, dict) or set(entry) != set(names):
        raise ValueError(f"it must have the entries {', '.join(names)}")
    try:
        return TrialPlan(**entry)
    except MetarlError as error:
        raise ValueError(str(error)) from None


class Document(Entry):
    """An evaluation file, without the statistics in it, which follow from the rest."""

    model_config = ConfigDict(extra="ignore")

    family: Words
    settings: dict[str, JsonValue]
    agent: AgentEntry
    plan: Annotated[TrialPlan, PlainValidator(read_plan)]
    measure: MeasureEntry = _RETURN
    unseen: bool
    versions: dict[str, Words]
    commit: Words | None
    tasks: Annotated[list[dict[str, JsonValue]], Field(min_length=1)]
    task_index: list[Annotated[int, Field(ge=0, lt=2**63)]]
    returns: list[list[Number | None]]
    successes: list[list[Share]] | None
    env_steps_per_task: list[list[Steps]]
    rewards: list[list[Number | None]] | None = None
    by_instance: list[list[Number]] | None = None
    calibration: CalibrationEntry | None = None
    outcomes: dict[Words, OutcomeEntry] = {}


def read_document(path: str | Path) -> tuple[Document, Mapping[str, Any]]:
    """Return an evaluation file, checked, and its entries as they are written.

    Raises MetarlError, one line that names the file, for a file that is missing, damaged, too large or of another kind.
    """
    entries = read_json(Path(path))
    if not isinstance(entries, dict) or entries.get("format") != FORMAT:
        raise MetarlError(f"{path} is not a file of format {FORMAT!r}; give one that `metarl evaluate` wrote")
    try:
        document = Document.model_validate(entries)
    except ValidationError as error:
        raise damaged(path, complaint(error)) from None
    if why := _contradiction(document):
        raise damaged(path, why)
    return document, entries


def damaged(path: str | Path, why: str) -> MetarlError:
    """Return the error of a file that no evaluation wrote as it is."""
    return MetarlError(f"{path} is damaged: {why}; write it again with `metarl evaluate`")


def read_json(path: Path) -> Any:
    """Return what is in a JSON file. Raises MetarlError, one line, if it is missing, too large or not JSON."""
    try:
        require_regular(path)
        if (size := path.stat().st_size) > MOST_BYTES:
            raise MetarlError(
                f"{path} has {size:,} bytes, more than the {MOST_BYTES:,} of any evaluation; give an evaluation.json"
            )
        return json.loads(
            path.read_text(encoding="utf-8"), object_pairs_hook=_without_twins, parse_constant=_refuse_constant
        )
    except FileNotFoundError:
        raise MetarlError(f"{path} does not exist; `metarl evaluate` writes evaluation files") from None
    except OSError as error:
        raise MetarlError(f"{path} cannot be read ({error.strerror}); give an evaluation.json") from None
    except (ValueError, RecursionError):  # JSON's and Unicode's errors are ValueErrors
        raise MetarlError(f"{path} is not whole JSON; write it again with `metarl evaluate`") from None


def _without_twins(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is given twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def complaint(error: ValidationError) -> str:
    """Return the first mistake in a document: its place, the value and the rule."""
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    if first["type"] == "missing":
        return f"it lacks {place!r}"
    if first["type"] == "extra_forbidden":
        return f"{place!r} is no entry of it"
    return f"{place} is {shorten(first['input'])}: {rule_in(first['msg'])}"


def _contradiction(document: Document) -> str:
    """Return what in a document of right types cannot be, '' where there is nothing."""
    if document.plan.num_tasks > MOST_TASKS:
        return f"plan.num_tasks is {document.plan.num_tasks}: it must be at most {MOST_TASKS}"
    counts = {"tasks": len(document.tasks), "task_index": len(document.task_index)}
    for name, count in counts.items():
        if count != document.plan.num_tasks:
            return f"{name} has {count} entries, and the plan has {document.plan.num_tasks} tasks"
    changes = document.settings.get("switch_at", [])
    if not isinstance(changes, list) or not all(type(step) is int and 0 < step <= MOST_STEPS for step in changes):
        return f"settings.switch_at is {shorten(changes)}: it must be a list of steps"
    if any(first >= following for first, following in pairwise(changes)):  # type: ignore[operator]
        return f"settings.switch_at is {shorten(changes)}: its steps must ascend"
    for name in ("returns", "successes", "env_steps_per_task", "rewards", "by_instance"):
        rows = getattr(document, name) or ()
        if len({len(row) for row in rows}) > 1:
            return f"{name} has rows of different lengths"
    for name, outcome in document.outcomes.items():
        if len({len(row) if isinstance(row, list) else -1 for row in outcome.values}) > 1:
            return f"outcome {shorten(name)} has rows of different lengths"
    return ""


def make_tasks(document: Document) -> Tasks:
    """Return the tasks of a document. Raises ValueError for values that are not numbers of one shape."""
    names = document.tasks[0].keys()
    for number, row in enumerate(document.tasks):
        if row.keys() != names:
            raise ValueError(
                f"task {number} has the parameters {shorten(list(row))}, task 0 has {shorten(list(names))}"
            )
    values = {name: _numbers(name, [row[name] for row in document.tasks]) for name in names}
    return Tasks(values, np.array(document.task_index, dtype=np.int64))


def _numbers(name: str, rows: Sequence[JsonValue]) -> np.ndarray:
    """Return the values of a parameter, float64 [task, *shape]."""
    _require_numbers(name, rows, _MOST_DIMENSIONS)
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError:
        raise ValueError(f"{name!r} has another shape in some tasks") from None


def _require_numbers(name: str, value: object, depth: int) -> None:
    if isinstance(value, list) and depth >= 0:
        for each in value:
            _require_numbers(name, each, depth - 1)
    elif isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
        raise ValueError(f"a task has {name!r} {shorten(value)}: it must be a number, or an array of numbers")


def make_array(rows: Sequence[Sequence[float | None]] | Sequence[float | None]) -> np.ndarray:
    """Return numbers as float64, with NaN for null."""
    return np.array(rows, dtype=np.float64)
