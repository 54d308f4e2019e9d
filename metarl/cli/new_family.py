"""A plug-in project to start from: a package with one family that works, its tests and the way to install it."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
from pathlib import Path
from string import Template
from typing import Any

import gymnasium

from ..base.errors import MetarlError
from ..base.files import write_atomically
from ..base.progress import say
from ..base.versions import __version__
from ..families.family import FAMILIES
from .parser import add_command


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = add_command(commands, "new-family", run, "write a package with a family of your own to start from")
    parser.add_argument("name", metavar="NAME", help="name of the family, such as windy-cart")
    parser.add_argument("--dir", metavar="D", help="new or empty folder for the package (default: NAME)")


def run(arguments: argparse.Namespace) -> None:
    """Write the package and print the next command."""
    name = arguments.name
    folder = new_family(name, arguments.dir)
    say(f"made {folder}\nnext: cd {folder} && pip install -e . && pytest && metarl check {name}")


KEBAB_CASE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def new_family(name: str, folder: str | Path | None = None) -> Path:
    """Write the project of a family called `name` into `folder` (default: `name`, here) and return the folder.

    Raises MetarlError for a name that is not kebab-case or is taken, and for a folder that holds something.
    """
    module, cls = name.replace("-", "_"), "".join(part.capitalize() for part in name.split("-"))
    _check_name(name, module, cls)
    folder = Path(name if folder is None else folder)
    _check_folder(folder)
    words = {"name": name, "module": module, "cls": cls, "version": __version__}
    for path, template in TEMPLATES.items():
        text = Template(template).substitute(words)
        write_atomically(folder / Template(path).substitute(words), text.encode())
    return folder


def _check_name(name: str, module: str, cls: str) -> None:
    if not KEBAB_CASE.fullmatch(name):
        raise MetarlError(
            f"family name {name!r} is not in kebab-case; take small letters, digits and hyphens, as in 'windy-cart'"
        )
    if name in list(FAMILIES):
        raise MetarlError(f"family {name!r} is registered already; take another name, or see `metarl families {name}`")
    env_id = f"metarl/{cls}-v0"
    if env_id in gymnasium.registry:
        other = gymnasium.registry[env_id].kwargs.get("family")
        raise MetarlError(f"family name {name!r} gives Gymnasium id {env_id!r}, which {other!r} has; take another name")
    if keyword.iskeyword(module) or _is_importable(module):
        raise MetarlError(
            f"family name {name!r} gives module {module!r}, which Python has already; take another name, as in "
            f"'my-{name}'"
        )


def _is_importable(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    return spec is not None and spec.origin is not None  # a mere folder of that name is no module


def _check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise MetarlError(f"{folder} is a file; give a folder with --dir")
    if folder.is_dir() and any(folder.iterdir()):
        raise MetarlError(f"folder {folder} holds something already; give an empty or a new one with --dir")


PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "$name"
version = "0.1.0"
description = "A family of tasks for metarl"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["metarl-suite>=$version"]

[project.optional-dependencies]
dev = ["pytest>=8"]

# Importing the module registers the family: this is how metarl finds it.
[project.entry-points."metarl.families"]
$name = "$module"

[tool.setuptools.packages.find]
where = ["src"]

[tool.pytest.ini_options]
testpaths = ["tests"]
pythonpath = ["src"]
"""

