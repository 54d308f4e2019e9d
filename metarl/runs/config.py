"""Training configurations: what they hold, how they are read, and what is wrong with them in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BeforeValidator, Field

from ..base.errors import MetarlError
from ..base.registry import Registry
from ..base.settings import Count, Origin, Settings, refuse_booleans_for_numbers, shortened, validate_from
from ..families.declaration import is_yaml, read_family
from ..families.family import FAMILIES, TaskFamily
from ..families.load import load
from ..trials.registered import AGENTS


def _named(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Named = Annotated[dict[str, Any], BeforeValidator(_named)]
"""A mapping with `name` and settings; a bare string is a name without settings."""


class EvaluationConfig(Settings):
    """How training looks at itself, on validation tasks only.

    They and their episodes are the same whatever the run's seed: runs choose their best checkpoint by the same test.
    """

    every: Count = 10
    """Updates between evaluations; the last update is always followed by one."""
    num_tasks: Count = 40
    """Validation tasks, the same at every evaluation and in every run."""
    replicas: Count | None = None
    """Episodes side by side in each task and round; None takes the training's."""
    best_by: Literal["last_round", "trial"] = "last_round"
    """What the best checkpoint is best in: the return of the last round, or of all rounds together."""


class WandbConfig(Settings):
    """Logging to Weights & Biases."""

    mode: Literal["online", "offline", "disabled"] | None = None
    """None is the environment's WANDB_MODE, else online where a key is set, else offline."""
    project: str = "metarl"
    """Project that the run is filed under."""
    entity: str | None = None
    """User or team; None is the key's default."""
    group: str | None = None
    """Group that the run belongs to, such as one of seeds."""
    tags: tuple[str, ...] = ()
    """Tags of the run."""


class TrainConfig(Settings):
    """Everything that a training run depends on."""

    family: Named
    """Task family: `name`, `preset` and settings, or a bare name."""
    agent: Named
    """Agent: `name` and settings, or a bare name."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Names every random number of the run."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where networks run: 'auto' is cuda where there is one."""
    num_updates: Count = 500
    """Meta-updates."""
    meta_batch_size: Count = 20
    """Tasks in each meta-update."""
    replicas: Count = 10
    """Episodes side by side in each task and round."""
    rounds: Count = 2
    """Rounds in each trial; the agent adapts between them."""
    start_from: Annotated[str, Field(min_length=1)] | None = None
    """Run whose best checkpoint the agent begins as, such as one of shorter trials; '{seed}' in it is this run's seed. Its
    environment steps count on; updates and schedules begin anew."""
    rollout_shards: Count = 2
    """Parts of a meta-batch that are played side by side, each on a core of its own where there are as many. The same numbers
    but for rounding; how many there are is a part of the config, not of the machine. Vector environments are always one part."""
    threads: Annotated[int, Field(ge=0)] | None = None
    """Simulation threads: None is one a core, 0 the calling thread, for all shards one after the other. Changes no result."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Evaluation on validation tasks while training."""
    checkpoint_every: Count = 10
    """Updates between checkpoints."""
    wandb: WandbConfig = WandbConfig()
    """Weights & Biases."""


T = TypeVar("T")


def load_config(path: str | Path, overrides: Sequence[str] = (), *, device: str | None = None) -> TrainConfig:
    """Return the configuration in a YAML file, with overrides such as 'agent.inner_lr=3e-4' over it, fully resolved.

    `device` replaces the config's, as the override 'device=...' does. Raises MetarlError with one line for a file that cannot be read or is no YAML mapping, and for any key that is
    unknown, missing, of the wrong type or out of range; it names the file or quotes the override.
    """
    data = {key: _named(value) if key in ("family", "agent") else value for key, value in _read_yaml(path).items()}
    changed: dict[str, str] = {}
    for override in [*overrides, *([] if device is None else [f"device={device}"])]:
        key, value = parse_override(override)
        place = f"command line {shortened(override)}"
        _set(data, key, value, place)
        changed[key] = place

    def origin(key: str) -> str:
        # Under a key that was set, or above it: `seed.x=3` makes a mapping of `seed`.
        related = [place for c, place in changed.items() if f"{key}.".startswith(f"{c}.") or c.startswith(f"{key}.")]
        return related[-1] if related else str(path)

    return _resolved(data, origin)


