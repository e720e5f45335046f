"""Owns the journey ``clone``: a second copy of a running container, beside it on the same machine.

1. the image was allowed by a verdict of now, and the clone is planned as any container of it
2. the original is frozen, dumped, what it had written is packed; it runs on
3. the clone is resumed from that moment, behind walls of its own

It has the same memory: every secret and the state of every random generator exist twice. Whoever asks is told.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from trust.checkpoint import Machine, frozen
from trust.deadline import Deadline
from trust.errors import InputError
from trust.restore import YARDSTICK, Asked, measure, plan_of, resume
from trust.run import Started
from trust.runtime.checkpoint_archive import pack_upper
from trust.runtime.checkpoint_cgroups import take_cgroups
from trust.runtime.checkpoint_fetch import Thawing, pieces_of
from trust.runtime.checkpoint_ran import volumes_of
from trust.runtime.checkpoint_staging import staging
from trust.runtime.checkpoint_walls import read_walls, require_within
from trust.runtime.content import Vet
from trust.runtime.disk import read_document
from trust.runtime.host import Host, open_containers
from trust.runtime.options import Volume
from trust.runtime.record import Container
from trust.runtime.source import Source
from trust.verdict import Allowed


def clone(
    container: Container,
    base: Allowed,
    machine: Machine,
    *,
    host: Host,
    name: str,
    identity: str,
    source: Source,
    now: datetime,
    deadline: Deadline,
    phase: Callable[[str], None],
    vet: Vet,
) -> Started:
    """Return when a copy of a running container runs beside it.

    Raises:
        InputError: the container does not run, or the name is taken.
        RefusedError, UnavailableError: as ``restore``. The original runs on in any case.
    """
    asked = Asked(identity=identity, name=name, volumes=_volumes(container, host), is_secret=container.is_secret)
    if any(one.container.name == name for one in open_containers(host).all()):
        raise InputError(f"container name is taken: {name}", hint=f"trust rm {name}")
    with staging(host.home) as place:
        with frozen(container, machine, host=host, place=place) as one:
            upper = place / "upper.tar"
            with upper.open("xb") as file:
                file.writelines(pack_upper(one.upper))
            machine.engine.thaw(container.identity)
        phase("freeze")
        with plan_of(
            one.ran, base, asked, host=host, machine=machine, source=source, now=now, deadline=deadline,
            vet=vet,
        ) as plan:  # fmt: skip
            walls = measure(plan, machine, host=host, place=place)
            require_within(read_walls(one.images), walls, plan.bundle.account)
            take_cgroups(one.images, place / YARDSTICK / "images")
            phase("verify")
            thawing = Thawing(images=one.images, upper=lambda: pieces_of(upper), streams=one.streams)
            started = resume(plan, thawing, machine, host=host, place=place)
        phase("restore")
    return started


def _volumes(container: Container, host: Host) -> tuple[Volume, ...]:
    """Return the volumes of a container, by its own configuration."""
    directory: Path = open_containers(host).directory(container.identity)
    config = read_document(directory / "config.json") or {"mounts": []}
    return tuple(
        Volume(source=source, target=target, is_read_only=is_read_only)
        for target, is_read_only, source in volumes_of(config, directory)
    )
