"""Where a server may send us, and what goes along."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.simulators.authority import Authority
from tests.simulators.network import ELSEWHERE, SimulatedNetwork
from tests.simulators.wire import Exchange, Script, WireServer
from trust.deadline import Deadline, deadline_in
from trust.errors import UnreachableError
from trust.oci.http import Http

SECRET = "Basic c2VjcmV0OnNlY3JldA=="


def soon() -> Deadline:
    return deadline_in(10, time.monotonic)


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(environ={}) as door:
        yield door


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def to(location: str, status: int = 307) -> Script:
    return lambda exchange: exchange.answer(status, b"go there", Location=location)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirect_is_followed(http: Http, status: int) -> None:
    def script(exchange: Exchange) -> None:
        if exchange.request.target == "/v2/blob?a=1":
            exchange.answer(status, Location="/stored/blob?b=2")
        else:
            exchange.answer(200, b"content")

    with WireServer(script=script) as server:
        response = http.request("GET", f"{server.url}/v2/blob?a=1", max_bytes=100, deadline=soon())
    assert (response.body, response.url.target) == (b"content", "/stored/blob?b=2")


def test_redirect_loop_is_refused(http: Http) -> None:
    def script(exchange: Exchange) -> None:
        exchange.answer(302, Location={"/a": "/b", "/b": "/c", "/c": "/a"}[exchange.request.target])

    with WireServer(script=script) as server, pytest.raises(UnreachableError, match="circle"):
        http.request("GET", f"{server.url}/a", max_bytes=100, deadline=soon())
    assert server.targets == ["GET /a", "GET /b", "GET /c"]


def test_redirect_to_itself_is_refused(http: Http) -> None:
    with WireServer(script=to("/a")) as server, pytest.raises(UnreachableError, match="circle"):
        http.request("GET", f"{server.url}/a", max_bytes=100, deadline=soon())
    assert len(server.requests) == 1


def test_sixth_redirect_is_refused(http: Http) -> None:
    def script(exchange: Exchange) -> None:
        exchange.answer(302, Location=f"/{len(server.requests)}")

    with WireServer(script=script) as server, pytest.raises(UnreachableError, match="at most 5"):
        http.request("GET", f"{server.url}/a", max_bytes=100, deadline=soon())
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "ftp://127.0.0.1/x",
        "gopher://127.0.0.1/x",
        "data:text/plain,x",
        "unix:/run/docker.sock",
        "http://user:password@127.0.0.1/x",
        "http://127.0.0.1:99999/x",
        "http://127.0.0.1:0/x",
        "http://[::1/x",
        "http:///x",
        "//",
        "/a b",
        "/ä",
        "",
    ],
)
def test_redirect_to_what_is_no_http_address_is_refused(http: Http, location: str) -> None:
    with WireServer(script=to(location)) as server, pytest.raises(UnreachableError, match="redirect refused"):
        http.request("GET", f"{server.url}/a", max_bytes=100, deadline=soon())
    assert len(server.requests) == 1


LOCAL_ADDRESSES = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",  # noqa: S104 - what an attacker says
    "0.1.2.3",
    "169.254.169.254",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[fe80::1]",
    "[febf::1]",
    "[fd00:ec2::254]",
    "100.100.100.200",
    "168.63.129.16",
]


@pytest.mark.parametrize("address", LOCAL_ADDRESSES)
def test_redirect_from_elsewhere_to_a_local_address_is_refused(authority: Authority, address: str) -> None:
    network = SimulatedNetwork(names={"registry.example.com": [ELSEWHERE]})
    with (
        WireServer(
            script=to(f"https://{address}/latest/meta-data"), tls=authority.server_context("registry.example.com")
        ) as server,
        Http(environ={"SSL_CERT_FILE": str(authority.certificate)}, network=network) as http,
    ):
        network.doors[ELSEWHERE] = server.port
        with pytest.raises(UnreachableError, match="local address"):
            http.request("GET", "https://registry.example.com/a", max_bytes=100, deadline=soon())
    assert network.dialled == [ELSEWHERE]


def test_redirect_to_a_name_that_resolves_to_a_local_address_is_refused(authority: Authority) -> None:
    """DNS rebinding: one good address does not excuse the other."""
    network = SimulatedNetwork(
        names={"registry.example.com": [ELSEWHERE], "cdn.example.com": [ELSEWHERE, "169.254.169.254"]}
    )
    with (
        WireServer(
            script=to("https://cdn.example.com/x"), tls=authority.server_context("registry.example.com")
        ) as server,
        Http(environ={"SSL_CERT_FILE": str(authority.certificate)}, network=network) as http,
    ):
        network.doors[ELSEWHERE] = server.port
        with pytest.raises(UnreachableError, match="local address"):
            http.request("GET", "https://registry.example.com/a", max_bytes=100, deadline=soon())
    assert network.dialled == [ELSEWHERE]


def test_redirect_from_elsewhere_does_not_ride_on_a_kept_local_connection(authority: Authority) -> None:
    network = SimulatedNetwork(names={"registry.example.com": [ELSEWHERE]})
    with (
        WireServer(
            script=lambda exchange: exchange.answer(200, b"local"), tls=authority.server_context("127.0.0.1")
        ) as local,
        WireServer(script=to(f"{local.url}/x"), tls=authority.server_context("registry.example.com")) as server,
        Http(environ={"SSL_CERT_FILE": str(authority.certificate)}, network=network) as http,
    ):
        network.doors |= {ELSEWHERE: server.port, "127.0.0.1": local.port}
        http.request("GET", f"{local.url}/x", max_bytes=100, deadline=soon())
        with pytest.raises(UnreachableError, match="local address"):
            http.request("GET", "https://registry.example.com/a", max_bytes=100, deadline=soon())
    assert len(local.requests) == 1


def test_local_server_may_point_to_another_local_one(http: Http) -> None:
    with (
        WireServer(script=lambda exchange: exchange.answer(200, b"content")) as storage,
        WireServer(script=to(f"{storage.url}/x")) as server,
    ):
        response = http.request("GET", f"{server.url}/a", max_bytes=100, deadline=soon())
    assert response.body == b"content"


def test_redirect_from_https_to_http_is_refused(authority: Authority) -> None:
    with (
        WireServer(script=lambda exchange: exchange.answer(200, b"plain")) as plain,
        WireServer(script=to(f"{plain.url}/x"), tls=authority.server_context("127.0.0.1")) as server,
        Http(environ={"SSL_CERT_FILE": str(authority.certificate)}) as http,
        pytest.raises(UnreachableError, match="from HTTPS"),
    ):
        http.request("GET", f"{server.url}/a", max_bytes=100, deadline=soon())
    assert plain.requests == []


def test_redirect_from_this_machine_to_plain_http_elsewhere_is_refused() -> None:
    network = SimulatedNetwork(names={"cdn.example.com": [ELSEWHERE]})
    with (
        WireServer(script=to("http://cdn.example.com/x")) as server,
        Http(environ={}, network=network) as http,
    ):
        network.doors["127.0.0.1"] = server.port
        with pytest.raises(UnreachableError, match="plain HTTP"):
            http.request("GET", f"{server.url}/a", max_bytes=100, deadline=soon())
    assert network.dialled == ["127.0.0.1"]


def test_authorization_is_not_sent_on_to_another_port_cve_2020_15157(http: Http) -> None:
    with (
        WireServer(script=lambda exchange: exchange.answer(200, b"content")) as storage,
        WireServer(script=to(f"{storage.url}/x")) as server,
    ):
        http.request("GET", f"{server.url}/a", headers={"Authorization": SECRET}, max_bytes=100, deadline=soon())
    assert server.requests[0].headers["authorization"] == SECRET
    assert "authorization" not in storage.requests[0].headers


def test_authorization_that_was_dropped_does_not_come_back(http: Http) -> None:
    """There and back again: the second visit is the attacker's wish, not ours."""

    def first(exchange: Exchange) -> None:
        if exchange.request.target == "/a":
            exchange.answer(307, Location=f"{other.url}/b")
        else:
            exchange.answer(200, b"content")

    with (
        WireServer(script=first) as server,
        WireServer(script=lambda exchange: exchange.answer(307, Location=f"{server.url}/c")) as other,
    ):
        http.request("GET", f"{server.url}/a", headers={"authorization": SECRET}, max_bytes=100, deadline=soon())
    assert [request.headers.get("authorization") for request in server.requests] == [SECRET, None]


