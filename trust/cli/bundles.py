"""The commands ``trust bundle export`` and ``trust bundle import``."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import click

from trust.bundle_delivery import Delivered, Delivery, deliver
from trust.bundle_export import Load, gather, write_bundle
from trust.bundle_file import READ_BYTES, BundleReader
from trust.bundle_import import Unpacked, unpack
from trust.cli.moving import METADATA_SECONDS, repository, sent_document, sent_words
from trust.cli.options import Command, Group
from trust.cli.session import Session, session
from trust.cli.stanzas import stanza_text
from trust.cli.user_file import open_file, replacement, require_file
from trust.cli.verifying import refuse
from trust.copy import Destination, asking_now
from trust.deadline import Deadline
from trust.errors import InputError, StateError
from trust.oci.layout import Layout
from trust.oci.layout_repository import LayoutRepository
from trust.reference import Collection, Reference, Repository, parse_collection, parse_reference
from trust.relocation import Relocation, relocate
from trust.value import replace
from trust.verdict import Denied, Verdict, exit_code
from trust.verify import Verifier

_ZSTD_SUFFIX = ".zst"
_MODE = 0o666  # as the umask has it: a bundle is no secret


@click.group("bundle", cls=Group)
def bundle() -> None:
    """Carry images over an air gap: with their metadata, in one file."""


@bundle.command("export", cls=Command)
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--dry-run", is_flag=True, help="Write nothing; say what it would hold.")
def export(file: Path, images: tuple[str, ...], *, dry_run: bool) -> int:
    """Write FILE: every IMAGE with all platforms and referrers, and the metadata that speaks for it.

    Each is verified by the policy here first. A name that ends in .zst is compressed; images mostly are already.
    """
    run = session()
    references = [parse_reference(image) for image in images]
    load = gather(_verifier(run), references, source=lambda each: repository(run, each), soon=lambda: _soon(run))
    if not isinstance(load, Load):
        return _refuse(run, load)
    changed = True if dry_run else _written(file, load)
    pairs = [(str(image.reference), str(image.allowed.digest)) for image in load.images]
    word = "would be in" if dry_run else "in"
    lines = [f"{image} {digest} {word} {file}" for image, digest in pairs]
    document = {
        "file": str(file),
        "images": [{"image": image, "digest": digest} for image, digest in pairs],
        "collections": [f"sha256:{pin.hex}" for pin in sorted(load.metadata)],
        "size_bytes": None if dry_run else file.stat().st_size,
        "changed": changed,
        "dry_run": dry_run,
    }
    run.output.result("bundle export", document, lines)
    return 0


@bundle.command("import", cls=Command)
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--to", "host", metavar="HOST[/PREFIX]", help="Push the images, and their metadata, to this registry."
)
@click.option(
    "--layout",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the images in an OCI layout.",
)
@click.option("--dry-run", is_flag=True, help="Verify FILE; write nothing.")
def import_(file: Path, host: str | None, layout: Path | None, *, dry_run: bool) -> int:
    """Read FILE, verify all of it by the policy here, and bring the trusted state forward to what it shows.

    Nothing is written before everything is verified. What it shows must be newer than what is trusted here, or
    the same, and unexpired: there is no grace after an expiry.
    """
    run = session()
    if host is not None and layout is not None:
        raise InputError("images go to one place: expected --to or --layout, got both")
    verifier = _verifier(run)
    prefix = _prefix(host) if host is not None else None
    places: dict[Reference, Relocation] = {}

    def destination(image: Unpacked) -> Destination | None:
        if prefix is not None:
            return _registry_destination(run, image, prefix, places)
        if layout is not None:
            kept = Layout.preview(layout) if dry_run else Layout.create(layout)
            return Destination(sink=LayoutRepository(kept), tag=str(image.reference), store=None)
        return None

    with tempfile.TemporaryDirectory(prefix="trust-") as staging, open_file(file) as content:
        arrival = unpack(verifier, BundleReader(content), Path(staging))
        if isinstance(arrival, list):
            return _refuse(run, arrival)
        done = deliver(verifier, arrival, destination=destination, soon=lambda: _soon(run), dry_run=dry_run)
        if isinstance(done, list):
            return _refuse(run, done)
    _tell(run, file, done, places, dry_run=dry_run)
    return 0


def _verifier(run: Session) -> Verifier:
    return replace(run.verifier(), policy=asking_now(run.policy), deadline=_soon(run))


def _soon(run: Session) -> Deadline:
    return run.deadline(METADATA_SECONDS)


def _refuse(run: Session, verdicts: list[Verdict]) -> int:
    """Report the worst of the verdicts, in the order 1, 3."""
    denials = [verdict for verdict in verdicts if isinstance(verdict, Denied)]
    return refuse(run, min(denials, key=lambda verdict: exit_code([verdict])))


def _written(file: Path, load: Load) -> bool:
    """Write the bundle beside ``file`` and then over it; tell whether it has other content now."""
    require_file(file)
    try:
        with replacement(file, mode=_MODE) as new:
            digest = hashlib.sha256()

            def write(data: bytes) -> None:
                digest.update(data)
                new.file.write(data)

            write_bundle(load, write, in_zstd=file.name.endswith(_ZSTD_SUFFIX))
            changed = not file.exists() or _sha256(file) != digest.hexdigest()
            new.keep()
    except OSError as err:
        raise StateError(f"bundle cannot be written: {file}: {err.strerror}") from err
    return changed


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while piece := content.read(READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _prefix(text: str) -> Collection:
    """Return where images are pushed below: ``HOST`` or ``HOST/PREFIX``, with or without the slash."""
    return parse_collection(text if text.endswith("/") else f"{text}/")


def _registry_destination(
    run: Session, image: Unpacked, prefix: Collection, places: dict[Reference, Relocation]
) -> Destination:
    path = image.match.path if image.match is not None else image.reference.repository.path
    there = Repository(host=prefix.host, path=f"{prefix.path}{path}")
    sink = repository(run, replace(image.reference, repository=there))
    if image.match is None:
        return Destination(sink=sink, tag=image.reference.tag, store=None)
    place = places[image.reference] = relocate(image.match.stanza, path, there)
    collection = Collection(host=there.host, path=there.path)
    store = run.store_at(place.metadata_url, collection)
    return Destination(sink=sink, tag=image.reference.tag, store=store)


def _tell(run: Session, file: Path, done: Delivery, places: dict[Reference, Relocation], *, dry_run: bool) -> None:
    for image in done.images:
        for notice in image.image.allowed.notices:
            run.output.note(notice)
    stanzas = list(dict.fromkeys(stanza_text(each.consumer_stanza(each.metadata_url)) for each in places.values()))
    word = ("would be imported" if dry_run else "imported") if done.changed else "was imported already:"
    lines = [
        f"{word} {each.image.reference} {each.image.allowed.digest} "
        f"({sent_words(each.sent) if each.sent.manifests else 'the trusted state alone'})"
        for each in done.images
    ]
    for stanza in stanzas:
        lines += ["", "# the policy of a consumer there", *stanza.strip().splitlines()]
    document = {
        "file": str(file),
        "images": [_image_document(each) for each in done.images],
        "collections": [
            {"collection": name, "versions": dict(versions)} for name, versions in done.versions.items()
        ],
        "state_changed": done.state_changed,
        "changed": done.changed,
        "dry_run": dry_run,
        "stanzas": stanzas,
    }
    run.output.result("bundle import", document, lines)


def _image_document(done: Delivered) -> dict[str, object]:
    return {
        "image": str(done.image.reference),
        "digest": str(done.image.allowed.digest),
        "changed": done.changed,
        "metadata": done.step.value if done.step else None,
        **sent_document(done.sent),
    }
