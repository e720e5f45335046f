"""Owns ``https:``, the consumer's side of any static host: files below one address, read and never written.

Absent is what the host says is not there: 404 or 410. A 403 is *not* absence, though S3 answers it for a missing
key to whoever may not list the bucket: by that reading anybody who can forbid one file would end the walk of the
roots before the root that revokes his key. Such a host is told to answer 404 instead (``docs/stores.md``).

What a cache between may keep for how long is bounded by expiry alone, as is what any host withholds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NoReturn

from trust.deadline import Deadline
from trust.errors import InputError, UnreachableError
from trust.oci.url import Url, parse_url, replace_target
from trust.stores.interface import Publication, View, checked_name
from trust.stores.remote import Fetched, Mark, Unchanged, fetched, remote_view

if TYPE_CHECKING:
    from trust.oci.http import Http
    from trust.oci.message import Response

_OK, _NOT_MODIFIED, _FORBIDDEN = 200, 304, 403
_ABSENT = frozenset({404, 410})
_NO_HEAD = frozenset({405, 501})
_ROOT_MAX_BYTES = 512_000


class StaticStore:
    """The files below ``https://HOST/PATH``."""

    def __init__(self, url: str, http: Http, *, plain_http: bool = False) -> None:
        self.url = url
        self._door = StaticDoor(parse_url(url), http, plain_http=plain_http)

    def view(self, *, known: str | None, deadline: Deadline) -> View | None:
        """Return the files as a view; None where the host says that nothing changed, and has no newer root."""
        return remote_view(self._door, known=known, deadline=deadline)

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        """Refuse: nothing is written through this address."""
        self._refuse(publication, deadline)

    def pending(self, *, deadline: Deadline) -> Mapping[str, bytes]:
        """Refuse: what waits is at the address that is written to."""
        self._refuse(deadline)

    def set_pending(self, name: str, data: bytes | None, *, replaces: bytes | None, deadline: Deadline) -> None:
        """Refuse: nothing is written through this address."""
        self._refuse(name, data, replaces, deadline)

    def names(self, *, deadline: Deadline) -> frozenset[str]:
        """Refuse: a static host lists nothing."""
        self._refuse(deadline)

    def remove(self, names: Collection[str], *, deadline: Deadline) -> None:
        """Refuse: nothing is written through this address."""
        self._refuse(names, deadline)

    def probe(self, *, deadline: Deadline) -> None:
        """Refuse: it cannot hold a collection, only show one."""
        self._refuse(deadline)

    def _refuse(self, *_unused: object) -> NoReturn:
        raise InputError(
            f"metadata is only read at {self.url}",
            hint='name where it is written: publish = "s3://BUCKET/PREFIX" in the policy, or --metadata',
        )


class StaticDoor:
    """The files below one address, asked for by our own HTTP."""

    def __init__(self, base: Url, http: Http, *, plain_http: bool) -> None:
        if "?" in base.target:
            raise InputError(f"metadata address has a query: got {base}")
        self._base = base
        self._http = http
        self._plain_http = plain_http

    def get(
        self, name: str, max_bytes: int, *, unless: str | None = None, deadline: Deadline
    ) -> Fetched | Unchanged | None:
        """Return the file; see ``Door.get``."""
        headers = {"If-None-Match": unless} if unless else {}
        answer = self._ask("GET", name, max_bytes, headers, deadline)
        if answer.status == _NOT_MODIFIED and unless is not None:
            return Unchanged()
        if answer.status in _ABSENT:
            return None
        if answer.status != _OK:
            raise self._error(name, answer.status)
        return Fetched(untrusted_bytes=answer.body, mark=Mark(etag=answer.headers.get("etag")))

    def has(self, name: str, *, deadline: Deadline) -> bool:
        """Tell whether there is such a file; see ``Door.has``."""
        answer = self._ask("HEAD", name, 0, {}, deadline)
        if answer.status in _NO_HEAD:
            return fetched(self, name, _ROOT_MAX_BYTES, deadline) is not None
        if answer.status not in {_OK, *_ABSENT}:
            raise self._error(name, answer.status)
        return answer.status == _OK

    def _ask(
        self, method: str, name: str, max_bytes: int, headers: Mapping[str, str], deadline: Deadline
    ) -> Response:
        url = replace_target(self._base, f"{self._base.target.rstrip('/')}/{checked_name(name)}")
        return self._http.request(
            method, url, headers=headers, max_bytes=max_bytes, deadline=deadline, plain_http=self._plain_http
        )

    def _error(self, name: str, status: int) -> UnreachableError:
        hint = "try again later"
        if status == _FORBIDDEN:
            hint = "have the host answer 404 for what is missing: 403 cannot be told from withholding"
        return UnreachableError(
            f"{self._base}: could not read {name}: expected 200 or 404, got {status}", hint=hint
        )
