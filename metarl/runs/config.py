"""Training configurations: their settings, how a YAML file with overrides becomes one, and errors of one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, model_validator

from ..base.bounds import LAST_SEED, MOST_THREADS
from ..base.code import canonical, find_class, import_code, is_reference, only_installed
from ..base.errors import MetarlError, reword
from ..base.registry import Registry
from ..base.settings import (
    Count,
    Origin,
    Settings,
    refuse_booleans_for_numbers,
    shorten,
    validate_from,
)
from ..base.yaml_text import MOST_LEVELS, YamlError, parse_yaml, read_yaml
from ..families.declaration import is_yaml, merge, read_family
from ..families.family import FAMILIES, TaskFamily
from ..families.load import load
from ..families.model_files import FILE_SETTINGS, absolute_paths
from ..families.questions import asks_questions
from ..trials.registered import AGENTS
from .log_config import LogConfig, place_wandb, with_loggers
from .start import StartConfig, started
from .teacher import TaughtByRun, TeacherConfig, spelled_out


def _with_name(value: Any) -> Any:
    return {"name": value} if isinstance(value, str) else value


Named = Annotated[dict[str, Any], BeforeValidator(_with_name)]
"""A mapping of `name` and settings. A bare string is a name without settings."""


class EvaluationConfig(Settings):
    """Evaluations during training, on validation tasks only.

    Tasks and episodes do not depend on the run's seed, so all runs choose their best checkpoint by the same test.
    """

    every: Count = 10
    """Updates between evaluations. One always follows the last update."""
    num_tasks: Count = 40
    """Number of validation tasks, the same at every evaluation and in every run."""
    replicas: Count | None = None
    """Episodes side by side in each task and round. None takes the number of training."""
    best_by: Literal["last_round", "trial"] = "last_round"
    """Score that selects the best checkpoint: the return of the last round, or the mean return of all rounds."""


class ParallelConfig(Settings):
    """Processes that divide one network among them, for memories that do not fit into one."""

    data: Count = 1
    """Processes with tasks of their own. Each keeps its part of the parameters and of the optimiser; a layer is
    gathered while it computes."""
    tensor: Count = 1
    """Processes with the same tasks that compute each layer together, some heads or units each."""


class TrainConfig(Settings):
    """Everything that a training run depends on."""

    family: Named
    """Task family: a mapping of `name`, `preset` and settings, or a bare name."""
    agent: Named
    """Agent: a mapping of `name` and settings, or a bare name."""
    seed: Annotated[int, Field(ge=0, le=LAST_SEED)] = 0
    """Seed of every random number of the run."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device of the networks. 'auto' takes cuda if there is a GPU."""
    num_updates: Count = 500
    """Number of meta-updates."""
    meta_batch_size: Count = 20
    """Tasks per meta-update."""
    replicas: Count = 10
    """Episodes side by side in each task and round. Without it, a family that asks questions has 1: more replicas are
    more shots."""
    rounds: Count = 2
    """Rounds per trial. The agent adapts between them."""
    start_from: Annotated[StartConfig | None, BeforeValidator(started)] = None
    """Run whose best checkpoint the agent starts from, such as one of shorter trials or of another family; its folder
    alone goes on with the whole agent. Environment steps count on from there; updates and schedules start from zero."""
    teacher: Annotated[TeacherConfig | None, BeforeValidator(spelled_out)] = None
    """Teacher that the agent learns from, such as `gittins`. None has none."""
    rollout_shards: Count = 2
    """Parts of a meta-batch that run side by side, each on its own core. More shards than cores only slow training.
    Results change by rounding, so the number belongs to the config. Vector environments are always one shard."""
    threads: Annotated[int, Field(ge=0, le=MOST_THREADS)] | None = None
    """Simulation threads. None takes one per core; 0 simulates all shards in turn on the calling thread. Results do not
    change."""
    parallel: ParallelConfig | None = None
    """Processes that divide the network: `data` times `tensor` of them, started by --workers or torchrun. None keeps it
    whole in each."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Evaluation on validation tasks during training."""
    checkpoint_every: Count = 10
    """Updates between checkpoints."""
    log: Annotated[LogConfig, BeforeValidator(with_loggers)] = LogConfig()
    """Where metrics go beside metrics.jsonl."""

    @model_validator(mode="before")
    @classmethod
    def _spell_out(cls, data: Any) -> Any:
        return place_wandb(data) if isinstance(data, Mapping) else data


T = TypeVar("T")


