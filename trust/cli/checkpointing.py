"""The command ``trust checkpoint``: a running container becomes an artifact, pushed and signed."""

from __future__ import annotations

import click

from keys.errors import KeysError
from trust.checkpoint import Artifact, Pushed, open_machine, push
from trust.checkpoint import checkpoint as freeze
from trust.cli.host import host_of
from trust.cli.options import Command
from trust.cli.phases import Phases
from trust.cli.publishing import publisher
from trust.cli.sealing import recipient_of
from trust.cli.session import PUBLISH_SECONDS, Session, session
from trust.digest import Digest, sha256
from trust.errors import InputError, TrustError, UnavailableError
from trust.manifest import OCI_MANIFEST
from trust.publish import Publisher
from trust.reference import Reference, parse_reference
from trust.roles import Image
from trust.runtime.host import open_containers
from trust.sign import Order, read_image
from trust.sign import sign as sign_images
from trust.value import replace

EXIT_OK = 0
_NOTHING = b"what will be signed is not there yet"


class _NotSignedError(UnavailableError):
    """It is pushed, and nobody here could sign it."""

    def __init__(self, reference: Reference, digest: Digest, why: TrustError | KeysError) -> None:
        super().__init__(
            f"pushed {reference} as {digest}, and not signed: {why}; the container runs on",
            hint=f"trust sign {reference}@{digest}",
        )


@click.command("checkpoint", cls=Command)
@click.argument("container", metavar="NAME")
@click.argument("image", metavar="IMAGE")
@click.option("--leave-running", is_flag=True, help="Let the container run on afterwards.")
@click.option("--sign/--no-sign", default=True, help="Sign what was pushed.  [default: --sign]")
@click.option("--key", "keys", metavar="K", multiple=True, help="Sign with this key, not with every one at hand.")
@click.option(
    "--encrypt-to",
    "recipients",
    metavar="FILE",
    multiple=True,
    help="Encrypt it to whose X25519 public key is in FILE; each such can restore it.",
)
@click.option("--in-the-clear", is_flag=True, help="Let who may read IMAGE read memory that came here encrypted.")
def checkpoint(
    container: str,
    image: str,
    *,
    leave_running: bool,
    sign: bool,
    keys: tuple[str, ...],
    recipients: tuple[str, ...],
    in_the_clear: bool,
) -> int:
    """Freeze the running container NAME, push its memory and files as IMAGE, and sign them.

    It is ended when both are done, so that it runs in one place only; whatever fails, it runs on.
    """
    this = session()
    reference = parse_reference(image)
    if reference.tag is None or reference.digest is not None:
        raise InputError(f"a checkpoint is pushed under a tag: got {reference}")
    readers = tuple(map(recipient_of, recipients))
    host = host_of(this, None)
    found = open_containers(host).find(container)
    if found.is_secret and not readers and not in_the_clear:
        raise InputError(
            f"memory of {found.name} came here encrypted: expected --encrypt-to, got nothing",
            hint="--encrypt-to FILE; or, for whoever may read the image to read it: --in-the-clear",
        )
    machine = open_machine(found.engine, host)
    signer = _rehearsed(this, reference, keys) if sign else None
    phases = Phases()

    def deliver(artifact: Artifact) -> tuple[Artifact, Pushed]:
        pushed = push(
            artifact,
            registry=this.registry(reference.repository.host),
            path=reference.repository.path,
            under=reference.tag or artifact.digest,
            deadline=this.deadline(PUBLISH_SECONDS),
        )
        phases.ended("push")
        if signer is not None:
            _sign(this, reference, artifact, signer)
            phases.ended("sign")
        return artifact, pushed

    artifact, pushed = freeze(
        found,
        machine,
        host=host,
        leave_running=leave_running,
        now=this.now,
        deliver=deliver,
        phase=phases.ended,
        recipients=readers,
    )
    _say_checkpoint(
        this, str(reference), artifact, pushed, phases, is_signed=sign, runs_on=leave_running, readers=len(readers)
    )
    return EXIT_OK


def _rehearsed(this: Session, reference: Reference, keys: tuple[str, ...]) -> Publisher:
    """Return the publisher that will sign, its keys open: no container stands still while they are asked for.

    Raises:
        TrustError, KeysError: it could sign nothing under this name, whatever it were.
    """
    stanza, path = this.stanza_for(reference)
    rehearsal = publisher(this, stanza, keys, dry_run=True)
    image = Image(digest=sha256(_NOTHING), size_bytes=len(_NOTHING), media_type=OCI_MANIFEST)
    sign_images(rehearsal, [Order(path=path, tag=reference.tag, image=image, annotations={})])
    return rehearsal


def _sign(this: Session, reference: Reference, artifact: Artifact, rehearsed: Publisher) -> None:
    """Have the digest that was pushed signed, as this machine computed it."""
    try:
        _, path = this.stanza_for(reference)
        image = read_image(artifact.digest, lambda _digest: artifact.manifest)
        order = Order(path=path, tag=reference.tag, image=image, annotations={})
        sign_images(replace(rehearsed, dry_run=False, deadline=this.deadline(PUBLISH_SECONDS)), [order])
    except (TrustError, KeysError) as err:
        raise _NotSignedError(reference, artifact.digest, err) from err


def _say_checkpoint(
    this: Session,
    image: str,
    artifact: Artifact,
    pushed: Pushed,
    phases: Phases,
    *,
    is_signed: bool,
    runs_on: bool,
    readers: int,
) -> None:
    document = {
        "image": image,
        "digest": str(artifact.digest),
        "signed": is_signed,
        "encrypted": readers,
        "left_running": runs_on,
        "blobs": {"all": pushed.blobs, "sent": pushed.blobs_sent},
        "bytes": {"all": pushed.bytes, "sent": pushed.bytes_sent},
        "milliseconds": phases.milliseconds,
    }
    word = "pushed and signed" if is_signed else "pushed"
    lines = [f"{word} {image} {artifact.digest} ({pushed.bytes_sent} of {pushed.bytes} bytes were new)"]
    this.output.result("checkpoint", document, lines)
    if not is_signed:
        this.output.hint(f"nobody can restore it before: trust sign {image}@{artifact.digest}")
