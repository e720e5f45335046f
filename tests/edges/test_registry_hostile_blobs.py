"""A registry that lies as content is fetched from it, pushed to it or deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edges.hostile import DIGEST, MANIFEST, OTHER, at, read_until, says, soon
from tests.simulators.authority import Authority
from tests.simulators.network import ELSEWHERE, SimulatedNetwork
from tests.simulators.wire import Exchange, Script, WireServer
from trust.digest import sha256
from trust.errors import RefusedError, UnreachableError
from trust.manifest import OCI_MANIFEST
from trust.oci.credentials import Credentials
from trust.oci.errors import RegistryAnswerError
from trust.oci.http import Http
from trust.oci.registry import Registry


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(environ={}, sleep=lambda _: None) as door:
        yield door


def test_blob_that_ends_early_is_never_a_short_success(http: Http) -> None:
    content = b"x" * 500_000

    def script(exchange: Exchange) -> None:
        exchange.send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content[:-1])
        exchange.end()

    with WireServer(script=script) as server:
        chunks = at(server, http).blob("acme/web", sha256(content), len(content))
        assert read_until(chunks, UnreachableError, "cut short") < len(content)


@pytest.mark.parametrize("extra", [b"", b"y", b"y" * 300_000])
def test_blob_of_unstated_length_is_held_to_its_size_and_digest(http: Http, extra: bytes) -> None:
    content = b"x" * 300_000
    sent = content[: -1 if not extra else None] + extra
    raw = b"HTTP/1.1 200 OK\r\n\r\n" + sent

    def script(exchange: Exchange) -> None:
        exchange.send(raw)
        exchange.end()

    with WireServer(script=script) as server:
        chunks = at(server, http).blob("acme/web", sha256(content), len(content))
        assert read_until(chunks, RefusedError, "expected 300000 bytes") < len(content)


def test_endless_blob_is_ended_at_its_size(http: Http) -> None:
    sent = 0

    def script(exchange: Exchange) -> None:
        nonlocal sent
        exchange.send(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 500_000_000:
            exchange.send(b"x" * 65536)
            sent += 65536

    with WireServer(script=script) as server, pytest.raises(RefusedError, match="got more"):
        b"".join(at(server, http).blob("acme/web", DIGEST, 100_000))
    assert sent < 50_000_000


def test_refused_blob_stays_refused(http: Http) -> None:
    """Whoever goes on reading after the refusal does not reach a proper end."""
    with WireServer(script=says(200, b"forged")) as server:
        chunks = at(server, http).blob("acme/web", sha256(b"expect"), 6)
        for _ in range(3):
            with pytest.raises(RefusedError):
                b"".join(chunks)


def test_blob_given_up_early_leaves_no_connection(http: Http) -> None:
    with WireServer(script=says(200, b"x" * 3_000_000)) as server:
        chunks = at(server, http).blob("acme/web", DIGEST, 3_000_000)
        next(chunks)
        chunks.close()
        with pytest.raises(RefusedError):
            next(chunks)


def test_foreign_layer_urls_are_nobodys_business(http: Http) -> None:
    """A descriptor's ``urls`` are not even a parameter: a blob comes from its repository or not at all."""
    with WireServer(script=says(404)) as server, pytest.raises(RegistryAnswerError, match="404"):
        at(server, http).blob_bytes("acme/web", DIGEST, 5, deadline=soon())
    assert server.targets == [f"GET /v2/acme/web/blobs/{DIGEST}"]


def test_registry_that_says_it_stored_something_else_is_tampered(http: Http) -> None:
    with (
        WireServer(script=says(201, Docker_Content_Digest=str(OTHER))) as server,
        pytest.raises(RefusedError, match=f"expected the registry to store {DIGEST}, got {OTHER}"),
    ):
        at(server, http).put_manifest("acme/web", "1", MANIFEST, OCI_MANIFEST, deadline=soon())


def test_registry_that_does_not_say_what_it_stored_is_asked(http: Http) -> None:
    stored = MANIFEST

    def script(exchange: Exchange) -> None:
        if exchange.request.method == "PUT":
            exchange.answer(201)
        else:
            exchange.answer(200, stored)

    with WireServer(script=script) as server:
        registry = at(server, http)
        assert registry.put_manifest("acme/web", "1", MANIFEST, OCI_MANIFEST, deadline=soon()) == DIGEST
        stored = b"another"
        with pytest.raises(RefusedError):
            registry.put_manifest("acme/web", "1", MANIFEST, OCI_MANIFEST, deadline=soon())


def upload(location: str) -> Script:
    def script(exchange: Exchange) -> None:
        status = {"HEAD": 404, "POST": 202, "PUT": 201}[exchange.request.method]
        exchange.answer(status, Location=location)

    return script


