"""A trial: the trainings of its seeds one after another, and what they scored."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .process import Job, Score, Training

POLL_SECONDS = 0.05
"""Time between two looks at the trainings in progress."""

Report = Callable[[int, float], bool]
"""Is told environment steps and score of a trial, and returns whether the trial should end."""

Work = Generator[None, None, None]
"""Work that other processes do: it yields while there is nothing to do but to wait."""


@dataclass
class Done:
    """What a trial has so far. A trial that goes on begins with it."""

    scores: list[float]
    """Score of each seed that is finished."""
    env_steps: list[int]
    """Environment steps of each seed, of those not finished too."""
    pruned: bool = False
    """Whether it was ended early."""

    @property
    def score(self) -> float:
        """Mean over the seeds that are finished."""
        return sum(self.scores) / len(self.scores)

    def running_mean(self, current: Score) -> float:
        """Return the mean over the seeds begun, each weighted by its steps: a seed that begins makes no jump."""
        scores, weights = [*self.scores, current.best], [*self.env_steps, current.env_steps]
        return sum(score * weight for score, weight in zip(scores, weights, strict=True)) / max(1, sum(weights))


def play(
    jobs: Sequence[Job],
    done: Done,
    report: Report,
    finished: Callable[[Done], None],
    metarl: Sequence[str],
) -> Generator[None, None, Done]:
    """Train the seeds that are not done one after another, and return what all have done.

    `report` is told the running mean of the scores by the environment steps of all seeds; once it returns true the
    trial ends. `finished` is told after each seed. However the generator ends, no process is left. Raises MetarlError
    for a training that ends in an error.
    """
    for job in jobs[len(done.scores) :]:
        before, training = sum(done.env_steps), Training(job, metarl)
        try:
            while True:
                running = training.is_running
                for each in training.scores():
                    if report(before + each.env_steps, done.running_mean(each)):
                        done.pruned = True
                        return done
                if not running:
                    break
                yield
            done.scores.append(training.finish())
        finally:
            training.stop()
            done.env_steps.append(training.env_steps)
        finished(done)
    return done


def side_by_side(works: Iterator[Work], most: int) -> None:
    """Do works, at most so many at once; the next is asked for when there is room for it.

    An error or an interrupt ends those in progress in order.
    """
    running: list[Work] = []
    waiting = True
    try:
        while waiting or running:
            while waiting and len(running) < most:
                work = next(works, None)
                waiting = work is not None
                running += [] if work is None else [work]
            for each in list(running):
                if next(each, _DONE) is _DONE:
                    running.remove(each)
            if len(running) == most or not waiting:
                time.sleep(POLL_SECONDS if running else 0.0)
    finally:
        for each in running:
            each.close()


_DONE: Any = object()