FAMILY = '''\
"""A family of tasks for metarl. The example is a cart in the wind: change it piece by piece into your own."""

from __future__ import annotations

from dataclasses import dataclass

import metarl
import numpy as np
from gymnasium import spaces


@metarl.register("$name")
@dataclass(frozen=True)
class $cls(metarl.ArrayFamily):
    """A cart on a rail goes to the middle and stays there, in a wind that it does not see.

    | observation | meaning | unit |
    |---|---|---|
    | 0 | place on the rail, the middle is 0 | m |
    | 1 | velocity | m/s |

    | action | meaning | range |
    |---|---|---|
    | 0 | force | -1 to 1 N |

    Velocity: 0.9 v + 0.1 (force + wind); place: x + 0.1 v; a step is 0.1 s. Reward: -|x| after the step;
    within 0.1 m is a success. Never terminates. Starts at rest, uniform on (-1, 1) m. Task: `wind`, in N,
    uniform on (-0.5, 0.5); extrapolation: 0.5 to 0.8 N.
    """

    source = "the example of `metarl new-family`"
    horizon: int = 50
    parameters = {
        "wind": metarl.Parameter(
            train=metarl.Uniform(-0.5, 0.5),
            extrapolation=metarl.Uniform(0.5, 0.8),
            unit="N",
            meaning="force of the wind",
        )
    }
    observation_space = spaces.Box(-np.inf, np.inf, (2,))
    action_space = spaces.Box(-1.0, 1.0, (1,))

    def initial(self, task, streams):
        """Return the first state: a dict of arrays whose first axis is the world. Draw from `streams` only."""
        return {"place": 2 * streams.uniform() - 1, "velocity": np.zeros(streams.shape)}

    def transition(self, state, action, task, streams):
        """Return the next state as new arrays."""
        velocity = 0.9 * state["velocity"] + 0.1 * (action[:, 0].clip(-1, 1) + task["wind"])
        return {"place": state["place"] + 0.1 * velocity, "velocity": velocity}

    def observation(self, state):
        """Return what the agent sees, [world, *observation]; the task is not handed in, so it cannot leak."""
        return np.stack([state["place"], state["velocity"]], axis=1)

    def reward(self, before, action, after, task):
        """Return the reward of the step, [world]."""
        return -np.abs(after["place"])

    def success(self, state, task):
        """Return whether each world is at its goal, [world]."""
        return np.abs(state["place"]) < 0.1

    def draw(self, axes, state, task, world):
        """Draw one world into matplotlib axes: what `metarl families $name --render FILE` shows."""
        axes.axhline(0, color="0.8", lw=4, zorder=1)
        axes.axvline(0, color="#0072b2")
        axes.plot(state["place"][world], 0, "s", color="#d55e00", ms=16)
        axes.annotate("", (task["wind"][world], 0.5), (0, 0.5), arrowprops={"arrowstyle": "->"})
        axes.set(xlim=(-2, 2), ylim=(-1, 1), yticks=[], xlabel="place of the cart, m (line: goal, arrow: wind)")
'''

TESTS = '''\
"""The family keeps metarl's rules, and who knows the task does better than chance."""

import metarl
import numpy as np

from $module import $cls as Family


def test_the_family_keeps_the_rules():
    assert metarl.check_family(Family) == []


class KnowsTheWind:
    """A controller written by hand: it leans against the wind and steers to the middle."""

    def __init__(self, tasks):
        self.wind = tasks.values["wind"][:, None]

    def begin(self, streams):
        return self

    def act(self, timestep, *, deterministic):
        place, velocity = np.moveaxis(timestep.observations, -1, 0)
        force = -self.wind - 2 * place - velocity
        return force.clip(-1, 1)[..., None].astype(np.float32)

    def adapt(self, episodes):
        pass


def test_a_controller_that_knows_the_task_beats_random_in_every_task():
    family = Family()
    tasks = family.sample("test", 20, seed=0)

    def returns(agent):
        return metarl.run_trial(agent, family.make_vec(tasks, 4), 1, seed=0).returns.mean(axis=1)

    assert (returns(KnowsTheWind(tasks)) > returns(metarl.make_agent("random", family))).all()
'''

README = """\
# $name

A family of tasks for metarl, as a package of its own.

```sh
pip install -e .
pytest
metarl check $name
```

After the first line `metarl families` lists it. To look at it:

```sh
metarl families $name
metarl families $name --plot tasks.png
metarl families $name --render worlds.png
```

and `gymnasium.make("metarl/$cls-v0")` gives it to everything that takes a Gymnasium environment.

The family is `src/$module/__init__.py`: a cart in the wind, to be changed into your own. `tests/` holds it to metarl's rules
(a task stays, the seed determines everything, a task alone gives what it gives in a batch, nothing gives the task away) and
has a controller written by hand that must beat chance: it finds a reward with the wrong sign.
"""

TEMPLATES = {
    "pyproject.toml": PYPROJECT,
    "README.md": README,
    "src/$module/__init__.py": FAMILY,
    "tests/test_$module.py": TESTS,
}
"""The project's files; `$module` and the like are filled in, in paths too."""
