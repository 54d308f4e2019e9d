"""A bad input of any kind ends in one line that a user can act on; a bug put in on purpose is found."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.drive import faults
from tests.fuzz.inputs import CORPUS
from tests.fuzz.kinds import KINDS, Site, copied, fuzz, template
from tests.fuzz.planted import PLANTED, planted

COUNTS = {"threads": 4, "evaluation files": 5, "metrics": 4, "run folders": 5}
"""Inputs of a kind in the minute that the tests give the fuzzer."""


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with template() as made:
        yield made


@pytest.mark.parametrize("kind", KINDS)
def test_bad_inputs_end_in_one_line_that_a_user_can_act_on(kind: str, site: Site) -> None:
    counts, _ = fuzz(kind, COUNTS.get(kind, 12), site)
    assert counts["inputs"] > 3


@pytest.mark.parametrize("path", sorted(CORPUS.iterdir()), ids=lambda path: path.stem)
def test_inputs_that_once_broke_something_are_refused_in_one_line(path: Path, site: Site) -> None:
    command = {"train": ("train", str(path), "--run-dir", "new", "num_updates=1"), "family": ("families", str(path))}
    with copied(site) as here:
        outcome = here.call(*command[path.name.partition("-")[0]])
    assert outcome.status == 2, str(outcome)
    assert not faults(outcome), str(outcome)


@pytest.mark.slow
@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_is_found(bug: str, site: Site) -> None:
    kind, plant = PLANTED[bug]
    with planted(plant), pytest.raises(AssertionError, match=kind):
        # As many as it takes: hypothesis draws from constants of the modules that other tests have loaded.
        fuzz(kind, 1000, site, shrink=False)


@pytest.mark.fuzz
def test_bad_inputs_for_as_long_as_you_like(site: Site) -> None:
    end = time.monotonic() + 60 * float(os.environ.get("METARL_FUZZ_MINUTES", "60"))
    seed = int(os.environ.get("METARL_FUZZ_SEED", str(time.time_ns())))
    while time.monotonic() < end:
        for kind in KINDS:
            fuzz(kind, 50, site, seed=seed)
        seed += 1
