"""Where the metrics of a training go beside metrics.jsonl: W&B, TensorBoard, a CSV file, any set of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ..base.errors import MetarlError, first_line
from ..base.files import folder_inside, path_inside, write_atomically
from ..base.progress import warn
from ..runs.config import TrainConfig
from ..runs.log_config import LoggerName
from .wandb import WandbLog

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from ..evaluation.record import Evaluation

Row = Mapping[str, Any]
"""Metrics of one update by name, `update` and `env_steps` among them."""


class Logger(Protocol):
    """Takes the metrics of a training, against environment steps."""

    def log(self, metrics: Row) -> None:
        """Take the metrics of one update."""
        ...

    def summarize(self, evaluation: Evaluation, env_steps: int, picture: Path) -> None:
        """Take the last validation and its picture (.png)."""
        ...

    def finish(self, completed: bool) -> None:
        """End the log. Without `completed`, the training was stopped."""
        ...


CSV, TENSORBOARD = "progress.csv", "tensorboard"
"""Names in a run folder of the CSV file, and of the folder that TensorBoard reads."""


class CsvLog:
    """Writes progress.csv: a row for each update, a column for each metric. A new metric adds a column."""

    def __init__(self, run_dir: Path, rows: Sequence[Row]) -> None:
        self._path = path_inside(run_dir, CSV)
        self._columns: list[str] = []
        self._rewrite(rows)

    def log(self, metrics: Row) -> None:
        """Append a row."""
        if metrics.keys() <= set(self._columns):
            with self._path.open("a", encoding="utf-8", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(metrics)
        else:
            with self._path.open(encoding="utf-8", newline="") as file:
                earlier = list(csv.DictReader(file))
            self._rewrite([*earlier, metrics])

    def _rewrite(self, rows: Sequence[Row]) -> None:
        self._columns = list(dict.fromkeys(["update", "env_steps", *(name for row in rows for name in row)]))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self._path, text.getvalue().encode())

    def summarize(self, evaluation: Evaluation, env_steps: int, picture: Path) -> None:
        """Do nothing: the last row has the scores."""

    def finish(self, completed: bool) -> None:
        """Do nothing: every row is written."""


class TensorBoardLog:
    """Writes event files for TensorBoard. After the first error it warns in one line and does nothing more."""

    def __init__(self, run_dir: Path, rows: Sequence[Row]) -> None:
        """Begin a new event file with the rows so far; those of earlier sessions are replaced."""
        self._writer: SummaryWriter | None = _make_writer(folder_inside(run_dir, TENSORBOARD))
        for row in rows:
            self.log(row)

    def log(self, metrics: Row) -> None:
        """Add a scalar for each metric, at the environment steps so far."""

        def write(writer: SummaryWriter) -> None:
            for name, value in metrics.items():
                writer.add_scalar(name, value, metrics["env_steps"])

        self._attempt(write)

    def summarize(self, evaluation: Evaluation, env_steps: int, picture: Path) -> None:
        """Add the picture."""

        def write(writer: SummaryWriter) -> None:
            from PIL import Image

            with Image.open(picture) as image:
                pixels = np.asarray(image.convert("RGB"))
            writer.add_image("adaptation_curve", pixels, env_steps, dataformats="HWC")

        self._attempt(write)

    def finish(self, completed: bool) -> None:
        """Write what is left and close the file."""
        self._attempt(lambda writer: writer.close())
        self._writer = None

    def _attempt(self, action: Callable[[SummaryWriter], object]) -> None:
        if self._writer is None:
            return
        try:
            action(self._writer)
        except Exception as error:  # a full disk, another version: training goes on
            self._writer = None
            warn(f"TensorBoard stopped: {first_line(error)}; metrics go to metrics.jsonl")


def _make_writer(folder: Path) -> SummaryWriter:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MetarlError(
            f"the logger 'tensorboard' needs the package tensorboard ({first_line(error)}); install it with "
            "`pip install tensorboard`, or leave the logger out"
        ) from None
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.startswith("events.out.tfevents."):
                path.unlink()
    return SummaryWriter(str(folder), flush_secs=10)


LOGGERS: Mapping[LoggerName, Callable[[Path, TrainConfig, Sequence[Row]], Logger]] = {
    "wandb": lambda run_dir, config, rows: _with_rows(WandbLog(run_dir, config), rows),
    "tensorboard": lambda run_dir, config, rows: TensorBoardLog(run_dir, rows),
    "csv": lambda run_dir, config, rows: CsvLog(run_dir, rows),
}
"""Makes each logger, with the rows of the updates that a resumed run has made. All repeat them: a log has no gap."""


def _with_rows(log: WandbLog, rows: Sequence[Row]) -> WandbLog:
    for row in rows:
        log.log(row)
    return log
