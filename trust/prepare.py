"""Owns the way from an ``Allowed`` to all that it takes to start its container, whoever starts it.

1. the verdict must still hold, at ``now``
2. the signed digest is fetched into the content store, each byte hashed
3. its layers are unpacked, once, into a tree that nothing writes to afterwards; it is held to that by its tier
4. the container gets a writable root, files and a plan of its own
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from pathlib import Path

from trust.deadline import Deadline
from trust.errors import InputError, RefusedError, StateError
from trust.instant import format_utc
from trust.runtime.bundle import Bundle, container_files, process_of
from trust.runtime.containers import SHORT_LENGTH
from trust.runtime.content import Image, Vet, pull
from trust.runtime.engine import Engine
from trust.runtime.health import HealthCheck
from trust.runtime.host import Host, open_containers, open_content
from trust.runtime.integrity import Ground, ground
from trust.runtime.options import RunOptions
from trust.runtime.overlay import WritableRoot, make_writable_root
from trust.runtime.plan import Care, Plan, write_plan
from trust.runtime.progress import UNTOLD, Progress
from trust.runtime.record import Container
from trust.runtime.source import Source
from trust.runtime.unpack import unpack
from trust.runtime.user_namespace import first_id, stage
from trust.value import dataclass, replace
from trust.verdict import Allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A container whose image is here and verified; nothing of it is written yet."""

    container: Container
    bundle: Bundle
    shared: Ground
    care: Care


def untold() -> AbstractContextManager[Progress]:
    """Return a progress that nobody is told of."""
    return nullcontext(UNTOLD)


@contextmanager
def readied(
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
    progress: Callable[[], AbstractContextManager[Progress]] = untold,
) -> Iterator[Ready]:
    """Give a container of an allowed image, ready to be furnished: pulled, unpacked, held to its tier, unrecorded.

    Raises:
        RefusedError: the verdict no longer holds, or content is not what it says.
        InputError, UnavailableError: it could not be brought here; no container is left of it.
    """
    if now >= allowed.valid_until:
        raise RefusedError(
            f"verdict has expired: it was valid until {format_utc(allowed.valid_until)}",
            reason="expired",
            hint="verify the image again",
        )
    _check(options, engine)
    store = open_content(host)
    with progress() as told:
        image = pull(
            allowed,
            platform=host.platform,
            source=source,
            store=store,
            deadline=deadline,
            vet=vet,
            progress=told,
        )
        tree = unpack(image, store=store, home=host.home, progress=told)
    with ground(tree, image.digest, options.integrity) as shared:
        container, bundle = planned(
            allowed, image, identity, shared, options=options, host=host, engine=engine, now=now
        )
        yield Ready(container=container, bundle=bundle, shared=shared, care=care_for(options, image, engine))


def _check(options: RunOptions, engine: Engine) -> None:
    if options.is_detached and (options.is_removed_after or options.interactive):
        raise InputError("a detached container has nobody who removes it when it ends, and nothing to read")
    if not options.is_detached and options.restart.when != "no":
        raise InputError("a container in the foreground is not restarted", hint="--detach")
    if options.has_own_ids and not engine.takes_user_namespace:
        raise InputError(f"{engine.name} gives root's container no ids of its own", hint="--engine runc")
    if options.ports and options.network == "host":
        raise InputError("ports of the host's own network are not published: they are the host's")
    if isinstance(options.health, HealthCheck) and (engine.name == "bubblewrap" or not options.is_detached):
        raise InputError("health cannot be asked after under bubblewrap, or in the foreground", hint="--detach")


def care_for(options: RunOptions, image: Image, engine: Engine) -> Care:
    """Return what the supervisor is to do; bubblewrap lets nobody in to ask an image's own health check."""
    health = image.config.health if options.health == "image" else None
    if isinstance(options.health, HealthCheck):
        health = options.health
    return Care(
        restart=options.restart,
        health=health if options.is_detached and engine.name != "bubblewrap" else None,
        ports=options.ports,
        log_max_bytes=options.log_max_bytes,
    )


def planned(
    allowed: Allowed,
    image: Image,
    identity: str,
    shared: Ground,
    *,
    options: RunOptions,
    host: Host,
    engine: Engine,
    now: datetime,
) -> tuple[Container, Bundle]:
    """Return the container and its bundle; nothing is written."""
    hostname = identity[:SHORT_LENGTH]
    process = process_of(image.config, options, tree=shared.root, hostname=hostname)
    container = Container(
        identity=identity,
        name=options.name or hostname,
        image=str(allowed.reference),
        digest=str(allowed.digest),
        manifest=str(image.digest),
        engine=engine.name,
        arguments=process.arguments,
        created_at=now,
        is_detached=options.is_detached,
        stop_signal=image.config.stop_signal,
        integrity=options.integrity,
    )
    directory = open_containers(host).directory(identity)
    is_mapped = options.has_own_ids and host.caller.is_root  # an ordinary user's has a namespace anyway
    bundle = Bundle(
        identity=identity,
        directory=directory,
        root=stage(host.home) if is_mapped else directory / "rootfs",
        caller=host.caller,
        architecture=image.config.platform.architecture,
        account=process.account,
        arguments=process.arguments,
        environment=process.environment,
        working_directory=process.working_directory,
        hostname=hostname,
        network="private" if options.ports and options.network == "off" else options.network,
        is_read_only=options.is_read_only,
        volumes=options.volumes,
        files={},
        tmpfs=options.tmpfs,
        limits=options.limits,
        first_id=first_id(identity) if is_mapped else None,
    )
    return container, bundle


def furnish(ready: Ready, directory: Path, *, host: Host, engine: Engine) -> tuple[Bundle, WritableRoot]:
    """Have in ``directory`` all that it takes to start the container: its root, its files, its plan.

    Raises:
        StateError: it cannot be written.
    """
    container, care, shared = ready.container, ready.care, ready.shared
    try:
        bundle = ready.bundle
        root = make_writable_root(
            shared.tree,
            directory,
            user_namespaces=engine.takes_user_namespace,
            image=shared.mount,
            mapped=None if bundle.first_id is None else (bundle.root, bundle.first_id),
        )
        bundle = with_files(bundle, host.resolver)
        plan = Plan(
            engine=engine.name,
            program=engine.program,
            environment=dict(engine.environment),
            bundle=bundle,
            root=root,
            care=care,
            is_detached=container.is_detached,
            tree=shared.tree,
            manifest=container.manifest,
            integrity=container.integrity,
        )
        if container.is_detached or care.ports:
            write_plan(plan)
    except OSError as err:
        raise StateError(f"container cannot be made: {err.strerror or err}: {err.filename or directory}") from err
    return bundle, root


def with_files(bundle: Bundle, resolver: bytes) -> Bundle:
    """Return ``bundle`` with the small files that the container is given, written."""
    directory = bundle.directory / "files"
    directory.mkdir(mode=0o755)
    files = {}
    for target, content in container_files(bundle, resolver=resolver).items():
        files[target] = directory / Path(target).name
        files[target].write_bytes(content)
        files[target].chmod(0o644)
    return replace(bundle, files=files)
