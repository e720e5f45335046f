"""Owns the journey of an image into another collection: verified where it comes from, signed anew where it goes.

1. the source is verified by the policy here; denied, and nothing is pushed
2. manifests, blobs and referrers of the signed digest go over, as in a copy; the source's trust metadata does not
3. the digest is signed under the destination's name by the destination's own keys, and in the same publish every
   attestation of it that the source's collection has signed
4. the destination's tag is moved last, and not as long as that waits for signatures: the tag would lead from what
   is signed to what nobody vouches for yet
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from trust.copy import set_tag
from trust.digest import Digest
from trust.editing import Edit, editing, require_possible
from trust.loaded import Loaded
from trust.manifest import OCI_MANIFEST
from trust.oci.image_copy import Piece, Sent, read_pieces, send
from trust.oci.repositories import Sink, Source
from trust.publish import Publisher
from trust.published import Published
from trust.reference import Reference
from trust.roles import Image, Signature, attest, sign_image
from trust.sign import Order, order_paths, owner_of, read_image
from trust.targets import Table, digest_path
from trust.value import dataclass
from trust.verdict import Allowed, Denied
from trust.verify import Verifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Where the image goes, and under which signed path and tag (None: by its digest alone)."""

    sink: Sink
    path: str
    tag: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """What a promotion did, or would have done; ``tagged``: whether the destination's tag was moved."""

    allowed: Allowed
    sent: Sent
    published: Published
    tagged: bool

    @property
    def changed(self) -> bool:
        """Tell whether the destination is, or would be, other than before."""
        return self.sent.changed or self.published.changed or self.tagged


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attestation:
    subject: Digest
    kind: str
    image: Image


def promote(
    verifier: Verifier, reference: Reference, *, source: Source, goal: Goal, publisher: Publisher
) -> Promoted | Denied:
    """Return what was promoted by the steps of this module, or why nothing was.

    Raises:
        InputError: a digest was revoked in the destination's collection. UnavailableError: it could not be done;
            what has arrived is not sent again next time.
    """
    verdict = verifier.verify(reference)
    if isinstance(verdict, Denied):
        return verdict
    wanted = {digest for digests in verdict.attestations.values() for digest in digests}
    pieces = read_pieces(source, verdict.digest, wanted=wanted)
    image = read_image(verdict.digest, {piece.digest: piece.data for piece in pieces}.__getitem__)
    said = _attestations(verdict, pieces)

    order = Order(path=goal.path, tag=goal.tag, image=image, annotations={})

    def edits(loaded: Loaded) -> Iterator[Edit]:
        role = owner_of(loaded, order)
        named = {digest_path(goal.path, each.image.digest) for each in said}
        yield Edit(role=role, paths=order_paths(loaded, role, order) | named, apply=edit)

    def edit(table: Table, signature: Signature) -> Table:
        table = sign_image(table, path=goal.path, tag=goal.tag, image=image, signature=signature, annotations={})
        for each in said:
            table = attest(
                table, path=goal.path, subject=each.subject, kind=each.kind, attestation=each.image,
                signature=signature,
            )  # fmt: skip
        return table

    loaded = publisher.load()
    require_possible(loaded, edits(loaded), Signature(at=publisher.now, by=()))  # before anything is pushed
    sent = send(pieces, source, goal.sink, dry_run=publisher.dry_run)
    published = publisher.publish(editing(publisher, edits))
    tagged = False
    if published.waits is None:
        tagged = set_tag(pieces, verdict, goal.sink, goal.tag, dry_run=publisher.dry_run)
    return Promoted(allowed=verdict, sent=sent, published=published, tagged=tagged)


def _attestations(allowed: Allowed, pieces: Sequence[Piece]) -> list[_Attestation]:
    """Return the signed attestations among ``pieces``, each with the manifest that it speaks of."""
    kinds = {digest: kind for kind, digests in allowed.attestations.items() for digest in digests}
    return [
        _Attestation(
            subject=piece.subject,
            kind=kinds[piece.digest],
            image=Image(digest=piece.digest, size_bytes=len(piece.data), media_type=OCI_MANIFEST),
        )
        for piece in pieces
        if piece.subject is not None and piece.digest in kinds
    ]