@pytest.mark.parametrize(
    "location", ["", "file:///tmp/x", "ftp://x/", "http://evil.example.com/upload", "http://me:pw@127.0.0.1/x"]
)
def test_upload_address_that_is_unfit_gets_no_content(http: Http, location: str) -> None:
    with (
        WireServer(script=upload(location)) as server,
        pytest.raises(UnreachableError, match="upload address"),
    ):
        at(server, http).push_blob("acme/web", DIGEST, MANIFEST, deadline=soon())
    assert [request.method for request in server.requests] == ["HEAD", "POST"]


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/v2/acme/web/blobs/uploads/1", f"/v2/acme/web/blobs/uploads/1?digest={DIGEST}"),
        ("/v2/acme/web/blobs/uploads/1?_state=x", f"/v2/acme/web/blobs/uploads/1?_state=x&digest={DIGEST}"),
        ("1?_state=x", f"/v2/acme/web/blobs/uploads/1?_state=x&digest={DIGEST}"),
    ],
)
def test_upload_address_is_taken_as_it_is_given(http: Http, location: str, target: str) -> None:
    with WireServer(script=upload(location)) as server:
        assert at(server, http).push_blob("acme/web", DIGEST, MANIFEST, deadline=soon()) is True
    assert (server.requests[-1].target, server.requests[-1].body) == (target, MANIFEST)


@pytest.mark.parametrize(
    ("status", "is_gone"), [(202, True), (404, True), (400, False), (403, False), (405, False)]
)
def test_deletion_tells_whether_it_is_permitted(http: Http, status: int, *, is_gone: bool) -> None:
    with WireServer(script=says(status, json.dumps({"errors": []}).encode())) as server:
        assert at(server, http).delete_tag("acme/web", "1", deadline=soon()) is is_gone
    assert server.targets == ["DELETE /v2/acme/web/manifests/1"]


def test_deletion_that_fails_is_an_error(http: Http) -> None:
    with WireServer(script=says(500)) as server, pytest.raises(RegistryAnswerError):
        at(server, http).delete_tag("acme/web", "1", deadline=soon())


def test_storage_that_answers_get_alone_still_has_the_blob(http: Http) -> None:
    """An address signed for GET is refused to HEAD: the registry would not lead there without the content."""
    with (
        WireServer(script=says(403)) as storage,
        WireServer(script=says(307, Location=f"{storage.url}/signed")) as server,
    ):
        assert at(server, http).has_blob("acme/web", DIGEST, deadline=soon()) is True
        assert at(server, http).push_blob("acme/web", DIGEST, MANIFEST, deadline=soon()) is False


def test_upload_to_other_storage_carries_no_login(http: Http, tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()

    def script(exchange: Exchange) -> None:
        if "authorization" not in exchange.request.headers:
            exchange.answer(401, WWW_Authenticate="Basic realm=x")
        else:
            exchange.answer({"HEAD": 404, "POST": 202}[exchange.request.method], Location=f"{storage.url}/upload")

    with WireServer(script=says(201)) as storage, WireServer(script=script) as server:
        entry = {"auths": {server.host: {"auth": "eDp5"}, storage.host: {"auth": "eDp5"}}}
        (tmp_path / ".docker" / "config.json").write_text(json.dumps(entry))
        registry = Registry(server.host, http=http, credentials=Credentials(environ={}, home=tmp_path))
        assert registry.push_blob("acme/web", DIGEST, MANIFEST, deadline=soon()) is True
    (stored,) = storage.requests
    assert (stored.body, stored.headers.get("authorization")) == (MANIFEST, None)


def test_upload_address_on_this_machine_is_refused_to_a_registry_elsewhere(tmp_path: Path) -> None:
    """The content, and a request of the registry's wording, would go to a service that listens here alone."""
    authority = Authority(tmp_path)
    network = SimulatedNetwork(names={"registry.example.com": [ELSEWHERE]})
    with (
        WireServer(script=says(201), tls=authority.server_context("127.0.0.1")) as local,
        WireServer(
            script=upload(f"{local.url}/x"), tls=authority.server_context("registry.example.com")
        ) as server,
        Http(environ={"SSL_CERT_FILE": str(authority.certificate)}, network=network) as http,
    ):
        network.doors |= {ELSEWHERE: server.port, "127.0.0.1": local.port}
        nobody = Credentials(environ={}, home=tmp_path)
        registry = Registry("registry.example.com", http=http, credentials=nobody)
        with pytest.raises(UnreachableError, match="local address"):
            registry.push_blob("acme/web", DIGEST, MANIFEST, deadline=soon())
    assert local.requests == []
