"""Owns what the user asks of a container beyond the image; parsed once, at the edge. Pure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from trust.errors import InputError
from trust.runtime.bounded_log import DEFAULT_MAX_BYTES
from trust.runtime.health import HealthCheck
from trust.runtime.image import parse_directory
from trust.runtime.limits import Limits, parse_size
from trust.runtime.ports import Port
from trust.runtime.restart import RestartPolicy
from trust.runtime.tier import DEFAULT_TIER, Tier
from trust.value import dataclass

Network = Literal["off", "private", "host"]
NAME_MAX_LENGTH = 128
TMPFS_BYTES = 64 << 20  # as much as every container's /dev/shm

_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A directory or file of the host that the container sees at ``target``, absolute and never the root."""

    source: Path
    target: str
    is_read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmpfs:
    """An empty directory in memory at ``target``, of ``size_bytes`` at most, gone when the container ends."""

    target: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a container is to be run.

    ``command`` replaces the image's own where it is not empty. ``interactive``: the container reads our standard
    input; else it has none. A detached container writes to log files, and never reads. ``has_own_ids``: one of
    root's has a user namespace.
    """

    command: tuple[str, ...] = ()
    name: str | None = None
    is_detached: bool = False
    is_removed_after: bool = False
    interactive: bool = False
    is_read_only: bool = False
    network: Network = "off"
    volumes: tuple[Volume, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    limits: Limits = Limits()
    integrity: Tier = DEFAULT_TIER
    ports: tuple[Port, ...] = ()
    restart: RestartPolicy = RestartPolicy()
    health: HealthCheck | Literal["image", "none"] = "image"
    log_max_bytes: int = DEFAULT_MAX_BYTES
    has_own_ids: bool = False


def is_name(text: str) -> bool:
    """Tell whether ``text`` can name a container."""
    return _NAME.fullmatch(text) is not None and len(text) <= NAME_MAX_LENGTH


def parse_name(text: str) -> str:
    """Return ``text`` if it can name a container.

    Raises:
        InputError: it cannot.
    """
    if not is_name(text):
        raise InputError(
            f"container name is malformed: expected [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most {NAME_MAX_LENGTH}"
            f" characters, got {text[:140]!r}"
        )
    return text


def parse_network(text: str) -> Network:
    """Return the network that ``text`` names.

    Raises:
        InputError: it is none of ``off``, ``private`` and ``host``.
    """
    match text:
        case "off" | "private" | "host":
            return text
        case _:
            raise InputError(f"network is unknown: expected off, private or host, got {text[:40]!r}")


def parse_volume(text: str) -> Volume:
    """Return the volume ``HOST:CONTAINER[:ro|:rw]``; both paths absolute, the host's must be there.

    Raises:
        InputError: it is malformed, or there is nothing to mount.
    """
    parts = text.split(":")
    if len(parts) == 2:  # noqa: PLR2004 - HOST:CONTAINER
        parts.append("rw")
    if len(parts) != 3 or parts[2] not in ("ro", "rw") or not parts[0].startswith("/"):  # noqa: PLR2004
        raise InputError(f"volume is malformed: expected /HOST:/CONTAINER[:ro], got {text[:200]!r}")
    source, target = Path(parts[0]), parse_directory(parts[1])
    if target == "/":
        raise InputError("volume would hide the whole image: expected a directory below /")
    try:
        is_there = source.exists()
    except OSError:  # a name that no file can have
        is_there = False
    if not is_there:
        raise InputError(f"volume is not there: {parts[0][:200]!r}")
    return Volume(source=source, target=target, is_read_only=parts[2] == "ro")


def parse_tmpfs(text: str) -> Tmpfs:
    """Return the directory in memory that ``CONTAINER[:SIZE]`` asks for.

    Raises:
        InputError: it is malformed.
    """
    path, _, size = text.partition(":")
    target = parse_directory(path)
    if target == "/":
        raise InputError("directory in memory would hide the whole image: expected one below /")
    size_bytes = parse_size(size, what="size of a directory in memory") if size else TMPFS_BYTES
    return Tmpfs(target=target, size_bytes=size_bytes)
