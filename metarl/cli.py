"""The command line. Only what a command needs is imported, inside it: `metarl --help` answers at once."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__, cli_render
from .arguments import add_trial, add_wandb, at_least, finite
from .cores import available_threads
from .errors import MetarlError, did_you_mean

if TYPE_CHECKING:
    from .agent import Settings

Command = Callable[[argparse.Namespace], int | None]
"""What a command does; it returns the exit status, None for 0."""

INTERRUPTED = 130
"""Exit status after Ctrl-C: 128 and the signal's number, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: its own, 2 after an error told in one line, or 130 after Ctrl-C."""
    _settle_threads()
    try:
        arguments = _parsed(argv)
        status: int = arguments.command(arguments) or 0
        sys.stdout.flush()
    except MetarlError as error:
        return _fail(str(error))
    except BrokenPipeError:  # `metarl families | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (MemoryError, OSError, RuntimeError) as error:
        return _fail(_of_the_system(error))
    except KeyboardInterrupt as interrupt:
        sys.stderr.write(f"\nmetarl: interrupted{''.join(interrupt.args)}\n")
        return INTERRUPTED
    return status


def _of_the_system(error: Exception) -> str:
    """Return the line for an error that the system's bounds explain; others are faults of ours, and are raised again."""
    if _is_lack_of_memory(error):
        why = str(error).strip().split("\n", 1)[0] or type(error).__name__
        return (
            f"there is not enough memory ({why}); take fewer tasks (meta_batch_size, --tasks), fewer replicas or a "
            "shorter horizon"
        )
    if isinstance(error, OSError):
        file = f"{error.filename}: " if error.filename else ""
        return f"{file}{error.strerror or error}; see that it is there, has room, and may be read and written"
    raise error


def _is_lack_of_memory(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # torch has a class of its own for a GPU's memory, and none for the machine's.
    texts = ("t allocate memory", "cannot allocate", "not enough memory", "unable to allocate")
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(text in str(error).lower() for text in texts)
    )


def _settle_threads() -> None:
    """Have the threads of torch and BLAS sleep between operations, unless the user says otherwise.

    They would spin, on cores that the simulation or another process wants: on two busy cores a meta-update takes ten
    times as long. They read this once, when numpy and torch are imported.
    """
    for name, value in (("OMP_WAIT_POLICY", "PASSIVE"), ("OPENBLAS_NUM_THREADS", "1")):
        os.environ.setdefault(name, value)


def _fail(message: str) -> int:
    sys.stderr.write(f"metarl: error: {' '.join(message.split())}\n")
    return 2


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, as all others are."""

    def error(self, message: str) -> NoReturn:
        """Raise MetarlError instead of printing the usage and leaving."""
        raise MetarlError(f"{message}; see `{self.prog} --help`")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            name = action.option_strings[0] if action.option_strings else str(action.metavar or action.dest).lower()
            raise MetarlError(f"{name} {value!r} is unknown; {did_you_mean(value, action.choices)}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="metarl", description="Meta-reinforcement learning: train agents that adapt, and measure it.")
    parser.add_argument("--version", action="version", version=f"metarl {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(commands)
    _add_evaluate(commands)
    cli_render.add_options(
        _add(commands, "render", cli_render.render, "film how an agent adapts to unseen tasks", _is_no_option)
    )
    _add_report(commands)
    _add_listings(commands)
    _add_check(commands)
    _add_whole(commands)
    return parser


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command's arguments; `extra` has the words that argparse did not place and the command takes."""
    arguments, extra = _parser().parse_known_args(argv)
    for word in extra:
        if not arguments.takes(word):
            remedy = did_you_mean(word, arguments.options) if word.startswith("-") else "leave it out"
            raise MetarlError(f"argument {word!r} is unknown; {remedy}")
    arguments.extra = extra
    return arguments


def _add(
    commands: Any,
    name: str,
    command: Command,
    summary: str,
    takes: Callable[[str], bool] = lambda word: False,
    **settings: Any,
) -> Any:
    """Add a command. `takes` says which words it has use for beyond those declared."""
    parser = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", **settings)
    parser.set_defaults(command=command, takes=takes, options=parser._option_string_actions)
    return parser


def _is_no_option(word: str) -> bool:
    return word[:1] != "-"


