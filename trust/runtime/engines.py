"""Owns the making of an engine from its name and program."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trust.runtime.engine import Engine


def engine_of(name: str, program: Path, *, home: Path, environment: Mapping[str, str]) -> Engine:
    """Return the engine ``name``, which is ``program``; its state is kept in ``home``."""
    if name == "bubblewrap":
        from trust.runtime.bubblewrap import Bubblewrap  # noqa: PLC0415 - one of them is enough

        return Bubblewrap(program, home=home, environment=environment)
    from trust.runtime.oci_engine import OciEngine  # noqa: PLC0415

    return OciEngine(name, program, home=home, environment=environment)
