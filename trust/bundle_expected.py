"""Owns what may still come out of a bundle: content that something before it names, by digest and size.

The same digest may be named more than once, by those who are signed and by those who are not: it is read as a
manifest if anybody names it as one, and nobody's word takes back that it is signed. So whoever may push a referrer
cannot have a part of the image pass for a blob of his own, of which nothing more is to come.
"""

from __future__ import annotations

from trust.bundle_file import BundleReader, Entry
from trust.digest import Digest
from trust.errors import InputError, LimitError
from trust.manifest import MANIFEST_MAX_BYTES, Descriptor, Index, parse_manifest
from trust.oci.errors import tampered
from trust.oci.image_copy import UNSIGNED_MAX_BYTES
from trust.oci.layout import Layout
from trust.value import dataclass

MANIFESTS_MAX = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """What is known of a digest from all that named it so far."""

    is_manifest: bool
    is_signed: bool


class Expected:
    """What ``images`` images, and what came of them, have named; ``manifests`` are those that came."""

    def __init__(self, *, images: int) -> None:
        self.manifests: set[Digest] = set()
        self._sizes: dict[Digest, int] = {}
        self._named: dict[Digest, _Named] = {}
        self._waiting: set[Digest] = set()
        self._unsigned_left = UNSIGNED_MAX_BYTES * images

    def expect(self, descriptor: Descriptor, *, is_manifest: bool, is_signed: bool) -> None:
        """Have the content of ``descriptor`` among what may come, once.

        Raises:
            RefusedError: ``tampered``; it was named with another size. InputError: it has come as a mere blob.
            LimitError: what nobody signed is too much.
        """
        digest, size = descriptor.digest, descriptor.size_bytes
        known = self._sizes.setdefault(digest, size)
        if known != size:
            raise tampered(f"bundle: two sizes for {digest}: {known} and {size}")
        was = self._named.get(digest)
        if was is None:
            self._waiting.add(digest)
            self._count(0 if is_signed else size)
            self._named[digest] = _Named(is_manifest=is_manifest, is_signed=is_signed)
            return
        if is_manifest and not was.is_manifest and digest not in self._waiting:
            raise InputError(f"bundle is malformed: manifest {digest} stands before what names it as one")
        if is_signed and not was.is_signed:
            self._count(-size)
        self._named[digest] = _Named(
            is_manifest=is_manifest or was.is_manifest, is_signed=is_signed or was.is_signed
        )

    def take(self, entry: Entry, reader: BundleReader, layout: Layout) -> None:
        """Have the entry's content in ``layout``, which is what was expected."""
        digest = entry.blob
        if digest is None or digest not in self._waiting:
            raise InputError(f"bundle holds what nothing before it names, or twice: {entry.name[:120]}")
        self._waiting.remove(digest)
        size, named = self._sizes[digest], self._named[digest]
        if entry.size_bytes != size:
            raise tampered(f"bundle: {digest}: expected {size} bytes, got {entry.size_bytes}")
        if not named.is_manifest:
            layout.add_blob(reader.body(), digest, size)
            return
        data = reader.content(MANIFEST_MAX_BYTES)
        layout.add_blob([data], digest, size)
        self.manifests.add(digest)
        if len(self.manifests) > MANIFESTS_MAX:
            raise LimitError(f"bundle has too many manifests: expected at most {MANIFESTS_MAX}")
        parsed = parse_manifest(data)
        is_index = isinstance(parsed, Index)
        for each in parsed.manifests if isinstance(parsed, Index) else (parsed.config, *parsed.layers):
            self.expect(each, is_manifest=is_index, is_signed=named.is_signed)

    def require_whole(self) -> None:
        """Refuse a bundle that lacks what it names."""
        if self._waiting:
            raise InputError(f"bundle is incomplete: it lacks {min(self._waiting)}")

    def _count(self, size_bytes: int) -> None:
        self._unsigned_left -= size_bytes
        if self._unsigned_left < 0:
            raise LimitError(f"bundle holds more than {UNSIGNED_MAX_BYTES} bytes an image that nobody signed")