def _add_train(commands: Any) -> None:
    # argparse places no word after an option, but `train CONFIG --seed 1 key=value` is how people write.
    parser = _add(commands, "train", _train, "train an agent on a family of tasks", _is_no_option)
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="YAML config, such as those in configs/")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config: agent.inner_lr=0.05")
    parser.add_argument("--seed", type=at_least(0), metavar="N", help="the same as seed=N")
    parser.add_argument("--run-dir", metavar="DIR", help="run folder (default: runs/<family>-<agent>-seed<seed>)")
    parser.add_argument("--resume", metavar="RUN", help="go on with the run in this folder instead")


def _add_evaluate(commands: Any) -> None:
    parser = _add(commands, "evaluate", _evaluate, "measure how a trained agent adapts to unseen tasks", _is_no_option)
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--tasks", type=at_least(1), default=40, metavar="N", help="number of tasks (default: 40)")
    parser.add_argument(
        "--budget", type=at_least(1), default=1, metavar="B", help="play B rounds for each measured one (default: 1)"
    )
    parser.add_argument("--deterministic", action="store_true", help="take the policy's mode at every step, no samples")
    add_trial(parser)
    add_wandb(parser)
    parser.add_argument(
        "--json",
        metavar="F",
        help="result file (default: RUN/evaluation.json; agent, settings, budget, deterministic and split stand in its name)",
    )
    parser.add_argument("--plot", metavar="F", help="picture, .png or .svg (default: RUN/adaptation.png, likewise)")


def _add_report(commands: Any) -> None:
    parser = _add(
        commands, "report", _report, "write a page on evaluated runs: all seeds of a setting, settings side by side"
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder, evaluated before")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="PAGE",
        help="the page: .md, beside which three pictures go, .html, which holds everything in one file, or .tex: tables",
    )
    parser.add_argument("--title", metavar="TEXT", help="title of the page")
    parser.add_argument(
        "--threshold", type=finite, metavar="R", help="a return: show how many tasks reach it, and how soon"
    )
    parser.add_argument(
        "--normalize",
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="two rows of the page: show scores on the scale from the one, 0, to the other, 1, such as random and an oracle",
    )
    parser.add_argument(
        "--note", action="append", default=[], metavar="TEXT", help="a paragraph under it; may be repeated"
    )


def _add_listings(commands: Any) -> None:
    parser = _add(commands, "families", _families, "list the families of tasks, or show one in words or pictures")
    parser.add_argument(
        "name", nargs="?", metavar="NAME", help="family (or its YAML file) to show with its presets, tasks and settings"
    )
    parser.add_argument("--preset", metavar="P", help="the settings to show it with (default: its first preset)")
    parser.add_argument("--plot", metavar="F", help="draw the tasks of each split instead, into a .png or .svg file")
    parser.add_argument(
        "--render", metavar="F", help="draw the worlds of a few tasks instead, into a .png or .svg file"
    )
    parser.add_argument("--tasks", type=at_least(1), metavar="N", help="tasks to draw (default: 200; worlds: 6)")
    parser.add_argument("--split", metavar="S", help="split the worlds' tasks are from (default: train)")
    parser.add_argument("--steps", type=at_least(0), metavar="K", help="random steps before the picture (default: 20)")
    parser = _add(commands, "agents", _agents, "list the agents, or show one")
    parser.add_argument("name", nargs="?", metavar="NAME", help="agent to show with its settings")


def _add_check(commands: Any) -> None:
    parser = _add(commands, "check", _check, "test that a family or an agent keeps its promises")
    parser.add_argument(
        "target", nargs="?", metavar="TARGET", help="registered name, a family's YAML file, or module:attribute"
    )
    parser.add_argument("--all", action="store_true", help="check everything registered, each family in each preset")
    parser.add_argument("--jobs", type=at_least(1), metavar="N", help="processes of --all (default: one a core)")
    parser = _add(commands, "new-family", _new_family, "write a package with a family of your own to start from")
    parser.add_argument("name", metavar="NAME", help="what the family is called, such as windy-cart")
    parser.add_argument("--dir", metavar="D", help="new or empty folder for it (default: NAME)")


def _add_whole(commands: Any) -> None:
    """Add the commands that read their own arguments, help included."""
    _add(
        commands,
        "bench",
        _bench,
        "measure how fast environments step on this machine",
        lambda word: True,
        add_help=False,
    )
    _add(commands, "demo", _demo, "train and measure two agents in minutes", lambda word: True, add_help=False)


