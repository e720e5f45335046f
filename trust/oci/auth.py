"""Owns the way into a registry: Basic and token challenges, and which server may see which secret.

A registry answers 401 with a challenge; then, in this order of what it offers:
  1. ``Bearer``: a token is asked of the realm, for the scope that *we* need, and kept for that scope
  2. ``Basic``: the user's login goes to the registry itself, for the repositories alone that it is the login of

The realm is named by the registry and is not trusted. It sees the user's secret only over HTTPS or, for a
registry on this machine, on this machine. The scope is ours: a registry that could choose it would have itself
given tokens for other repositories of a shared token server.
Imported only once a registry asks for a login.
Source: distribution "Token Authentication Specification", "OAuth2 Token Authentication".
"""

from __future__ import annotations

import json
import re
import threading
import time
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from trust.deadline import Deadline
from trust.errors import InputError, UnreachableError
from trust.oci.challenge import Challenge, parse_challenges
from trust.oci.credentials import Credential, Credentials, IdentityToken, Login, RegistryToken
from trust.oci.errors import LoginWantedError
from trust.oci.http import Http
from trust.oci.message import Response
from trust.oci.url import Url, parse_url
from trust.value import dataclass, field

TOKEN_MAX_BYTES = 64 * 1024
ACCOUNTS_MAX = 1000  # repositories whose login is remembered; for one that is forgotten, the registry asks again
TOKEN_SECONDS = 60  # where the server does not say; source: Token Authentication Specification, "expires_in"
CLIENT_ID = "content-trust"
_OK, _UNAUTHORIZED, _FORBIDDEN = 200, 401, 403
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=:-]+", re.ASCII)  # RFC 6750 §2.1, with the colon that some use
_HEADER = "www-authenticate"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A value for ``Authorization`` and the moment, on our clock, until which it is sent."""

    authorization: str = field(repr=False)
    ends_at: float


class Authenticator:
    """Answers the challenges of one registry; keeps tokens in memory, one for each scope."""

    def __init__(
        self,
        host: str,
        *,
        http: Http,
        credentials: Credentials,
        plain_http: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = host
        self._http = http
        self._credentials = credentials
        self._plain_http = plain_http
        self._clock = clock
        self._held: dict[str, _Held] = {}  # by scope, or by the account whose login it is
        self._accounts: dict[str, str] = {}  # by repository
        self._lock = threading.Lock()

    def authorization(self, path: str, actions: str) -> str | None:
        """Return what to send as ``Authorization``, None as long as no login was asked for.

        ``path`` is the repository, ``actions`` ``pull``, ``pull,push`` or ``delete,pull``; without a path, none is
        asked for.
        """
        for key in (_scope(path, actions), self._accounts.get(path, "")):
            held = self._held.get(key)
            if held is not None and self._clock() < held.ends_at:
                return held.authorization
        return None

    def answer(self, refusal: Response, path: str, actions: str, *, deadline: Deadline) -> None:
        """Hold, after this, what ``refusal`` (a 401) asks for, so that asking again makes sense.

        Raises:
            LoginWantedError: it asks for what we have not, or refuses what we have; the hint names the login.
            UnreachableError: it asks in a way we do not give.
            InputError, UnavailableError: the credentials could not be read.
        """
        challenges = {challenge.scheme: challenge for challenge in parse_challenges(refusal.headers.each(_HEADER))}
        account = self._credentials.account(self._host, path)
        credential = account.credential if account is not None else None
        if account is not None and isinstance(credential, RegistryToken):
            self._hold_account(path, account.key, f"Bearer {credential.secret}")
        elif "bearer" in challenges:
            realm = self._realm(refusal.url, challenges["bearer"])
            scope = _scope(path, actions)
            fields = {"scope": scope} if path else {}
            if service := challenges["bearer"].parameters.get("service"):
                fields["service"] = service
            token = self._fetch(realm, fields, credential, allow_local=refusal.is_local, deadline=deadline)
            if token.status in {_UNAUTHORIZED, _FORBIDDEN}:
                raise self.login_wanted(path, actions)
            self._keep_token(realm, scope, token)
        elif "basic" in challenges and account is not None and isinstance(credential, Login):
            self._hold_account(path, account.key, _basic(credential))
        else:
            raise self.login_wanted(path, actions)

    def login_wanted(self, path: str, actions: str) -> LoginWantedError:
        """Return the error for a repository that is not shown to who we are."""
        return LoginWantedError(
            f"{self._host} wants a login for {path} ({actions})", hint=f"trust login {self._host}"
        )

    def _hold_account(self, path: str, key: str, authorization: str) -> None:
        """Hold the login of one account, which a file may have for a part of the host alone, for ``path``."""
        self._hold(key, authorization, float("inf"))
        with self._lock:
            if len(self._accounts) >= ACCOUNTS_MAX:
                del self._accounts[next(iter(self._accounts))]
            self._accounts[path] = key

    def _hold(self, scope: str, authorization: str, seconds: float) -> None:
        now = self._clock()
        with self._lock:  # of two threads, neither takes from the other what he will ask with
            live = {name: held for name, held in self._held.items() if held.ends_at > now}
            self._held = {**live, scope: _Held(authorization=authorization, ends_at=now + seconds)}

    def _realm(self, challenged: Url, challenge: Challenge) -> Url:
        try:
            realm = parse_url(challenge.parameters.get("realm", ""))
        except InputError as err:
            raise UnreachableError(f"{self._host}: token realm is unusable: {err}") from err
        if realm.scheme == "https":
            return realm
        on_this_machine = challenged.names_loopback and realm.names_loopback
        beside_it = self._plain_http and realm.host == challenged.host
        if challenged.scheme == "http" and (on_this_machine or beside_it):
            return realm
        raise UnreachableError(f"{self._host}: token realm refused: {realm.origin} is not reached over HTTPS")

    def _fetch(
        self,
        realm: Url,
        fields: dict[str, str],
        credential: Credential | None,
        *,
        allow_local: bool,
        deadline: Deadline,
    ) -> Response:
        from urllib.parse import urlencode  # noqa: PLC0415 - 8 ms that only a token costs

        if isinstance(credential, IdentityToken):
            fields |= {"grant_type": "refresh_token", "client_id": CLIENT_ID, "refresh_token": credential.secret}
            return self._http.request(
                "POST",
                realm,
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=urlencode(fields).encode("ascii"),
                max_bytes=TOKEN_MAX_BYTES,
                deadline=deadline,
                plain_http=realm.scheme == "http",
                allow_local=allow_local,
            )
        return self._http.request(
            "GET",
            self._with_query(realm, urlencode(fields)),
            headers={"Authorization": _basic(credential)} if isinstance(credential, Login) else {},
            max_bytes=TOKEN_MAX_BYTES,
            deadline=deadline,
            plain_http=realm.scheme == "http",
            allow_local=allow_local,
        )

    def _with_query(self, realm: Url, query: str) -> Url:
        try:
            return parse_url(f"{realm}{'&' if '?' in realm.target else '?'}{query}")
        except InputError as err:  # a service of thousands of letters
            raise UnreachableError(f"{self._host}: token realm is unusable: {err}") from err

    def _keep_token(self, realm: Url, scope: str, answer: Response) -> None:
        if answer.status != _OK:
            raise UnreachableError(f"{self._host}: no token: {realm.origin} answered {answer.status}")
        try:
            document: Any = json.loads(answer.body)
            token = document.get("token") or document.get("access_token")
            seconds = document.get("expires_in") or TOKEN_SECONDS
            if not isinstance(token, str) or not _TOKEN.fullmatch(token) or not isinstance(seconds, int):
                raise TypeError  # noqa: TRY301 - one message for every other form
            lasts_seconds = max(1.0, seconds * 0.8)
        except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
            # the cause may quote a token
            raise UnreachableError(f"{self._host}: no token: {realm.origin} answered in another form") from None
        self._hold(scope, f"Bearer {token}", lasts_seconds)


def _scope(path: str, actions: str) -> str:
    return f"repository:{path}:{actions}"


def _basic(login: Login) -> str:
    return "Basic " + b64encode(f"{login.user}:{login.secret}".encode()).decode("ascii")
