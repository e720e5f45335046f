"""Owns the journey ``run``: from an ``Allowed`` to a container. Nothing is verified here, and no tag is asked for.

1. the verdict must still hold, at ``now``
2. the signed digest is fetched into the content store, each byte hashed
3. its layers are unpacked, once, into a tree that nothing writes to afterwards; it is held to that by its tier
4. the container is recorded, and gets a writable root of its own
5. the engine runs it
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from datetime import datetime
from pathlib import Path

from trust.deadline import Deadline
from trust.digest import Digest
from trust.errors import InputError, RefusedError, StateError
from trust.instant import format_utc
from trust.manifest import Platform
from trust.oci.layout import Layout
from trust.runtime.bundle import Bundle, Caller, container_files, process_of
from trust.runtime.containers import SHORT_LENGTH, Container, Containers, finished
from trust.runtime.content import Image, pull
from trust.runtime.disk import make_private_directory
from trust.runtime.engine import Engine, Streams, engine_environment, engine_program
from trust.runtime.integrity import Ground, ground
from trust.runtime.options import RunOptions
from trust.runtime.overlay import WritableRoot, make_writable_root
from trust.runtime.progress import UNTOLD, Progress
from trust.runtime.source import Source
from trust.runtime.unpack import unpack
from trust.value import dataclass, replace
from trust.verdict import Allowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What containers need of this machine and its user; ``resolver`` is the content of its ``resolv.conf``."""

    home: Path
    caller: Caller
    platform: Platform
    environ: Mapping[str, str]
    resolver: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A container ran and ended with ``exit_status``, 128 + N where signal N ended it."""

    container: Container
    exit_status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A container was started, detached."""

    container: Container


def untold() -> AbstractContextManager[Progress]:
    """Return a progress that nobody is told of."""
    return nullcontext(UNTOLD)


def open_engine(name: str | None, host: Host) -> Engine:
    """Return the engine ``name``, or the first that is installed.

    Raises:
        InputError: it is unknown, or not installed.
    """
    found, program = engine_program(name, search_path=host.environ.get("PATH", ""))
    environment = engine_environment(host.environ)
    if found == "bubblewrap":
        from trust.runtime.bubblewrap import Bubblewrap  # noqa: PLC0415 - one of them is enough

        return Bubblewrap(program, home=host.home, environment=environment)
    from trust.runtime.oci_engine import OciEngine  # noqa: PLC0415

    return OciEngine(found, program, home=host.home, environment=environment)


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
    denied: frozenset[Digest] = frozenset(),
    progress: Callable[[], AbstractContextManager[Progress]] = untold,
) -> Ended | Started:
    """Return when the container of an allowed image has ended, or, detached, when it runs.

    ``identity`` is 32 random hexadecimal digits, new for each container; ``denied`` are digests that the policy
    denies even as the child of an allowed index; ``progress`` is entered while the image is brought here. With
    ``options.is_removed_after`` nothing is left afterwards.

    Raises:
        RefusedError: the verdict no longer holds, or content is not what it says.
        InputError, UnavailableError: it could not be started; nothing is left of it.
    """
    if now >= allowed.valid_until:
        raise RefusedError(
            f"verdict has expired: it was valid until {format_utc(allowed.valid_until)}",
            reason="expired",
            hint="verify the image again",
        )
    if options.is_detached and (options.is_removed_after or options.interactive):
        raise InputError("a detached container has nobody who removes it when it ends, and nothing to read")
    store = open_content(host)
    with progress() as told:
        image = pull(
            allowed,
            platform=host.platform,
            source=source,
            store=store,
            deadline=deadline,
            denied=denied,
            progress=told,
        )
        tree = unpack(image, store=store, home=host.home, progress=told)
    with ground(tree, image.digest, options.integrity) as shared:
        container, bundle = planned(
            allowed, image, identity, shared, options=options, host=host, engine=engine, now=now
        )
        return _run(container, bundle, shared, options=options, host=host, engine=engine)


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
    bundle = Bundle(
        identity=identity,
        directory=directory,
        root=directory / "rootfs",
        caller=host.caller,
        architecture=image.config.platform.architecture,
        account=process.account,
        arguments=process.arguments,
        environment=process.environment,
        working_directory=process.working_directory,
        hostname=hostname,
        network=options.network,
        is_read_only=options.is_read_only,
        volumes=options.volumes,
        files={},
        tmpfs=options.tmpfs,
        limits=options.limits,
    )
    return container, bundle


def _run(
    container: Container, bundle: Bundle, shared: Ground, *, options: RunOptions, host: Host, engine: Engine
) -> Ended | Started:
    containers = open_containers(host)
    with containers.prepared(container) as directory:
        try:
            root = make_writable_root(
                shared.tree, directory, user_namespaces=engine.takes_user_namespace, image=shared.mount
            )
            bundle = with_files(bundle, host.resolver)
        except OSError as err:
            raise StateError(
                f"container cannot be made: {err.strerror or err}: {err.filename or directory}"
            ) from err
        if options.is_detached:
            _start(engine, bundle, root)
            return Started(container=container)
        stdin = None if options.interactive else subprocess.DEVNULL
        status = engine.run(bundle, root, Streams(stdin=stdin, stdout=None, stderr=None))
        ended = finished(container, status)
        if options.is_removed_after:
            containers.discard(container)
        else:
            containers.save(ended)
        return Ended(container=ended, exit_status=status)


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


def _start(engine: Engine, bundle: Bundle, root: WritableRoot) -> None:
    with ExitStack() as stack:
        stdout, stderr = (
            stack.enter_context((bundle.directory / name).open("ab")) for name in ("stdout.log", "stderr.log")
        )
        engine.start(bundle, root, Streams(stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr))
