"""Owns the journey ``restore``: from an allowed snapshot to a container that goes on where it was frozen.

1. manifest and document are fetched by the signed digest; the facts they depend on hold here
2. the base image's signed digest was allowed by its own verdict; it is fetched and unpacked as for any container
3. every blob of the snapshot is fetched, hashed whole, then decrypted and decompressed into a staging directory
4. the container is planned from the image, this machine's rules and what the caller asks for; the images are held
   to a yardstick of it: a snapshot never brings its own privileges
5. only now CRIU reads a byte of it

A failure leaves nothing behind.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path

from trust.checkpoint import Machine
from trust.deadline import Deadline
from trust.errors import InputError, RefusedError, StateError, UnavailableError
from trust.manifest import MANIFEST_MAX_BYTES, Index, parse_manifest
from trust.prepare import planned, with_files
from trust.run import Started
from trust.runtime.bundle import Bundle
from trust.runtime.checkpoint_archive import unpack_upper
from trust.runtime.checkpoint_blobs import Seal
from trust.runtime.checkpoint_cgroups import take_cgroups
from trust.runtime.checkpoint_document import (
    ARTIFACT_TYPE,
    CONFIG_TYPE,
    DOCUMENT_MAX_BYTES,
    Snapshot,
    parse_document,
)
from trust.runtime.checkpoint_envelope import (
    ENVELOPE_MAX_BYTES,
    ENVELOPE_TYPE,
    Opener,
    opened,
    parse_envelope,
)
from trust.runtime.checkpoint_facts import require_same
from trust.runtime.checkpoint_fetch import Fetching, Thawing
from trust.runtime.checkpoint_guard import note
from trust.runtime.checkpoint_ran import Ran, require_volumes
from trust.runtime.checkpoint_staging import staging
from trust.runtime.checkpoint_walls import Walls, read_walls, require_within
from trust.runtime.checkpoint_yardstick import yardstick
from trust.runtime.content import Vet, pull
from trust.runtime.criu import SETTINGS, restore_settings
from trust.runtime.engine import Streams
from trust.runtime.host import Host, open_containers, open_content
from trust.runtime.integrity import Ground, ground
from trust.runtime.limits import Limits
from trust.runtime.options import RunOptions, Volume
from trust.runtime.overlay import make_writable_root
from trust.runtime.record import Container
from trust.runtime.source import Source
from trust.runtime.tier import Tier
from trust.runtime.unpack import unpack
from trust.value import dataclass, replace
from trust.verdict import Allowed

YARDSTICK = "yardstick"
_DESCRIPTORS = "descriptors.json"  # what runc reads beside CRIU's images: which streams were pipes of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What whoever restores asks for; volumes are the only thing of this machine that a container gets.

    ``limits`` hold in place of those that the snapshot asks for, and so does ``integrity``, where it is given.
    ``is_secret``: its memory came encrypted, and its record says so from now on.
    """

    identity: str
    name: str | None = None
    volumes: tuple[Volume, ...] = ()
    limits: Limits = Limits()
    integrity: Tier | None = None
    is_secret: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A container that is to be resumed: its record, its bundle, what its image is held by."""

    container: Container
    bundle: Bundle
    shared: Ground


def read_snapshot(
    allowed: Allowed, *, source: Source, deadline: Deadline, opener: Opener | None = None
) -> tuple[Snapshot, Seal | None]:
    """Return the snapshot of an allowed digest, and what decrypts its blobs where it is encrypted (step 1).

    Raises:
        InputError: it is none, or encrypted, and not to whom ``opener`` is of. RefusedError: ``tampered``.
        UnreachableError, LimitError: it could not be fetched.
    """
    data = source.manifest(allowed.digest, deadline=deadline)
    if not allowed.digest.matches(data) or len(data) > MANIFEST_MAX_BYTES:
        raise RefusedError(f"manifest is not of its digest: expected {allowed.digest}", reason="tampered")
    manifest = parse_manifest(data)
    if isinstance(manifest, Index) or manifest.artifact_type != ARTIFACT_TYPE:
        raise InputError(f"{allowed.reference} is no checkpoint", hint=f"trust run {allowed.reference}")
    config = manifest.config
    limits = {CONFIG_TYPE: DOCUMENT_MAX_BYTES, ENVELOPE_TYPE: ENVELOPE_MAX_BYTES}
    if config.size_bytes > limits.get(config.media_type, 0):
        raise InputError(f"checkpoint is malformed: its document is of type {config.media_type[:100]!r}")
    document = b"".join(source.blob(config.digest, config.size_bytes, deadline=deadline))
    if config.media_type == CONFIG_TYPE:
        return parse_document(document, manifest), None
    document, seal = opened(parse_envelope(document), opener)
    return parse_document(document, manifest, is_sealed=True), seal


def restore(
    snapshot: Snapshot,
    base: Allowed,
    asked: Asked,
    machine: Machine,
    *,
    host: Host,
    source: Source,
    base_source: Source,
    now: datetime,
    deadline: Deadline,
    phase: Callable[[str], None],
    vet: Vet,
    seal: Seal | None = None,
) -> Started:
    """Return when the container of a snapshot runs again, by the steps of this module.

    ``source`` has the snapshot, ``base_source`` the image that ``base`` allows.

    Raises:
        InputError: the snapshot is malformed, or not for this machine.
        RefusedError: ``tampered``; content is not what it says, or asks for more than this machine gives.
        UnavailableError: it could not be fetched, or resumed.
    """
    require_same(snapshot.facts, machine.facts)
    asked = replace(asked, is_secret=seal is not None)
    fetching = Fetching(source=source, deadline=deadline, seal=seal)
    with (
        plan_of(
            snapshot.ran, base, asked, host=host, machine=machine, source=base_source, now=now, deadline=deadline,
            vet=vet,
        ) as plan,
        staging(host.home) as place,
        ThreadPoolExecutor(1, thread_name_prefix="yardstick") as pool,
    ):  # fmt: skip
        phase("base")
        measuring = pool.submit(measure, plan, machine, host=host, place=place)
        try:
            frozen = fetching.everything(snapshot, place)
            phase("transfer")
            walls = read_walls(frozen.images)
        finally:
            wait([measuring])  # its container must not outlive this
        require_within(walls, measuring.result(), plan.bundle.account)
        take_cgroups(frozen.images, place / YARDSTICK / "images")
        phase("verify")
        started = resume(plan, frozen, machine, host=host, place=place)
        phase("restore")
    return started


@contextmanager
def plan_of(
    ran: Ran,
    base: Allowed,
    asked: Asked,
    *,
    host: Host,
    machine: Machine,
    source: Source,
    now: datetime,
    deadline: Deadline,
    vet: Vet,
) -> Iterator[Plan]:
    """Give the container of what ``ran``, as this machine would start it now (steps 2 and 4).

    Its image is held by the tier that the container had, or that is asked for; never by another in silence.

    Raises:
        InputError: volumes are asked for that were not given. RefusedError: ``tampered``; another image.
        UnavailableError: the tier cannot be had on this machine.
    """
    if base.digest != ran.digest:
        raise RefusedError(
            f"checkpoint is of another image: expected {ran.digest}, got {base.digest}", reason="tampered"
        )
    require_volumes(ran, asked.volumes)
    store = open_content(host)
    image = pull(base, platform=host.platform, source=source, store=store, deadline=deadline, vet=vet)
    if image.digest != ran.manifest:
        raise RefusedError(
            f"checkpoint is of another platform's image: expected {ran.manifest}, got {image.digest}",
            reason="tampered",
        )
    shared = unpack(image, store=store, home=host.home)
    options = RunOptions(
        command=ran.arguments,
        name=asked.name,
        is_detached=True,
        is_read_only=ran.is_read_only,
        volumes=asked.volumes,
        tmpfs=ran.tmpfs,
        environment=ran.environment,
        limits=ran.limits.overridden_by(asked.limits),
        integrity=asked.integrity or ran.integrity,
    )
    with ExitStack() as stack:
        try:
            stands_on = stack.enter_context(ground(shared, image.digest, options.integrity))
        except UnavailableError as err:
            raise UnavailableError(
                f"the container is held to its image by {options.integrity.value}: {err}",
                hint=f"{err.hint}; what you accept: trust restore --integrity TIER",
            ) from err
        container, bundle = planned(
            base, image, asked.identity, stands_on, options=options, host=host, engine=machine.engine, now=now
        )
        yield Plan(
            container=replace(container, image=str(ran.image), arguments=ran.arguments, is_secret=asked.is_secret),
            bundle=replace(bundle, arguments=ran.arguments, hostname=ran.hostname),
            shared=stands_on,
        )


def measure(plan: Plan, machine: Machine, *, host: Host, place: Path) -> Walls:
    """Return the walls of a container such as is planned, empty, made and frozen in ``place`` (step 4)."""
    directory = place / YARDSTICK
    directory.mkdir(mode=0o700)
    bundle = with_files(replace(plan.bundle, directory=directory), host.resolver)
    identity = secrets.token_hex(16)
    note(place, "doomed", engine=machine.engine.name, identity=identity)
    return yardstick(bundle, machine.engine, identity=identity, directory=directory)


def resume(plan: Plan, frozen: Thawing, machine: Machine, *, host: Host, place: Path) -> Started:
    """Return when a planned container runs again from verified images (step 5).

    Raises:
        InputError: the name is taken. UnavailableError: CRIU cannot. Nothing is left of it then.
    """
    work = place / "restore"
    work.mkdir(mode=0o700)
    (frozen.images / _DESCRIPTORS).write_text('["/dev/null", "/dev/null", "/dev/null"]')
    with open_containers(host).prepared(plan.container) as directory:
        root = make_writable_root(plan.shared.tree, directory, user_namespaces=False, image=plan.shared.mount)
        if root.overlay is None:
            raise StateError(f"the kernel mounts no overlay here: {directory}")
        unpack_upper(frozen.upper(), root.overlay.upper)
        bundle = with_files(plan.bundle, host.resolver)
        (directory / SETTINGS).write_text(restore_settings(frozen.streams))
        with ExitStack() as stack:
            stdout, stderr = (
                stack.enter_context((directory / name).open("ab")) for name in ("stdout.log", "stderr.log")
            )
            streams = Streams(stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
            machine.engine.restore(bundle, root, streams, images=frozen.images, work=work)
    return Started(container=plan.container)
