"""Owns what was run, of a snapshot: enough to make the container anew from an image that is verified anew.

It is read from the container's own configuration, and from a snapshot's document. It is a request: image,
command, volumes, limits, the tier of integrity are held against this machine's rules like whatever a user types.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trust.digest import Digest, parse_digest
from trust.errors import InputError, StateError
from trust.reference import Reference, parse_reference
from trust.runtime.disk import read_document
from trust.runtime.image import is_text, parse_directory, parse_variable
from trust.runtime.limits import CPU_PERIOD_MICROSECONDS, CPUS_MIN, MEMORY_MIN_BYTES, PIDS_MAX, Limits
from trust.runtime.options import Tmpfs, Volume
from trust.runtime.record import Container
from trust.runtime.tier import DEFAULT_TIER, Tier, parse_tier
from trust.value import dataclass

_HOSTNAME_MAX_LENGTH = 64  # sethostname(2)
_SIZE = "size="


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What was run; ``volumes`` are places in the container, and whether they are read-only.

    Whoever restores says what is there. Ports are published anew, if at all: they are the host's.
    """

    image: Reference
    digest: Digest
    manifest: Digest
    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    hostname: str
    is_read_only: bool
    volumes: tuple[tuple[str, bool], ...]
    tmpfs: tuple[Tmpfs, ...] = ()
    limits: Limits = Limits()
    integrity: Tier = DEFAULT_TIER


def ran_of(container: Container, directory: Path) -> Ran:
    """Return what was asked for when a container was started, by its own configuration.

    Raises:
        InputError: it has what cannot be moved.
    """
    config = read_document(directory / "config.json")
    if config is None or not (directory / "upper").is_dir():
        raise InputError(
            f"container {container.name} cannot be moved: its root is a copy, not an overlay",
            hint="keep TRUST_HOME on a file system on which the kernel mounts overlays",
        )
    if not container.is_detached:
        raise InputError(f"container {container.name} cannot be moved: its output goes to a terminal or a pipe")
    try:
        if not any(one["type"] == "network" for one in config["linux"]["namespaces"]):
            raise InputError(
                f"container {container.name} cannot be moved: it has connections of the host's network"
            )
        if any(one["type"] == "user" for one in config["linux"]["namespaces"]):
            raise InputError(f"container {container.name} cannot be moved: its ids are its own (--userns)")
        return Ran(
            image=parse_reference(container.image),
            digest=parse_digest(container.digest),
            manifest=parse_digest(container.manifest),
            arguments=tuple(config["process"]["args"]),
            environment=tuple(parse_variable(text) for text in config["process"]["env"]),
            hostname=config["hostname"],
            is_read_only=bool(config["root"]["readonly"]),
            volumes=tuple((target, is_read_only) for target, is_read_only, _ in volumes_of(config, directory)),
            tmpfs=tuple(_tmpfs_of(config)),
            limits=_limits_of(config),
            integrity=container.integrity,
        )
    except (LookupError, TypeError, ValueError) as err:
        raise StateError(f"configuration of container {container.name} is damaged: {err!r:.100}") from err


def volumes_of(config: Mapping[str, Any], directory: Path) -> Iterator[tuple[str, bool, Path]]:
    """Yield place in the container, whether it is read-only, and place on the host of each volume."""
    for mount in config["mounts"]:
        source = Path(mount["source"])
        if mount["type"] == "bind" and not source.is_relative_to(directory / "files"):
            yield mount["destination"], "ro" in mount["options"], source


def require_volumes(ran: Ran, given: tuple[Volume, ...]) -> None:
    """Return if exactly the volumes that the container had are given, none of them more writable.

    Raises:
        InputError: they are not.
    """
    had = dict(ran.volumes)
    for volume in given:
        if volume.target not in had:
            raise InputError(f"volume was not one of the container's: {volume.target}")
        if volume.is_read_only != had.pop(volume.target):
            raise InputError(
                f"volume must be {'writable' if volume.is_read_only else 'read-only'}: {volume.target}"
            )
    if had:
        target = min(had)
        raise InputError(
            f"container had a volume at {target}: say what is there now",
            hint=f"trust restore --volume HOST:{target}{':ro' if had[target] else ''}",
        )


