"""Pictures of worlds: matplotlib axes for array families, MuJoCo's renderer for MuJoCo ones."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from .errors import MetarlError

if TYPE_CHECKING:
    import mujoco
    from matplotlib.axes import Axes

    from .task import TaskFamily

WIDTH, HEIGHT = 480, 480
"""Size of a picture in pixels."""
WIDER = 25
"""How many times as wide as Gymnasium's, 20 to 40 m from the start, the floor is drawn."""


@contextlib.contextmanager
def drawing(family: TaskFamily) -> Iterator[None]:
    """Say in one line why a family's environment cannot draw: a package is missing, or it does not know how."""
    try:
        yield
    except NotImplementedError:  # an environment without `render`
        raise nothing_drawn(family) from None
    except DependencyNotInstalled as error:
        raise MetarlError(f"family {family.name!r} cannot be drawn: {error}") from None


def nothing_drawn(family: TaskFamily) -> MetarlError:
    """Return the error of a family whose environment gives no picture."""
    return MetarlError(
        f"family {family.name!r} draws nothing; its environment must give pictures in render_mode 'rgb_array'"
    )


def ink_box(frames: Iterable[np.ndarray]) -> tuple[slice, slice]:
    """Return the rows and columns of pictures of one shape without the margin that all of them have, if it is white."""
    ink = functools.reduce(np.logical_or, ((frame != 255).any(axis=2) for frame in frames))
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows):
        return slice(None), slice(None)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


class AxesCanvas:
    """A figure that an array family draws its worlds into."""

    def __init__(self, mode: str | None) -> None:
        from matplotlib.figure import Figure

        self.shows = mode == "human"
        size = (WIDTH / 100, HEIGHT / 100)
        if self.shows:
            from matplotlib import pyplot
            from matplotlib.backends.registry import BackendFilter, backend_registry

            backend = pyplot.get_backend().lower()
            if backend not in backend_registry.list_builtin(BackendFilter.INTERACTIVE):
                raise MetarlError(
                    f"render_mode 'human' needs a window, and matplotlib's backend here is {backend!r}, which has none; "
                    "give Python a GUI toolkit and a display, or take render_mode 'rgb_array'"
                )
            self.figure = pyplot.figure(figsize=size, dpi=100)
        else:
            self.figure = Figure(figsize=size, dpi=100)

    def render(self, draw: Callable[[Axes], None]) -> np.ndarray | None:
        """Draw one world; return uint8 [height, width, 3], or None where it is shown in a window."""
        self.figure.clear()
        draw(self.figure.add_subplot())
        if self.shows:
            from matplotlib import pyplot

            pyplot.pause(0.001)
            return None
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()

    def close(self) -> None:
        """Close the window."""
        if self.shows:
            from matplotlib import pyplot

            pyplot.close(self.figure)


class MujocoCanvas:
    """Gymnasium's MuJoCo renderer, on one world's model, which is its own to change."""

    def __init__(self, model: mujoco.MjModel, mode: str | None) -> None:
        import mujoco
        from gymnasium.envs.mujoco.mujoco_rendering import MujocoRenderer

        self.mode = mode
        if mode != "human":
            choose_offscreen_backend()
        elif sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            # GLFW would end the process with a failed assertion.
            raise MetarlError("render_mode 'human' needs a display and there is none; take render_mode 'rgb_array'")
        # Without a GPU, shadows take two thirds of the time of a picture.
        model.vis.quality.shadowsize = 0
        _widen_floor(model)
        self.model, self.data = model, mujoco.MjData(model)
        camera = {"trackbodyid": 0, "distance": 4.0}
        self.renderer: Any = MujocoRenderer(model, self.data, camera, WIDTH, HEIGHT, camera_name=_camera(model))

    def render(self, qpos: np.ndarray) -> np.ndarray | None:
        """Return uint8 [height, width, 3] of positions [nq], or None where it is shown in a window."""
        import mujoco

        self.data.qpos[:] = qpos
        mujoco.mj_forward(self.model, self.data)
        if self.renderer.viewer is not None:
            # Gymnasium leaves the context of whichever world was drawn last, or none where that one was closed.
            self.renderer.viewer.make_context_current()
        frame = self.renderer.render(self.mode)
        return None if frame is None else np.array(frame)

    def close(self) -> None:
        """Close the window or the offscreen context."""
        self.renderer.close()


def _widen_floor(model: mujoco.MjModel) -> None:
    """Have the floor drawn as far as any body runs: contacts know no edge, pictures do, and a cheetah runs beyond it."""
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
    """Set MUJOCO_GL to the first backend that draws here, unless the user has set it. Raises MetarlError where none does."""
    chosen = os.environ.get("MUJOCO_GL")
    if chosen is not None:
        if chosen.lower() in _BACKENDS and not _draws(chosen.lower()):
            raise MetarlError(
                f"MUJOCO_GL is {chosen!r}, which does not work here; unset it, and metarl takes one that does"
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
"""What MuJoCo can draw with, the one to be preferred first."""


def _draws(backend: str) -> bool:
    """Return whether a backend draws, tried in a subprocess: one that is not there can take the process down with it."""
    # GLFW's context is none at all without a display, and says nothing of it before something is to be drawn.
    probe = (
        f"import mujoco, mujoco.{backend} as gl; context = gl.GLContext(8, 8); context.make_current(); "
        "mujoco.MjrContext(mujoco.MjModel.from_xml_string('<mujoco/>'), mujoco.mjtFontScale.mjFONTSCALE_100)"
    )
    env = {**os.environ, "MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend}
    return subprocess.run([sys.executable, "-c", probe], env=env, capture_output=True, check=False).returncode == 0
