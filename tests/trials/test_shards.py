"""Trials played in parts side by side: the same numbers, more of the machine."""

from __future__ import annotations

import threading
import time
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from metarl.base.errors import MetarlError
from metarl.base.stopwatch import Stopwatch
from metarl.base.streams import Streams
from metarl.families.family import TaskFamily
from metarl.families.load import load
from metarl.families.task import Tasks
from metarl.runs.config import TrainConfig
from metarl.trials.agent import Agent, Learner
from metarl.trials.episodes import Episodes, TimeStep, Trial
from metarl.trials.rollout import run_trial
from metarl.trials.shards import run_sharded_trial
from tests.probes import UnequalEpisodes


class Noisy(Agent):
    """Acts by its streams alone; perhaps no learner goes on before another one acts, and perhaps it takes its time."""

    def __init__(self, size: int = 2, meeting: threading.Barrier | None = None, seconds: float = 0.0) -> None:
        self.size, self.meeting, self.seconds = size, meeting, seconds
        self.threads: set[int] = set()
        self.threads_of_torch: set[int] = set()
        self.batches: list[tuple[int, ...]] = []

    def begin(self, streams: Streams) -> _Learner:
        self.batches.append(streams.shape)
        return _Learner(self, streams)


class _Learner(Learner):
    def __init__(self, agent: Noisy, streams: Streams) -> None:
        self.agent, self.streams = agent, streams
        # What a learner has of its own beside what it plays.
        self.exploring_steps = (streams.keys % np.uint64(4)).astype(np.int64)

    def act(self, timestep: TimeStep, *, deterministic: bool) -> np.ndarray:
        self.agent.threads.add(threading.get_ident())
        self.agent.threads_of_torch.add(torch.get_num_threads())
        time.sleep(self.agent.seconds)
        if self.agent.meeting is not None:
            self.agent.meeting.wait(timeout=30)
        return self.streams.where(timestep.active).normal((self.agent.size,)).astype(np.float32)


def assert_same(ours: Trial, theirs: Trial) -> None:
    """Bit for bit, where a step was taken; where none was, nothing was paid."""
    np.testing.assert_array_equal(ours.exploring_steps, theirs.exploring_steps)
    np.testing.assert_array_equal(ours.env_steps, theirs.env_steps)
    np.testing.assert_array_equal(ours.returns, theirs.returns)
    for mine, yours in zip(ours.rounds, theirs.rounds, strict=True):
        np.testing.assert_array_equal(mine.mask, yours.mask)
        for field in fields(Episodes):
            a, b = getattr(mine, field.name), getattr(yours, field.name)
            if a is None or b is None:
                assert a is b
            elif len(a) == len(mine.mask):
                np.testing.assert_array_equal(a[mine.mask], b[mine.mask])
            else:
                np.testing.assert_array_equal(a, b)
        for name in ("rewards", "terminations", "truncations"):
            assert not getattr(mine, name)[~mine.mask].any()


def settings(**changed: Any) -> TrainConfig:
    return TrainConfig.model_validate({"family": "any", "agent": "any", "replicas": 2, "rounds": 2, **changed})


LENGTHS = Tasks({"length": np.array([1.0, 3.0, 8.0, 2.0, 2.0])}, np.array([5, 0, 3, 9, 4]))


@pytest.mark.parametrize("shards", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("threads", [0, 4, None])
def test_episodes_of_unequal_length_are_those_of_one_batch(shards: int, threads: int | None) -> None:
    family, config = UnequalEpisodes(), settings(rounds=3, rollout_shards=shards, threads=threads)
    whole = run_trial(Noisy(), family.make_vec(LENGTHS, 2), 3, seed=7)
    parts = run_sharded_trial(Noisy(), family, LENGTHS, config, seed=7, stopwatch=Stopwatch())
    assert_same(parts, whole)
    np.testing.assert_array_equal(parts.tasks.index, LENGTHS.index)


@pytest.mark.parametrize("name", ["half-cheetah-velocity", "hopper-rand-params", "point-sparse"])
def test_worlds_play_the_same_in_shards(name: str) -> None:
    family = load(name, horizon=30)
    tasks, size = family.sample("train", 5, seed=3), int(np.prod(family.action_space.shape))
    whole = run_trial(Noisy(size), family.make_vec(tasks, 2, threads=0), 2, seed=1)
    assert_same(
        run_sharded_trial(Noisy(size), family, tasks, settings(threads=2), seed=1, stopwatch=Stopwatch()), whole
    )


def play(family: TaskFamily, agent: Noisy, *, threads: int, stopwatch: Stopwatch | None = None) -> Trial:
    tasks, config = family.sample("train", 4, seed=0), settings(replicas=1, rounds=1, threads=threads)
    return run_sharded_trial(agent, family, tasks, config, seed=0, stopwatch=stopwatch or Stopwatch())


@pytest.mark.parametrize("threads", [2, 5])
def test_shards_play_at_the_same_time(threads: int) -> None:
    agent = Noisy(6, threading.Barrier(2))
    play(load("half-cheetah-velocity", horizon=5), agent, threads=threads)
    assert len(agent.threads) == 2 and threading.get_ident() not in agent.threads


@pytest.mark.parametrize("threads", [0, 1])
def test_where_one_thread_is_to_be_used_all_is_played_on_the_calling_one(threads: int) -> None:
    agent = Noisy()
    play(UnequalEpisodes(), agent, threads=threads)
    assert agent.threads == {threading.get_ident()}


def test_a_family_whose_worlds_cannot_be_split_is_played_as_a_whole() -> None:
    class Single(UnequalEpisodes):
        side_by_side: ClassVar[bool] = False

    agent = Noisy()
    trial = play(Single(), agent, threads=2)
    assert agent.batches == [(4, 1)] and trial.returns.shape == (1, 4, 1)


def test_every_shard_finds_one_thread_of_torchs_and_leaves_as_many_as_there_were() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        agent = Noisy()
        play(UnequalEpisodes(), agent, threads=2)
        assert (agent.threads_of_torch, torch.get_num_threads()) == ({1}, 3)
    finally:
        torch.set_num_threads(before)


def test_what_goes_wrong_in_a_shard_is_told() -> None:
    with pytest.raises(MetarlError, match="act returned shape"):
        play(UnequalEpisodes(), Noisy(size=3), threads=2)


@pytest.mark.parametrize("threads", [0, 2])
def test_parts_of_a_rollout_take_no_longer_than_the_whole(threads: int) -> None:
    stopwatch = Stopwatch()
    with stopwatch.part("whole"):
        play(load("half-cheetah-velocity", horizon=10), Noisy(6, seconds=0.05), threads=threads, stopwatch=stopwatch)
    seconds = stopwatch.seconds
    assert 10 * 0.05 <= seconds["inference"] <= seconds["inference"] + seconds["simulation"] <= seconds["whole"]


def test_success_is_known_of_all_or_none() -> None:
    knows = load("point-sparse", horizon=10)
    assert play(knows, Noisy(), threads=2).rounds[0].successes is not None
    trial = play(UnequalEpisodes(), Noisy(), threads=2)
    assert trial.rounds[0].successes is None
