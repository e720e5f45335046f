"""Owns the import of what only a few keys need: the libraries of tokens and clouds.

The program hides them when it starts (``trust.start``): securesystemslib imports each that is installed, wanted or
not, and they cost more than a signature. Here one is shown again, at the moment it is needed.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


def reveal(name: str) -> None:
    """Make ``import NAME`` work again, if the program hid it."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]  # None: "hidden", see sys.modules
    if name in modules and modules[name] is None:
        del modules[name]


def late_import(name: str) -> ModuleType:
    """Return the module ``name``, which may have been hidden.

    Raises:
        ImportError: it is not installed.
    """
    reveal(name.partition(".")[0])
    return importlib.import_module(name)
