"""Owns the journey of images into a bundle: everything that a site without a network needs to verify and run them.

1. every image is verified by the policy here; one that is denied, and there is no bundle
2. the whole metadata of each collection is read, and is what the verdicts rest on
3. manifests are read by the signed digests, with their referrers; then all is written, blobs straight through
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from trust.bundle_file import INDEX, MARKER, MARKER_BYTES, BundleWriter, blob_name, metadata_name
from trust.copy import current_replica
from trust.digest import Digest
from trust.errors import InputError, LimitError
from trust.manifest import DESCRIPTORS_MAX, MANIFEST_MAX_BYTES, OCI_INDEX, Descriptor, Index, parse_manifest
from trust.oci.image_copy import Piece, read_pieces
from trust.oci.layout import REF_NAME
from trust.oci.referrers import referrer_entry
from trust.oci.repositories import Soon, Source
from trust.policy import Stanza
from trust.reference import Reference
from trust.replica import Replica
from trust.stores.interface import TIMESTAMP
from trust.value import dataclass
from trust.verdict import Allowed, Denied, Verdict
from trust.verify import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """One image on its way into a bundle: its name there, what it is, and where its blobs are."""

    reference: Reference
    allowed: Allowed
    pieces: tuple[Piece, ...]
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a bundle will hold: images in the order of their names, and their collections' metadata by pin."""

    images: tuple[Packed, ...]
    metadata: Mapping[Digest, Replica]


def gather(
    verifier: Verifier,
    references: Sequence[Reference],
    *,
    source: Callable[[Reference], Source],
    soon: Soon,
) -> Load | list[Verdict]:
    """Return what a bundle of the images will hold (steps 1 to 3), or the verdicts where not all are allowed.

    Raises:
        ConflictError: a publisher went on meanwhile. UnavailableError: something is not to be had.
    """
    verdicts = {reference: verifier.verify(reference) for reference in sorted(set(references), key=str)}
    if any(isinstance(verdict, Denied) for verdict in verdicts.values()):
        return list(verdicts.values())
    metadata, images = {}, []
    for reference, verdict in verdicts.items():
        if not isinstance(verdict, Allowed):
            continue
        match = verifier.policy.match(reference)
        if match is not None and match.stanza.root not in metadata:
            metadata[match.stanza.root] = _replica(verifier, match.stanza, soon)
        wanted = {digest for digests in verdict.attestations.values() for digest in digests}
        place = source(reference)
        pieces = read_pieces(place, verdict.digest, wanted=wanted)
        images.append(Packed(reference=named(reference), allowed=verdict, pieces=pieces, source=place))
    return Load(images=tuple(images), metadata=metadata)


def named(reference: Reference) -> Reference:
    """Return the one name of an image in a bundle: TAG@DIGEST is verified by its digest, and goes by it."""
    return reference.at(reference.digest) if reference.digest is not None else reference


def write_bundle(load: Load, write: Callable[[bytes], object], *, in_zstd: bool) -> None:
    """Write the bundle; the same load gives the same bytes.

    Raises:
        InputError: something that a bundle cannot hold. RefusedError: ``tampered``; a blob that is not its digest.
        UnavailableError: a blob is not to be had. What was written is no bundle then.
    """
    index = _index(load.images)
    with BundleWriter(write, in_zstd=in_zstd) as writer:
        writer.add(MARKER, len(MARKER_BYTES), [MARKER_BYTES])
        writer.add(INDEX, len(index), [index])
        for name, data in sorted(_metadata(load.metadata)):
            writer.add(name, len(data), [data])
        manifests = {piece.digest: piece for piece in _parents_first(load.images)}
        for piece in manifests.values():
            writer.add(blob_name(piece.digest), len(piece.data), [piece.data])
        blobs = {blob.digest: (blob, image.source) for image, blob in _blobs(load.images)}
        for digest, (blob, source) in sorted(blobs.items()):
            if digest not in manifests:
                content = source.blob(digest, blob.size_bytes)
                try:
                    writer.add(blob_name(digest), blob.size_bytes, content)
                finally:
                    content.close()


def _replica(verifier: Verifier, stanza: Stanza, soon: Soon) -> Replica:
    return current_replica(stanza, verifier.state, verifier.open_store(stanza), soon())


def _metadata(metadata: Mapping[Digest, Replica]) -> Iterable[tuple[str, bytes]]:
    for pin, replica in metadata.items():
        for name, data in {**replica.files, TIMESTAMP: replica.timestamp}.items():
            yield metadata_name(pin, name), data


def _index(images: Sequence[Packed]) -> bytes:
    entries: list[dict[str, Any]] = []
    for image in images:
        piece = next(each for each in image.pieces if each.digest == image.allowed.digest)
        entries.append(
            {
                "mediaType": piece.media_type,
                "digest": str(piece.digest),
                "size": len(piece.data),
                "annotations": {REF_NAME: str(image.reference)},
            }
        )
    referrers = {each.digest: each for image in images for each in image.pieces if each.subject is not None}
    entries += [referrer_entry(digest, piece.data) for digest, piece in sorted(referrers.items())]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    if len(data) > MANIFEST_MAX_BYTES or len(entries) > DESCRIPTORS_MAX:
        raise LimitError(
            f"a bundle cannot hold {len(entries)} images and referrers: expected at most {DESCRIPTORS_MAX}",
            hint="make two bundles",
        )
    return data


def _parents_first(images: Sequence[Packed]) -> Iterable[Piece]:
    """Yield every manifest after those that name it."""
    pieces = {piece.digest: piece for image in images for piece in image.pieces}
    above: dict[Digest, int] = dict.fromkeys(pieces, 0)
    for piece in pieces.values():
        for child in _children(piece):
            above[child] += 1
    ready = sorted(digest for digest, count in above.items() if not count)
    while ready:
        piece = pieces[ready.pop(0)]
        yield piece
        for child in _children(piece):
            above[child] -= 1
            if not above[child]:
                ready.append(child)


def _children(piece: Piece) -> Iterable[Digest]:
    parsed = parse_manifest(piece.data)
    return dict.fromkeys(child.digest for child in parsed.manifests) if isinstance(parsed, Index) else ()


def _blobs(images: Sequence[Packed]) -> Iterable[tuple[Packed, Descriptor]]:
    sizes = {piece.digest: len(piece.data) for image in images for piece in image.pieces}
    for image in images:
        for piece in image.pieces:
            for blob in piece.blobs:
                if sizes.setdefault(blob.digest, blob.size_bytes) != blob.size_bytes:
                    raise InputError(f"two manifests disagree about the size of {blob.digest}")
                yield image, blob