def ran_document(ran: Ran) -> dict[str, Any]:
    """Return what was run as a snapshot's document has it."""
    return {
        "image": str(ran.image),
        "digest": str(ran.digest),
        "manifest": str(ran.manifest),
        "arguments": list(ran.arguments),
        "environment": [f"{name}={value}" for name, value in ran.environment],
        "hostname": ran.hostname,
        "read_only": ran.is_read_only,
        "volumes": [{"target": target, "read_only": is_read_only} for target, is_read_only in ran.volumes],
        "tmpfs": [{"target": one.target, "size_bytes": one.size_bytes} for one in ran.tmpfs],
        "limits": {
            "memory_bytes": ran.limits.memory_bytes,
            "pids": ran.limits.pids,
            "cpu_microseconds": None if ran.limits.cpus is None else ran.limits.cpu_quota_microseconds,
        },
        "integrity": ran.integrity.value,
    }


def parse_ran(document: Mapping[str, Any]) -> Ran:
    """Return what a snapshot's document says was run; one of old has no limits, and names no tier of integrity.

    Raises:
        InputError, LookupError, TypeError, ValueError, AttributeError: malformed.
    """
    arguments, hostname = document["arguments"], document["hostname"]
    words = (*arguments, hostname)
    if not arguments or not all(is_text(word) for word in words) or len(hostname) > _HOSTNAME_MAX_LENGTH:
        raise InputError("checkpoint is malformed: its command or host name is no text")
    limits = document.get("limits", {})
    quota = _number(limits.get("cpu_microseconds"), int(CPUS_MIN * CPU_PERIOD_MICROSECONDS))
    return Ran(
        image=parse_reference(document["image"]),
        digest=parse_digest(document["digest"]),
        manifest=parse_digest(document["manifest"]),
        arguments=tuple(arguments),
        environment=tuple(parse_variable(text) for text in document["environment"]),
        hostname=hostname,
        is_read_only=document["read_only"] is True,
        volumes=tuple((parse_directory(one["target"]), one["read_only"] is True) for one in document["volumes"]),
        tmpfs=tuple(_tmpfs(one) for one in document.get("tmpfs", ())),
        limits=Limits(
            memory_bytes=_number(limits.get("memory_bytes"), MEMORY_MIN_BYTES),
            pids=_number(limits.get("pids"), 1, PIDS_MAX),
            cpus=None if quota is None else quota / CPU_PERIOD_MICROSECONDS,
        ),
        integrity=parse_tier(document.get("integrity", DEFAULT_TIER.value)),
    )


def _limits_of(config: Mapping[str, Any]) -> Limits:
    resources = config["linux"].get("resources", {})
    cpu = resources.get("cpu", {})
    return Limits(
        memory_bytes=resources.get("memory", {}).get("limit"),
        pids=resources.get("pids", {}).get("limit"),
        cpus=cpu["quota"] / cpu["period"] if "quota" in cpu else None,
    )


def _tmpfs_of(config: Mapping[str, Any]) -> Iterator[Tmpfs]:
    """Yield the directories in memory that were asked for; those that every container has are made otherwise."""
    for mount in config["mounts"]:
        if mount["type"] == mount["source"] == "tmpfs" and "mode=1777" in mount["options"]:
            sizes = [word.removeprefix(_SIZE) for word in mount["options"] if word.startswith(_SIZE)]
            yield Tmpfs(target=mount["destination"], size_bytes=int(sizes[0]))


def _tmpfs(document: Mapping[str, Any]) -> Tmpfs:
    target, size_bytes = parse_directory(document["target"]), _number(document["size_bytes"], 1)
    if target == "/" or size_bytes is None:
        raise InputError(f"checkpoint is malformed: a directory in memory at {target[:80]}")
    return Tmpfs(target=target, size_bytes=size_bytes)


def _number(value: object, least: int, most: int = 1 << 62) -> int | None:
    if value is not None and (type(value) is not int or not least <= value <= most):
        raise InputError(f"checkpoint is malformed: a limit of {value!r:.40}")
    return value