def load_config(path: str | Path | None, overrides: Sequence[str] = (), *, device: str | None = None) -> TrainConfig:
    """Return the resolved configuration of a YAML file and overrides such as 'agent.inner_lr=3e-4'.

    None is no file: the overrides then give family and agent, and all else has its default.

    The modules of the key `imports` are imported first: they may register families and agents. An override reaches any
    depth, such as 'agent.outer.clip_range=0.2'. 'agent.outer=trpo' replaces a whole choice. `device` overrides the
    config's device. Raises MetarlError for a file that cannot be read or is not a YAML mapping, and for a key that is
    unknown, missing, of the wrong type or out of range. The error is one line that names the file or quotes the
    override.
    """
    written = {} if path is None else _read_config(path)
    data = {key: _spelled_out(key, value) for key, value in written.items()}
    if path is not None and isinstance(family := data.get("family"), dict):
        folder = Path(path).absolute().parent
        named = {key: absolute_paths(family[key], folder, strict=False) for key in FILE_SETTINGS if key in family}
        data["family"] = {**family, **named}
    changed: dict[str, str] = {}
    for override in [*overrides, *([] if device is None else [f"device={device}"])]:
        key, value = _full_key(*parse_override(override))
        place = f"command line {shorten(override)}"
        _override(data, key, value, place)
        changed[key] = place

    def origin(key: str) -> str:
        # An override is at fault for keys below its own, and above: `seed.x=3` turns `seed` into a mapping. The name of
        # a choice is at fault for the settings beside it, which may be another choice's.
        below = {c.removesuffix(".name"): place for c, place in changed.items()} | changed
        related = [place for c, place in below.items() if f"{key}.".startswith(f"{c}.") or c.startswith(f"{key}.")]
        return related[-1] if related else "command line" if path is None else str(path)

    for module in _pop_imports(data, origin):
        import_code(module)
    return _resolve(data, origin)


def family_title(config: TrainConfig) -> str:
    """Return the family's name for readers: the title of a family of one's own, else its name."""
    return str(config.family.get("title") or config.family["name"])


def _pop_imports(data: dict[str, Any], origin: Origin) -> list[str]:
    """Remove and return the modules of the key `imports`."""
    modules = data.pop("imports", None) or []
    if not isinstance(modules, list) or not all(isinstance(module, str) for module in modules):
        raise MetarlError(f"{origin('imports')}: imports is {shorten(modules)}: it must be a list of modules")
    return modules


def import_overrides(overrides: Sequence[str]) -> None:
    """Import the modules of families and agents that overrides name as `module:Name`."""
    for override in overrides:
        key, value = parse_override(override)
        section, _, inner = key.partition(".")
        if section in ("family", "agent") and inner in ("", "name"):
            name = _with_name(value)["name"] if isinstance(value, (str, dict)) and "name" in _with_name(value) else None
            if isinstance(name, str) and not is_yaml(name) and is_reference(name):
                find_class(name)


