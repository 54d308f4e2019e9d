"""`metarl train`: train an agent, or resume a run."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from ..base.errors import MetarlError, did_you_mean
from ..base.ranks import goes_on, is_launched, ranks
from ..base.signals import with_remedy
from ..base.terminal import shell_line
from .arguments import add_quiet_option, add_workers_option, at_least, is_there, seed
from .parser import add_command, is_no_option
from .workers import joined_if_launched, run_workers, without

if TYPE_CHECKING:
    from ..runs.config import TrainConfig


def add_parser(commands: Any) -> None:
    """Add the command."""
    # argparse does not place a word that follows an option, but people write `train CONFIG --seed 1 key=value`.
    parser = add_command(commands, "train", run, "train an agent on a family of tasks", is_no_option, _settings)
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="YAML config, such as those in configs/")
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="change a setting of the config, as in agent.inner_lr=0.05"
    )
    parser.add_argument("--family", metavar="NAME", help="the same as family=NAME; with --agent no CONFIG is needed")
    parser.add_argument("--agent", metavar="NAME", help="the same as agent=NAME")
    parser.add_argument("--seed", type=_seeds, metavar="N", help="the same as seed=N; N,N,... trains a run of each")
    parser.add_argument(
        "--seeds",
        nargs="+",
        metavar="N",
        help="seeds of several runs, as in 1 2 3 or 1-3, each in a process of its own",
    )
    parser.add_argument(
        "--at-once",
        type=at_least(1, 10_000),
        metavar="N",
        help="train up to N of several seeds at the same time (default: one a core)",
    )
    parser.add_argument(
        "--run-dir",
        metavar="DIR",
        help="run folder, in which {seed} becomes the seed (default: runs/<family>-<agent>-seed<seed>); of several "
        "seeds, those whose folder holds a run go on",
    )
    parser.add_argument("--resume", metavar="RUN", help="resume the run in this folder")
    parser.add_argument(
        "--log",
        type=log_override,
        metavar="NAME,...",
        help="the same as log=NAME,...: where metrics go beside metrics.jsonl, any of wandb, tensorboard and csv, or "
        "none (default: as the config says, else wandb)",
    )
    _add_worker_options(parser)
    add_quiet_option(parser)


def _add_worker_options(parser: Any) -> None:
    add_workers_option(parser, "train by N processes here, each with its share of the tasks")
    parser.add_argument(
        "--restarts",
        type=at_least(0, 10_000),
        metavar="N",
        default=0,
        help="with --workers and --run-dir: go on from the last checkpoint, up to N times, when a process is lost",
    )


def _seeds(text: str) -> list[int]:
    """Return the seeds in a text such as '0,1,2' or '1-5'."""
    found = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        found += [seed(part)] if not (first and dash) else [*range(seed(first), seed(last) + 1)]
        if first and dash and seed(last) < seed(first):
            raise argparse.ArgumentTypeError(f"{part!r} counts down; write {last}-{first}")
    return found


def log_override(text: str) -> str:
    """Return the override for a text such as 'csv,tensorboard'; 'none' alone is no logger."""
    from ..runs.log_config import LoggerName

    for name in [] if text == "none" else text.split(","):
        if name not in (known := get_args(LoggerName)):
            raise MetarlError(f"logger {name!r} is unknown; {did_you_mean(name, known)}")
    return f"log={text}"


def _settings() -> Iterable[str]:
    """Return the settings of a config."""
    from ..runs.config import TrainConfig

    return TrainConfig.model_fields


def run(arguments: argparse.Namespace) -> None:
    """Train until the run has all its updates. Raises Interrupted, with the command to go on, for a signal."""
    _require_folder(arguments, arguments.restarts > 0)
    if arguments.workers > 1 and not is_launched() and (arguments.resume or len(_configs(arguments)) == 1):
        # A config's errors are told once, and not by each process and each restart.
        words = without(arguments.words, ("--workers", "--restarts"))
        raise SystemExit(run_workers(words, arguments.workers, arguments.restarts))
    if arguments.restarts > 0 and arguments.workers == 1 and not is_launched():
        raise MetarlError("--restarts is for --workers 2 or more; a single process is resumed with --resume RUN")
    try:
        with joined_if_launched():
            _train(arguments)
    except KeyboardInterrupt as interrupt:
        if getattr(interrupt, "remedy", ""):
            raise
        again = shell_line(["metarl", *arguments.words])
        raise with_remedy(interrupt, f"nothing was saved; start again with: {again}") from None


def _train(arguments: argparse.Namespace) -> None:
    from ..base.progress import say

    if arguments.resume is not None:
        done = [_go_on(arguments)]
    elif len(configs := _begin(arguments)) == 1 or is_launched():
        done = [_train_here(arguments, config) for config in configs]
    else:
        done = _train_apart(arguments, configs)
    if ranks().leads:
        say(f"next: {shell_line(['metarl', 'evaluate', *done])}")


def _train_here(arguments: argparse.Namespace, config: TrainConfig) -> Path:
    """Train a run in this process, and return its folder."""
    from ..runs.run import holds_run
    from ..training.train import meta_train

    _require_folder(arguments, goes_on())
    run_dir = _run_dir(arguments.run_dir, config)
    begun = run_dir is not None and goes_on() and holds_run(run_dir)
    return meta_train(config, run_dir, resume=begun, progress=not arguments.quiet)


def _train_apart(arguments: argparse.Namespace, configs: list[TrainConfig]) -> list[Path]:
    """Train a run for each config in a process of its own, and return their folders."""
    from ..base.cores import available_threads
    from ..base.progress import say
    from .seeds import train_seeds

    named = arguments.run_dir or _free_folders(configs)
    folders = [Path(named.replace("{seed}", str(config.seed))) for config in configs]
    common = without(arguments.words, ("--run-dir", "--at-once"))
    words = [
        [*_words_for(common, [config.seed]), f"--run-dir={run_dir}"]
        for config, run_dir in zip(configs, folders, strict=True)
    ]
    cores = available_threads()
    at_once = min(arguments.at_once or max(cores // arguments.workers, 1), len(configs))
    if not arguments.quiet:
        say(f"run folders: {shell_line([named])}")
    try:
        train_seeds(
            [*zip(configs, folders, words, strict=True)],
            at_once=at_once,
            threads=max(cores // (at_once * arguments.workers), 1),
            shown=not arguments.quiet,
        )
    except KeyboardInterrupt as interrupt:
        again = shell_line(["metarl", *without(arguments.words, ("--run-dir",)), f"--run-dir={named}"])
        raise with_remedy(interrupt, f"the last finished updates are saved; go on with: {again}") from None
    return folders


def _free_folders(configs: list[TrainConfig]) -> str:
    """Return the first name of run folders, with {seed} in the place of the seed, of which none exists."""
    from ..runs.run import default_run_dirs

    for paths in zip(*(default_run_dirs(config) for config in configs), strict=True):
        if not any(path.exists() for path in paths):
            beginning, _, end = str(paths[0]).rpartition(f"seed{configs[0].seed}")
            return f"{beginning}seed{{seed}}{end}"
    raise AssertionError("there are names without end")


def _require_folder(arguments: argparse.Namespace, goes_on: bool) -> None:
    if goes_on and arguments.run_dir is None and arguments.resume is None:
        raise MetarlError("restarts need --run-dir DIR, so that a training that begins again finds its run; give it")


def _words_for(words: Iterable[str], seeds: Iterable[int]) -> list[str]:
    """Return the words of a command with other seeds in place of its own."""
    kept, after = [], ""
    for word in words:
        option = word.partition("=")[0]
        if option in ("--seed", "--seeds", "seed"):
            after = "" if "=" in word else option
        elif after and not word.startswith("-") and "=" not in word:
            # --seed takes one word, --seeds all that follow.
            after = after if after == "--seeds" else ""
        else:
            after = after if "=" in word and not word.startswith("-") else ""
            kept.append(word)
    return [*kept, "--seeds", *map(str, seeds)]


def _go_on(arguments: argparse.Namespace) -> Path:
    """Resume a run and return its folder."""
    from ..base.progress import say
    from ..base.text import with_noun
    from ..runs.run import count_updates
    from ..training.train import meta_train

    config, run_dir = _resume(arguments)
    made = count_updates(run_dir, config)
    if made < config.num_updates:
        return meta_train(config, run_dir, resume=True, progress=not arguments.quiet)
    updates, more = with_noun(made, "update"), made > config.num_updates
    asked = f"has {updates} already, more than num_updates={config.num_updates}"
    state = asked if more else f"is finished: {updates} made"
    say(f"{run_dir} {state}; to train on, give num_updates=N above {made}")
    return run_dir


def _begin(arguments: argparse.Namespace) -> list[TrainConfig]:
    """Return the config of each new run, and tell where better settings are."""
    from ..base.progress import say

    configs = _configs(arguments)
    tuned = Path("configs", configs[0].family["name"], f"{configs[0].agent['name']}.yaml")
    if _config_and_overrides(arguments)[0] is None and tuned.is_file() and ranks().leads:
        say(f"settings are the defaults; {tuned} has tuned ones: {shell_line(['metarl', 'train', tuned])}")
    return configs


def _configs(arguments: argparse.Namespace) -> list[TrainConfig]:
    """Return the config of each new run: one, or one for each seed."""
    path, overrides = _config_and_overrides(arguments)
    seeds = _asked_seeds(arguments)
    if arguments.run_dir is not None and len(seeds) > 1 and "{seed}" not in arguments.run_dir:
        raise MetarlError(
            f"--run-dir is {arguments.run_dir!r} for {len(seeds)} seeds; write {{seed}} in it, such as "
            f"{arguments.run_dir}-{{seed}}, so that each run has a folder of its own"
        )
    return [load_or_recall(path, [*overrides, f"seed={each}"]) for each in seeds] or [load_or_recall(path, overrides)]


def load_or_recall(path: str | None, overrides: list[str]) -> TrainConfig:
    """Return the config of a file and overrides; that of a run with the code and the models that the run had."""
    from ..runs.config import load_config
    from ..runs.record import CONFIG, PROVENANCE
    from ..runs.run import run_config

    if path is not None and Path(path).name == CONFIG and Path(path).with_name(PROVENANCE).is_file():
        return run_config(Path(path).parent, overrides)
    return load_config(path, overrides)


def _config_and_overrides(arguments: argparse.Namespace) -> tuple[str | None, list[str]]:
    """Return the config file, None without one, and the overrides. Raises MetarlError without family or agent."""
    named = [f"{key}={value}" for key in ("family", "agent") if (value := getattr(arguments, key)) is not None]
    first = arguments.config
    # argparse takes the first override for CONFIG.
    is_override = first is not None and "=" in first and not is_there(first)
    overrides = [*named, *([first] if is_override else []), *_overrides(arguments)]
    if first is not None and not is_override:
        return first, overrides
    given = {override.partition("=")[0].removesuffix(".name") for override in overrides}
    if missing := [key for key in ("family", "agent") if key not in given]:
        raise MetarlError(
            f"no config given, and no {' and no '.join(missing)}; write `metarl train CONFIG`, `metarl train --family "
            "NAME --agent NAME`, or `metarl train --resume RUN` to resume a run"
        )
    return None, overrides


def _asked_seeds(arguments: argparse.Namespace) -> list[int]:
    """Return the seeds of the options, none if they are not given."""
    if arguments.seed is not None and arguments.seeds is not None:
        raise MetarlError("--seed and --seeds were both given; leave one out")
    found: list[int] = list(arguments.seed or [])
    if given := _overridden_seeds(arguments):
        if found or arguments.seeds:
            raise MetarlError(f"seed={','.join(map(str, given))} was given beside --seed or --seeds; leave one out")
        found = given
    for word in arguments.seeds or ():
        try:
            # Overrides may follow the seeds: argparse takes them for seeds.
            found += [] if "=" in word else _seeds(word)
        except argparse.ArgumentTypeError as error:
            raise MetarlError(f"--seeds: {error}; give whole numbers, and CONFIG before the options") from None
    for number in found:
        if found.count(number) > 1:
            raise MetarlError(f"seed {number} is given twice; give each seed once")
    return found


def _overridden_seeds(arguments: argparse.Namespace) -> list[int]:
    """Return the seeds of an override such as seed=1,2,3; none where it has one number or none."""
    words = [arguments.config or "", *arguments.overrides, *arguments.extra]
    for word in words:
        key, _, value = word.partition("=")
        if key == "seed" and re.fullmatch(r"\d+([,-]\d+)+", value):
            return _seeds(value)
    return []


def _run_dir(named: str | None, config: TrainConfig) -> Path | None:
    """Return the folder that was asked for, None without one."""
    return None if named is None else Path(named.replace("{seed}", str(config.seed)))


def _resume(arguments: argparse.Namespace) -> tuple[TrainConfig, Path]:
    """Return the config and the folder of the run to resume."""
    from ..runs.run import run_config

    for option, given in (
        ("--run-dir", arguments.run_dir),
        ("--family", arguments.family),
        ("--agent", arguments.agent),
    ):
        if given is not None:
            raise MetarlError(f"{option} and --resume were both given; a resumed run stays as it is: leave one out")
    # argparse takes the first override for CONFIG.
    first = [] if arguments.config is None else [arguments.config]
    if first and "=" not in first[0]:
        raise MetarlError(f"--resume takes no config, the run has its own; leave {first[0]} out, or give key=value")
    seeds = _asked_seeds(arguments)
    if len(seeds) > 1:
        raise MetarlError(f"--resume was given with {len(seeds)} seeds; a run has one: leave them out")
    overrides = [*first, *_overrides(arguments), *(f"seed={each}" for each in seeds)]
    return run_config(arguments.resume, overrides), Path(arguments.resume)


def _overrides(arguments: argparse.Namespace) -> list[str]:
    log = [] if arguments.log is None else [arguments.log]
    return [*arguments.overrides, *arguments.extra, *(word for word in arguments.seeds or () if "=" in word), *log]
