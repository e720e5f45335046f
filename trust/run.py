"""Owns the journey ``run``: from an ``Allowed`` to a container. Nothing is verified here, and no tag is asked for.

1. the image is brought here and prepared (``trust.prepare``)
2. the container is recorded, and furnished
3. the engine runs it, or, detached, the supervisor has it run
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

from trust.deadline import Deadline
from trust.prepare import Ready, furnish, readied, untold
from trust.runtime.content import Vet
from trust.runtime.engine import Engine, Streams
from trust.runtime.following import Following, write_following
from trust.runtime.host import Host, open_containers
from trust.runtime.leftovers import EPHEMERAL, MAKING
from trust.runtime.options import RunOptions
from trust.runtime.progress import Progress
from trust.runtime.record import Container, finished
from trust.runtime.source import Source
from trust.runtime.supervision import ask
from trust.value import dataclass
from trust.verdict import Allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A container ran and ended with ``exit_status``, 128 + N where signal N ended it."""

    container: Container
    exit_status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A container was started, detached."""

    container: Container


def run(
    allowed: Allowed,
    *,
    identity: str,
    options: RunOptions,
    host: Host,
    engine: Engine,
    source: Source,
    now: datetime,
    deadline: Deadline,
    vet: Vet,
    following: Following | None = None,
    progress: Callable[[], AbstractContextManager[Progress]] = untold,
) -> Ended | Started:
    """Return when the container of an allowed image has ended, or, detached, when it runs.

    ``identity`` is 32 random hexadecimal digits, new for each container; ``vet`` is asked about the
    child of an allowed index; ``progress`` is entered while the image is brought here. With
    ``options.is_removed_after`` nothing is left afterwards. ``following``: the supervisor looks after its tag.

    Raises:
        RefusedError: the verdict no longer holds, or content is not what it says.
        InputError, UnavailableError: it could not be started; nothing is left of it.
    """
    with readied(
        allowed,
        identity=identity,
        options=options,
        host=host,
        engine=engine,
        source=source,
        now=now,
        deadline=deadline,
        vet=vet,
        progress=progress,
    ) as ready:
        return _run(ready, following=following, options=options, host=host, engine=engine)


def _run(
    ready: Ready, *, following: Following | None, options: RunOptions, host: Host, engine: Engine
) -> Ended | Started:
    container, containers = ready.container, open_containers(host)
    with containers.prepared(container) as directory:
        if following is not None:
            write_following(directory, following)
        bundle, root = furnish(ready, directory, host=host, engine=engine)
        if options.is_detached:
            ask(host.home, "start", container.identity, host.environ, mount=ready.shared.mount)
            return Started(container=container)
        if ready.care.ports:
            ask(host.home, "watch", container.identity, host.environ)
        if options.is_removed_after:
            (directory / EPHEMERAL).touch(mode=0o600)
        (directory / MAKING).unlink()  # from now on it may outlive us
        stdin = None if options.interactive else subprocess.DEVNULL
        status = engine.run(bundle, root, Streams(stdin=stdin, stdout=None, stderr=None))
        ended = finished(container, status)
        if options.is_removed_after:
            containers.discard(container)
        else:
            containers.save(ended)
        return Ended(container=ended, exit_status=status)
