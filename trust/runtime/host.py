"""Owns what containers need of this machine and its user, and what is theirs there: engine, records, content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trust.errors import StateError
from trust.manifest import Platform
from trust.oci.layout import Layout
from trust.runtime.bundle import Caller
from trust.runtime.containers import Containers
from trust.runtime.disk import make_private_directory
from trust.runtime.engine import Engine, engine_environment, engine_program
from trust.runtime.engines import engine_of
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What containers need of this machine and its user; ``resolver`` is the content of its ``resolv.conf``."""

    home: Path
    caller: Caller
    platform: Platform
    environ: Mapping[str, str]
    resolver: bytes = b""


def open_engine(name: str | None, host: Host) -> Engine:
    """Return the engine ``name``, or the first that is installed.

    Raises:
        InputError: it is unknown, or not installed.
    """
    found, program = engine_program(name, search_path=host.environ.get("PATH", ""))
    return engine_of(found, program, home=host.home, environment=engine_environment(host.environ))


def open_containers(host: Host) -> Containers:
    """Return the containers of this user, whatever engine each was started with."""
    return Containers(host.home, engine_named=lambda name: open_engine(name, host))


def open_content(host: Host) -> Layout:
    """Return the content store, made where there is none."""
    directory = host.home / "content"
    try:
        make_private_directory(directory)
    except OSError as err:
        raise StateError(f"content store cannot be made: {directory}: {err.strerror}") from err
    return Layout.create(directory)
