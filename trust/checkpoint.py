"""Owns the journey ``checkpoint``: from a running container to an artifact that a registry has.

1. the container is frozen
2. CRIU writes its memory, and the layer it has written to is packed: both of the same moment
3. with ``leave_running`` it is thawed now; else it stays frozen, so that no answer it gives is lost
4. memory, images and configuration become blobs, encrypted if recipients are named, and a document says how they
   belong together
5. ``deliver`` pushes, and signs; when it has returned, a container that was to move is ended frozen

Whatever fails, and if this process is killed, the original runs on. Nothing is signed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from trust.deadline import Deadline
from trust.digest import Digest, sha256
from trust.errors import InputError
from trust.manifest import MANIFEST_MAX_BYTES, OCI_MANIFEST, Descriptor
from trust.oci.registry import Registry
from trust.runtime.checkpoint_archive import pack_images, pack_upper
from trust.runtime.checkpoint_blobs import Blobs
from trust.runtime.checkpoint_document import (
    CONFIG_TYPE,
    DOCUMENT_MAX_BYTES,
    IMAGES_TYPE,
    UPPER_TYPE,
    Snapshot,
    document_bytes,
    manifest_bytes,
)
from trust.runtime.checkpoint_engine import MovingEngine
from trust.runtime.checkpoint_envelope import ENVELOPE_TYPE, Recipient, envelope_bytes
from trust.runtime.checkpoint_facts import Facts, local_facts
from trust.runtime.checkpoint_guard import note
from trust.runtime.checkpoint_pages import split_pages
from trust.runtime.checkpoint_ran import Ran, ran_of
from trust.runtime.checkpoint_seal import Sealing, sealing_for
from trust.runtime.checkpoint_staging import staging
from trust.runtime.course import want_stopped
from trust.runtime.criu import SETTINGS, dump_settings, find_criu, streams_of
from trust.runtime.engine import engine_environment, engine_program
from trust.runtime.host import Host, open_containers
from trust.runtime.record import Container, finished
from trust.value import dataclass

ENDED_BY_KILL = 137
BLOBS_AT_ONCE = 3
_UNMOVABLE = {
    "bubblewrap": "it knows no way",
    # Tried, 1.28 with CRIU 4.2.1: it masks /sys/firmware and the like by a directory that all containers share.
    "crun": "what it hides of the kernel would come back writable",
}

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What moves containers on this machine: an engine with CRIU, and the facts that a snapshot depends on."""

    engine: MovingEngine
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A snapshot as it is pushed: its manifest, and every blob with the file that it is in."""

    manifest: bytes
    blobs: tuple[tuple[Descriptor, Path], ...]
    snapshot: Snapshot

    @property
    def digest(self) -> Digest:
        """The digest of the manifest, which is what is signed."""
        return sha256(self.manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """How much of an artifact the registry lacked."""

    blobs: int
    blobs_sent: int
    bytes: int
    bytes_sent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """A container that stands still: CRIU's ``images`` of it, and the layer it has written to."""

    images: Path
    upper: Path
    ran: Ran
    streams: Mapping[int, str]


def open_machine(engine: str, host: Host) -> Machine:
    """Return what moves the containers of an engine here.

    Raises:
        InputError: not root, no CRIU, or an engine that cannot.
    """
    if not host.caller.is_root:
        raise InputError("only root can freeze and resume containers: CRIU needs it")
    if engine in _UNMOVABLE:
        raise InputError(
            f"{engine}'s containers cannot be moved: {_UNMOVABLE[engine]}",
            hint="start the container with --engine runc",
        )
    name, program = engine_program(engine, search_path=host.environ.get("PATH", ""))
    environment = engine_environment(host.environ)
    criu = find_criu(environment)
    facts = local_facts(name, program, environment, criu=criu.version)
    return Machine(
        engine=MovingEngine(name, program, home=host.home, environment=environment, criu=criu), facts=facts
    )


