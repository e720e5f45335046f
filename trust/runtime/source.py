"""Owns where an image comes from: a registry's repository, or an OCI layout that somebody handed over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from trust.deadline import Deadline
from trust.digest import Digest
from trust.errors import UnreachableError
from trust.oci.content import VerifiedChunks
from trust.value import dataclass

if TYPE_CHECKING:
    from trust.oci.layout import Layout
    from trust.oci.registry import Registry


class Source(Protocol):
    """Content by digest alone; what it gives was hashed on the way."""

    def manifest(self, digest: Digest, *, deadline: Deadline) -> bytes:
        """Return the bytes of the manifest ``digest``.

        Raises:
            RefusedError: ``tampered``. UnreachableError, InputError: it cannot be had.
        """

    def blob(self, digest: Digest, size_bytes: int, *, deadline: Deadline) -> VerifiedChunks:
        """Return the blob piece by piece; the reading ends only if it was the whole blob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySource:
    """A repository; ``path`` is without the registry's host."""

    registry: Registry
    path: str

    def manifest(self, digest: Digest, *, deadline: Deadline) -> bytes:
        """Return the bytes of the manifest ``digest``."""
        from trust.oci.registry import FetchedManifest  # noqa: PLC0415 - an image that is here needs no network

        fetched = self.registry.manifest(self.path, digest, deadline=deadline)
        if not isinstance(fetched, FetchedManifest):
            raise UnreachableError(
                f"{self.registry.host}/{self.path} has no manifest {digest}",
                hint="the signed image was deleted there: ask its publisher to push it again",
            )
        return fetched.untrusted_bytes

    def blob(self, digest: Digest, size_bytes: int, *, deadline: Deadline) -> VerifiedChunks:
        """Return the blob piece by piece."""
        return self.registry.blob(self.path, digest, size_bytes, deadline=deadline)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutSource:
    """A layout on this disk, no more trusted than a registry."""

    layout: Layout

    def manifest(self, digest: Digest, *, deadline: Deadline) -> bytes:  # noqa: ARG002 - a disk answers
        """Return the bytes of the manifest ``digest``."""
        return self.layout.manifest(digest)

    def blob(self, digest: Digest, size_bytes: int, *, deadline: Deadline) -> VerifiedChunks:  # noqa: ARG002
        """Return the blob piece by piece."""
        return self.layout.blob(digest, size_bytes)
