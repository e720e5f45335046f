"""Proxies: which one is taken, and what it gets to see."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.simulators.authority import Authority
from tests.simulators.network import ELSEWHERE, SimulatedNetwork
from tests.simulators.proxy import ForwardingProxy
from tests.simulators.wire import Exchange, Script, WireServer
from trust.deadline import Deadline, deadline_in
from trust.errors import InputError, UnreachableError
from trust.oci.http import Http
from trust.oci.proxy import proxy_for
from trust.oci.url import parse_url

HOST = "registry.example.com"
PROXY = "http://proxy.example.com:3128"


def soon() -> Deadline:
    return deadline_in(10, time.monotonic)


def hello(exchange: Exchange) -> None:
    exchange.answer(200, b"hello")


@contextmanager
def tunnel(
    authority: Authority, script: Script, host: str = HOST
) -> Iterator[tuple[Http, WireServer, WireServer]]:
    """Give a client that comes to ``host`` through a proxy alone, the server there, and the proxy."""
    with (
        WireServer(script=script, tls=authority.server_context(HOST)) as server,
        WireServer(script=ForwardingProxy({host: server.port}).script) as proxy,
        Http(environ={"HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(authority.certificate)}) as http,
    ):
        yield http, server, proxy


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def test_https_goes_through_a_tunnel_and_its_secrets_stay_inside(authority: Authority) -> None:
    with (
        WireServer(script=hello, tls=authority.server_context(HOST)) as server,
        WireServer(script=ForwardingProxy({HOST: server.port}).script) as proxy,
        Http(
            environ={
                "HTTPS_PROXY": f"http://me:pass%20word@{proxy.host}",
                "SSL_CERT_FILE": str(authority.certificate),
            }
        ) as http,
    ):
        for _ in range(2):
            response = http.request(
                "GET", f"https://{HOST}/v2/", headers={"Authorization": "Basic x"}, max_bytes=9, deadline=soon()
            )
            assert (response.body, response.is_local) == (b"hello", False)
    (opened,) = proxy.requests
    assert (opened.method, opened.target) == ("CONNECT", f"{HOST}:443")
    assert opened.headers["proxy-authorization"] == "Basic " + b64encode(b"me:pass word").decode()
    assert "authorization" not in opened.headers
    assert "proxy-authorization" not in server.requests[0].headers


def test_plain_http_goes_through_the_proxy_in_absolute_form() -> None:
    with (
        WireServer(script=hello) as server,
        WireServer(script=ForwardingProxy({HOST: server.port}).script) as proxy,
        Http(environ={"http_proxy": proxy.url}) as http,
    ):
        response = http.request("GET", f"http://{HOST}/v2/", max_bytes=9, deadline=soon(), plain_http=True)
    assert response.body == b"hello"
    assert proxy.targets == [f"GET http://{HOST}/v2/"]


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".example", ".example.com"])
def test_host_that_can_be_no_name_ends_behind_a_tunnel_too(authority: Authority, host: str) -> None:
    with (
        tunnel(authority, hello, host) as (http, server, _),
        pytest.raises(UnreachableError, match="no name of a host"),
    ):
        http.request("GET", f"https://{host}/", max_bytes=9, deadline=soon())
    assert server.requests == []


def test_proxy_that_refuses_the_tunnel_is_named() -> None:
    with (
        WireServer(script=lambda exchange: exchange.answer(407)) as proxy,
        Http(environ={"HTTPS_PROXY": proxy.url}) as http,
        pytest.raises(UnreachableError, match=rf"proxy {proxy.url}: expected a tunnel to {HOST}:443, got 407"),
    ):
        http.request("GET", f"https://{HOST}/", max_bytes=9, deadline=soon())


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "localhost", "api.localhost", "127.1", "0x7f000001", "2130706433", "169.254.169.254", "[::1]",
     "localhost.", "api.localhost."],
)  # fmt: skip
def test_redirect_through_a_proxy_to_a_local_address_is_refused(authority: Authority, address: str) -> None:
    """The proxy's own services are as little a stranger's business as ours."""

    def script(exchange: Exchange) -> None:
        exchange.answer(302, Location=f"https://{address}/latest")

    with tunnel(authority, script) as (http, _, proxy), pytest.raises(UnreachableError, match="local address"):
        http.request("GET", f"https://{HOST}/", max_bytes=9, deadline=soon())
    assert proxy.targets == [f"CONNECT {HOST}:443"]


def test_this_machine_is_never_asked_for_through_a_proxy() -> None:
    network = SimulatedNetwork(names={"proxy.example.com": [ELSEWHERE]})
    with WireServer(script=hello) as server, Http(environ={"http_proxy": PROXY}, network=network) as http:
        network.doors["127.0.0.1"] = server.port
        http.request("GET", server.url, max_bytes=9, deadline=soon())
    assert network.dialled == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_proxied"),
    [
        ("https://registry.example.com/", "", True),
        ("https://registry.example.com/", "*", False),
        ("https://registry.example.com/", "example.com", False),
        ("https://registry.example.com/", ".example.com", False),
        ("https://registry.example.com/", "*.example.com", False),
        ("https://registry.example.com/", " other.org , registry.example.com ", False),
        ("https://registry.example.com/", "REGISTRY.EXAMPLE.COM", False),
        ("https://example.com/", ".example.com", True),
        ("https://example.com/", "example.com", False),
        ("https://badexample.com/", "example.com", True),
        ("https://registry.example.com/", "registry.example.com:443", False),
        ("https://registry.example.com/", "registry.example.com:5000", True),
        ("https://registry.example.com:5000/", "registry.example.com:5000", False),
        ("https://registry.example.com/", "registry.example.com:\u00b2," + "x:" + "9" * 5000, True),
        ("https://10.1.2.3/", "10.0.0.0/8", False),
        ("https://11.1.2.3/", "10.0.0.0/8", True),
        ("https://registry.example.com/", "10.0.0.0/8", True),
        ("https://[2001:db8::1]/", "2001:db8::/32", False),
        ("https://[2001:db8::1]/", "[2001:db8::1]", False),
        ("https://[2001:db8::1]/", "[2001:db8::1]:443", False),
        ("https://[2001:db8::1]/", "2001:db9::/32", True),
    ],
)
def test_no_proxy_is_read_as_docker_reads_it(url: str, no_proxy: str, *, is_proxied: bool) -> None:
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}
    assert (proxy_for(parse_url(url), environ) is not None) == is_proxied


def test_lower_case_wins_over_upper_case_and_each_scheme_has_its_own() -> None:
    environ = {"https_proxy": "http://lower.example.com", "HTTPS_PROXY": PROXY}
    found = proxy_for(parse_url("https://registry.example.com/"), environ)
    assert found is not None
    assert found.url.host == "lower.example.com"
    assert proxy_for(parse_url("http://registry.example.com/"), environ) is None


def test_proxy_may_be_named_without_its_scheme() -> None:
    found = proxy_for(parse_url("https://registry.example.com/"), {"HTTPS_PROXY": "proxy.example.com:3128"})
    assert found is not None
    assert str(found.url) == "http://proxy.example.com:3128/"


def test_login_of_a_proxy_is_sent_in_the_bytes_of_the_variable() -> None:
    """A byte that is no UTF-8 comes in as half of a surrogate pair."""
    found = proxy_for(parse_url("https://registry.example.com/"), {"HTTPS_PROXY": "http://\udcff:p@p.example.com"})
    assert found is not None
    assert found.authorization == "Basic " + b64encode(b"\xff:p").decode()


def test_http_proxy_from_a_web_request_is_ignored_cve_2016_5385() -> None:
    environ = {"HTTP_PROXY": PROXY, "REQUEST_METHOD": "GET"}
    assert proxy_for(parse_url("http://registry.example.com/"), environ) is None


@pytest.mark.parametrize(
    "spelled", ["https://proxy.example.com", "socks5://proxy.example.com", "http://", "http://a b"]
)
def test_unusable_proxy_is_bad_input(spelled: str) -> None:
    with pytest.raises(InputError):
        proxy_for(parse_url("https://registry.example.com/"), {"HTTPS_PROXY": spelled})


def test_secret_of_the_proxy_is_in_no_repr_and_no_message() -> None:
    environ = {"HTTPS_PROXY": "http://me:hidden@proxy.example.com"}
    assert "hidden" not in repr(proxy_for(parse_url("https://registry.example.com/"), environ))
    with pytest.raises(InputError) as caught:
        proxy_for(parse_url("https://registry.example.com/"), {"HTTPS_PROXY": "ftp://me:hidden@proxy.example.com"})
    assert "hidden" not in str(caught.value)
