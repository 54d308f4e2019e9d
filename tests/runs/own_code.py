"""A family and an agent of a user's own, as files that no package installs."""

from __future__ import annotations

import os
import subprocess
import textwrap
from pathlib import Path

import yaml

from tests.small_runs import config
from tests.warm import warm_python

FAMILY = """
from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Box

from metarl import ArrayFamily, Parameter, Uniform{imports}

{decorate}
@dataclass(frozen=True)
class Thermostat(ArrayFamily):
    '''Hold a room at 20 degrees with a heater whose power is unknown.'''

    horizon: int = 5
    parameters = {{"power": Parameter(Uniform(1.0, 3.0))}}
    observation_space = Box(-np.inf, np.inf, (1,))
    action_space = Box(-1.0, 1.0, (1,))

    def initial(self, task, streams):
        return {{"temperature": 15 + streams.normal()}}

    def transition(self, state, action, task, streams):
        return {{"temperature": 0.95 * state["temperature"] + task["power"] * action[:, 0]}}

    def observation(self, state):
        return state["temperature"][:, None]

    def reward(self, before, action, after, task):
        return -np.abs(after["temperature"] - 20)
"""

AGENT = """
import numpy as np

from metarl import Agent, Learner


class Still(Agent):
    '''Never acts.'''

    def __init__(self, config=None, family=None, *, seed=0, device="cpu"):
        self.shape = family.action_space.shape

    def begin(self, streams):
        return Waiting(self.shape)


class Waiting(Learner):
    def __init__(self, shape):
        self.shape = shape

    def act(self, timestep, *, deterministic):
        return np.zeros((*timestep.active.shape, *self.shape))
"""


def write_family(folder: Path, module: str, name: str | None = None) -> Path:
    """Write a family's module, registered under `name` if there is one."""
    register = (", register", f"@register({name!r})") if name else ("", "")
    path = folder / f"{module}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FAMILY.format(imports=register[0], decorate=register[1]))
    return path


ROBOT = """
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gymnasium.spaces import Box

from metarl import MujocoFamily, Parameter, Uniform

@dataclass(frozen=True)
class Slider(MujocoFamily):
    asset = str(Path(__file__).with_name("slider.xml"))
    frame_skip = 1
    horizon: int = 3
    observation_space = Box(-np.inf, np.inf, (2,), dtype=np.float64)
    parameters = {"place": Parameter(Uniform(-0.5, 0.5))}

    def initial(self, model, streams):
        return 0.1 * streams.normal((model.nq,)), np.zeros((*streams.shape, model.nv))

    def observation(self, state):
        return np.concatenate([state["qpos"], state["qvel"]], axis=1)

    def reward(self, before, action, after, task):
        return -np.abs(after["qpos"][:, 0] - task["place"])
"""

SLIDER = """
<mujoco><asset><mesh name="tetra" file="tetra.obj"/></asset><worldbody><body>
<joint name="slide" type="slide" axis="1 0 0"/><geom type="mesh" mesh="tetra"/>
</body></worldbody><actuator><motor joint="slide" ctrllimited="true" ctrlrange="-1 1"/></actuator></mujoco>
"""

TETRA = "v 1 1 1\nv 1 -1 -1\nv -1 1 -1\nv -1 -1 1\nf 1 2 3\nf 1 4 2\nf 1 3 4\nf 2 4 3\n"


def write_robot(folder: Path, module: str) -> None:
    """Write the module of a MuJoCo family, and beside it its model file and a mesh."""
    for name, text in ((f"{module}.py", ROBOT), ("slider.xml", SLIDER), ("tetra.obj", TETRA)):
        (folder / name).write_text(text)


def write_agent(folder: Path, module: str) -> Path:
    """Write an agent's module."""
    path = folder / f"{module}.py"
    path.write_text(textwrap.dedent(AGENT))
    return path


def write_own_config(folder: Path, family: str, **changes: object) -> Path:
    """Write a config that trains on a family in a second."""
    path = folder / "own.yaml"
    path.write_text(yaml.safe_dump(config(family=family, **changes)))
    return path


def metarl_in(folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with a search path of its own as an installed command has: without that folder."""
    program = "import sys; sys.path.remove(''); from metarl.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return subprocess.run(
        [warm_python(), "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
    )