def test_authorization_stays_within_its_origin(http: Http) -> None:
    def script(exchange: Exchange) -> None:
        if exchange.request.target == "/a":
            exchange.answer(307, Location="/b")
        else:
            exchange.answer(200)

    with WireServer(script=script) as server:
        http.request("GET", f"{server.url}/a", headers={"Authorization": SECRET}, max_bytes=100, deadline=soon())
    assert server.requests[1].headers["authorization"] == SECRET


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_redirect_of_what_changes_something_is_handed_back(http: Http, method: str) -> None:
    with WireServer(script=to("/b")) as server:
        response = http.request(method, f"{server.url}/a", body=b"x", max_bytes=100, deadline=soon())
    assert (response.status, server.targets) == (307, [f"{method} /a"])


def test_redirect_is_handed_back_where_it_is_not_wanted(http: Http) -> None:
    with WireServer(script=to("/b")) as server:
        response = http.request("GET", f"{server.url}/a", max_bytes=100, deadline=soon(), follow=False)
    assert (response.status, response.headers["location"]) == (307, "/b")


def test_endless_body_of_a_redirect_is_not_read(http: Http) -> None:
    def script(exchange: Exchange) -> None:
        if exchange.request.target == "/b":
            exchange.answer(200, b"content")
            return
        exchange.send(b"HTTP/1.1 307 Go\r\nLocation: /b\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            exchange.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with WireServer(script=script) as server:
        response = http.request("GET", f"{server.url}/a", max_bytes=100, deadline=soon())
    assert response.body == b"content"
