"""An upstream that lies about bytes, dies, drips, sends elsewhere or asks for logins; a shim that trusts nothing.

What a client of the shim sees is the signed content whole, an answer that says why not, or a broken transfer.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from registry_shim.worker import THREADS
from tests.simulators.shim import Reply, until
from tests.simulators.upstream import basic, picture
from tests.simulators.wire import Exchange, Script, WireServer, answer
from tests.simulators.yard import OWN_LOGIN, Plot, yard
from trust.digest import sha256
from trust.manifest import OCI_MANIFEST

ALICE, MALLORY = basic("alice"), basic("mallory")


def kept(plot: Plot) -> bool:
    """Tell whether the last layer is in the shim's cache."""
    hexadecimal = plot.picture.layer.hex
    return (plot.yard.shim.home / "cache/sha256" / hexadecimal[:2] / hexadecimal).exists()


def layer(plot: Plot) -> bytes:
    return plot.picture.blobs[-1]


def lies(plot: Plot, script: Script) -> str:
    """Have the upstream do ``script`` for the last layer, whose manifest has passed; return the address."""
    assert plot.through("1").status == 200
    address = plot.at(plot.picture.layer, "blobs")
    plot.yard.registry.rules[address] = script
    return address


def fetched(plot: Plot, **headers: str) -> Reply:
    return plot.through(plot.picture.layer, "blobs", **headers)


def require_nothing_kept(plot: Plot) -> None:
    """Require that neither the cache nor a file on its way holds any of it, and that the honest blob comes."""
    assert not kept(plot)
    until(lambda: not list((plot.yard.shim.home / "cache/incoming").iterdir()), "nothing is on its way")
    plot.yard.registry.rules.clear()
    reply = fetched(plot)
    assert (reply.status, reply.body, reply.is_whole) == (200, layer(plot), True)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda data: data[:-1] + b"!", id="last byte wrong"),
        pytest.param(lambda data: b"!" + data[1:], id="first byte wrong"),
    ],
)
def test_blob_of_wrong_bytes_is_a_broken_transfer(plot: Plot, change: object) -> None:
    assert callable(change)
    forged = change(layer(plot))
    lies(plot, lambda exchange: exchange.answer(200, forged))
    assert plot.unprotected(plot.picture.layer, "blobs").body == forged
    reply = fetched(plot)
    assert not reply.is_whole
    assert len(reply.body) < len(forged)
    require_nothing_kept(plot)


def test_small_blob_of_wrong_bytes_is_refused_before_its_first_byte(plot: Plot) -> None:
    plot.through("1")
    small = plot.picture.blobs[1]
    digest = plot.picture.manifest.split(b'"digest": "')[2][:71].decode()
    plot.yard.registry.rules[f"/v2/{plot.path}/blobs/{digest}"] = lambda exchange: exchange.answer(
        200, small[::-1]
    )
    reply = plot.yard.shim.ask(f"/v2/{plot.path}/blobs/{digest}")
    assert (reply.status, reply.reason) == (403, "tampered")
    assert small[::-1] not in reply.body


@pytest.mark.parametrize("length", [1, 600_000])
def test_short_blob_is_a_broken_transfer(plot: Plot, length: int) -> None:
    """The upstream calls it whole."""
    lies(plot, lambda exchange: exchange.answer(200, layer(plot)[:length]))
    assert plot.unprotected(plot.picture.layer, "blobs").is_whole
    reply = fetched(plot)
    assert (reply.status, reply.is_whole) in {(403, True), (200, False)}
    assert reply.status == 403 or len(reply.body) < length
    require_nothing_kept(plot)


def test_long_blob_is_a_broken_transfer(plot: Plot) -> None:
    lies(plot, lambda exchange: exchange.answer(200, layer(plot) + b"more"))
    assert plot.unprotected(plot.picture.layer, "blobs").body.endswith(b"more")
    reply = fetched(plot)
    assert not reply.is_whole
    require_nothing_kept(plot)


@pytest.mark.parametrize("breaks", ["reset", "end"])
def test_upstream_that_dies_in_mid_blob_is_a_broken_transfer(plot: Plot, breaks: str) -> None:
    def die(exchange: Exchange) -> None:
        exchange.send(answer(200, Content_Length=str(len(layer(plot)))) + layer(plot)[:400_000])
        getattr(exchange, breaks)()

    lies(plot, die)
    assert not plot.unprotected(plot.picture.layer, "blobs").is_whole
    reply = fetched(plot)
    assert (reply.status, reply.is_whole) in {(503, True), (200, False)}
    require_nothing_kept(plot)


