"""Owns the journey of images out of a bundle that nobody vouches for but the metadata inside it.

  1. index and metadata are read: capped, in order, nothing twice
  2. every image in it is verified by the policy here, in a copy of the trusted state: by the ordinary refresh,
     which the bundle answers as any store does; older metadata, another collection's, expired: denied
  3. what may follow is known now, by digest and size: anything else ends the reading. It goes to a staging place
  4. nothing is missing, nothing belongs to nobody; and only now the trusted state goes forward

Until step 4 nothing of this machine has changed. Content that no signature names, of referrers, is capped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import chain
from pathlib import Path

from trust.bundle_expected import Expected
from trust.bundle_file import INDEX, MARKER, MARKER_BYTES, BundleReader, Entry
from trust.bundle_store import BundleStore
from trust.database import DATABASE
from trust.digest import Digest
from trust.errors import InputError, LimitError, RefusedError, StateError
from trust.manifest import MANIFEST_MAX_BYTES, Descriptor, Index, parse_manifest
from trust.metadata import TARGETS_MAX_BYTES
from trust.oci.image_copy import Piece, read_pieces
from trust.oci.layout import REF_NAME, Layout
from trust.oci.layout_repository import LayoutRepository
from trust.policy import Match, Stanza
from trust.reference import Reference, parse_reference
from trust.state import TrustedState
from trust.value import dataclass, replace
from trust.verdict import Allowed, Reason, Verdict
from trust.verify import Verifier

METADATA_FILES_MAX = 20_000
METADATA_MAX_BYTES = 512 * 1024 * 1024  # of all collections together: it is held in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What stands at the beginning of a bundle, untrusted: named images, referrers, metadata by pin (hex)."""

    images: tuple[tuple[Reference, Descriptor], ...]
    referrers: tuple[Descriptor, ...]
    metadata: Mapping[str, Mapping[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpacked:
    """An image that was verified and is in the staging place as a whole; ``match`` is None for a pinned one."""

    reference: Reference
    allowed: Allowed
    match: Match | None
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What came out of a bundle: its images, where their content is, and the metadata of each collection."""

    images: tuple[Unpacked, ...]
    content: LayoutRepository
    stores: Mapping[str, BundleStore]

    def store(self, stanza: Stanza) -> BundleStore:
        """Return the metadata of a collection, as the bundle has it.

        Raises:
            InputError: it has none.
        """
        found = self.stores.get(stanza.root.hex)
        if found is None:
            raise InputError(f"bundle has no metadata of {stanza.collection}, whose first root is {stanza.root}")
        return found


def unpack(verifier: Verifier, reader: BundleReader, staging: Path) -> Arrival | list[Verdict]:
    """Return what the bundle holds, all of it verified and below ``staging`` (steps 1 to 3), or the verdicts.

    Raises:
        InputError: it is no bundle, truncated, or holds what belongs to nobody.
        RefusedError: content that is not its digest. LimitError: more than the caps.
    """
    entries = reader.entries()
    head, first = _read_head(reader, entries)
    arrival = Arrival(
        images=(),
        content=LayoutRepository(Layout.create(staging / "content")),
        stores={pin: BundleStore(f"bundle:trust/{pin}", files) for pin, files in head.metadata.items()},
    )
    verdicts = _judged(verifier, head, arrival, staging)
    if not all(isinstance(verdict, Allowed) for verdict in verdicts):
        return verdicts
    allowed = [verdict for verdict in verdicts if isinstance(verdict, Allowed)]
    _require_matching(verifier, head, allowed)
    expected = _expected(head, allowed)
    for entry in chain([first] if first else [], entries):
        expected.take(entry, reader, arrival.content.layout)
    expected.require_whole()
    arrival.content.layout.add_referrers(arrival.content.manifest(each.digest) for each in head.referrers)
    images = tuple(
        Unpacked(
            reference=reference,
            allowed=verdict,
            match=verifier.policy.match(reference),
            pieces=read_pieces(
                arrival.content,
                verdict.digest,
                # An attestation of an index stays behind where one platform was packed; its content alone says so.
                wanted=attestations_of(verdict) & expected.manifests,
            ),
        )
        for (reference, _), verdict in zip(head.images, allowed, strict=True)
    )
    strangers = expected.manifests - {piece.digest for image in images for piece in image.pieces}
    if strangers:
        raise InputError(f"bundle holds what belongs to none of its images: {min(strangers)}")
    _require_blobs(images, arrival.content)
    return replace(arrival, images=images)


def accept(verifier: Verifier, arrival: Arrival) -> list[Verdict]:
    """Return the verdicts by the trusted state itself, which goes forward to what the bundle shows (step 4)."""
    real = replace(verifier, open_store=arrival.store)
    return [real.verify(image.reference) for image in arrival.images]


def attestations_of(allowed: Allowed) -> frozenset[Digest]:
    """Return the digests of what is signed about an image."""
    return frozenset(digest for digests in allowed.attestations.values() for digest in digests)


def _read_head(reader: BundleReader, entries: Iterator[Entry]) -> tuple[Head, Entry | None]:
    """Return the head, and the first entry behind it."""
    for name in (MARKER, INDEX):
        entry = next(entries, None)
        if entry is None or entry.name != name:
            got = entry.name[:80] if entry else "its end"
            raise InputError(f"file is no bundle: expected {name}, got {got!r}")
        data = reader.content(MANIFEST_MAX_BYTES)
        if name == MARKER and data != MARKER_BYTES:
            raise InputError(f"file is no bundle: its {MARKER} is of another kind")
    metadata: dict[str, dict[str, bytes]] = {}
    files, size, before, first = 0, 0, "", None
    for entry in entries:
        if entry.metadata is None:
            first = entry
            break
        files, size = files + 1, size + entry.size_bytes
        if entry.name <= before:
            raise InputError(f"bundle is malformed: {entry.name[:120]} is out of order, or there twice")
        if files > METADATA_FILES_MAX or size > METADATA_MAX_BYTES:
            raise LimitError(f"bundle has too much metadata: expected at most {METADATA_MAX_BYTES} bytes")
        before, (pin, name) = entry.name, entry.metadata
        metadata.setdefault(pin, {})[name] = reader.content(TARGETS_MAX_BYTES)
    images, referrers = _parse_index(data)
    return Head(images=images, referrers=referrers, metadata=metadata), first


def _parse_index(
    untrusted_index: bytes,
) -> tuple[tuple[tuple[Reference, Descriptor], ...], tuple[Descriptor, ...]]:
    index = parse_manifest(untrusted_index)
    if not isinstance(index, Index):
        raise InputError("bundle is malformed: its index is none")
    images, referrers = [], []
    for descriptor in index.manifests:
        name = descriptor.annotations.get(REF_NAME)
        if name is None:
            referrers.append(descriptor)
            continue
        reference = parse_reference(name)
        if str(reference) != name or (reference.tag is not None and reference.digest is not None):
            raise InputError(f"bundle is malformed: an image has an odd name: {name[:120]!r}")
        images.append((reference, descriptor))
    if not images or len({reference for reference, _ in images}) != len(images):
        raise InputError("bundle is malformed: it has no image, or one twice")
    if len({descriptor.digest for descriptor in referrers}) != len(referrers):
        raise InputError("bundle is malformed: it lists a referrer twice")
    return tuple(images), tuple(referrers)


def _judged(verifier: Verifier, head: Head, arrival: Arrival, staging: Path) -> list[Verdict]:
    """Return the verdicts on the images by what the bundle shows, leaving the trusted state as it is."""
    with closing(_copied_state(verifier.state, staging / "state")) as scratch:
        trying = replace(verifier, state=scratch, open_store=arrival.store)
        verdicts = [trying.verify(reference) for reference, _ in head.images]
    pins = {match.stanza.root.hex for reference, _ in head.images if (match := verifier.policy.match(reference))}
    strange = sorted(set(head.metadata) - pins)
    if strange:
        raise InputError(f"bundle has metadata that none of its images is under: first root sha256:{strange[0]}")
    return verdicts


def _copied_state(state: TrustedState, home: Path) -> TrustedState:
    """Return a copy of the trusted state, of one moment."""
    home.mkdir()
    try:
        with (
            closing(sqlite3.connect(f"{(state.home / DATABASE).absolute().as_uri()}?mode=ro", uri=True)) as real,
            closing(sqlite3.connect(home / DATABASE)) as copy,
        ):
            real.backup(copy)
    except sqlite3.Error as err:
        raise StateError(f"trusted state cannot be copied: {state.home / DATABASE}: {err}") from err
    return TrustedState(home)


def _require_matching(verifier: Verifier, head: Head, allowed: list[Allowed]) -> None:
    """Refuse a bundle whose image is not the one that its own metadata signs."""
    for (reference, descriptor), verdict in zip(head.images, allowed, strict=True):
        is_pinned = verifier.policy.match(reference) is None
        if descriptor.digest != verdict.digest or (not is_pinned and descriptor.size_bytes != verdict.size_bytes):
            raise RefusedError(
                f"bundle holds another image as {reference}: expected {verdict.digest}, got {descriptor.digest}",
                reason=Reason.TAMPERED.value,
            )


def _expected(head: Head, allowed: list[Allowed]) -> Expected:
    """Return what may follow the head: its images and referrers, and what they name."""
    signed = {digest for verdict in allowed for digest in (verdict.digest, *attestations_of(verdict))}
    expected = Expected(images=len(allowed))
    for descriptor in (*(each for _, each in head.images), *head.referrers):
        expected.expect(descriptor, is_manifest=True, is_signed=descriptor.digest in signed)
    return expected


def _require_blobs(images: tuple[Unpacked, ...], content: LayoutRepository) -> None:
    """Refuse a bundle without a blob of its images, in whatever way it came to be waited for by nobody."""
    blobs = {(blob.digest, blob.size_bytes) for image in images for piece in image.pieces for blob in piece.blobs}
    for digest, size_bytes in sorted(blobs):
        if not content.layout.has(digest, size_bytes):
            raise InputError(f"bundle is incomplete: it lacks {digest}, of {size_bytes} bytes")
