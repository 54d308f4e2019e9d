"""No agent reads or moves what belongs to the whole process: generators, defaults, filters, folder, locale."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import locale
import os
import random
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
import torch

from metarl.base.streams import generator
from metarl.checks.probes import Subject
from metarl.trials.agent import TrainableAgent
from metarl.trials.registered import AGENTS, missing_package
from tests.agents.playable import family_for
from tests.small_agents import smaller

NAMES = [name for name in AGENTS if not missing_package(name)]


def subject_of(name: str) -> Subject:
    return Subject(smaller(name), family_for(name))


def work(name: str) -> str:
    """Return a digest of all that an agent does: it is made, plays, learns, plays again, is saved and restored."""
    subject, told = subject_of(name), hashlib.sha256()
    agent = subject.make(seed=1)
    for seed in range(2):
        trial = subject.trial(agent, seed=seed, training=isinstance(agent, TrainableAgent))
        told.update(b"".join(episodes.actions.tobytes() for episodes in trial.rounds))
        if isinstance(agent, TrainableAgent):
            metrics = agent.update(trial, generator(seed))
            told.update(repr(sorted((key, float(value).hex()) for key, value in metrics.items())).encode())
            state = agent.state_dict()
            for key, value in state.items():
                told.update(f"{key} {value.dtype}".encode() + value.detach().cpu().numpy().tobytes())
            agent = subject.make(seed=2)
            agent.load_state_dict(state)
    return told.hexdigest()


@functools.cache
def first_work(name: str) -> str:
    """Return the digest of an agent's first work in this process. It imports libraries, which may set things."""
    return work(name)


@contextlib.contextmanager
def default_dtype() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def generators() -> Iterator[None]:
    with torch.random.fork_rng():
        before = np.random.get_state(), random.getstate()  # noqa: NPY002
        torch.manual_seed(77)
        np.random.seed(77)  # noqa: NPY002
        random.seed(77)
        try:
            yield
        finally:
            np.random.set_state(before[0])  # noqa: NPY002
            random.setstate(before[1])


@contextlib.contextmanager
def distributions_that_judge_nothing() -> Iterator[None]:
    before = torch.distributions.Distribution._validate_args
    torch.distributions.Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        torch.distributions.Distribution.set_default_validate_args(before)


@contextlib.contextmanager
def printing() -> Iterator[None]:
    before = np.get_printoptions()
    np.set_printoptions(precision=2, legacy="1.13")
    torch.set_printoptions(precision=1)
    try:
        yield
    finally:
        np.set_printoptions(**before)
        torch.set_printoptions(profile="default")


@contextlib.contextmanager
def other_locale() -> Iterator[None]:
    before = locale.setlocale(locale.LC_ALL)
    names = ("de_DE.UTF-8", "fr_FR.UTF-8", "C.UTF-8", "C")
    for name in names:
        with contextlib.suppress(locale.Error):
            locale.setlocale(locale.LC_ALL, name)
            break
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


@contextlib.contextmanager
def other_folder() -> Iterator[None]:
    with contextlib.chdir("/"):
        yield


DISTURBANCES: list[Callable[[], contextlib.AbstractContextManager[None]]] = [
    default_dtype,
    default_device,
    generators,
    distributions_that_judge_nothing,
    printing,
    other_locale,
    other_folder,
]


@pytest.mark.parametrize("name", NAMES)
def test_the_state_of_the_process_changes_no_bit_of_an_agent(name: str) -> None:
    expected = first_work(name)
    with contextlib.ExitStack() as stack:
        for disturb in DISTURBANCES:
            stack.enter_context(disturb())
        assert work(name) == expected


def process_state() -> dict[str, Any]:
    """Return what belongs to the process, comparable by equality."""
    legacy = np.random.get_state()  # noqa: NPY002
    return {
        "torch's generator": torch.get_rng_state().numpy().tobytes(),
        "torch's default dtype": torch.get_default_dtype(),
        "torch's default device": torch.get_default_device(),
        "torch's threads": torch.get_num_threads(),
        "torch's gradients": torch.is_grad_enabled(),
        "torch's determinism": torch.are_deterministic_algorithms_enabled(),
        "NumPy's generator": (legacy[1].tobytes(), legacy[2:]),  # type: ignore[index]
        "NumPy's error state": np.geterr(),
        "NumPy's printing": np.get_printoptions(),
        "Python's generator": random.getstate(),
        "warning filters": list(warnings.filters),
        "MuJoCo's warning handler": mujoco.get_mju_user_warning(),
        "folder": Path.cwd(),
        "locale": locale.setlocale(locale.LC_ALL),
        "environment": dict(os.environ),
    }


@pytest.mark.parametrize("name", NAMES)
def test_an_agent_leaves_the_state_of_the_process_as_it_was(name: str) -> None:
    first_work(name)
    before = process_state()
    work(name)
    after = process_state()
    assert [key for key in before if before[key] != after[key]] == []
