"""Owns blobs on their way from and to a registry. Source: distribution-spec 1.1 "Pull", "Push"."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from trust.deadline import Deadline
from trust.digest import Digest
from trust.errors import InputError, UnreachableError
from trust.oci.content import VerifiedChunks
from trust.oci.errors import tampered
from trust.oci.http import IDLE_TIMEOUT_SECONDS
from trust.oci.message import Response
from trust.oci.names import repository_target
from trust.oci.session import Ask, Session
from trust.oci.url import Url, join_url
from trust.value import dataclass, replace

COMMIT_SECONDS = 300.0  # a registry is silent while it moves gigabytes to their place

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # it may lie in a layout that others write
_OK, _CREATED, _ACCEPTED, _NOT_FOUND = 200, 201, 202, 404


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobAddress:
    """A blob of one repository, and how long a talk about it may take.

    Without a ``deadline`` only silence ends it: ``idle_timeout_seconds``.
    """

    path: str
    digest: Digest
    deadline: Deadline | None = None
    idle_timeout_seconds: float = IDLE_TIMEOUT_SECONDS

    @property
    def target(self) -> str:
        """``/v2/PATH/blobs/DIGEST``."""
        return f"{repository_target(self.path)}/blobs/{self.digest}"

    def ask(self, method: str, where: str | Url, actions: str) -> Ask:
        """Return the question ``method where`` within these limits."""
        return Ask(
            method=method,
            where=where,
            path=self.path,
            actions=actions,
            deadline=self.deadline,
            idle_timeout_seconds=self.idle_timeout_seconds,
        )


def read_blob(session: Session, blob: BlobAddress, size_bytes: int) -> VerifiedChunks:
    """Return the blob piece by piece; nothing is asked before the first piece is."""
    what = f"{session.host}/{blob.path}@{blob.digest}"
    ask = blob.ask("GET", blob.target, "pull")

    def pieces() -> Iterator[bytes]:
        with session.stream(ask) as stream:
            if stream.status != _OK:
                raise session.error(f"read the blob {what}", stream.refusal())
            if stream.length is not None and stream.length != size_bytes:
                raise tampered(f"{what}: expected {size_bytes} bytes, {stream.length} were announced")
            yield from stream

    return VerifiedChunks(pieces(), blob.digest, size_bytes, what=what)


def has_blob(session: Session, blob: BlobAddress, *, actions: str = "pull") -> bool:
    """Tell whether the registry says that the repository has the blob."""
    answer = session.whole(blob.ask("HEAD", blob.target, actions))
    if answer.status in {_OK, _NOT_FOUND}:
        return answer.status == _OK
    if not session.owns(answer.url):
        return True  # the registry sent us to the content, at an address that is signed for GET alone
    raise session.error(f"look for the blob {session.host}/{blob.path}@{blob.digest}", answer)


def push_blob(
    session: Session, blob: BlobAddress, source: bytes | Path | VerifiedChunks, *, mount_from: str | None
) -> bool:
    """Have the blob in the registry after this; tell whether it had to be sent.

    One POST opens an upload, one PUT carries the whole content. The registry hashes it; so does every reader.
    """
    what = f"{session.host}/{blob.path}@{blob.digest}"
    if has_blob(session, blob, actions="pull,push"):  # the one token that the upload needs as well
        return False
    where = f"{repository_target(blob.path)}/blobs/uploads/"
    if mount_from is not None:
        repository_target(mount_from)
        where += f"?mount={blob.digest}&from={mount_from}"
    opened = session.whole(blob.ask("POST", where, "pull,push"))
    if opened.status == _CREATED and mount_from is not None:
        return False
    if opened.status != _ACCEPTED:
        raise session.error(f"open an upload for {what}", opened)
    upload = _upload_url(session, opened, blob.digest)
    ask = replace(
        blob.ask("PUT", upload, "pull,push"),
        headers={"Content-Type": "application/octet-stream"},
        idle_timeout_seconds=max(blob.idle_timeout_seconds, COMMIT_SECONDS),
        allow_local=opened.is_local,
    )
    if isinstance(source, (bytes, VerifiedChunks)):
        done = session.whole(replace(ask, body=source))
    else:
        done = _send_file(session, ask, source)
    if done.status != _CREATED:
        raise session.error(f"take the blob {what}", done)
    return True


def _upload_url(session: Session, opened: Response, digest: Digest) -> Url:
    """Return where the content goes: the registry's ``Location`` with the digest added to its query."""
    try:
        upload = join_url(opened.url, opened.headers.get("location", ""))
    except InputError as err:
        raise UnreachableError(f"{session.host}: upload address is unusable: {err}") from err
    in_plain = upload.scheme == "http" and upload.origin != opened.url.origin
    if in_plain and not (opened.url.scheme == "http" and upload.names_loopback):
        raise UnreachableError(
            f"{session.host}: upload address refused: it leads to plain HTTP at {upload.origin}",
            hint="have the proxy before the registry pass X-Forwarded-Proto and Host on",
        )
    joint = "&" if "?" in upload.target else "?"
    return replace(upload, target=f"{upload.target}{joint}digest={digest}")


def _send_file(session: Session, ask: Ask, source: Path) -> Response:
    try:
        with os.fdopen(os.open(source, _FILE), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(f"file to push is no regular file: {source}")
            return session.whole(replace(ask, body=file))
    except OSError as err:
        raise InputError(f"file to push is unreadable: {source}: {err.strerror}") from err