def _train(arguments: argparse.Namespace) -> None:
    from .progress import say

    config, run_dir = _resumed(arguments) if arguments.resume else _begun(arguments)
    from .report import counted
    from .runs import updates_made
    from .train import meta_train

    made = updates_made(run_dir, config) if arguments.resume else 0
    if made >= config.num_updates:
        say(
            f"{run_dir} is finished: {counted(made, 'update')} made, {config.num_updates} asked for; for more, add num_updates=N"
        )
    else:
        try:
            meta_train(config, run_dir, resume=bool(arguments.resume))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"; go on with: metarl train --resume {run_dir}") from None
    say(f"next: metarl evaluate {run_dir}")


def _overrides(arguments: argparse.Namespace, *more: str) -> list[str]:
    seed = [] if arguments.seed is None else [f"seed={arguments.seed}"]
    return [*more, *arguments.overrides, *arguments.extra, *seed]


def _begun(arguments: argparse.Namespace) -> tuple[Any, Path]:
    if arguments.config is None:
        raise MetarlError(
            "no config given; write `metarl train CONFIG`, or `metarl train --resume RUN` to go on with a run"
        )
    from .config import load_config
    from .runs import default_run_dir

    config = load_config(arguments.config, _overrides(arguments))
    return config, Path(arguments.run_dir) if arguments.run_dir else default_run_dir(config)


def _resumed(arguments: argparse.Namespace) -> tuple[Any, Path]:
    if arguments.run_dir is not None:
        raise MetarlError(
            "--run-dir and --resume were both given; a run that goes on stays in its folder: leave one out"
        )
    from .runs import run_config

    # Of two places for words, argparse fills CONFIG first.
    return run_config(arguments.resume, _overrides(arguments, *filter(None, [arguments.config]))), Path(
        arguments.resume
    )


def _evaluate(arguments: argparse.Namespace) -> None:
    from .config import make_family
    from .evaluation import evaluate
    from .played import played_agent
    from .progress import say
    from .report import plot, table
    from .runs import run_config

    config = run_config(arguments.run, [] if arguments.device is None else [f"device={arguments.device}"])
    measured = played_agent(arguments, config)
    result, picture = _outputs(arguments, measured.agent_settings)
    evaluation = evaluate(
        measured.agent,
        make_family(config),
        agent_name=measured.name,
        split=arguments.split,
        num_tasks=arguments.tasks,
        rounds=arguments.rounds or config.rounds,
        budget=arguments.budget,
        replicas=arguments.replicas or config.replicas,
        deterministic=arguments.deterministic,
        seed=arguments.seed,
        threads=arguments.threads,
        trained=measured.trained,
        agent_settings=measured.agent_settings,
    )
    evaluation.save(result)
    plot([evaluation], picture)
    say(f"{table([evaluation])}\n\nnumbers: {result}\npicture: {picture}")
    if arguments.wandb:
        from .wandb_jobs import log_evaluation

        log_evaluation(arguments, config, measured, evaluation, picture)


def _report(arguments: argparse.Namespace) -> None:
    import shlex

    from .bench_sim import aligned
    from .files import require_writable
    from .progress import say, warn
    from .results import grouped
    from .results_files import read_runs
    from .results_formats import page_path, write_results
    from .results_page import About, portable
    from .results_tables import Asked, summary_rows

    output = page_path(arguments.output)
    require_writable(output)
    runs, left_out = read_runs(arguments.runs)
    for each in left_out:
        warn(f"left out: {' '.join(each.why.split())}")
    groups = grouped(runs)
    words = [portable(run) for run in arguments.runs]
    # Title and notes stand on the page itself.
    asked = [] if arguments.threshold is None else ["--threshold", f"{arguments.threshold:g}"]
    asked += ["--normalize", *arguments.normalize] if arguments.normalize else []
    again = shlex.join(["metarl", "report", *words, "-o", portable(arguments.output), *asked])
    tables = Asked(arguments.threshold, tuple(arguments.normalize) if arguments.normalize else None)
    write_results(groups, output, About(again, arguments.title, arguments.note, tables, left_out))
    say(f"{aligned(summary_rows(groups))}\n\npage: {output}")


def _outputs(arguments: argparse.Namespace, agent_settings: Mapping[str, Any]) -> tuple[Path, Path]:
    """Return where numbers and picture go, known to be writable: nobody shall wait for a result that has no place."""
    from .files import require_writable
    from .played import result_suffix
    from .report import picture_suffix

    suffix = result_suffix(arguments, agent_settings)
    result = Path(arguments.json or Path(arguments.run) / f"evaluation{suffix}.json")
    picture = Path(arguments.plot or Path(arguments.run) / f"adaptation{suffix}.png")
    picture_suffix(picture)
    for path in (result, picture):
        require_writable(path)
    return result, picture


