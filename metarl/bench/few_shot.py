"""How fast agents that learn from answers train, beside plain scripts of PyTorch on tensors that are ready."""

from __future__ import annotations

import functools
import itertools
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..base.errors import MetarlError
from ..base.meter import Report, counted, ignore
from ..base.progress import say
from ..base.stopwatch import Stopwatch
from ..base.streams import generator
from ..base.text import align_columns
from ..families.spaces import Tokens
from ..runs.checkpoint import Meta, copy_state
from ..runs.config import TrainConfig, make_family, without_name
from ..trials.agent import TrainableAgent
from ..trials.episodes import Episodes, Trial
from ..trials.registered import make_agent
from ..trials.shards import run_sharded_trial
from . import plain_boxes, plain_sequences
from . import plain_few_shot as plain
from .rivals import rate_of
from .simulation import HEADER, Comparison, measure_pairs

PLAIN_GOAL, LOOP_GOAL, MODEL_GOAL = 0.9, 3.0, 0.8
"""Least ratio to the rate of the plain script of images, of its loop over tasks, and of the scripts of other kinds."""
SEQUENCE_TASKS, BOX_TASKS = 4, 8
"""Tasks of a meta-batch, as in configs/phrases and configs/glyph-boxes."""

IMAGES = {"name": "image-classes"}
TRAININGS: Mapping[str, dict[str, Any]] = {
    "prototypes": {"family": IMAGES, "agent": {"name": "prototypes"}},
    "maml": {
        "family": IMAGES,
        "agent": {"name": "maml", "encoder": "blocks", "hidden_sizes": [], "inner_lr": plain.INNER_LR},
    },
    "maml, phrases": {
        "family": {"name": "phrases", "preset": "50-shot"},
        "agent": {
            "name": "maml",
            "network": {"name": "encoder-decoder", "copies": True, "embeddings": "tied"},
            "inner_lr": plain_sequences.INNER_LR,
            "num_inner_steps": plain_sequences.INNER_STEPS,
            "outer": {"meta_gradient": "first-order"},
        },
        "meta_batch_size": SEQUENCE_TASKS,
    },
    "prototypes, boxes": {
        "family": {"name": "glyph-boxes", "preset": "5-shot"},
        "agent": {
            "name": "prototypes",
            "encoder": {
                "name": "cells",
                "channels": list(plain_boxes.CHANNELS[1:]),
                "strides": list(plain_boxes.STRIDES),
            },
            "distance": "cosine",
        },
        "meta_batch_size": BOX_TASKS,
    },
}
"""What is timed: families and agents. Those of images have four convolutions of 64 filters."""


class _Row(NamedTuple):
    """A training, and the script beside it."""

    training: _Training
    unit: str
    units: int
    """Units in one meta-batch."""
    beside: str
    goal: float
    step: Callable[[int], None]
    """A step of the script on one meta-batch, given its number."""


def bench_few_shot(
    *, tasks: int = 32, seconds: float = 5.0, repeats: int = 5, report: Report = ignore
) -> list[Comparison]:
    """Return rates of training in tasks, tokens or images per second, as `metarl bench few-shot` prints them.

    Tasks are 5-way 1-shot with 15 queries of each class, of family image-classes, `tasks` of them in a meta-batch;
    those of a language, 50 pairs and 20 queries; and those of a letter to find, 5 boxes and 15 queries. Ours is whole
    training but for evaluations and checkpoints. Each rate is measured `repeats` times for `seconds`, in turn with that
    beside it. `report` is told the share that was measured. What is not installed is left out, with a line.
    """
    with tempfile.TemporaryFile("w") as log:
        rows, found = list(_rows(tasks, log)), []
        for row in counted(rows, report, len(rows)):
            ours, theirs = rate_of(row.training, row.units), rate_of(row.step, row.units)
            mine, other = zip(*measure_pairs(ours, theirs, seconds, repeats), strict=True)
            size = row.training.config.meta_batch_size
            found.append(Comparison(row.unit, row.training.name, row.beside, size, mine, other, row.goal))
        return found


def few_shot_table(comparisons: list[Comparison]) -> str:
    """Return the table of `metarl bench few-shot`."""
    header = (HEADER[0], "unit", "tasks", *HEADER[2:])
    rows = [(row.cells()[0], row.table, *row.cells()[1:]) for row in comparisons]
    return (
        "Meta-training on image-classes, 5-way 1-shot, on phrases, 50-shot, and on glyph-boxes, 5-shot: tasks, tokens "
        "or images\nper second of whole updates (drawing, reading, gradient, Adam, metrics). Beside it: gradient and "
        "Adam alone, in plain\nPyTorch on tensors that are ready, with as many threads. Rates are medians, each ratio "
        f"the median of ratios taken\nside by side, with their range.\n{align_columns([header, *rows])}"
    )


