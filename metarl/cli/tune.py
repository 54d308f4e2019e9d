"""`metarl tune`: search settings of a config, by their scores in validation tasks."""

from __future__ import annotations

import argparse
import functools
import importlib.util
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..base.child import METARL
from ..base.code import file_name
from ..base.errors import MetarlError
from ..base.signals import with_remedy
from ..base.terminal import shell_line
from .arguments import add_quiet_option, at_least, seed
from .parser import add_command, is_no_option
from .train import load_or_recall, log_override

if TYPE_CHECKING:
    from ..runs.config import TrainConfig
    from ..search.plan import Plan

SAMPLERS = ("grid", "random", "tpe", "gp", "cma-es", "hyperopt")
PRUNERS = ("median", "asha", "none")
ENGINES = ("optuna", "ray")


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "tune",
        run,
        "search settings of a config: trials train, and validation tasks score them",
        is_no_option,
        _settings,
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="YAML config, whose other settings stay")
    parser.add_argument(
        "space",
        nargs="?",
        metavar="SPACE.yaml",
        help="ranges and choices by setting: agent.inner_lr: {low: 0.01, high: 1.0}",
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="change a setting of the config")
    _add_search_options(parser)
    _add_study_options(parser)
    add_quiet_option(parser, "-q")


def _add_search_options(parser: Any) -> None:
    parser.add_argument(
        "--sampler", choices=SAMPLERS, default="tpe", metavar="NAME", help=f"{_listed(SAMPLERS)} (default: tpe)"
    )
    parser.add_argument(
        "--pruner",
        choices=PRUNERS,
        default="median",
        metavar="NAME",
        help=f"ends trials early: {_listed(PRUNERS)} (default: median)",
    )
    parser.add_argument(
        "--trials",
        type=at_least(1, 100_000),
        metavar="N",
        help="trials in all (default: 20; of a grid, all its points)",
    )
    parser.add_argument(
        "--workers", type=at_least(1, 1000), default=1, metavar="W", help="trials side by side (default: 1)"
    )
    parser.add_argument(
        "--seeds", type=at_least(1, 1000), default=2, metavar="S", help="training seeds of each trial (default: 2)"
    )
    parser.add_argument("--sampler-seed", type=seed, default=0, metavar="N", help="seed of the sampler (default: 0)")


def _add_study_options(parser: Any) -> None:
    parser.add_argument(
        "--study",
        metavar="DIR",
        help="folder of the study, resumed if it is there (default: runs/tune-<family>-<agent>)",
    )
    parser.add_argument(
        "--storage",
        metavar="URL",
        help="database, or journal file, that several studies share (default: a file in DIR)",
    )
    parser.add_argument(
        "--engine",
        choices=ENGINES,
        default="optuna",
        metavar="NAME",
        help="what plays the trials: optuna, or ray, here or on the cluster of RAY_ADDRESS (default: optuna)",
    )
    parser.add_argument(
        "--confirm",
        type=at_least(1, 1000),
        metavar="K",
        help="then train the best and the unchanged config with K fresh seeds, and compare them on test tasks",
    )
    parser.add_argument(
        "--log", type=log_override, metavar="NAME,...", help="where metrics of the trainings go, as in metarl train"
    )


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _settings() -> Iterable[str]:
    """Return the settings of a config."""
    from ..runs.config import TrainConfig

    return TrainConfig.model_fields


def run(arguments: argparse.Namespace) -> None:
    """Play the trials that the study lacks, and write its results. Raises Interrupted, with the command to go on."""
    if importlib.util.find_spec("optuna") is None:
        raise MetarlError("metarl tune needs the package optuna; install it: pip install 'metarl-suite[sweep]'")
    if arguments.engine == "ray" and importlib.util.find_spec("ray") is None:
        raise MetarlError("--engine ray needs the package ray; install it: pip install 'metarl-suite[cluster]'")
    from ..search.storage import locked

    plan = _plan(arguments)
    try:
        with locked(plan.folder):
            _search(plan, arguments)
    except KeyboardInterrupt as interrupt:
        raise with_remedy(interrupt, f"trials in progress are saved; go on with: {_again(plan, arguments)}") from None


