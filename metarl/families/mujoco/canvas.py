"""Pictures of MuJoCo worlds, drawn by the first OpenGL backend that works."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from ...base.errors import MetarlError

if TYPE_CHECKING:
    import mujoco

from ..canvas import HEIGHT, WIDTH
from ..opengl import prepare_opengl

WIDER = 25
"""Factor of the width of the drawn floor. Gymnasium's ends 20 to 40 m from the start."""


class MujocoCanvas:
    """Gymnasium's MuJoCo renderer for one world. It changes `model`, so give it a copy."""

    def __init__(self, model: mujoco.MjModel, mode: str | None) -> None:
        import mujoco
        from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

        prepare_opengl()
        self.mode = mode
        if mode != "human":
            choose_offscreen_backend()
        elif sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            # Without a display GLFW ends the process with a failed assertion.
            raise MetarlError("render_mode 'human' needs a display and there is none; take render_mode 'rgb_array'")
        # Without a GPU, shadows take two thirds of the drawing time.
        model.vis.quality.shadowsize = 0
        _widen_floor(model)
        self.model, self.data = model, mujoco.MjData(model)
        camera = {"trackbodyid": 0, "distance": 4.0}
        self.renderer: Any = MujocoRenderer(model, self.data, camera, WIDTH, HEIGHT, camera_name=_camera(model))

    def render(self, qpos: np.ndarray) -> np.ndarray | None:
        """Return a picture of positions [nq], uint8 [height, width, 3], or None where a window shows it."""
        import mujoco

        self.data.qpos[:] = qpos
        mujoco.mj_forward(self.model, self.data)
        if self.renderer.viewer is not None:
            # The current context may be that of another world, or of one that was closed.
            self.renderer.viewer.make_context_current()
        frame = self.renderer.render(self.mode)
        return None if frame is None else np.array(frame)

    def close(self) -> None:
        """Close the window or the offscreen context."""
        self.renderer.close()


def _widen_floor(model: mujoco.MjModel) -> None:
    """Draw the floor as far as any body runs. Contacts have no edge, but pictures do, and a cheetah runs beyond it."""
    import mujoco

    floors = model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE
    model.geom_size[floors, :2] *= WIDER
    materials = np.unique(model.geom_matid[floors])
    model.mat_texrepeat[materials[materials >= 0]] *= WIDER


def _camera(model: mujoco.MjModel) -> str | None:
    """Return the name of the camera that follows the body, where the model has one."""
    names = [model.camera(i).name for i in range(model.ncam)]
    return "track" if "track" in names else None


@functools.cache
def choose_offscreen_backend() -> None:
    """Set MUJOCO_GL to the first backend that draws, unless the user has set it.

    Raises MetarlError where no backend draws, and where the user's does not.
    """
    chosen = os.environ.get("MUJOCO_GL")
    if chosen is not None:
        if chosen.lower() in _BACKENDS and not _draws(chosen.lower()):
            raise MetarlError(
                f"MUJOCO_GL is {chosen!r}, which does not work here; unset it, and metarl finds one that does"
            )
        return
    for backend in _BACKENDS:
        if _draws(backend):
            os.environ["MUJOCO_GL"] = backend
            return
    raise MetarlError(
        "no OpenGL backend works here, so MuJoCo cannot draw; install EGL or OSMesa (Debian: libegl1 or libosmesa6)"
    )


_BACKENDS = ("egl", "osmesa", "glfw")
"""MuJoCo's backends, the preferred one first."""


def _draws(backend: str) -> bool:
    """Return whether a backend draws. Tried in a subprocess, because a missing backend can end the process."""
    # Without a display GLFW returns no context, and fails only when something is drawn.
    probe = (
        f"import mujoco, mujoco.{backend} as gl; context = gl.GLContext(8, 8); context.make_current(); "
        "mujoco.MjrContext(mujoco.MjModel.from_xml_string('<mujoco/>'), mujoco.mjtFontScale.mjFONTSCALE_100)"
    )
    env = {**os.environ, "MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend}
    return subprocess.run([sys.executable, "-c", probe], env=env, capture_output=True, check=False).returncode == 0