def without_name(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a `family` or `agent` section: all of it but `name`."""
    return {key: value for key, value in section.items() if key != "name"}


def resolve(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration as plain data, with every setting of the family and the agent spelled out.

    Loading the result gives the same configuration: `path/to/file.py:Name` becomes `file:Name`. Raises MetarlError if
    the family or the agent refuses a setting.
    """
    # What was not set stays out: some defaults depend on the family.
    return _resolve(config.model_dump(exclude_unset=True), lambda key: "config").model_dump(mode="json")


def complete(data: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the result of an earlier `resolve`, with defaults for settings that did not exist then.

    Raises MetarlError for settings that no longer exist; the error begins with `where`.
    """
    with only_installed():  # the data may come from a stranger
        return _resolve(data, lambda key: where).model_dump(mode="json")


def make_family(config: TrainConfig) -> TaskFamily:
    """Return the configuration's family. Raises MetarlError if it is unknown or refuses a setting."""
    name, settings = _name_and_settings(config.family, "family", lambda key: "config")
    return load(name, **settings)


def setting(section: Mapping[str, Any], key: str) -> Any:
    """Return the setting under a dotted key; of a choice without further settings, its name."""
    value: Any = section
    for part in key.split("."):
        value = value[part]
    return value["name"] if isinstance(value, Mapping) and value.keys() == {"name"} else value


def _resolve(data: Mapping[str, Any], origin: Origin) -> TrainConfig:
    config = validate_from(TrainConfig, data, origin)
    family, settings = _resolve_family(config, origin)
    update: dict[str, Any] = {"family": settings, "agent": _resolve_agent(config, origin, settings)}
    if config.teacher is not None:
        teachers = tuple(_resolve_teacher(each, origin, settings) for each in config.teacher.of)
        update["teacher"] = config.teacher.model_copy(update={"of": teachers})
    if "replicas" not in config.model_fields_set and asks_questions(family):
        update["replicas"] = 1
    return config.model_copy(update=update)


def _resolve_family(config: TrainConfig, origin: Origin) -> tuple[TaskFamily, dict[str, Any]]:
    name, settings = _name_and_settings(config.family, "family", origin)
    if is_yaml(name):
        # The run's config takes in the file's content, so that the run does not change when the file does.
        declaration = read_family(name)
        name, settings = str(declaration.pop("name")), merge(declaration, settings)
    name = _look_up(FAMILIES, name, "family", origin)[0]
    preset = settings.get("preset")
    if preset is not None and not isinstance(preset, str):
        raise MetarlError(f"{origin('family.preset')}: family.preset is {shorten(preset)}: it must be a word")
    try:
        family = load(name, **settings)
    except MetarlError as error:
        # The setting at fault is the one that the message names first.
        named = {str(error).find(repr(key)): key for key in settings if repr(key) in str(error)}
        blamed = named[min(named)] if named else "preset"
        raise MetarlError(f"{origin(f'family.{blamed}')}: family: {error}") from None
    refuse_booleans_for_numbers(family.settings, settings, origin, "family")
    return family, {"name": name, **_to_yaml_types(family.settings)}


def _resolve_agent(config: TrainConfig, origin: Origin, family: Mapping[str, Any]) -> dict[str, Any]:
    return _resolve_named(config.agent, "agent", origin, family)


def _resolve_named(section: Mapping[str, Any], title: str, origin: Origin, family: Mapping[str, Any]) -> dict[str, Any]:
    name, settings = _name_and_settings(section, title, origin)
    name, cls = _look_up(AGENTS, name, title, origin)
    for key in settings:
        if key in family and key not in cls.Config.model_fields:
            place, mine = origin(f"{title}.{key}"), f"family.{key}"
            raise MetarlError(f"{place}: {title}.{key}: a setting of the family; set {mine}, which is {family[key]}")
    return {"name": name, **validate_from(cls.Config, settings, origin, title).model_dump(mode="json")}


def _resolve_teacher(teacher: Mapping[str, Any], origin: Origin, family: Mapping[str, Any]) -> dict[str, Any]:
    """Return a teacher with every setting spelled out: an agent, or a run."""
    if "run" in teacher:
        return {**validate_from(TaughtByRun, teacher, origin, "teacher.of").model_dump(mode="json")}
    return _resolve_named(teacher, "teacher.of", origin, family)


def _name_and_settings(section: Mapping[str, Any], key: str, origin: Origin) -> tuple[str, dict[str, Any]]:
    name = section.get("name")
    if not isinstance(name, str):
        problem = f"is {shorten(name)}: it must be a word" if "name" in section else "is missing: give it a value"
        raise MetarlError(f"{origin(f'{key}.name')}: {key}.name {problem}")
    return name, without_name(section)


def _look_up(registry: Registry[T], name: str, key: str, origin: Origin) -> tuple[str, T]:
    """Return the name of a class without its folder, and the class."""
    try:
        found = registry[name]
        return canonical(name), found
    except MetarlError as error:
        raise reword(error, f"{origin(f'{key}.name')}: {error}") from error.__cause__


def _to_yaml_types(value: Any) -> Any:
    """Return `value` as YAML and JSON load it again: tuples become lists."""
    if isinstance(value, Mapping):
        return {key: _to_yaml_types(item) for key, item in value.items()}
    return [_to_yaml_types(item) for item in value] if isinstance(value, (list, tuple)) else value


def parse_override(text: str) -> tuple[str, Any]:
    """Return the dotted key and the value of 'key.sub=value'. The value is parsed as YAML.

    Raises MetarlError if there is no '=', if a part of the key is empty, if it has too many parts, or if the value is
    not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not all(part.strip() == part != "" for part in key.split(".")):
        raise MetarlError(f"command line: override {shorten(text)} is not of the form key=value or section.key=value")
    if key.count(".") >= MOST_LEVELS:
        raise MetarlError(
            f"command line: override {shorten(text)} has more than {MOST_LEVELS} parts; no setting is so deep"
        )
    try:
        return key, parse_yaml(value)
    except YamlError as fault:
        shown = key if key.isprintable() else repr(key)
        raise MetarlError(f"command line {shorten(text)}: {shown} is {shorten(value)}: {fault.problem}") from None


def _override(data: dict[str, Any], key: str, value: Any, origin: str) -> None:
    """Set the value of a dotted key in nested data, in place."""
    *sections, last = key.split(".")
    for i, part in enumerate(sections):
        inner = data.get(part)
        if inner is None:
            inner = {}
        elif sections[0] == "agent":
            inner = _with_name(inner)  # `outer: trpo` is short for `outer: {name: trpo}`
        if not isinstance(inner, dict):
            place = ".".join(sections[: i + 1])
            raise MetarlError(f"{origin}: {key}: {place!r} is {shorten(inner)}, which has no keys; set {place}=...")
        data[part] = data = dict(inner)
    data[last] = _spelled_out(key, value)


def _spelled_out(key: str, value: Any) -> Any:
    """Return the value of a key of a config without short forms."""
    if key in ("family", "agent"):
        return _with_name(value)
    if key == "teacher":
        return spelled_out(value)
    if key == "start_from":
        return started(value)
    return with_loggers(value) if key == "log" else value


def _full_key(key: str, value: Any) -> tuple[str, Any]:
    """Return the key and the value of an override without short forms: the loggers alone leave the rest of `log`."""
    if key.partition(".")[0] == "wandb":
        return f"log.{key}", value
    log = with_loggers(value) if key == "log" and not isinstance(value, Mapping) else None
    return ("log.to", log["to"]) if isinstance(log, Mapping) else (key, value)


def _read_config(path: str | Path) -> dict[str, Any]:
    data = read_yaml(path, "a YAML config")
    if not isinstance(data, dict):
        raise MetarlError(f"{path} holds {shorten(data)}; a config is a mapping of keys to values")
    try:
        return place_wandb(data)
    except ValueError as error:
        raise MetarlError(f"{path}: {error}") from None
