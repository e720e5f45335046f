"""Owns the talk with one upstream registry: through the strict door of the product, on threads.

Framing, pace, redirects, certificates and credentials are judged by the same code as everywhere else
(``trust.oci``). Whose login is sent is the configuration's choice:

    forward    the client's own ``Authorization``, as it came; a refusal goes back to the client with its challenge
    own        the shim's credentials, from where Docker and podman keep them

Everything that comes back is untrusted. Blocking: call it from a worker's threads.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping

from registry_shim import config
from registry_shim.answers import Code, RefusedRequestError
from trust.deadline import Deadline, deadline_in
from trust.digest import Digest
from trust.manifest import ACCEPTED_TYPES, MANIFEST_MAX_BYTES
from trust.oci.auth import Authenticator
from trust.oci.content import VerifiedChunks
from trust.oci.credentials import Credentials
from trust.oci.errors import RegistryAnswerError
from trust.oci.exchange import Stream
from trust.oci.http import Http
from trust.oci.names import manifest_target, repository_target
from trust.oci.url import Url, replace_target
from trust.places import home_directory

API_HOSTS = {"docker.io": "registry-1.docker.io"}
USER_AGENT = "content-trust-shim"  # a registry's log tells by it who went past the gate
PAUSE = threading.Event().wait  # before a question is repeated; a clock that is moved does not upset it
REFERRERS_MAX_BYTES = 4 * 1024 * 1024
_OK, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY = 200, 401, 403, 404, 429
_REFUSALS = frozenset({_UNAUTHORIZED, _FORBIDDEN, _TOO_MANY})


class Upstream:
    """One configured registry. ``login`` in every method is the client's ``Authorization``, or None.

    Every method raises:
        RefusedRequestError: the registry refuses this login; the answer to pass on.
        UnreachableError, LimitError: no answer, or none that can be read.
    """

    def __init__(
        self, settings: config.Upstream, *, seconds: float, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._settings = settings
        self._seconds = seconds
        self._url = settings.url
        if self._url.host in API_HOSTS:
            self._url = Url(scheme="https", host=API_HOSTS[self._url.host], port=self._url.port, target="/")
        own = dict(environ)
        if settings.ca is not None:
            own["SSL_CERT_FILE"] = str(settings.ca)
        self._http = Http(environ=own, user_agent=USER_AGENT, sleep=PAUSE, may_follow=self._may_follow)
        self._token_http = Http(
            environ=own, user_agent=USER_AGENT, sleep=PAUSE
        )  # a token server may send us where it likes
        self._authenticator = Authenticator(
            settings.name,
            http=self._token_http,
            credentials=Credentials(environ=environ, home=home_directory()),
            plain_http=self._url.scheme == "http",
        )

    @property
    def name(self) -> str:
        """The registry's host in image references."""
        return self._settings.name

    @property
    def forwards(self) -> bool:
        """Tell whether the client's own login decides, also over what is cached."""
        return self._settings.auth == "forward"

    def manifest(self, path: str, reference: str | Digest, login: str | None) -> tuple[bytes, str | None] | None:
        """Return the untrusted bytes of a manifest and the type it was sent as; None where there is none (404)."""
        what = f"{self.name}/{path}:{reference}"
        with self._stream("GET", manifest_target(path, reference), path, login) as stream:
            if stream.status == _NOT_FOUND:
                return None
            self._require_ok(stream, f"read the manifest {what}", login)
            return stream.read(MANIFEST_MAX_BYTES), stream.headers.get("content-type")

    def blob(self, path: str, digest: Digest, size_bytes: int, login: str | None) -> VerifiedChunks | None:
        """Return the blob piece by piece, the last only once its hash agrees; None where there is none (404)."""
        what = f"{self.name}/{path}@{digest}"
        stream = self._stream("GET", f"{repository_target(path)}/blobs/{digest}", path, login, timed=False)
        try:
            if stream.status == _NOT_FOUND:
                stream.discard()
                return None
            self._require_ok(stream, f"read the blob {what}", login)
        except BaseException:
            stream.close()
            raise
        return VerifiedChunks(_closing(stream), digest, size_bytes, what=what)

    def has(self, path: str, kind: str, digest: Digest, login: str | None) -> bool:
        """Tell whether the registry shows the ``manifests`` or ``blobs`` entry to this login."""
        with self._stream("HEAD", f"{repository_target(path)}/{kind}/{digest}", path, login) as stream:
            if stream.status == _NOT_FOUND:
                return False
            if stream.url.origin == self._url.origin:
                self._require_ok(stream, f"look for {self.name}/{path}@{digest}", login)
            return True  # sent on to the content, at an address that is signed for GET alone

    def may_list(self, path: str, login: str | None) -> bool:
        """Tell whether the registry shows the repository's tags to this login; False where it has none (404)."""
        with self._stream("GET", f"{repository_target(path)}/tags/list?n=1", path, login) as stream:
            if stream.status == _NOT_FOUND:
                return False
            self._require_ok(stream, f"list the tags of {self.name}/{path}", login)
            return True

    def referrers(self, path: str, digest: Digest, login: str | None) -> bytes | None:
        """Return the untrusted index of what refers to ``digest``; None where the registry has no such thing."""
        with self._stream("GET", f"{repository_target(path)}/referrers/{digest}", path, login) as stream:
            if stream.status == _NOT_FOUND:
                return None
            self._require_ok(stream, f"read the referrers of {self.name}/{path}@{digest}", login)
            return stream.read(REFERRERS_MAX_BYTES)

    def ping(self, login: str | None) -> None:
        """Return if the registry answers this login on ``/v2/``."""
        with self._stream("GET", "/v2/", "", login) as stream:
            if stream.status != _NOT_FOUND:  # some answer so to whom they do not know
                self._require_ok(stream, f"answer at {self._url.origin}/v2/", login)

    def close(self) -> None:
        """Close idle connections."""
        self._http.close()
        self._token_http.close()

    def _stream(self, method: str, target: str, path: str, login: str | None, *, timed: bool = True) -> Stream:
        deadline = deadline_in(self._seconds, time.monotonic)
        bound = deadline if timed else None
        stream = self._ask(method, target, login if self.forwards else self._own(path), bound)
        if stream.status != _UNAUTHORIZED or self.forwards or stream.url.origin != self._url.origin:
            return stream
        with stream:
            refusal = stream.refusal()
        self._authenticator.answer(refusal, path, "pull", deadline=deadline)
        stream = self._ask(method, target, self._own(path), bound)
        if stream.status == _UNAUTHORIZED:
            stream.close()
            raise self._authenticator.login_wanted(path, "pull")
        return stream

    def _ask(self, method: str, target: str, authorization: str | None, deadline: Deadline | None) -> Stream:
        headers = {"Accept": ", ".join(ACCEPTED_TYPES)}
        if authorization is not None:
            headers["Authorization"] = authorization
        return self._http.stream(
            method,
            replace_target(self._url, target),
            headers=headers,
            idle_timeout_seconds=self._seconds,
            deadline=deadline,
            plain_http=self._url.scheme == "http",
        )

    def _own(self, path: str) -> str | None:
        return self._authenticator.authorization(path, "pull")

    def _may_follow(self, url: Url) -> bool:
        return any(
            url.host.endswith(pattern[1:]) if pattern.startswith("*.") else url.host == pattern
            for pattern in self._settings.redirects
        )

    def _require_ok(self, stream: Stream, doing: str, login: str | None) -> None:
        """Return if the answer is what was asked for.

        Raises:
            RefusedRequestError: a refusal of the client's login, with the registry's own challenge.
            RegistryAnswerError: any other answer.
        """
        if stream.status == _OK:
            return
        if self.forwards and stream.status in _REFUSALS and stream.url.origin == self._url.origin:
            raise _passed_on(self.name, stream, login)
        refusal = stream.refusal()
        raise RegistryAnswerError(
            f"{self.name} could not {doing}: expected success, got {refusal.status}",
            status=refusal.status,
            codes=(),
        )


def _passed_on(name: str, stream: Stream, login: str | None) -> RefusedRequestError:
    headers = {}
    for field in ("www-authenticate", "retry-after"):
        value = stream.headers.get(field)
        if value is not None and value.isprintable():
            headers[field.title()] = value
    stream.discard()
    if stream.status == _UNAUTHORIZED:
        said = "refuses this login" if login else "wants a login"
        return RefusedRequestError(Code.UNAUTHORIZED, f"{name} {said}", headers=headers)
    code = Code.TOOMANYREQUESTS if stream.status == _TOO_MANY else Code.DENIED
    return RefusedRequestError(code, f"{name} refuses: {stream.status}", headers=headers)


def _closing(stream: Stream) -> Iterator[bytes]:
    with stream:
        yield from stream