def test_upstream_without_a_length_that_dies_is_no_short_success(plot: Plot) -> None:
    """A client of its own takes the end of the connection for the end of the blob."""

    def die(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + layer(plot)[:400_000])
        exchange.end()

    lies(plot, die)
    assert plot.unprotected(plot.picture.layer, "blobs").is_whole
    reply = fetched(plot)
    assert (reply.status, reply.is_whole) in {(403, True), (200, False)}
    require_nothing_kept(plot)


def test_client_that_leaves_in_mid_blob_leaves_a_whole_one_in_the_cache(plot: Plot) -> None:
    go_on = threading.Event()

    def pause(exchange: Exchange) -> None:
        exchange.send(answer(200, Content_Length=str(len(layer(plot)))) + layer(plot)[:400_000])
        go_on.wait(20)
        exchange.send(layer(plot)[400_000:])

    address = lies(plot, pause)
    with socket.create_connection(("127.0.0.1", plot.yard.shim.port), timeout=20) as connection:
        connection.sendall(f"GET {address} HTTP/1.1\r\nHost: shim\r\n\r\n".encode())
        assert b"200 OK" in connection.recv(65536)
    assert not kept(plot)
    go_on.set()
    until(lambda: kept(plot), "the blob is kept")
    plot.yard.registry.rules.clear()
    reply = fetched(plot)
    assert (reply.body, reply.is_whole) == (layer(plot), True)