def _again(plan: Plan, arguments: argparse.Namespace) -> str:
    given = any(word.partition("=")[0] == "--study" for word in arguments.words)
    return shell_line(["metarl", *arguments.words, *([] if given else ["--study", plan.folder])])


def _plan(arguments: argparse.Namespace) -> Plan:
    """Return the plan that the arguments ask for. Raises MetarlError for whatever can be refused before a trial."""
    from ..base.progress import warn
    from ..runs.run import family_and_agent
    from ..search.plan import Plan
    from ..search.samplers import check_sampler
    from ..search.space import check_space, count_points, read_space

    if arguments.space is None:
        raise MetarlError("a config and a space are needed; write `metarl tune CONFIG SPACE.yaml`")
    log = [] if arguments.log is None else [arguments.log]
    words = [*arguments.overrides, *arguments.extra, *log]

    load = functools.partial(load_with, arguments.config, words)
    base, space = load([]), read_space(arguments.space)
    check_space(space, arguments.space, load)
    if told := check_sampler(arguments.sampler, space, arguments.space):
        warn(told)
    family_and_agent(base)  # an agent that learns nothing is told now
    title = f"tune-{file_name(str(base.family.get('title') or base.family['name']))}-{file_name(base.agent['name'])}"
    trials = arguments.trials or 20
    if arguments.sampler == "grid":
        trials = min(arguments.trials or count_points(space), count_points(space))
    return Plan(
        folder=Path("runs", title) if arguments.study is None else Path(arguments.study),
        words=(arguments.config, *words, *_imports(arguments)),
        load=load,
        base=base,
        space=space,
        sampler=arguments.sampler,
        sampler_seed=arguments.sampler_seed,
        pruner=arguments.pruner,
        seeds=arguments.seeds,
        trials=trials,
        workers=arguments.workers,
        storage=arguments.storage,
        engine=arguments.engine,
        metarl=METARL,
    )


def load_with(config: str, words: Sequence[str], more: Sequence[str]) -> TrainConfig:
    """Return the config with more overrides. It stands here so that Ray can pickle it."""
    return load_or_recall(config, [*words, *more])


def _imports(arguments: argparse.Namespace) -> list[str]:
    return [word for module in getattr(arguments, "imports", ()) for word in ("--import", module)]


def _search(plan: Plan, arguments: argparse.Namespace) -> None:
    from ..base.progress import say
    from ..search.cluster import run_on_ray
    from ..search.confirm import confirm, read_confirmation
    from ..search.page import PAGE, write_page, write_pictures
    from ..search.results import BEST, TABLE, best_of, settings_text
    from ..search.study import run_study

    def tell(line: str) -> None:
        if not arguments.quiet:
            say(line)

    tell(f"study folder: {plan.folder}")
    study = (run_on_ray if plan.engine == "ray" else run_study)(plan, tell)
    best = best_of(plan, study)
    if best is None:
        raise MetarlError(f"no trial of {plan.folder} is finished; {plan.folder / TABLE} has their errors")
    say(f"best: trial {best.number}, score {best.score:.4g}: {settings_text(plan.space, best.labels)}")
    write_page(plan, study, read_confirmation(plan.folder), _again(plan, arguments))
    write_pictures(plan, study)
    if arguments.confirm is not None:
        found = confirm(plan, best, arguments.confirm)
        say(found.line)
        write_page(plan, study, found, _again(plan, arguments))
    files = {"trials": TABLE, "config": BEST, "page": PAGE}
    say("\n".join(f"{name}: {plan.folder / file}" for name, file in files.items()))
    say(f"next: {shell_line(['metarl', 'train', plan.folder / BEST])}")
