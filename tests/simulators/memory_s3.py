"""A small S3 in memory, at the wire: it honours conditions as real ones do, until a test has it do otherwise."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.simulators.wire import Exchange

Fault = Callable[[Exchange], bool]
"""Sees a request first; true where it has answered, or not, in the server's place."""


@dataclass(kw_only=True)
class MemoryS3:
    """Serves path-style requests of objects; the script of a ``WireServer``."""

    objects: dict[str, bytes] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    honours_create: bool = True
    honours_match: bool = True
    gives_etags: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, exchange: Exchange) -> None:
        if any(fault(exchange) for fault in list(self.faults)):
            return
        with self.lock:
            status, body, headers = self.done(exchange)
        if exchange.request.method == "HEAD":
            length = headers.pop("Content_Length", str(len(body)))
            exchange.answer(status, b"", Content_Length=length, **headers)
        else:
            exchange.answer(status, body, **headers)

    def done(self, exchange: Exchange) -> tuple[int, bytes, dict[str, str]]:
        """Do what is asked; return status, body and headers."""
        request = exchange.request
        key = request.target.partition("?")[0]
        if request.method == "GET" and "list-type=2" in request.target:
            return self._listing(request.target)
        if request.method in {"GET", "HEAD"}:
            return self._read(key, request.headers.get("if-none-match"))
        if request.method == "PUT":
            return self._write(key, request.body, request.headers)
        if request.method == "POST" and "delete" in request.target:
            names = re.findall(rb"<Key>([^<]+)</Key>", request.body)
            for name in names:
                self.objects.pop(f"{key.rstrip('/')}/{name.decode()}", None)
            deleted = b"".join(b"<Deleted><Key>%s</Key></Deleted>" % name for name in names)
            return 200, b"<DeleteResult>%s</DeleteResult>" % deleted, {"Content_Type": "application/xml"}
        return 501, b"", {}

    def _listing(self, target: str) -> tuple[int, bytes, dict[str, str]]:
        """Return every object below the prefix that is asked for, however many."""
        address = urlsplit(target)
        bucket, prefix = address.path.rstrip("/"), parse_qs(address.query).get("prefix", [""])[0]
        names = sorted(
            key.removeprefix(f"{bucket}/") for key in self.objects if key.startswith(f"{bucket}/{prefix}")
        )
        entries = "".join(
            f"<Contents><Key>{name}</Key><LastModified>2031-05-01T12:00:00.000Z</LastModified>"
            f"<Size>{len(self.objects[f'{bucket}/{name}'])}</Size></Contents>"
            for name in names
        )
        body = f"<ListBucketResult><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        return 200, body.encode(), {"Content_Type": "application/xml"}

    def _read(self, key: str, unless: str | None) -> tuple[int, bytes, dict[str, str]]:
        if key not in self.objects:
            return 404, b"<Error><Code>NoSuchKey</Code></Error>", {}
        tag = etag(self.objects[key])
        headers = {"Last_Modified": "Thu, 01 May 2031 12:00:00 GMT", **({"ETag": tag} if self.gives_etags else {})}
        return (304, b"", headers) if unless == tag else (200, self.objects[key], headers)

    def _write(self, key: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes, dict[str, str]]:
        there = self.objects.get(key)
        is_taken = headers.get("if-none-match") == "*" and there is not None and self.honours_create
        match = headers.get("if-match")
        is_other = match is not None and (there is None or etag(there) != match) and self.honours_match
        if is_taken or is_other:
            return 412, b"<Error><Code>PreconditionFailed</Code></Error>", {}
        self.objects[key] = body
        return 200, b"", {"ETag": etag(body)} if self.gives_etags else {}


def etag(data: bytes) -> str:
    """Return what S3 calls ``data``."""
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'