def test_many_clients_of_a_new_blob_cost_the_upstream_one_answer(plot: Plot) -> None:
    plot.through("1")
    replies: list[Reply] = []
    threads = [threading.Thread(target=lambda: replies.append(fetched(plot))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {(reply.status, reply.is_whole, reply.body == layer(plot)) for reply in replies} == {(200, True, True)}
    assert plot.asked().count(f"GET {plot.at(plot.picture.layer, 'blobs')}") <= 2


@pytest.mark.parametrize("status", [400, 403, 410, 418, 500, 502])
def test_no_answer_but_404_is_absence(plot: Plot, status: int) -> None:
    """Whoever can make a registry stumble must not make an image look unpublished."""
    plot.yard.registry.rules[plot.at(plot.picture.digest)] = lambda exchange: exchange.answer(status, b"no")
    reply = plot.through("1")
    assert reply.status == (403 if status == 403 else 503)
    assert reply.error["code"] == "DENIED"
    assert reply.status == 403 or int(reply.headers["retry-after"]) > 0


def test_challenge_that_cannot_be_a_header_does_no_harm(plot: Plot) -> None:
    plot.yard.registry.rules[plot.at(plot.picture.digest)] = lambda exchange: exchange.send(
        b'HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm="\xff\xfe"\r\nContent-Length: 0\r\n\r\n'
    )
    assert plot.through("1").status in {401, 503}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[WireServer]:
    """Give a server that is not among the hosts to which an upstream may send on."""
    with WireServer(script=lambda exchange: exchange.answer(200, b"secret of this machine")) as server:
        yield server


@pytest.mark.parametrize(
    "location",
    [
        "{elsewhere}/latest/meta-data", "http://localhost:1/x", "http://[::1]:1/x", "http://169.254.169.254/x",
        "http://0/x", "http://storage.test/x", "https://127.0.0.1:1/", "file:///etc/passwd", "//127.0.0.1:1/x",
        "gopher://127.0.0.1/",
    ],
)  # fmt: skip
def test_redirect_to_a_host_that_is_not_allowed_is_not_followed(
    plot: Plot, elsewhere: WireServer, location: str
) -> None:
    where = location.format(elsewhere=elsewhere.url)

    def send_on(exchange: Exchange) -> None:
        exchange.answer(307, Location=where)

    plot.yard.registry.rules[plot.at(plot.picture.digest)] = send_on
    replies = [plot.through("1")]
    plot.yard.registry.rules.clear()
    lies(plot, send_on)
    for reply in (*replies, fetched(plot)):
        assert (reply.status, reply.reason) == (503, "unreachable")
        assert b"secret" not in reply.body
    assert elsewhere.requests == []


def test_login_is_not_sent_on_with_an_allowed_redirect(tmp_path: Path) -> None:
    """CVE-2020-15157."""
    with (
        WireServer(script=lambda exchange: exchange.answer(200, blob)) as storage,
        yard(tmp_path, upstream={"redirects": ["localhost"]}) as own,  # on one machine a name is another host
    ):
        plot = own.plot()
        blob = layer(plot)
        target = f"http://localhost:{storage.port}/blob"
        lies(plot, lambda exchange: exchange.answer(307, Location=target))
        reply = fetched(plot, Authorization=ALICE)
        assert (reply.status, reply.body == blob) == (200, True)
        (seen,) = storage.requests
        assert "authorization" not in seen.headers
        asked = own.server.requests[-1]
        assert asked.headers["authorization"] == ALICE


def test_private_image_is_served_from_the_cache_to_nobody_else(plot: Plot) -> None:
    plot.yard.registry.logins[plot.path] = {ALICE}
    assert plot.unprotected("1").status == 401
    assert plot.through("1", Authorization=ALICE).body == plot.picture.manifest
    assert fetched(plot, Authorization=ALICE).body == layer(plot)
    until(lambda: kept(plot), "the blob is kept")
    for headers in ({}, {"Authorization": MALLORY}, {"Authorization": ""}):
        for last, kind in (
            ("1", "manifests"), (plot.picture.digest, "manifests"), (plot.picture.digest, "blobs"),
            (plot.picture.layer, "blobs"), ("list", "tags"), (plot.picture.digest, "referrers"),
        ):  # fmt: skip
            for method in ("GET", "HEAD"):
                assert plot.through("1", Authorization=ALICE).status == 200  # what is at hand is hers, and warm
                reply = plot.through(last, kind, method, **headers)
                assert reply.status == 401, (last, kind)
                assert reply.headers["www-authenticate"] == 'Basic realm="tests"'
        ranged = fetched(plot, Range="bytes=0-9", **headers)
        assert ranged.status == 401
    assert fetched(plot, Authorization=ALICE).body == layer(plot)


def test_private_blob_on_its_way_is_nobody_elses(plot: Plot) -> None:
    """Two logins ask for one blob at once: each is asked for."""
    plot.yard.registry.logins[plot.path] = {ALICE}
    assert plot.through("1", Authorization=ALICE).status == 200
    begun, refused, replies = threading.Event(), threading.Event(), list[Reply]()

    def half(exchange: Exchange) -> None:
        if exchange.request.headers.get("authorization") != ALICE:
            exchange.answer(401)
            return
        exchange.send(answer(200, Content_Length=str(len(layer(plot)))) + layer(plot)[:400_000])
        begun.set()
        refused.wait(30)
        exchange.send(layer(plot)[400_000:])

    plot.yard.registry.rules[plot.at(plot.picture.layer, "blobs")] = half
    alice = threading.Thread(target=lambda: replies.append(fetched(plot, Authorization=ALICE)))
    alice.start()
    assert begun.wait(30)
    mallory = threading.Thread(target=lambda: replies.append(fetched(plot, Authorization=MALLORY)))
    mallory.start()
    mallory.join(5)  # without the upstream's word he would wait for the rest of what Alice is sent
    refused.set()
    for thread in (alice, mallory):
        thread.join(30)
    assert [reply.status for reply in replies] == [401, 200]


def test_empty_blob_grants_nobody_what_is_private(plot: Plot) -> None:
    """It has no byte to wait for: the upstream's word on the login is waited for all the same."""
    image = picture(b"", b"secret")
    plot.push("private", image)
    plot.yard.sign(plot.path, "private", image.manifest)
    plot.yard.registry.logins[plot.path] = {ALICE}
    assert plot.through("private", Authorization=ALICE).status == 200
    assert plot.through(image.layer, "blobs", Authorization=ALICE).body == b"secret"
    assert plot.through(sha256(b""), "blobs").status == 401
    for last, kind in (("private", "manifests"), (image.layer, "blobs"), ("list", "tags")):
        assert plot.through(last, kind).status == 401, (last, kind)


def test_login_that_is_taken_away_is_felt(tmp_path: Path) -> None:
    with yard(tmp_path, limits={"grant": "1s"}) as own:
        plot = own.plot()
        own.registry.logins[plot.path] = {ALICE}
        assert fetched_as(plot, ALICE) == 200
        own.registry.logins[plot.path] = set()
        until(lambda: fetched_as(plot, ALICE) == 401, "the login is refused", seconds=5)


def fetched_as(plot: Plot, login: str) -> int:
    plot.through("1", Authorization=login)
    return fetched(plot, Authorization=login).status


def test_own_login_is_the_shims_and_never_the_clients(plot: Plot) -> None:
    plot.yard.registry.logins[plot.path] = {OWN_LOGIN}
    assert plot.unprotected("1").status == 401
    before = len(plot.yard.server.requests)
    reply = plot.yard.shim.ask(f"/v2/own/{plot.path}/manifests/1", Authorization=ALICE)
    assert (reply.status, reply.body) == (200, plot.picture.manifest)
    sent = {request.headers.get("authorization") for request in plot.yard.server.requests[before:]
            if plot.path in request.target}  # fmt: skip
    assert sent <= {None, OWN_LOGIN}
    assert OWN_LOGIN in sent


def test_upstream_that_drips_is_given_up(tmp_path: Path) -> None:
    """A byte in a while holds whoever waits for the next one."""
    with yard(tmp_path, limits={"upstream": "1s"}) as own:
        plot = own.plot()
        for last, kind in ((plot.picture.digest, "manifests"), (plot.picture.layer, "blobs")):
            plot.through("1")
            own.registry.rules[plot.at(last, kind)] = lambda exchange: exchange.drip(
                answer(200, layer(plot), Content_Type=OCI_MANIFEST), every_seconds=0.05
            )
            own.shim.home.joinpath("cache/sha256", plot.picture.digest.hex[:2], plot.picture.digest.hex).unlink(
                missing_ok=True
            )
        started = time.monotonic()
        reply = fetched(plot)
        assert reply.status == 503 or not reply.is_whole
        assert time.monotonic() - started < 15


def test_image_that_is_revoked_while_its_manifest_comes_is_not_kept_as_allowed(tmp_path: Path) -> None:
    asked, go_on = threading.Event(), threading.Event()
    with yard(tmp_path) as own, ThreadPoolExecutor(1) as pool:
        plot = own.plot()

        def slow(exchange: Exchange) -> None:
            asked.set()
            go_on.wait(20)
            exchange.answer(200, plot.picture.manifest, Content_Type=OCI_MANIFEST)

        own.registry.rules[plot.at(plot.picture.digest)] = slow
        first = pool.submit(plot.through, "1")
        try:
            assert asked.wait(20)
            own.world.revoke("1", path=plot.path)
            plot.push("2", plot.stranger)
            own.sign(plot.path, "2", plot.stranger.manifest)
            until(lambda: plot.through("2").status == 200, "what was signed after it is served", seconds=10)
        finally:
            go_on.set()
        assert first.result().status == 200, "it was allowed when it was asked for"
        assert plot.through("1").status == 403


def test_blobs_that_hang_delay_no_revocation(tmp_path: Path) -> None:
    """Every thread that reads upstreams is taken: the trusted state is read by another one."""
    go_on = threading.Event()

    def hang(exchange: Exchange) -> None:
        go_on.wait(20)
        exchange.answer(404)

    with yard(tmp_path, limits={"connections": 100}) as own:
        plot = own.plot()
        image = picture(*(f"layer {number}".encode() for number in range(THREADS)))
        plot.push("many", image)
        own.sign(plot.path, "many", image.manifest)
        plot.through("many")
        plot.through("1")
        hanging = []
        for blob in image.blobs[1:]:
            address = plot.at(sha256(blob), "blobs")
            own.registry.rules[address] = hang
            hanging.append(socket.create_connection(("127.0.0.1", own.shim.port)))
            hanging[-1].sendall(f"GET {address} HTTP/1.1\r\nHost: shim\r\n\r\n".encode())
        until(lambda: sum("/blobs/" in target for target in own.server.targets) == THREADS, "every thread waits")
        own.world.revoke("1", path=plot.path)
        try:
            until(lambda: plot.through("1").status == 403, "the revocation is felt", seconds=10)
        finally:
            go_on.set()
            for connection in hanging:
                connection.close()