def _rows(tasks: int, log: IO[str]) -> Iterator[_Row]:
    yield from _image_rows(tasks, log)
    try:
        phrases = _Training("maml, phrases", log)
    except MetarlError as missing:
        say(f"phrases was left out: {missing}")
    else:
        yield _phrases_row(phrases)
    yield _boxes_row(_Training("prototypes, boxes", log))


def _image_rows(tasks: int, log: IO[str]) -> Iterator[_Row]:
    data = plain.ready(tasks)
    prototypes, maml = (_Training(name, log, meta_batch_size=tasks) for name in ("prototypes", "maml"))
    for training, beside, goal, gradient, parameters in (
        (prototypes, "plain script", PLAIN_GOAL, plain.prototypes_gradient, plain.convolutions()),
        (maml, "plain script, vmap", PLAIN_GOAL, plain.maml_gradient, plain.classifier()),
        (maml, "plain loop over tasks", LOOP_GOAL, plain.looped_maml_gradient, plain.classifier()),
    ):
        step = plain.steps(functools.partial(gradient, parameters, data), list(parameters.values()))
        yield _Row(training, "tasks", tasks, beside, goal, step)


def _phrases_row(training: _Training) -> _Row:
    pairs, space = ready_pairs(training), training.family.action_space
    assert isinstance(space, Tokens)  # as answers of phrases are
    model = plain_sequences.Transformer(vocabulary=int(space.nvec[0]))
    step = plain.steps(functools.partial(plain_sequences.maml_gradient, model, pairs), list(model.parameters()))
    return _Row(training, "tokens", pairs.num_tokens, "plain loop over tasks", MODEL_GOAL, step)


def _boxes_row(training: _Training) -> _Row:
    seen, model = ready_boxes(training), plain_boxes.Detector()
    step = plain.steps(lambda: plain_boxes.loss(model, seen).backward(), list(model.parameters()))
    return _Row(training, "images", seen.num_images, "plain script", MODEL_GOAL, step)


def ready_pairs(training: _Training) -> plain_sequences.Ready:
    """Return the tokens of a meta-batch, without places that none of its pairs has."""

    def pairs(episodes: Episodes) -> plain_sequences.Pairs:
        questions, answers = (_task_first(part).long() for part in (episodes.observations, episodes.targets))
        asked, told = (int((part != 0).any(1).any(0).sum()) for part in (questions, answers))
        # An answer has an end behind its last token, unless it is as long as answers can be.
        return plain_sequences.Pairs(questions[..., :asked], answers[..., : told + 1])

    return plain_sequences.Ready(*map(pairs, training.trial(0).rounds))


def ready_boxes(training: _Training) -> plain_boxes.Ready:
    """Return the images and boxes of a meta-batch."""

    def seen(episodes: Episodes) -> plain_boxes.Seen:
        images = _task_first(episodes.observations).movedim(-1, 2).float() / 255
        return plain_boxes.Seen(images.contiguous(), _task_first(episodes.targets).float())

    return plain_boxes.Ready(*map(seen, training.trial(0).rounds))


def _task_first(array: np.ndarray | None) -> Tensor:
    """Return [time, task, replica, ...] as a tensor [task, question, ...]."""
    assert array is not None  # the families here have right answers
    return torch.as_tensor(np.ascontiguousarray(np.moveaxis(array, 1, 0))).flatten(1, 2)


class _Training:
    """Makes updates as `meta_train` does, with a line of metrics and a copy of the agent after each."""

    def __init__(self, name: str, log: IO[str], **changes: Any) -> None:
        self.name, self.log, self.numbers = name, log, itertools.count()
        self.config = TrainConfig(**{**TRAININGS[name], "replicas": 1, "device": "cpu", **changes})
        self.family = make_family(self.config)
        agent, settings = self.config.agent["name"], without_name(self.config.agent)
        made = make_agent(agent, self.family, settings, seed=0, device="cpu")
        assert isinstance(made, TrainableAgent)
        self.agent = made

    def trial(self, update: int) -> Trial:
        """Return the rounds of the new tasks of an update."""
        config, size = self.config, self.config.meta_batch_size
        tasks = self.family.sample("train", size, seed=config.seed, start=update * size)
        return run_sharded_trial(self.agent, self.family, tasks, config, seed=update, stopwatch=Stopwatch())

    def __call__(self, number: int) -> None:
        update = next(self.numbers)
        trial = self.trial(update)
        metrics = self.agent.update(trial, generator(self.config.seed, "update", update))
        self.log.write(json.dumps({"update": update, **metrics}) + "\n")
        self.log.flush()
        env_steps = int(trial.env_steps[-1].sum())
        meta = Meta(update=update + 1, env_steps=env_steps, start_env_steps=0, best=None, config={}, versions={})
        copy_state(self.agent.state_dict(), meta)
