"""Packages that one source of phrases or one vocabulary needs, and others do not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from metarl.base.errors import MetarlError


@contextlib.contextmanager
def needed(package: str, what: str) -> Iterator[None]:
    """Raise MetarlError, which says that `what` needs the package, where an import inside fails."""
    try:
        yield
    except ImportError as error:
        raise MetarlError(
            f"{what} needs package {package!r}, which fails to import ({error}); pip install {package}"
        ) from None
