"""Owns the copy of one image from a source to a sink: what belongs to it, and the order in which it goes.

  1. from the digest that the caller trusts: the manifest, the children of an index, each by its digest
  2. referrers of each of them, and theirs: the source's word about which there are, but each names its subject
  3. blobs first, then children, then their parents, then referrers, and last the list of these: nothing is there
     before what it names
  4. the tag last, by the caller, so that nobody finds half an image under it

What is there already is not sent again. Referrers are content that nobody vouches for unless their digest is
signed; they are capped, in number and bytes, and those that are signed are named by the caller (``wanted``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from trust.digest import Digest
from trust.errors import InputError, LimitError
from trust.manifest import Descriptor, Index, Manifest, parse_manifest
from trust.oci.errors import AbsentError
from trust.oci.referrers import REFERRERS_MAX, subject_of
from trust.oci.repositories import Sink, Source, declared_type
from trust.value import dataclass

DEPTH_MAX = 4  # of indexes in indexes, and of referrers of referrers
UNSIGNED_MAX_BYTES = 1024**3  # of referrers that nobody signed: whoever can push to the source can add them
MANIFESTS_MAX = 4096  # of one image, referrers included; each is up to 4 MiB in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One manifest of an image, hashed, with the blobs that it names; ``subject`` is set for a referrer."""

    digest: Digest
    data: bytes
    media_type: str
    blobs: tuple[Descriptor, ...]
    subject: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a copy did, or would do: manifests and blobs in all, how many had to be sent, and their bytes."""

    manifests: int
    manifests_sent: int
    blobs: int
    blobs_sent: int
    bytes_sent: int

    @property
    def changed(self) -> bool:
        """Tell whether anything had to be sent."""
        return bool(self.manifests_sent or self.blobs_sent)


def read_pieces(source: Source, digest: Digest, *, wanted: Collection[Digest] = ()) -> tuple[Piece, ...]:
    """Return every manifest of the image ``digest``, each after what it names (steps 1 and 2).

    Raises:
        RefusedError: ``tampered``; bytes that do not hash to their digest.
        InputError: a manifest is malformed. LimitError: too many, too deep.
        AbsentError: one is not there that must be.
    """
    found = {piece.digest: piece for piece in read_manifests(source, digest)}
    level = tuple(found)
    for _ in range(DEPTH_MAX):
        level = tuple(_read_referrers(source, level, found))
        if not level:
            break
    for missing in [each for each in wanted if each not in found]:  # the list is the source's word, and hid them
        _read_wanted(source, missing, found)
    _require_modest(found.values(), wanted)
    return tuple(found.values())


def read_manifests(source: Source, digest: Digest) -> tuple[Piece, ...]:
    """Return the manifests of the image ``digest`` without referrers, each once, after what it names (step 1).

    Raises: as ``read_pieces``.
    """
    found: dict[Digest, Piece] = {}
    _read_image(source, digest, found, depth=0)
    return tuple(found.values())


def send(pieces: Iterable[Piece], source: Source, sink: Sink, *, dry_run: bool) -> Sent:
    """Return what had to be sent so that all ``pieces`` are at the sink (step 3); nothing is if ``dry_run``."""
    blobs: dict[Digest, Descriptor] = {}
    referrers: list[tuple[Digest, bytes]] = []
    manifests = manifests_sent = blobs_sent = bytes_sent = 0
    for piece in pieces:
        manifests += 1
        is_new = sink.lacks_manifest(piece.digest)
        for blob in piece.blobs:
            if blob.digest in blobs:
                continue
            blobs[blob.digest] = blob
            if sink.lacks_blob(blob) if dry_run else sink.put_blob(blob, source):
                blobs_sent += 1
                bytes_sent += blob.size_bytes
        if is_new:
            manifests_sent += 1
            bytes_sent += len(piece.data)
        if dry_run:
            continue
        if is_new:
            sink.put_manifest(piece.digest, piece.data, piece.media_type)
        if piece.subject is not None:
            referrers.append((piece.subject, piece.data))
    if referrers:
        sink.put_referrers(referrers)
    return Sent(
        manifests=manifests,
        manifests_sent=manifests_sent,
        blobs=len(blobs),
        blobs_sent=blobs_sent,
        bytes_sent=bytes_sent,
    )


def _read_image(source: Source, digest: Digest, found: dict[Digest, Piece], *, depth: int) -> None:
    if digest in found:
        return
    if depth > DEPTH_MAX:
        raise LimitError(f"index is nested too deeply: expected at most {DEPTH_MAX} levels")
    data = source.manifest(digest)
    parsed = parse_manifest(data)
    if isinstance(parsed, Index):
        for child in parsed.manifests:
            _read_image(source, child.digest, found, depth=depth + 1)
    _keep(found, _piece(digest, data, parsed, subject=None))


def _read_referrers(source: Source, subjects: Iterable[Digest], found: dict[Digest, Piece]) -> Iterable[Digest]:
    """Read the referrers of each of ``subjects``; yield those that are new."""
    for subject in subjects:
        named = source.referrers(subject)
        if len(named) > REFERRERS_MAX:
            raise LimitError(f"{subject} has too many referrers: expected at most {REFERRERS_MAX}")
        for digest in sorted(named):  # whatever order a registry lists them in, a bundle of them is the same
            if digest not in found and _read_referrer(source, digest, subject, found):
                yield digest


def _read_referrer(source: Source, digest: Digest, subject: Digest, found: dict[Digest, Piece]) -> bool:
    """Read one referrer; False for one that is none, or not there: the list is the source's word."""
    try:
        data = source.manifest(digest)
        parsed = parse_manifest(data)
        is_one = subject_of(data) == subject and not isinstance(parsed, Index)
    except (InputError, AbsentError):
        return False
    if is_one:
        _keep(found, _piece(digest, data, parsed, subject=subject))
    return is_one


