"""Built-in families. Importing this package registers them all, so a new family is one file in one of its folders."""

from __future__ import annotations

import importlib
import pkgutil

for module in pkgutil.walk_packages(__path__, f"{__name__}."):
    importlib.import_module(module.name)
