"""Owns requests that no client of ours would send: a grammar of HTTP/1.1 that goes wrong in each place, at random.

Pure: the same random numbers make the same bytes. What leads to an unsigned image is among the targets, in every
spelling that is tried.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.fuzz.mutation import mutated
from trust.digest import Digest

LAST = b"GET /v2/ HTTP/1.1\r\nHost: shim\r\nConnection: close\r\n\r\n"  # who is still in step closes after it
_METHODS = (b"HEAD", b"PUT", b"POST", b"PATCH", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE", b"get", b"G\0T", b"",
            b"GET GET", b"X" * 300, b"\xff", b"PRI")  # fmt: skip
_VERSIONS = (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"HTTP/1.1 ", b"http/1.1", b"HTTP/1.", b"",
             b"HTTP/1.10", b"HTTP/1.1 HTTP/1.1")  # fmt: skip
_ENDS = (b"\n", b"\r", b"\n\r", b"\r\r\n", b" \r\n", b"\0\r\n")
_HEADERS = (
    b"Host: evil.test", b"Host:", b"Host: a\r\nHost: b", b"Range: bytes=0-10", b"Range: bytes=-5",
    b"Range: bytes=5-",
    b"Range: bytes=9-3", b"Range: bytes=0-1,3-4", b"Range: bytes=" + b"9" * 30 + b"-", b"Range: lines=1-2",
    b"Range: bytes=0-0,-1" * 50, b"If-Range: x", b'If-None-Match: "x"', b"If-None-Match: *", b"Accept: */*",
    b"Accept: application/vnd.oci.image.index.v1+json", b"Accept-Encoding: gzip, br", b"Authorization: Basic YTpi",
    b"Authorization: Basic !!!!", b"Authorization: Bearer x.y.z", b"Authorization: \xff", b"Authorization:",
    b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: -1", b"Content-Length: +5",
    b"Content-Length: 5, 5",
    b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: 99999999999999999999", b"Content-Length : 5",
    b"Content-Length: 0x5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    b"Transfer-Encoding: xchunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, identity",
    b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: \x0bchunked", b"transfer-encoding: CHUNKED",
    b"Expect: 100-continue", b"Expect: x", b"Upgrade: websocket\r\nConnection: Upgrade", b"Connection: keep-alive",
    b"Connection: close, keep-alive", b"Content-Encoding: gzip", b"Cookie: a=b", b"X-Forwarded-For: 127.0.0.1",
    b" folded: yes", b"\tfolded", b": no name", b"no colon", b"X: a\0b", b"X: a\rb", b"X: a\nb", b"X\xff: a",
    b"X: " + b"a" * 9000, b"X" * 9000 + b": a", b"\r\n".join(b"X-%d: a" % n for n in range(150)),
    b"X-HTTP-Method-Override: PUT", b"Content-Type: application/json", b"Via: 1.1 a", b"TE: trailers", b"X: ",
)  # fmt: skip
_SOUND = (
    b"Range: bytes=0-10", b"Range: bytes=-5", b"Range: bytes=5-", b"Range: bytes=9-3", b"Range: bytes=0-1,3-4",
    b"Range: bytes=999999999-", b"If-None-Match: *", b"Accept: */*", b"Accept-Encoding: gzip, br",
    b"Authorization: Basic YTpi", b"Authorization: Bearer x.y.z", b"Connection: keep-alive", b"TE: trailers",
    b"Accept: application/vnd.oci.image.index.v1+json", b"Content-Length: 0", b"Cookie: a=b", b"Via: 1.1 a",
)  # fmt: skip
_BODIES = (
    b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello", b"0\r\n\r\n", b"ffffffffffffffffff\r\nx",
    b"-5\r\nhello\r\n",
    b"5\nhello\n0\n\n", b"5;x=y\r\nhello\r\n0\r\nX: y\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"\0" * 40,
    b"a" * 70_000,
    b"5 \r\nhello\r\n0\r\n\r\n",
)  # fmt: skip


def request_bytes(chance: random.Random, *, path: str, digests: Sequence[Digest], tags: Sequence[str]) -> bytes:
    """Return what one connection sends: one to four requests, most of them wrong somewhere, and ``LAST``."""
    sent = b"".join(_request(chance, path, digests, tags) for _ in range(chance.choices((1, 2, 4), (8, 2, 1))[0]))
    if chance.random() < 0.12:
        sent = mutated(sent, "bytes", chance)
    return sent + LAST


def _request(chance: random.Random, path: str, digests: Sequence[Digest], tags: Sequence[str]) -> bytes:
    method = b"GET" if chance.random() < 0.8 else chance.choice(_METHODS)
    version = b"HTTP/1.1" if chance.random() < 0.9 else chance.choice(_VERSIONS)
    end = b"\r\n" if chance.random() < 0.95 else chance.choice(_ENDS)
    blank = b" " if chance.random() < 0.97 else chance.choice((b"  ", b"\t", b"", b"\0"))
    lines = [blank.join((method, _target(chance, path, digests, tags), version)), b"Host: shim"]
    if chance.random() < 0.05:
        del lines[1]
    count = chance.choices((0, 1, 2, 5), (6, 5, 3, 1))[0]
    lines += [chance.choice(_SOUND if chance.random() < 0.75 else _HEADERS) for _ in range(count)]
    body = chance.choice(_BODIES) if chance.random() < 0.15 else b""
    if body and chance.random() < 0.5:
        lines.append(b"Content-Length: %d" % len(body))
    return end.join((*lines, b"", b"")) + body


def _target(chance: random.Random, path: str, digests: Sequence[Digest], tags: Sequence[str]) -> bytes:
    if chance.random() < 0.4:  # as a client of ours would spell it, of whatever is there
        kind, names = chance.choice((("manifests", (*digests, *tags)), ("blobs", digests)))
        return f"/v2/{path}/{kind}/{chance.choice(names)}".encode()
    last = str(chance.choice(digests)) if chance.random() < 0.6 else chance.choice(tags)
    repository = chance.choice((path, path, path, "acme/none", f"second/{path}", f"registry.test/{path}",
                                "acme/trust-metadata", f"own/{path}", "evil.test/x"))  # fmt: skip
    target = chance.choice((
        f"/v2/{repository}/manifests/{last}", f"/v2/{repository}/manifests/{last}",
        f"/v2/{repository}/blobs/{last}",
        f"/v2/{repository}/blobs/{last}", f"/v2/{repository}/tags/list", f"/v2/{repository}/referrers/{last}",
        "/v2/", "/", "*", f"/v2/{repository}/blobs/uploads/",
        f"http://registry.test/v2/{repository}/manifests/{last}",
        f"//evil.test/v2/{repository}/manifests/{last}", "/v2/_catalog", "/metrics", "/healthz",
        f"/v2/{repository}/manifests/_trust", f"/v2/{repository}/tags/list?n=1&last={last}",
    )).encode()  # fmt: skip
    if chance.random() < 0.25:
        target += chance.choice((b"?ns=second.test", b"?ns=evil.test", b"?ns=registry.test&ns=second.test",
        b"?", b"#x",
                                 b"?n=-1", b"?n=" + b"9" * 50, b"?%", b"?a=%ff", b"?ns=registry.test%00",
                                 b";x", b"/",
                                 b"?" + b"&".join(b"a%d=" % n for n in range(40)), b"?x=" + b"y" * 5000, b"%00",
                                 b"?artifactType=x/y", b"%20", b"\xc3\xa9", b"?ns[]=x", b"/../x"))  # fmt: skip
    return _misspelt(chance, target) if chance.random() < 0.2 else target


def _misspelt(chance: random.Random, target: bytes) -> bytes:
    """Return the address in another spelling, which some server might read as the same."""
    at = chance.randrange(len(target))
    before, one, after = target[:at], target[at : at + 1], target[at + 1 :]
    return chance.choice((
        before + b"%%%02x" % one[0] + after,
        before + one.swapcase() + after,
        before + b"/../" + one + after,
        before + b"/./" + one + after,
        before + b"%25" + one + after,
        before + bytes([chance.randrange(256)]) + one + after,
        target.replace(b"/", b"//", 1 + chance.randrange(3)),
        target.replace(b":", b"%3a").replace(b"/", b"%2f", chance.randrange(2)),
    ))  # fmt: skip
