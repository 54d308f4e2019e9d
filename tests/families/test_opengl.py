"""The order in which libraries are loaded before pictures are drawn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FAKE = """
import sys
opened = sys.modules.get("gymnasium.envs.mujoco.mujoco_rendering")
print("triton", "late" if getattr(opened, "opened", False) else "first", flush=True)
"""
WATCH = """
import gymnasium, metarl, sys
from gymnasium.envs.mujoco import mujoco_rendering
from gymnasium.envs.classic_control import CartPoleEnv

def watched(kind, name):
    inner = getattr(kind, name)
    def call(*arguments, **more):
        mujoco_rendering.opened = True
        print("opened", flush=True)
        raise SystemExit
    setattr(kind, name, call)

watched(mujoco_rendering.MujocoRenderer, "__init__")
watched(CartPoleEnv, "__init__")
assert "triton" not in sys.modules
"""
MAKES = {
    "mujoco": (
        "env = gymnasium.make('metarl/HopperDynamics-v0', render_mode='rgb_array')\nenv.reset(seed=0)\nenv.render()"
    ),
    "class": (
        "from metarl.families.load import load\n"
        "class Poles(metarl.ClassFamily):\n"
        "    name, horizon = 'poles', 5\n"
        "    parameters = {'x': metarl.Parameter(metarl.Uniform(0.0, 1.0))}\n"
        "    observation_space, action_space = gymnasium.spaces.Box(-1, 1), gymnasium.spaces.Discrete(2)\n"
        "    def make(self, task, render_mode): return CartPoleEnv(render_mode=render_mode)\n"
        "family = Poles()\n"
        "family.batch(family.sample('train', 1, seed=0).values, render_mode='rgb_array')"
    ),
}


@pytest.mark.parametrize("kind", MAKES)
def test_triton_is_loaded_before_opengl_is_opened(kind: str, tmp_path: Path) -> None:
    (tmp_path / "triton.py").write_text(FAKE)
    code = f"{WATCH}\n{MAKES[kind]}"
    # The backend is set, so that none is looked for.
    env = {**os.environ, "PYTHONPATH": str(tmp_path), "MUJOCO_GL": "disabled"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split("\n")[:2] == ["triton first", "opened"], done.stderr


def test_picture_is_drawn_although_triton_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "triton.py").write_text("raise OSError('libcuda.so.1')")
    code = "from metarl.families.opengl import prepare_opengl; prepare_opengl(); print('on')"
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "on\n"
