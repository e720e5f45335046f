"""Owns the distribution protocol: what a registry has, and what it is given.

Every manifest and blob is hashed here; what does not hash to its digest never leaves this package whole. Names
and tags are checked before they become part of an address. Source: OCI distribution-spec 1.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from trust.deadline import Deadline
from trust.digest import Digest, sha256
from trust.errors import InputError
from trust.manifest import ACCEPTED_TYPES, MANIFEST_MAX_BYTES, OCI_INDEX
from trust.oci.errors import tampered
from trust.oci.http import IDLE_TIMEOUT_SECONDS, Http
from trust.oci.message import Response
from trust.oci.names import manifest_target, stated_digest
from trust.oci.session import Ask, Session
from trust.value import dataclass, replace

if TYPE_CHECKING:
    from pathlib import Path

    from trust.oci.content import VerifiedChunks
    from trust.oci.credentials import Credentials

_OK, _CREATED, _ACCEPTED, _NOT_MODIFIED, _NOT_FOUND = 200, 201, 202, 304, 404
_NOT_PERMITTED = frozenset({400, 403, 405, 501})


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedManifest:
    """A manifest as the registry sent it; ``digest`` was computed here, nothing else about it is checked."""

    untrusted_bytes: bytes
    content_type: str | None
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class NotModified:
    """The manifest asked for is still the one whose digest the caller knows."""

    digest: Digest


class Registry:
    """One registry; usable from several threads.

    ``host`` is as in a reference (``docker.io``, ``registry.example.com:5000``), ``path`` a repository without
    its host. A ``deadline`` bounds a call as a whole.

    Every method raises:
        UnreachableError: no answer, or (``RegistryAnswerError``) another than asked for.
        LimitError: a cap on bytes, or the deadline, was reached.
        InputError: a name that is none, or credentials that cannot be read.
    """

    def __init__(self, host: str, *, http: Http, credentials: Credentials, plain_http: bool = False) -> None:
        self.host = host
        self._session = Session(host, http=http, credentials=credentials, plain_http=plain_http)

    def tag_digest(self, path: str, tag: str, *, deadline: Deadline) -> Digest | None:
        """Return the digest that ``tag`` has now by the registry's word; None only where it says: no such tag.

        Asked by HEAD; where that brings no digest, the manifest is read and hashed.
        """
        answer = self._session.whole(_manifest_ask("HEAD", path, tag, "pull", deadline))
        if answer.status == _NOT_FOUND:
            return None
        digest = stated_digest(answer.headers, self._name(path, tag)) if answer.status == _OK else None
        if digest is not None:
            return digest
        fetched = self.manifest(path, tag, deadline=deadline)
        return fetched.digest if fetched is not None else None

    def manifest(
        self,
        path: str,
        reference: str | Digest,
        *,
        deadline: Deadline,
        known: Digest | None = None,
        max_bytes: int = MANIFEST_MAX_BYTES,
    ) -> FetchedManifest | NotModified | None:
        """Return the manifest under ``reference``, a tag or a digest; None only where there is none (404).

        ``known``: where the tag still has this digest, ``NotModified`` comes back and, from most registries, no
        body crosses the wire.

        Raises:
            RefusedError: ``tampered``; the bytes do not hash to the digest asked for, or to the one stated.
        """
        what = self._name(path, reference)
        ask = _manifest_ask("GET", path, reference, "pull", deadline)
        if known is not None:
            ask = replace(ask, headers={**ask.headers, "If-None-Match": f'"{known}"'})
        answer = self._session.whole(ask, max_bytes=max_bytes)
        if answer.status == _NOT_MODIFIED and known is not None:
            return NotModified(digest=known)
        if answer.status == _NOT_FOUND:
            return None
        if answer.status != _OK:
            raise self._session.error(f"read the manifest {what}", answer)
        digest = _checked_digest(answer, reference, what)
        if digest == known:
            return NotModified(digest=digest)
        content_type = answer.headers.get("content-type")
        return FetchedManifest(untrusted_bytes=answer.body, content_type=content_type, digest=digest)

    def blob(
        self,
        path: str,
        digest: Digest,
        size_bytes: int,
        *,
        deadline: Deadline | None = None,
        idle_timeout_seconds: float = IDLE_TIMEOUT_SECONDS,
    ) -> VerifiedChunks:
        """Return the blob piece by piece; the reading ends only if it was the whole blob.

        Raises, while it is read:
            RefusedError: ``tampered``; another size or digest. The last piece is not handed out before.
        """
        from trust.oci.blobs import BlobAddress, read_blob  # noqa: PLC0415 - a verification reads no blob

        blob = BlobAddress(path=path, digest=digest, deadline=deadline, idle_timeout_seconds=idle_timeout_seconds)
        return read_blob(self._session, blob, size_bytes)

    def blob_bytes(self, path: str, digest: Digest, size_bytes: int, *, deadline: Deadline) -> bytes:
        """Return the whole blob; that ``size_bytes`` fit into memory is the caller's judgement.

        Raises:
            RefusedError: ``tampered``; another size or digest.
        """
        return b"".join(self.blob(path, digest, size_bytes, deadline=deadline))

    def has_blob(self, path: str, digest: Digest, *, deadline: Deadline) -> bool:
        """Tell whether the registry says that the repository has the blob."""
        from trust.oci.blobs import BlobAddress, has_blob  # noqa: PLC0415 - as above

        return has_blob(self._session, BlobAddress(path=path, digest=digest, deadline=deadline))

    def push_blob(
        self,
        path: str,
        digest: Digest,
        source: bytes | Path | VerifiedChunks,
        *,
        deadline: Deadline | None = None,
        idle_timeout_seconds: float = IDLE_TIMEOUT_SECONDS,
        mount_from: str | None = None,
    ) -> bool:
        """Have the blob in the repository after this; tell whether its content, or file, had to be sent.

        ``VerifiedChunks`` are sent as they are read; where they turn out to be of another digest the upload is
        broken off, so that the registry never has it whole.

        ``mount_from`` is a repository of the same registry that has it: it is taken from there if it can be.
        """
        from trust.oci.blobs import BlobAddress, push_blob  # noqa: PLC0415 - as above

        blob = BlobAddress(path=path, digest=digest, deadline=deadline, idle_timeout_seconds=idle_timeout_seconds)
        return push_blob(self._session, blob, source, mount_from=mount_from)

    def put_manifest(
        self, path: str, reference: str | Digest, data: bytes, media_type: str, *, deadline: Deadline
    ) -> Digest:
        """Have ``data`` under ``reference`` after this; return its digest.

        Raises:
            InputError: ``reference`` is a digest, but not that of ``data``.
            RefusedError: ``tampered``; the registry says that it stored something else.
        """
        what = self._name(path, reference)
        digest = sha256(data)
        if isinstance(reference, Digest):
            if not reference.matches(data):
                raise InputError(f"manifest does not match its digest: expected {reference}, got {digest}")
            digest = reference
        ask = _manifest_ask("PUT", path, reference, "pull,push", deadline)
        answer = self._session.whole(replace(ask, headers={"Content-Type": media_type}, body=data))
        if answer.status != _CREATED:
            raise self._session.error(f"take the manifest {what}", answer)
        stored = stated_digest(answer.headers, what) or self._read_back(path, reference, deadline)
        if stored != digest:
            raise tampered(f"{what}: expected the registry to store {digest}, got {stored}")
        return digest

    def tags(self, path: str, *, after: str | None = None, deadline: Deadline) -> Iterator[str]:
        """Return the tags that sort above ``after`` by bytes, in the registry's order; none for no repository.

        Registries sort otherwise where they ignore case; ask for all tags where none may be missed.
        """
        from trust.oci.tag_list import listed_tags  # noqa: PLC0415 - as above

        return listed_tags(self._session, path, after=after, deadline=deadline)

    def referrers(self, path: str, subject: Digest, *, deadline: Deadline) -> tuple[Digest, ...]:
        """Return what the registry says refers to ``subject``: by its API or, without one, by the tag for it.

        Raises:
            RefusedError: ``tampered``; what stands there is no list of referrers.
        """
        from trust.oci.referrers import digests_in, listed_referrers  # noqa: PLC0415 - a verification asks for none

        listed = listed_referrers(self._session, path, subject, deadline=deadline).digests
        if listed is not None:
            return listed
        index = self._referrers_index(path, subject, deadline)
        return digests_in(index, self._name(path, subject)) if index is not None else ()

    def add_referrer(self, path: str, subject: Digest, data: bytes, *, deadline: Deadline) -> bool:
        """Have the pushed manifest ``data`` among the referrers of ``subject``; tell whether that changed a tag.

        A registry with the API has seen to it itself. Without one, two who add at once can lose one of the two
        entries: distribution-spec offers no better, and what is signed does not depend on this list.
        """
        from trust.oci.referrers import index_with, listed_referrers, referrers_tag  # noqa: PLC0415 - as above

        if listed_referrers(self._session, path, subject, deadline=deadline).digests is not None:
            return False
        index = index_with(self._referrers_index(path, subject, deadline), sha256(data), data)
        if index is not None:
            self.put_manifest(path, referrers_tag(subject), index, OCI_INDEX, deadline=deadline)
        return index is not None

    def _referrers_index(self, path: str, subject: Digest, deadline: Deadline) -> bytes | None:
        from trust.oci.referrers import referrers_tag  # noqa: PLC0415 - as above

        fetched = self.manifest(path, referrers_tag(subject), deadline=deadline)
        return fetched.untrusted_bytes if isinstance(fetched, FetchedManifest) else None

    def delete_tag(self, path: str, tag: str, *, deadline: Deadline) -> bool:
        """Have no such tag after this; False where the registry does not permit it. The manifest stays."""
        answer = self._session.whole(_manifest_ask("DELETE", path, tag, "delete,pull", deadline))
        if answer.status in {_OK, _ACCEPTED, _NOT_FOUND}:
            return True
        if answer.status in _NOT_PERMITTED:
            return False
        raise self._session.error(f"delete the tag {self._name(path, tag)}", answer)

    def _name(self, path: str, reference: str | Digest) -> str:
        return f"{self.host}/{path}{'@' if isinstance(reference, Digest) else ':'}{reference}"

    def _read_back(self, path: str, reference: str | Digest, deadline: Deadline) -> Digest | None:
        fetched = self.manifest(path, reference, deadline=deadline)
        return fetched.digest if fetched is not None else None


def _manifest_ask(method: str, path: str, reference: str | Digest, actions: str, deadline: Deadline) -> Ask:
    return Ask(
        method=method,
        where=manifest_target(path, reference),
        path=path,
        actions=actions,
        deadline=deadline,
        headers={"Accept": ", ".join(ACCEPTED_TYPES)},
    )


def _checked_digest(answer: Response, reference: str | Digest, what: str) -> Digest:
    """Return the digest of the body, which agrees with what was asked for and with what was stated.

    Clients that do not look take a forgery that the registry itself contradicts.
    """
    stated = stated_digest(answer.headers, what)
    for expected in (reference, stated):
        if isinstance(expected, Digest) and not expected.matches(answer.body):
            raise tampered(f"{what}: expected {expected}, got {sha256(answer.body)}")
    return reference if isinstance(reference, Digest) else sha256(answer.body)
