"""Owns the two ends of a move: where an image is taken from and where it is put, a registry's or a layout's.

What comes out is hashed against its digest; what goes in is not sent again where it is there already. So a move
that was cut short is repeated, and goes on at the blob it stopped at.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Protocol

from trust.deadline import Deadline
from trust.digest import Digest
from trust.manifest import Descriptor
from trust.oci.content import VerifiedChunks
from trust.oci.errors import AbsentError, tampered
from trust.oci.registry import FetchedManifest, Registry
from trust.reference import Repository

Soon = Callable[[], Deadline]
"""Gives each talk about a manifest a deadline of its own: of a large image there are hundreds."""


class Source(Protocol):
    """Where an image is taken from."""

    def manifest(self, digest: Digest) -> bytes:
        """Return the manifest of ``digest``, hashed.

        Raises:
            AbsentError: it is not there. RefusedError: ``tampered``.
        """

    def blob(self, digest: Digest, size_bytes: int) -> VerifiedChunks:
        """Return the blob piece by piece; the reading ends only if it was the whole blob."""

    def referrers(self, subject: Digest) -> tuple[Digest, ...]:
        """Return what is said to refer to ``subject``: the word of whoever keeps the images."""


class Sink(Protocol):
    """Where an image is put."""

    def lacks_manifest(self, digest: Digest) -> bool:
        """Tell whether there is no such manifest."""

    def lacks_blob(self, blob: Descriptor) -> bool:
        """Tell whether there is no such blob."""

    def put_blob(self, blob: Descriptor, source: Source) -> bool:
        """Have the blob there; tell whether its content had to be sent."""

    def put_manifest(self, digest: Digest, data: bytes, media_type: str) -> None:
        """Have the manifest there under its digest."""

    def put_referrers(self, referrers: Iterable[tuple[Digest, bytes]]) -> None:
        """Have manifests that are there, each with its subject, in the list of referrers."""

    def tagged(self, tag: str) -> Digest | None:
        """Return the digest under ``tag``, None where there is no such tag."""

    def put_tag(self, tag: str, data: bytes, media_type: str) -> None:
        """Have ``tag`` stand for the manifest ``data``."""


class RegistryRepository:
    """One repository of one registry, as source and as sink."""

    def __init__(self, registry: Registry, repository: Repository, soon: Soon) -> None:
        self.registry = registry
        self.repository = repository
        self._path = repository.path
        self._soon = soon

    def manifest(self, digest: Digest) -> bytes:
        """Return the manifest of ``digest``; see ``Source``."""
        fetched = self.registry.manifest(self._path, digest, deadline=self._soon())
        if not isinstance(fetched, FetchedManifest):
            raise AbsentError(f"the registry has no manifest {digest} in {self.repository}")
        return fetched.untrusted_bytes

    def blob(self, digest: Digest, size_bytes: int) -> VerifiedChunks:
        """Return the blob piece by piece; see ``Source``."""
        return self.registry.blob(self._path, digest, size_bytes)

    def referrers(self, subject: Digest) -> tuple[Digest, ...]:
        """Return what the registry lists; see ``Source``."""
        return self.registry.referrers(self._path, subject, deadline=self._soon())

    def lacks_manifest(self, digest: Digest) -> bool:
        """Tell whether there is no such manifest; see ``Sink``."""
        return self.registry.manifest(self._path, digest, deadline=self._soon()) is None

    def lacks_blob(self, blob: Descriptor) -> bool:
        """Tell whether there is no such blob; see ``Sink``."""
        return not self.registry.has_blob(self._path, blob.digest, deadline=self._soon())

    def put_blob(self, blob: Descriptor, source: Source) -> bool:
        """Have the blob there: mounted from the source where that is a repository of the same registry."""
        mount_from = None
        if isinstance(source, RegistryRepository) and source.repository.host == self.repository.host:
            mount_from = source.repository.path
        content = source.blob(blob.digest, blob.size_bytes)
        try:
            return self.registry.push_blob(self._path, blob.digest, content, mount_from=mount_from)
        finally:
            content.close()

    def put_manifest(self, digest: Digest, data: bytes, media_type: str) -> None:
        """Have the manifest there; see ``Sink``."""
        self.registry.put_manifest(self._path, digest, data, media_type, deadline=self._soon())

    def put_referrers(self, referrers: Iterable[tuple[Digest, bytes]]) -> None:
        """Have the manifests listed; see ``Sink``."""
        for subject, data in referrers:
            self.registry.add_referrer(self._path, subject, data, deadline=self._soon())

    def tagged(self, tag: str) -> Digest | None:
        """Return the digest under ``tag``; see ``Sink``."""
        return self.registry.tag_digest(self._path, tag, deadline=self._soon())

    def put_tag(self, tag: str, data: bytes, media_type: str) -> None:
        """Have ``tag`` stand for ``data``; see ``Sink``."""
        self.registry.put_manifest(self._path, tag, data, media_type, deadline=self._soon())


def declared_type(data: bytes, parsed_type: str) -> str:
    """Return the media type that a manifest says of itself, else the one it was read as.

    Raises:
        RefusedError: ``tampered``; it is no object.
    """
    document = json.loads(data)
    if not isinstance(document, dict):
        raise tampered("manifest is no object")
    return str(document.get("mediaType", parsed_type))
