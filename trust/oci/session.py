"""Owns the talk with one registry: its address, its login, a request and its answer.

``docker.io`` is spoken to at ``registry-1.docker.io``. A registry on this machine is spoken to in plain HTTP
and, where it does not answer that, in TLS.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from trust.deadline import Deadline, deadline_in
from trust.errors import UnreachableError
from trust.oci.answer import answer_error
from trust.oci.errors import MalformedAnswerError, RegistryAnswerError, UntrustedCertificateError
from trust.oci.http import IDLE_TIMEOUT_SECONDS, Http
from trust.oci.message import Body, Response
from trust.oci.url import Url, parse_url
from trust.value import dataclass, field, replace

if TYPE_CHECKING:
    from trust.oci.auth import Authenticator
    from trust.oci.credentials import Credentials
    from trust.oci.exchange import Stream

ANSWER_MAX_BYTES = 64 * 1024
_API_HOSTS = {"docker.io": "registry-1.docker.io"}
_REFUSALS = _BAD_REQUEST = 400
_UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What is asked of a registry.

    ``where`` is a target at the registry (``/v2/…``), or an address that it named; ``allow_local=False`` where
    the server that named it stands elsewhere. ``path`` is the repository, ``actions`` what is done to it:
    ``pull``, ``pull,push`` or ``delete,pull``.
    """

    method: str
    where: str | Url
    path: str
    actions: str
    deadline: Deadline | None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Body = None
    idle_timeout_seconds: float = IDLE_TIMEOUT_SECONDS
    allow_local: bool = True


class Session:
    """Requests to the registry at ``host``, with the login that it asks for."""

    def __init__(self, host: str, *, http: Http, credentials: Credentials, plain_http: bool) -> None:
        self.host = host
        self._http = http
        self._plain_http = plain_http
        self._secure_root = parse_url(f"https://{_API_HOSTS.get(host, host)}/")
        in_plain = plain_http or self._secure_root.names_loopback
        self._root = parse_url(f"http://{host}/") if in_plain else self._secure_root
        self._may_speak_tls = in_plain and not plain_http
        self._credentials = credentials
        self._authenticator: Authenticator | None = None
        self._lock = threading.Lock()

    def owns(self, url: Url) -> bool:
        """Tell whether ``url`` lies at the registry itself, which alone sees its login."""
        return url.origin == self._root.origin

    @property
    def has_logged_in(self) -> bool:
        """Tell whether the registry has asked for a login so far."""
        return self._authenticator is not None

    def whole(self, ask: Ask, *, max_bytes: int = ANSWER_MAX_BYTES) -> Response:
        """Return the whole answer, of a refusal its beginning; a 401 is answered with a login first.

        Raises:
            UnreachableError, LimitError: as ``Http.request``; or a login is wanted that we have not.
        """
        with self.stream(ask) as stream:
            return stream.whole(max_bytes) if stream.status < _REFUSALS else stream.refusal()

    def stream(self, ask: Ask) -> Stream:
        """Return the answer with its body unread; otherwise as ``whole``."""
        stream = self._ask_either_way(ask) if self._may_speak_tls else self._ask(ask)
        if stream.status != _UNAUTHORIZED or not self.owns(stream.url):
            return stream
        with stream:
            refusal = stream.refusal()
        deadline = ask.deadline or deadline_in(ask.idle_timeout_seconds, time.monotonic)
        authenticator = self._challenged()
        authenticator.answer(refusal, ask.path, ask.actions, deadline=deadline)
        stream = self._ask(ask)
        if stream.status == _UNAUTHORIZED and self.owns(stream.url):
            stream.close()
            raise authenticator.login_wanted(ask.path, ask.actions)
        return stream

    def error(self, doing: str, response: Response) -> RegistryAnswerError:
        """Return the error for an answer that ``doing`` (``"read …"``) did not expect."""
        return answer_error(self.host, doing, response.status, response.body)

    def _challenged(self) -> Authenticator:
        from trust.oci.auth import Authenticator  # noqa: PLC0415 - many registries never ask

        with self._lock:
            if self._authenticator is None:
                self._authenticator = Authenticator(
                    self.host, http=self._http, credentials=self._credentials, plain_http=self._plain_http
                )
            return self._authenticator

    def _ask(self, ask: Ask, root: Url | None = None) -> Stream:
        url = replace(root or self._root, target=ask.where) if isinstance(ask.where, str) else ask.where
        login = {}
        if self._authenticator is not None and self.owns(url):
            authorization = self._authenticator.authorization(ask.path, ask.actions)
            login = {"Authorization": authorization} if authorization is not None else {}
        return self._http.stream(
            ask.method,
            url,
            headers={**ask.headers, **login},
            body=ask.body,
            idle_timeout_seconds=ask.idle_timeout_seconds,
            deadline=ask.deadline,
            plain_http=self._plain_http and self.owns(url),
            allow_local=ask.allow_local,
        )

    def _ask_either_way(self, ask: Ask) -> Stream:
        """Ask a registry on this machine for the first time: in plain HTTP, then in TLS."""
        self._may_speak_tls = False
        refusal: Stream | None = None
        trouble: MalformedAnswerError | None = None
        try:
            refusal = self._ask(ask)
            if refusal.status != _BAD_REQUEST:  # what TLS servers answer to plain HTTP, when they answer at all
                return refusal
        except MalformedAnswerError as err:
            trouble = err
        try:
            answer = self._ask(ask, root=self._secure_root)
        except UnreachableError as err:
            if refusal is not None and not isinstance(err, UntrustedCertificateError):
                return refusal
            if trouble is not None and not isinstance(err, UntrustedCertificateError):
                raise trouble from err
            raise
        self._root = self._secure_root
        if refusal is not None:
            refusal.close()
        return answer
