"""Owns ``record.json``: what was started, under which name, of which verified image. Pure.

Whether a container runs is not in it: that is asked of the engine, each time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trust.errors import InputError, StateError
from trust.instant import format_utc, parse_utc
from trust.runtime.tier import DEFAULT_TIER, Tier, parse_tier
from trust.value import dataclass, replace

_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What is known of a container; ``exit_status`` is None while it runs, and for ever where nobody waited.

    Who runs it in the foreground waits, and the process that bubblewrap keeps beside each container; runc and crun
    leave nobody beside a detached one.

    ``image`` is the reference that was verified, ``digest`` the signed one, ``manifest`` that of the platform.
    """

    identity: str
    name: str
    image: str
    digest: str
    manifest: str
    engine: str
    arguments: tuple[str, ...]
    created_at: datetime
    is_detached: bool
    stop_signal: int
    exit_status: int | None = None
    integrity: Tier = DEFAULT_TIER
    is_secret: bool = False  # its memory came here encrypted


def record_document(container: Container) -> dict[str, Any]:
    """Return ``container`` as JSON."""
    return {
        "schema": _SCHEMA,
        "name": container.name,
        "image": container.image,
        "digest": container.digest,
        "manifest": container.manifest,
        "engine": container.engine,
        "arguments": list(container.arguments),
        "created_at": format_utc(container.created_at),
        "detached": container.is_detached,
        "stop_signal": container.stop_signal,
        "exit_status": container.exit_status,
        "integrity": container.integrity.value,
        "secret": container.is_secret,
    }


def recorded(identity: str, document: Mapping[str, Any]) -> Container:
    """Return the container that a document describes.

    Raises:
        StateError: it is damaged.
    """
    try:
        return Container(
            identity=identity,
            name=document["name"],
            image=document["image"],
            digest=document["digest"],
            manifest=document["manifest"],
            engine=document["engine"],
            arguments=tuple(document["arguments"]),
            created_at=parse_utc(document["created_at"]),
            is_detached=document["detached"],
            stop_signal=document["stop_signal"],
            exit_status=document["exit_status"],
            integrity=parse_tier(document.get("integrity", DEFAULT_TIER.value)),
            is_secret=document.get("secret", False),
        )
    except (LookupError, TypeError, InputError) as err:
        raise StateError(f"record of container {identity} is damaged: {err!r}") from err


def finished(container: Container, exit_status: int) -> Container:
    """Return ``container`` as it is after its process has ended."""
    return replace(container, exit_status=exit_status)