def _require_modest(pieces: Iterable[Piece], wanted: Collection[Digest]) -> None:
    strangers = [piece for piece in pieces if piece.subject is not None and piece.digest not in wanted]
    # One blob of two sizes counts with both: whichever a stranger says, the answer is the same.
    size = sum(size for _, size in {(blob.digest, blob.size_bytes) for piece in strangers for blob in piece.blobs})
    size += sum(len(piece.data) for piece in strangers)  # counted as whoever reads a bundle of them counts
    if size > UNSIGNED_MAX_BYTES:
        raise LimitError(f"referrers hold {size} bytes that nobody signed: expected at most {UNSIGNED_MAX_BYTES}")


def _read_wanted(source: Source, digest: Digest, found: dict[Digest, Piece]) -> None:
    """Read a referrer that the caller trusts, and what it names if it is an index.

    One that speaks of an index above this image stays behind.
    """
    data = source.manifest(digest)
    parsed, subject = parse_manifest(data), subject_of(data)
    if subject not in found:
        return
    for child in parsed.manifests if isinstance(parsed, Index) else ():
        _read_image(source, child.digest, found, depth=1)
    _keep(found, _piece(digest, data, parsed, subject=subject))


def _piece(digest: Digest, data: bytes, parsed: Manifest | Index, *, subject: Digest | None) -> Piece:
    blobs = () if isinstance(parsed, Index) else (parsed.config, *parsed.layers)
    return Piece(
        digest=digest,
        data=data,
        media_type=declared_type(data, parsed.media_type),
        blobs=blobs,
        subject=subject,
    )


def _keep(found: dict[Digest, Piece], piece: Piece) -> None:
    if len(found) >= MANIFESTS_MAX:
        raise LimitError(f"image has too many manifests: expected at most {MANIFESTS_MAX}, referrers included")
    found[piece.digest] = piece
