"""What must be loaded before OpenGL is opened."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util


@functools.cache
def prepare_opengl() -> None:
    """Load triton, if it is installed, before a picture is drawn.

    A torch wheel with CUDA brings triton, which torch loads late. Its LLVM and that of Mesa, which draws without a GPU,
    end the process with a segmentation fault if Mesa's is the first.
    """
    if importlib.util.find_spec("triton") is not None:
        with contextlib.suppress(Exception):  # a triton that does not load clashes with nothing
            importlib.import_module("triton")
