"""Owns a layout on disk as an end of a move: images under any name, referrers beside them in its index."""

from __future__ import annotations

from collections.abc import Iterable

from trust.digest import Digest, sha256
from trust.errors import InputError
from trust.manifest import Descriptor
from trust.oci.content import VerifiedChunks
from trust.oci.errors import AbsentError
from trust.oci.layout import Layout
from trust.oci.referrers import subject_of
from trust.oci.repositories import Source


class LayoutRepository:
    """One layout, as source and as sink; its tags are whatever names the caller gives."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._referrers: dict[Digest, list[Digest]] | None = None

    def manifest(self, digest: Digest) -> bytes:
        """Return the manifest of ``digest``; see ``Source``."""
        try:
            return self.layout.manifest(digest)
        except InputError as err:
            raise AbsentError(str(err)) from err

    def blob(self, digest: Digest, size_bytes: int) -> VerifiedChunks:
        """Return the blob piece by piece; see ``Source``."""
        return self.layout.blob(digest, size_bytes)

    def referrers(self, subject: Digest) -> tuple[Digest, ...]:
        """Return what stands without a name in the index, read once, and says that it refers to ``subject``."""
        if self._referrers is None:
            self._referrers = {}
            for digest in self.layout.nameless():
                named = subject_of(self.layout.manifest(digest))
                if named is not None:
                    self._referrers.setdefault(named, []).append(digest)
        return tuple(self._referrers.get(subject, ()))

    def lacks_manifest(self, digest: Digest) -> bool:
        """Tell whether there is no such manifest; see ``Sink``."""
        try:
            self.layout.manifest(digest)
        except InputError:
            return True
        return False

    def lacks_blob(self, blob: Descriptor) -> bool:
        """Tell whether there is no such blob; see ``Sink``."""
        return not self.layout.has(blob.digest, blob.size_bytes)

    def put_blob(self, blob: Descriptor, source: Source) -> bool:
        """Have the blob there; see ``Sink``."""
        content = source.blob(blob.digest, blob.size_bytes)
        try:
            return self.layout.add_blob(content, blob.digest, blob.size_bytes)
        finally:
            content.close()

    def put_manifest(self, digest: Digest, data: bytes, media_type: str) -> None:
        """Have the manifest there; see ``Sink``."""
        del media_type
        self.layout.add_blob([data], digest, len(data))

    def put_referrers(self, referrers: Iterable[tuple[Digest, bytes]]) -> None:
        """Have the manifests in the index; see ``Sink``."""
        self.layout.add_referrers(data for _, data in referrers)
        self._referrers = None

    def tagged(self, tag: str) -> Digest | None:
        """Return the digest under ``tag``; see ``Sink``."""
        try:
            return self.layout.resolve(tag).digest
        except InputError:
            return None

    def put_tag(self, tag: str, data: bytes, media_type: str) -> None:
        """Have ``tag`` stand for the manifest ``data``; see ``Sink``."""
        self.layout.tag(tag, described(data, media_type))


def described(data: bytes, media_type: str) -> Descriptor:
    """Return the descriptor of a manifest."""
    return Descriptor(
        media_type=media_type, digest=sha256(data), size_bytes=len(data), platform=None, annotations={}
    )
