"""Owns the signing of images. It does not believe the registry: the digest is the user's.

An attacker who races push and sign would otherwise get his image signed. The manifest is fetched by the digest
that was given, hashed, and read strictly; an index is signed with all its children.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from trust.digest import Digest
from trust.editing import Edit, editing
from trust.errors import InputError, LimitError
from trust.loaded import Loaded
from trust.loaded_role import LoadedRole
from trust.manifest import INDEX_TYPES, Descriptor, Index, parse_manifest
from trust.publish import Publisher
from trust.published import Published
from trust.role_table import role_table
from trust.roles import Image, Signature, digests_of, sign_image
from trust.targets import Table, digest_path, tag_path
from trust.value import dataclass

INDEX_DEPTH_MAX = 4  # an index of indexes is legal; an endless one is not
CHILDREN_MAX = 1000
IMAGES_MAX = 4096  # in all, as often as named: a few kilobytes of indexes can name one another 10^12 times

FetchManifest = Callable[[Digest], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One image to sign: its repository path (no host), the tag or None, and what it is."""

    path: str
    tag: str | None
    image: Image
    annotations: Mapping[str, str]


def read_image(digest: Digest, fetch: FetchManifest) -> Image:
    """Return the image of ``digest``; an index is read down to its leaves.

    ``fetch`` returns the bytes of a manifest, which are hashed here.

    Raises:
        InputError: the bytes are not of this digest, ambiguous, malformed, or of too many children.
        LimitError: nested too deeply, or too many in all.
    """
    room = iter(range(IMAGES_MAX))
    data = fetch(digest)
    if not digest.matches(data):
        raise InputError(f"manifest is not of its digest: expected {digest}")
    parsed = parse_manifest(data)
    children = _children(parsed, fetch, room, depth=1) if isinstance(parsed, Index) else ()
    return Image(digest=digest, size_bytes=len(data), media_type=parsed.media_type, children=children)


def sign(publisher: Publisher, orders: Sequence[Order]) -> Published:
    """Return what was published so that every order is signed; nothing if all of them were already.

    Each image is signed by the role to which its tag is delegated, and by no role above it.

    Raises:
        InputError: a digest was revoked before, or a tag is reserved.
    """

    def edits(loaded: Loaded) -> Iterator[Edit]:
        for order in orders:
            role = owner_of(loaded, order)
            yield Edit(role=role, paths=order_paths(loaded, role, order), apply=partial(_sign_one, order=order))

    return publisher.publish(editing(publisher, edits))


def _sign_one(table: Table, signature: Signature, *, order: Order) -> Table:
    return sign_image(
        table,
        path=order.path,
        tag=order.tag,
        image=order.image,
        signature=signature,
        annotations=order.annotations,
    )


def owner_of(loaded: Loaded, order: Order) -> LoadedRole:
    """Return the role that signs ``order``: its tag's, with all digests that the tag needs."""
    name = digest_path(order.path, order.image.digest)
    return loaded.owner(name if order.tag is None else tag_path(order.path, order.tag))


def order_paths(loaded: Loaded, role: LoadedRole, order: Order) -> frozenset[str]:
    """Return the target paths that the signing of ``order`` reads or writes."""
    paths = {digest_path(order.path, digest) for digest in digests_of(order.image)}
    if order.tag is not None:
        path = tag_path(order.path, order.tag)
        before = role_table(loaded, role, [path]).targets.get(path)
        paths |= {path} | ({digest_path(order.path, before.digest)} if before is not None else set())
    return frozenset(paths)


def _children(index: Index, fetch: FetchManifest, room: Iterator[int], *, depth: int) -> tuple[Image, ...]:
    if depth > INDEX_DEPTH_MAX:
        raise LimitError(f"index is nested too deeply: expected at most {INDEX_DEPTH_MAX} levels")
    if len(index.manifests) > CHILDREN_MAX:
        raise InputError(
            f"index has too many children: expected at most {CHILDREN_MAX}, got {len(index.manifests)}"
        )
    return tuple(_child(descriptor, fetch, room, depth=depth) for descriptor in index.manifests)


def _child(descriptor: Descriptor, fetch: FetchManifest, room: Iterator[int], *, depth: int) -> Image:
    if next(room, None) is None:
        raise LimitError(f"index names too many images: expected at most {IMAGES_MAX} in all")
    children: tuple[Image, ...] = ()
    if descriptor.media_type in INDEX_TYPES:
        parsed = parse_manifest(fetch(descriptor.digest), content_type=descriptor.media_type)
        if isinstance(parsed, Index):
            children = _children(parsed, fetch, room, depth=depth + 1)
    return Image(
        digest=descriptor.digest,
        size_bytes=descriptor.size_bytes,
        media_type=descriptor.media_type,
        children=children,
    )