@contextmanager
def frozen(container: Container, machine: Machine, *, host: Host, place: Path) -> Iterator[Frozen]:
    """Give a running container, frozen, dumped to ``place``; it is thawed where what is done with it fails.

    Raises:
        InputError: it does not run, or is of a kind that cannot be moved.
        UnavailableError: it cannot be frozen, and runs on.
    """
    engine = machine.engine
    directory = open_containers(host).directory(container.identity)
    pid = engine.running([container.identity]).get(container.identity)
    if pid is None:
        raise InputError(f"container {container.name} is not running")
    ran = ran_of(container, directory)
    images, work = place / "images", place / "work"
    images.mkdir(mode=0o700)
    work.mkdir(mode=0o700)
    note(place, "frozen", engine=engine.name, identity=container.identity)
    with engine.guarded(container.identity):
        engine.freeze(container.identity)
        try:
            streams = streams_of(pid)
            (directory / SETTINGS).write_text(dump_settings(streams))
            engine.dump(container.identity, images=images, work=work)
            yield Frozen(images=images, upper=directory / "upper", ran=ran, streams=streams)
        except BaseException:
            engine.thaw(container.identity)
            raise


def checkpoint(
    container: Container,
    machine: Machine,
    *,
    host: Host,
    leave_running: bool,
    now: datetime,
    deliver: Callable[[Artifact], T],
    phase: Callable[[str], None],
    recipients: tuple[Recipient, ...] = (),
) -> T:
    """Return what ``deliver`` returned; the container has ended, or, with ``leave_running``, runs on.

    With ``recipients`` they alone can read it. ``phase`` is told the name of each phase when it has ended.

    Raises:
        InputError, UnavailableError, and what ``deliver`` raises: the container runs on.
    """
    with staging(host.home) as place:
        seal = _sealing(container, host, recipients)
        blobs = Blobs(place / "blobs", seal=seal)
        with frozen(container, machine, host=host, place=place) as one:
            phase("freeze")
            upper = blobs.add(pack_upper(one.upper), UPPER_TYPE)
            if leave_running:
                machine.engine.thaw(container.identity)
            document = _documented(one, upper, blobs, facts=machine.facts, now=now)
            artifact = _packed(document, blobs, seal, recipients)
            phase("pack")
            result = deliver(artifact)
            if not leave_running:
                want_stopped(open_containers(host).directory(container.identity))  # whatever its restart policy
                machine.engine.end_frozen(container.identity)
        if not leave_running:
            open_containers(host).save(finished(container, ENDED_BY_KILL))
    return result


def push(artifact: Artifact, *, registry: Registry, path: str, under: str | Digest, deadline: Deadline) -> Pushed:
    """Have the artifact in a repository; return how much of it was not there.

    Raises:
        UnreachableError, LimitError: it is not, or not whole.
    """

    def send(blob: tuple[Descriptor, Path]) -> int:
        return blob[0].size_bytes if registry.push_blob(path, blob[0].digest, blob[1]) else 0

    with ThreadPoolExecutor(BLOBS_AT_ONCE, thread_name_prefix="push") as pool:
        sent = list(pool.map(send, artifact.blobs))
    registry.put_manifest(path, under, artifact.manifest, OCI_MANIFEST, deadline=deadline)
    return Pushed(
        blobs=len(sent),
        blobs_sent=sum(1 for size in sent if size),
        bytes=sum(blob.size_bytes for blob, _ in artifact.blobs),
        bytes_sent=sum(sent),
    )


def _sealing(container: Container, host: Host, recipients: tuple[Recipient, ...]) -> Sealing | None:
    if not recipients:
        return None
    directory = open_containers(host).directory(container.identity)
    return sealing_for(directory, (recipient.key for recipient in recipients))


def _documented(one: Frozen, upper: Descriptor, blobs: Blobs, *, facts: Facts, now: datetime) -> Snapshot:
    pages = split_pages(one.images, blobs)
    images = blobs.add(pack_images(one.images), IMAGES_TYPE)
    return Snapshot(
        created_at=now, facts=facts, ran=one.ran, streams=one.streams, pages=pages, images=images, upper=upper
    )


def _packed(snapshot: Snapshot, blobs: Blobs, seal: Sealing | None, recipients: tuple[Recipient, ...]) -> Artifact:
    document = document_bytes(snapshot)
    if len(document) > DOCUMENT_MAX_BYTES:
        raise InputError(f"container is too large to be moved: its document has {len(document)} bytes")
    if seal is None:
        config = blobs.add_stored([document], CONFIG_TYPE)
    else:
        config = blobs.add_stored([envelope_bytes(document, seal, recipients)], ENVELOPE_TYPE)
    manifest = manifest_bytes(snapshot, config)
    if len(manifest) > MANIFEST_MAX_BYTES:
        raise InputError(f"container is too large to be moved: its manifest has {len(manifest)} bytes")
    files = tuple((blob, blobs.path(blob)) for blob in (config, *snapshot.blobs()))
    return Artifact(manifest=manifest, blobs=files, snapshot=snapshot)
