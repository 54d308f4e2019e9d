"""Studies that train nothing: a stub stands for `metarl train`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from optuna.study import Study

from metarl.runs.config import load_config
from metarl.search.plan import Plan
from metarl.search.space import parse_space
from metarl.search.storage import locked
from metarl.search.study import run_study
from tests.small_runs import write_config

STUB = (sys.executable, "-IS", str(Path(__file__).with_name("stub.py")))
LEARNING_RATE = {"agent.inner_lr": {"low": 0.001, "high": 1.0, "log": True}}


def plan(place: Path, space: Any = LEARNING_RATE, **changes: Any) -> Plan:
    """Return the plan of a study in folder/study, whose storage is a journal: SQLite's takes longer to load."""
    config = str(write_config(place))
    (place / "study").mkdir(exist_ok=True)
    fields = {
        "folder": place / "study",
        "words": (config,),
        "load": lambda words: load_config(config, words),
        "base": load_config(config),
        "space": parse_space(space),
        "sampler": "random",
        "sampler_seed": 0,
        "pruner": "none",
        "seeds": 2,
        "trials": 4,
        "workers": 1,
        "storage": str(place / "journal.log"),
        "metarl": STUB,
    }
    return Plan(**{**fields, **changes})


def played(place: Path, space: Any = LEARNING_RATE, **changes: Any) -> Study:
    """Run such a study to its end and return it."""
    asked = plan(place, space, **changes)
    with locked(asked.folder):
        return run_study(asked, lambda line: None)


def outcomes(study: Study) -> list[tuple[Any, ...]]:
    """Return what each trial was and gave, without times."""
    return [(each.state.name, each.params, each.value, each.intermediate_values) for each in study.get_trials()]
