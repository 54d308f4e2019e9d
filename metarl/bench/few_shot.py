"""How fast few-shot agents train, beside plain scripts of PyTorch on tensors that are ready."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from ..base.meter import Report, counted, ignore
from ..base.stopwatch import Stopwatch
from ..base.streams import generator
from ..base.text import align_columns
from ..runs.checkpoint import Meta, copy_state
from ..runs.config import TrainConfig, make_family, without_name
from ..trials.agent import TrainableAgent
from ..trials.registered import make_agent
from ..trials.shards import run_sharded_trial
from . import plain_few_shot as plain
from .rivals import Rate, rate_of
from .simulation import HEADER, Comparison, measure_pairs

AGENTS: dict[str, dict[str, Any]] = {
    "prototypes": {"name": "prototypes"},
    "maml": {"name": "maml", "encoder": "blocks", "hidden_sizes": [], "inner_lr": plain.INNER_LR},
}
"""The agents that are timed, each with four convolutions of 64 filters."""
PLAIN_GOAL, LOOP_GOAL = 0.9, 3.0
"""Least ratio to the rate of the plain script, and of its loop over tasks."""


def bench_few_shot(
    *, tasks: int = 32, seconds: float = 5.0, repeats: int = 5, report: Report = ignore
) -> list[Comparison]:
    """Return rates of training in tasks per second, as `metarl bench few-shot` prints them.

    Tasks are 5-way 1-shot with 15 queries of each class, of family image-classes; `tasks` of them make a meta-batch.
    Ours is whole training but for evaluations and checkpoints. Each rate is measured `repeats` times for `seconds`, in
    turn with that beside it. `report` is told the share that was measured.
    """
    with tempfile.TemporaryFile("w") as log:
        rows = [
            ("prototypes", "plain script", PLAIN_GOAL),
            ("maml", "plain script, vmap", PLAIN_GOAL),
            ("maml", "plain loop over tasks", LOOP_GOAL),
        ]
        scripts = _scripts(tasks)
        ours = {name: rate_of(_Training(name, tasks, log), tasks) for name in AGENTS}
        found = []
        for (name, beside, goal), theirs in counted(list(zip(rows, scripts, strict=True)), report, len(rows)):
            pairs = measure_pairs(ours[name], theirs, seconds, repeats)
            mine, other = zip(*pairs, strict=True)
            found.append(Comparison("few-shot", name, beside, tasks, mine, other, goal))
        return found


def few_shot_table(comparisons: list[Comparison]) -> str:
    """Return the table of `metarl bench few-shot`."""
    header = (HEADER[0], "tasks", *HEADER[2:])
    return (
        "Meta-training on image-classes, 5-way 1-shot: tasks per second of whole updates (drawing, reading, gradient, "
        "Adam, metrics).\nBeside it: gradient and Adam alone, in plain PyTorch on tensors that are ready, with as many "
        f"threads.\nRates are medians, each ratio the median of ratios taken side by side, with their range.\n"
        f"{align_columns([header, *(row.cells() for row in comparisons)])}"
    )


def _scripts(tasks: int) -> Iterator[Rate]:
    """Yield the rates of the plain scripts."""
    data = plain.ready(tasks)
    for gradient, parameters in (
        (plain.prototypes_gradient, plain.convolutions()),
        (plain.maml_gradient, plain.classifier()),
        (plain.looped_maml_gradient, plain.classifier()),
    ):
        yield rate_of(plain.steps(gradient, parameters, data), tasks)


class _Training:
    """Makes updates as `meta_train` does, with a line of metrics and a copy of the agent after each."""

    def __init__(self, agent: str, tasks: int, log: IO[str]) -> None:
        self.config = TrainConfig(
            family={"name": "image-classes"}, agent=AGENTS[agent], meta_batch_size=tasks, replicas=1, device="cpu"
        )
        self.family = make_family(self.config)
        made = make_agent(agent, self.family, without_name(self.config.agent), seed=0, device="cpu")
        assert isinstance(made, TrainableAgent)
        self.agent, self.log, self.numbers = made, log, itertools.count()

    def __call__(self, number: int) -> None:
        config, update = self.config, next(self.numbers)
        tasks = self.family.sample(
            "train", config.meta_batch_size, seed=config.seed, start=update * config.meta_batch_size
        )
        trial = run_sharded_trial(self.agent, self.family, tasks, config, seed=update, stopwatch=Stopwatch())
        metrics = self.agent.update(trial, generator(config.seed, "update", update))
        self.log.write(json.dumps({"update": update, **metrics}) + "\n")
        self.log.flush()
        env_steps = int(trial.env_steps[-1].sum())
        meta = Meta(update=update + 1, env_steps=env_steps, start_env_steps=0, best=None, config={}, versions={})
        copy_state(self.agent.state_dict(), meta)
