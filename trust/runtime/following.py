"""Owns ``following.json``: that a container follows its tag, and all that it takes to start the next version.

The next version has its own image's words, user and environment; what its owner asked for is kept here. It is
private to the owner, as the whole directory is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trust.errors import InputError, StateError
from trust.manifest import Platform
from trust.runtime.disk import read_document, write_document
from trust.runtime.health import HealthCheck
from trust.runtime.limits import Limits
from trust.runtime.options import RunOptions, Tmpfs, Volume
from trust.runtime.plan import Care, care_document, care_of
from trust.runtime.tier import Tier
from trust.value import dataclass

FOLLOWING = "following.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """Which ``image`` (a tag) is followed, how often, and under which policy file (None: the user's).

    ``trial_seconds`` is how long a version without a health check must stay up before it takes over.
    ``replaces`` is the identity of the version before, where there was one.
    """

    image: str
    every_seconds: float
    trial_seconds: float
    options: RunOptions
    platform: Platform
    policy: Path | None
    plain_http: bool
    replaces: str | None = None


def write_following(directory: Path, following: Following) -> None:
    """Have it beside the container's other files.

    Raises:
        OSError: it cannot be written.
    """
    platform = following.platform
    write_document(
        directory / FOLLOWING,
        {
            "schema": 1,
            "image": following.image,
            "every_seconds": following.every_seconds,
            "trial_seconds": following.trial_seconds,
            "options": _options_document(following.options),
            "platform": [platform.os, platform.architecture, platform.variant],
            "policy": None if following.policy is None else str(following.policy),
            "plain_http": following.plain_http,
            "replaces": following.replaces,
        },
    )


def read_following(directory: Path) -> Following | None:
    """Return what the container in ``directory`` follows; None where it follows nothing.

    Raises:
        StateError: the record is damaged.
    """
    document = read_document(directory / FOLLOWING)
    if document is None:
        return None
    try:
        system, architecture, variant = document["platform"]
        return Following(
            image=document["image"],
            every_seconds=float(document["every_seconds"]),
            trial_seconds=float(document["trial_seconds"]),
            options=_options(document["options"]),
            platform=Platform(os=system, architecture=architecture, variant=variant),
            policy=Path(document["policy"]) if document["policy"] else None,
            plain_http=document["plain_http"],
            replaces=document["replaces"],
        )
    except (LookupError, TypeError, ValueError, InputError) as err:
        raise StateError(f"record of what the container in {directory} follows is damaged: {err!r}") from err


def _options_document(options: RunOptions) -> dict[str, Any]:
    limits = options.limits
    health = options.health
    care = Care(
        restart=options.restart,
        health=health if isinstance(health, HealthCheck) else None,
        ports=options.ports,
        log_max_bytes=options.log_max_bytes,
    )
    return {
        "command": list(options.command),
        "name": options.name,
        "read_only": options.is_read_only,
        "own_ids": options.has_own_ids,
        "network": options.network,
        "volumes": [[str(one.source), one.target, one.is_read_only] for one in options.volumes],
        "tmpfs": [[one.target, one.size_bytes] for one in options.tmpfs],
        "environment": [list(pair) for pair in options.environment],
        "limits": [limits.memory_bytes, limits.pids, limits.cpus],
        "integrity": options.integrity.value,
        "health": "asked" if isinstance(health, HealthCheck) else health,
        "care": care_document(care),
    }


def _options(document: dict[str, Any]) -> RunOptions:
    memory, pids, cpus = document["limits"]
    care = care_of(document["care"])
    return RunOptions(
        command=tuple(document["command"]),
        name=document["name"],
        is_detached=True,
        is_read_only=document["read_only"],
        has_own_ids=document["own_ids"],
        network=document["network"],
        volumes=tuple(Volume(source=Path(a), target=b, is_read_only=c) for a, b, c in document["volumes"]),
        tmpfs=tuple(Tmpfs(target=target, size_bytes=size) for target, size in document["tmpfs"]),
        environment=tuple((key, value) for key, value in document["environment"]),
        limits=Limits(memory_bytes=memory, pids=pids, cpus=cpus),
        integrity=Tier(document["integrity"]),
        ports=care.ports,
        restart=care.restart,
        health=care.health if care.health is not None else document["health"],
        log_max_bytes=care.log_max_bytes,
    )
