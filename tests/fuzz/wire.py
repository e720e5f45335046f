"""The parsers of what comes over a network: answers of registries, login challenges, addresses of the shim."""

from __future__ import annotations

import io
import re
import socket
from http.client import HTTPException, HTTPResponse
from typing import Any, cast

from registry_shim.answers import RefusedRequestError
from registry_shim.routes import Ping, Routes, TagsAsk
from tests.fuzz.target import Target, require, text_of
from trust.errors import LimitError, RefusedError, UnreachableError
from trust.oci.answer import answer_error
from trust.oci.auth import Authenticator
from trust.oci.challenge import parse_challenges
from trust.oci.credentials import Credentials
from trust.oci.framing import read_body, read_head
from trust.oci.http import Http
from trust.oci.message import Headers, Response
from trust.oci.referrers import digests_in
from trust.oci.tag_list import _tags
from trust.oci.url import parse_url
from trust.oci.wire import Wire

_HERE = parse_url("https://registry.example.com/")
_ROUTES = Routes(
    names=frozenset({"registry.example.com", "docker.io"}),
    prefixes={"registry.example.com": "registry.example.com", "hub": "docker.io"},
    default="registry.example.com",
)


class _Recorded:
    """The end of a connection that says what was recorded, in pieces, and then ends."""

    def __init__(self, data: bytes) -> None:
        self._left = memoryview(data)

    def settimeout(self, _seconds: float) -> None:
        """Nothing is waited for."""

    def recv(self, size: int) -> bytes:
        piece, self._left = self._left[: min(size, 700)], self._left[min(size, 700) :]
        return bytes(piece)


def _answer(untrusted: bytes) -> tuple[int, bytes]:
    wire = Wire(
        cast("socket.socket", _Recorded(untrusted)), peer="https://registry.example.com", clock=lambda: 0.0
    )
    wire.limit(deadline=None, idle_seconds=1.0)
    head = read_head(wire, "GET")
    return head.status, b"".join(read_body(wire, head))


class _Made:
    """What ``http.client`` takes for a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def _second_answer(untrusted: bytes, found: tuple[int, bytes]) -> None:
    """The standard library reads more, and other things; where it reads, it reads the same."""
    if re.match(rb"HTTP/1\.[01] 1", untrusted):
        return  # it takes 103 for the answer
    response = HTTPResponse(cast("socket.socket", _Made(untrusted)), method="GET")
    try:
        response.begin()
        body = response.read()
    except (HTTPException, ValueError, OSError):
        return
    if response.status == 304:
        body = b""  # it reads chunks, where there are none
    require((response.status, body) == found, "two readers, one answer")


def _response(body: bytes) -> Response:
    return Response(status=200, headers=Headers(), body=body, url=_HERE, is_local=False)


def _token(untrusted: bytes) -> str | None:
    http, credentials = cast("Http", None), cast("Credentials", None)  # nothing is asked for
    kept = Authenticator("registry.example.com", http=http, credentials=credentials, plain_http=False, clock=_now)
    kept._keep_token(_HERE, "repository:acme/web:pull", _response(untrusted))
    return kept.authorization("acme/web", "pull")


def _now() -> float:
    return 0.0


def _held(_untrusted: bytes, found: str | None) -> None:
    require(found is not None and re.fullmatch(r"Bearer [!-~]+", found), "a token is one word, and is kept")


def _routed(_untrusted: bytes, found: Any) -> None:
    require(found.upstream in {*_ROUTES.names, None}, "no open proxy")
    if isinstance(found, Ping):
        return
    require(re.fullmatch(r"[a-z0-9]+([._/-]+[a-z0-9]+)*", found.path), "a path is a repository's")
    require(".." not in found.path and "//" not in found.path, "a path leads nowhere else")
    if isinstance(found, TagsAsk):
        require(0 <= found.count <= 1000 and found.address.isascii(), "a page has an end")


def _one_line(_untrusted: bytes, found: Any) -> None:
    text = f"{found}{found.hint}{found.codes}"
    require(text.isprintable(), "what a registry says cannot steer a terminal")


WIRE = (
    Target(
        name="answer", parse=_answer, refuses=(UnreachableError, LimitError), judge=_second_answer, form="bytes"
    ),
    Target(
        name="challenge", parse=lambda data: parse_challenges([data.decode("latin-1")]),
        refuses=(UnreachableError,),
    ),
    Target(name="token", parse=_token, refuses=(UnreachableError,), judge=_held, form="json"),
    Target(
        name="tags", parse=lambda data: _tags(_response(data), "registry.example.com"),
        refuses=(UnreachableError,), form="json",
    ),
    Target(
        name="error", parse=lambda data: answer_error("registry.example.com", "read it", 404, data),
        refuses=(), judge=_one_line, form="json",
    ),
    Target(
        name="referrers", parse=lambda data: digests_in(data, "acme/web"), refuses=(RefusedError, LimitError),
        form="json",
    ),
    Target(
        name="route", parse=lambda data: _ROUTES.parse(text_of(data)), refuses=(RefusedRequestError,),
        judge=_routed,
    ),
)  # fmt: skip
