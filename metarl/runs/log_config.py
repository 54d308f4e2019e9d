"""The `log` section of a training's config: where metrics go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from ..base.settings import Settings


class WandbConfig(Settings):
    """Logging to Weights & Biases."""

    mode: Literal["online", "offline", "disabled"] | None = None
    """None takes the environment's WANDB_MODE. If that is not set, it is online with a key and offline without."""
    project: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/\\\\#?%:]*$")] = "metarl"
    """Project of the run, of at most 128 characters and none of / \\ # ? % :"""
    entity: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """User or team. None takes the key's default."""
    group: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """Group of the run, such as all seeds of one config. None takes family and agent."""
    tags: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ()
    """Tags of the run, each of at most 64 characters."""


LoggerName = Literal["wandb", "tensorboard", "csv"]
"""Where metrics can go beside metrics.jsonl."""


def _each_once(names: tuple[LoggerName, ...]) -> tuple[LoggerName, ...]:
    return tuple(dict.fromkeys(names))


class LogConfig(Settings):
    """Where metrics go beside metrics.jsonl."""

    to: Annotated[tuple[LoggerName, ...], AfterValidator(_each_once)] = ("wandb",)
    """Any of wandb, tensorboard and csv, which is progress.csv. `log: [csv]` and `log=csv,tensorboard` are short for
    it, and `log=none` for an empty list."""
    wandb: WandbConfig = WandbConfig()
    """Weights & Biases. `wandb: {...}` beside `log` is short for it, and `wandb.mode=offline` for `log.wandb.mode`."""


def with_loggers(value: Any) -> Any:
    """Return what `log` says as a mapping."""
    if value is None or value == "none":
        return {"to": []}
    names = value.split(",") if isinstance(value, str) else value
    return {"to": names} if isinstance(names, (list, tuple)) else names


def place_wandb(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config's data with `wandb` in its place, below `log`."""
    if "wandb" not in data or not isinstance(log := with_loggers(data.get("log", {})), Mapping):
        return dict(data)
    if "wandb" in log:
        raise ValueError("wandb and log.wandb are both given, which is the same; leave one out")
    rest = {key: value for key, value in data.items() if key != "wandb"}
    return {**rest, "log": {**log, "wandb": data["wandb"]}}