def _families(arguments: argparse.Namespace) -> None:
    _require_owners(arguments)
    from .pages import family_page, listing
    from .progress import say
    from .task import FAMILIES, describe, missing_requirement

    if arguments.name is None:
        needs = {name: f" (needs {cls.requires})" for name in FAMILIES if missing_requirement(cls := FAMILIES[name])}
        say(listing((name, describe(FAMILIES[name]) + needs.get(name, "")) for name in FAMILIES))
        _report_broken(FAMILIES.broken)
    elif arguments.plot or arguments.render:
        _draw(arguments)
    else:
        say(family_page(arguments.name, arguments.preset))


def _require_owners(arguments: argparse.Namespace) -> None:
    """Refuse an option of `families` without what it belongs to."""
    owners = {
        "NAME": (arguments.name, ("preset", "plot", "render", "tasks", "split", "steps")),
        "--plot or --render": (arguments.plot or arguments.render, ("tasks",)),
        "--render": (arguments.render, ("split", "steps")),
    }
    for owner, (given, options) in owners.items():
        for option in options:
            if given is None and getattr(arguments, option) is not None:
                raise MetarlError(f"--{option} was given without {owner}; add {owner}, or leave --{option} out")


def _draw(arguments: argparse.Namespace) -> None:
    from .files import require_writable
    from .gallery import plot_tasks, plot_worlds
    from .progress import say
    from .report import picture_suffix
    from .task import load, missing_requirement

    family = load(arguments.name, arguments.preset)
    if missing := missing_requirement(family.origin):
        raise MetarlError(missing)
    if arguments.plot == arguments.render:
        raise MetarlError(f"--plot and --render are both {arguments.plot!r}; give each picture a file of its own")
    for picture in filter(None, (arguments.plot, arguments.render)):
        picture_suffix(picture)
        require_writable(picture)
    if arguments.plot:
        plot_tasks(family, arguments.plot, arguments.tasks or 200)
        say(f"tasks: {arguments.plot}")
    if arguments.render:
        steps = 20 if arguments.steps is None else arguments.steps
        plot_worlds(family, arguments.render, arguments.tasks or 6, arguments.split or "train", steps)
        say(f"worlds: {arguments.render}")


def _agents(arguments: argparse.Namespace) -> None:
    from .agent import AGENTS, describe_agent, missing_package, what_to_install
    from .pages import listing
    from .progress import say

    if arguments.name is not None:
        cls = AGENTS[arguments.name]
        settings = listing(_settings(cls.Config)) or "  none"
        missing = what_to_install(arguments.name)
        say(
            "\n\n".join(
                [f"{arguments.name}: {describe_agent(cls)}", *filter(None, [missing]), f"settings:\n{settings}"]
            )
        )
    else:
        needs = {name: f" (needs {package})" for name in AGENTS if (package := missing_package(name))}
        say(listing((name, describe_agent(AGENTS[name]) + needs.get(name, "")) for name in AGENTS))
        _report_broken(AGENTS.broken)


def _settings(config: type[Settings]) -> Iterable[tuple[str, str]]:
    for name, field in config.model_fields.items():
        default = "required" if field.is_required() else f"default {field.default}"
        yield name, f"{field.description or ''} ({default})"


def _report_broken(broken: Mapping[str, str]) -> None:
    from .progress import warn

    for plugin, why in broken.items():
        warn(f"plug-in {plugin} failed to import: {why}")


def _check(arguments: argparse.Namespace) -> None:
    from .check import check, check_all
    from .progress import say

    if arguments.all:
        if arguments.target is not None:
            raise MetarlError(f"{arguments.target!r} and --all were both given; leave one out")
        check_all(arguments.jobs or available_threads())
        return
    if arguments.target is None:
        raise MetarlError("nothing to check was given; name a family or an agent, or add --all")
    if arguments.jobs is not None:
        raise MetarlError("--jobs was given without --all; a single check runs in one process: leave it out")
    check(arguments.target)
    say(f"{arguments.target}: all checks passed")


def _new_family(arguments: argparse.Namespace) -> None:
    from .new_family import new_family
    from .progress import say

    name = arguments.name
    folder = new_family(name, arguments.dir)
    say(f"made {folder}\nnext: cd {folder} && pip install -e . && pytest && metarl check {name}")


def _bench(arguments: argparse.Namespace) -> int:
    from . import bench

    return bench.main(arguments.extra)


def _demo(arguments: argparse.Namespace) -> int:
    from . import demo

    return demo.main(arguments.extra)
