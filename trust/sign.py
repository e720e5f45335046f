"""Owns the signing and revoking of images. It does not believe the registry: the digest is the user's.

An attacker who races push and sign would otherwise get his image signed. The manifest is fetched by the digest
that was given, hashed, and read strictly; an index is signed with all its children.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from trust.digest import Digest
from trust.edition import Edition, next_edition
from trust.errors import InputError, LimitError
from trust.manifest import INDEX_TYPES, Descriptor, Index, parse_manifest
from trust.publish import Published, Publisher
from trust.repository import Loaded
from trust.roles import Image, Signature, revoke_digest, revoke_tag, sign_image
from trust.targets import Table
from trust.value import dataclass

INDEX_DEPTH_MAX = 4  # an index of indexes is legal; an endless one is not
CHILDREN_MAX = 1000

FetchManifest = Callable[[Digest], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One image to sign: its repository path (no host), the tag or None, and what it is."""

    path: str
    tag: str | None
    image: Image
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """What to revoke: a tag of a repository, or a digest wherever it is named."""

    path: str
    tag: str | None
    digest: Digest | None


def read_image(digest: Digest, fetch: FetchManifest) -> Image:
    """Return the image of ``digest``; an index is read down to its leaves.

    ``fetch`` returns the bytes of a manifest, which are hashed here.

    Raises:
        InputError: the bytes are not of this digest, ambiguous, malformed, or of too many children.
    """
    data = fetch(digest)
    if not digest.matches(data):
        raise InputError(f"manifest is not of its digest: expected {digest}")
    parsed = parse_manifest(data)
    children = _children(parsed, fetch, depth=1) if isinstance(parsed, Index) else ()
    return Image(digest=digest, size_bytes=len(data), media_type=parsed.media_type, children=children)


def sign(publisher: Publisher, orders: Sequence[Order]) -> Published:
    """Return what was published so that every order is signed; nothing if all of them were already.

    Raises:
        InputError: a digest was revoked before, or a tag is reserved.
    """

    def edit(table: Table, signature: Signature) -> Table:
        for order in orders:
            table = sign_image(
                table,
                path=order.path,
                tag=order.tag,
                image=order.image,
                signature=signature,
                annotations=order.annotations,
            )
        return table

    return publisher.publish(editing(publisher, edit))


def revoke(publisher: Publisher, revocations: Sequence[Revocation]) -> Published:
    """Return what was published so that nothing of ``revocations`` is signed any more."""

    def edit(table: Table, signature: Signature) -> Table:
        for revocation in revocations:
            if revocation.digest is not None:
                table = revoke_digest(table, digest=revocation.digest, signature=signature)
            elif revocation.tag is not None:
                table = revoke_tag(table, path=revocation.path, tag=revocation.tag)
        return table

    return publisher.publish(editing(publisher, edit))


def editing(publisher: Publisher, edit: Callable[[Table, Signature], Table]) -> Callable[[Loaded], Edition | None]:
    """Return the change that ``edit`` makes, signed by the keys at hand; nothing where it changes nothing."""

    def change(loaded: Loaded) -> Edition | None:
        keyids = loaded.root.signed.roles["targets"].keyids
        at, nobody = publisher.now.replace(microsecond=0), Signature(at=publisher.now, by=())
        if edit(loaded.table, nobody) == loaded.table:
            return None  # nothing to do: no key is unlocked, no passphrase asked
        signers = publisher.signers(loaded, "targets")
        signature = Signature(at=at, by=tuple(keyid for keyid in keyids if keyid in signers))
        return next_edition(loaded, table=edit(loaded.table, signature), signers=signers, now=publisher.now)

    return change


def _children(index: Index, fetch: FetchManifest, *, depth: int) -> tuple[Image, ...]:
    if depth > INDEX_DEPTH_MAX:
        raise LimitError(f"index is nested too deeply: expected at most {INDEX_DEPTH_MAX} levels")
    if len(index.manifests) > CHILDREN_MAX:
        raise InputError(
            f"index has too many children: expected at most {CHILDREN_MAX}, got {len(index.manifests)}"
        )
    return tuple(_child(descriptor, fetch, depth=depth) for descriptor in index.manifests)


def _child(descriptor: Descriptor, fetch: FetchManifest, *, depth: int) -> Image:
    children: tuple[Image, ...] = ()
    if descriptor.media_type in INDEX_TYPES:
        parsed = parse_manifest(fetch(descriptor.digest), content_type=descriptor.media_type)
        if isinstance(parsed, Index):
            children = _children(parsed, fetch, depth=depth + 1)
    return Image(
        digest=descriptor.digest,
        size_bytes=descriptor.size_bytes,
        media_type=descriptor.media_type,
        children=children,
    )