def without_name(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in a section without the `name` that they belong to."""
    return {key: value for key, value in section.items() if key != "name"}


def resolved(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration as plain data that lists every setting of the family and the agent.

    Presets are spelled out; loading the result gives the same configuration. Raises MetarlError where the family or
    the agent does not take its settings.
    """
    return completed(config.model_dump(), "config")


def completed(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what `resolved` gave, perhaps long ago, with the defaults of the settings that came since.

    Raises MetarlError, beginning with `where`, for settings that are no longer taken.
    """
    return _resolved(data, lambda key: where).model_dump(mode="json")


def make_family(config: TrainConfig) -> TaskFamily:
    """Return the configuration's family. Raises MetarlError where it is unknown or does not take its settings."""
    name, settings = _name_and_settings(config.family, "family", lambda key: "config")
    return load(name, **settings)


def _resolved(data: Mapping[str, Any], origin: Origin) -> TrainConfig:
    config = validate_from(TrainConfig, data, origin)
    family = _resolved_family(config, origin)
    return config.model_copy(update={"family": family, "agent": _resolved_agent(config, origin, family)})


def _resolved_family(config: TrainConfig, origin: Origin) -> dict[str, Any]:
    name, settings = _name_and_settings(config.family, "family", origin)
    if is_yaml(name):
        # What the file says goes into the run's own config: the run must not change with the file.
        declaration = read_family(name)
        name, settings = str(declaration.pop("name")), {**declaration, **settings}
    _registered(FAMILIES, name, "family", origin)
    preset = settings.get("preset")
    if preset is not None and not isinstance(preset, str):
        raise MetarlError(f"{origin('family.preset')}: family.preset is {shortened(preset)}: it must be a word")
    try:
        family = load(name, **settings)
    except MetarlError as error:
        # The setting that the message names first is the one at fault.
        named = {str(error).find(repr(key)): key for key in settings if repr(key) in str(error)}
        blamed = named[min(named)] if named else "preset"
        raise MetarlError(f"{origin(f'family.{blamed}')}: family: {error}") from None
    refuse_booleans_for_numbers(family.settings, settings, origin, "family")
    return {"name": name, **_plain(family.settings)}


def _resolved_agent(config: TrainConfig, origin: Origin, family: Mapping[str, Any]) -> dict[str, Any]:
    name, settings = _name_and_settings(config.agent, "agent", origin)
    cls = _registered(AGENTS, name, "agent", origin)
    for key in settings:
        if key in family and key not in cls.Config.model_fields:
            place, mine = origin(f"agent.{key}"), f"family.{key}"
            raise MetarlError(f"{place}: agent.{key}: it is the family's to say; set {mine}, which is {family[key]}")
    return {"name": name, **validate_from(cls.Config, settings, origin, "agent").model_dump(mode="json")}


def _name_and_settings(section: Mapping[str, Any], key: str, origin: Origin) -> tuple[str, dict[str, Any]]:
    name = section.get("name")
    if not isinstance(name, str):
        problem = f"is {shortened(name)}: it must be a word" if "name" in section else "is missing: give it a value"
        raise MetarlError(f"{origin(f'{key}.name')}: {key}.name {problem}")
    return name, without_name(section)


def _registered(registry: Registry[T], name: str, key: str, origin: Origin) -> T:
    try:
        return registry[name]
    except MetarlError as error:
        raise MetarlError(f"{origin(f'{key}.name')}: {error}") from None


def _plain(value: Any) -> Any:
    """Return `value` as YAML and JSON give it back: tuples become lists."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def parse_override(text: str) -> tuple[str, Any]:
    """Return the dotted key and the value of 'key.sub=value'; the value is read as YAML.

    Raises MetarlError where there is no '=', a part of the key is empty, or the value is no YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() == part != "" for part in key.split(".")):
        raise MetarlError(f"command line: override {shortened(text)} is not of the form key=value or section.key=value")
    try:
        return key, yaml.load(value, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise MetarlError(
            f"command line {shortened(text)}: {key if key.isprintable() else repr(key)} is {shortened(value)}: it must be YAML; quote it, or take another value"
        ) from None


def _set(data: dict[str, Any], key: str, value: Any, origin: str) -> None:
    *sections, last = key.split(".")
    for i, part in enumerate(sections):
        inner = data.get(part)
        if inner is None:
            inner = {}
        if not isinstance(inner, dict):
            place = ".".join(sections[: i + 1])
            raise MetarlError(f"{origin}: {key}: {place!r} is {shortened(inner)}, which has no keys; set {place}=...")
        data[part] = data = dict(inner)
    data[last] = _named(value) if key in ("family", "agent") else value


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml comes without types
    """SafeLoader that refuses a key given twice, of which plain YAML silently keeps the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.tag != "tag:yaml.org,2002:merge":
                if key_node.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"key {key_node.value!r} is given twice; keep one", key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _read_yaml(path: str | Path) -> dict[str, Any]:
    try:
        data = yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise MetarlError(f"{path} does not exist; give the path of a YAML config") from None
    except OSError as error:
        raise MetarlError(f"{path} cannot be read ({error.strerror}); give the path of a YAML config") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise MetarlError(f"{path}{line}: {error.problem or 'invalid YAML'}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # bad characters, Unicode, dates; depth
        raise MetarlError(
            f"{path} is not valid YAML ({str(error).splitlines()[0] if str(error) else 'too deep'})"
        ) from None
    if not isinstance(data, dict):
        raise MetarlError(f"{path} holds {shortened(data)}; a config is a mapping of keys to values")
    return data


def dump_yaml(config: Mapping[str, Any]) -> str:
    """Return a resolved configuration as YAML, in the order in which it is declared."""
    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
