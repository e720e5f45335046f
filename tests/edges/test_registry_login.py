"""How a registry is told who we are, and who else is not told."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulators.authority import Authority
from tests.simulators.network import ELSEWHERE, SimulatedNetwork
from tests.simulators.registry import PASSWORD, USER, TokenService, docker_registry
from tests.simulators.token_service import ISSUER, REFRESH_TOKEN, SERVICE, TokenIssuer
from tests.simulators.wire import Exchange, WireServer
from trust.deadline import Deadline, deadline_in
from trust.digest import sha256
from trust.errors import UnreachableError
from trust.oci.challenge import Challenge, parse_challenges
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry

BASIC = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
CONTENT = b"content"


def soon() -> Deadline:
    return deadline_in(10, time.monotonic)


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(environ={}) as door:
        yield door


def credentials(home: Path, entries: dict[str, dict[str, str]]) -> Credentials:
    (home / ".docker").mkdir(parents=True, exist_ok=True)
    (home / ".docker" / "config.json").write_text(json.dumps({"auths": entries}))
    return Credentials(environ={}, home=home)


def test_basic_login_of_a_real_registry(http: Http, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry", login=True) as server:
        known = Registry(server.host, http=http, credentials=credentials(tmp_path, {server.host: {"auth": BASIC}}))
        assert known.push_blob("acme/web", sha256(CONTENT), CONTENT, deadline=soon())
        assert known.blob_bytes("acme/web", sha256(CONTENT), len(CONTENT), deadline=soon()) == CONTENT
        nobody = Registry(server.host, http=http, credentials=credentials(tmp_path, {}))
        with pytest.raises(UnreachableError, match="wants a login for acme/web") as caught:
            nobody.tag_digest("acme/web", "1", deadline=soon())
        assert caught.value.hint == f"trust login {server.host}"
        wrong = b64encode(b"publisher:wr0ng").decode()
        wrongly = Registry(
            server.host, http=http, credentials=credentials(tmp_path, {server.host: {"auth": wrong}})
        )
        with pytest.raises(UnreachableError, match="wants a login") as caught:
            wrongly.tag_digest("acme/web", "1", deadline=soon())
        assert "wr0ng" not in str(caught.value)
        assert wrong not in str(caught.value)


def test_token_login_of_a_real_registry(http: Http, tmp_path: Path) -> None:
    """Everybody may pull with a token; a push asks for one more, with the user's login or refresh token."""
    issuer = TokenIssuer(*Authority(tmp_path).issue("token.example.com"))
    with WireServer(script=issuer.script) as service:
        tokens = TokenService(
            realm=f"{service.url}/token", service=SERVICE, issuer=ISSUER, certificates=issuer.certificates
        )
        with docker_registry(tmp_path / "registry", tokens=tokens) as server:
            for number, entry in enumerate(({"auth": BASIC}, {"identitytoken": REFRESH_TOKEN})):
                content = f"{CONTENT!r} {number}".encode()
                known = Registry(server.host, http=http, credentials=credentials(tmp_path, {server.host: entry}))
                assert known.push_blob("acme/web", sha256(content), content, deadline=soon())
                assert known.blob_bytes("acme/web", sha256(content), len(content), deadline=soon()) == content
            nobody = Registry(server.host, http=http, credentials=credentials(tmp_path, {}))
            assert nobody.has_blob("acme/web", sha256(content), deadline=soon())
            with pytest.raises(UnreachableError, match=r"wants a login for acme/web \(pull,push\)"):
                nobody.push_blob("acme/web", sha256(CONTENT), CONTENT, deadline=soon())
            wrong = credentials(tmp_path, {server.host: {"auth": b64encode(b"publisher:wrong").decode()}})
            with pytest.raises(UnreachableError, match="wants a login"):
                Registry(server.host, http=http, credentials=wrong).has_blob(
                    "acme/web", sha256(content), deadline=soon()
                )
    scopes = [request.target for request in service.requests if request.method == "GET"]
    assert scopes[:2] == [
        "/token?scope=repository%3Aacme%2Fweb%3Apull%2Cpush&service=tests",
        "/token?scope=repository%3Aacme%2Fweb%3Apull&service=tests",
    ]


def challenging(challenge: str, *, wanted: str = "granted") -> WireServer:
    """Return a registry that wants ``Bearer WANTED`` and says ``challenge``."""

    def script(exchange: Exchange) -> None:
        if exchange.request.headers.get("authorization") == f"Bearer {wanted}":
            exchange.answer(200, b'{"tags": ["1"]}')
        else:
            exchange.answer(401, b"{}", WWW_Authenticate=challenge)

    return WireServer(script=script)


def granting(**fields: object) -> WireServer:
    body = json.dumps({"token": "granted", **fields}).encode()
    return WireServer(script=lambda exchange: exchange.answer(200, body))


def tags(registry: Registry, path: str = "acme/web") -> list[str]:
    return list(registry.tags(path, deadline=soon()))


def test_token_is_kept_for_its_scope_and_not_for_another(http: Http, tmp_path: Path) -> None:
    with granting(expires_in=300) as service, challenging(f'Bearer realm="{service.url}/token"') as server:
        registry = Registry(server.host, http=http, credentials=credentials(tmp_path, {}))
        for path in ("acme/web", "acme/web", "acme/other", "acme/web"):
            assert tags(registry, path) == ["1"]
    assert service.targets == [
        "GET /token?scope=repository%3Aacme%2Fweb%3Apull",
        "GET /token?scope=repository%3Aacme%2Fother%3Apull",
    ]
    assert "authorization" not in server.requests[3].headers


def test_expired_token_is_fetched_anew(http: Http, tmp_path: Path) -> None:
    valid = 0

    def script(exchange: Exchange) -> None:
        if exchange.request.headers.get("authorization") == f"Bearer {valid}":
            exchange.answer(200, b'{"tags": []}')
        else:
            exchange.answer(401, WWW_Authenticate=f'Bearer realm="{service.url}/token"')

    def grant(exchange: Exchange) -> None:
        exchange.answer(200, json.dumps({"access_token": str(valid), "expires_in": 300}).encode())

    with WireServer(script=grant) as service, WireServer(script=script) as server:
        registry = Registry(server.host, http=http, credentials=credentials(tmp_path, {}))
        tags(registry)
        valid = 1  # the registry forgot the first one early
        tags(registry)
    assert len(service.requests) == 2


def test_scope_is_ours_and_not_the_registrys(http: Http, tmp_path: Path) -> None:
    """A registry that names a shared token server must not be given a token for somebody else's repository."""
    with (
        granting() as service,
        challenging(
            f'Bearer realm="{service.url}/token",service="s",scope="repository:bank/vault:pull,push"'
        ) as server,
    ):
        tags(Registry(server.host, http=http, credentials=credentials(tmp_path, {})))
    assert service.targets == ["GET /token?scope=repository%3Aacme%2Fweb%3Apull&service=s"]


def elsewhere(tmp_path: Path, challenge: str) -> tuple[WireServer, SimulatedNetwork, dict[str, str]]:
    """Return a registry at ``registry.example.com`` that answers everything with ``challenge``, in TLS."""
    authority = Authority(tmp_path)
    server = WireServer(
        script=lambda exchange: exchange.answer(401, WWW_Authenticate=challenge),
        tls=authority.server_context("registry.example.com"),
    )
    network = SimulatedNetwork(names={"registry.example.com": [ELSEWHERE], "auth.example.com": ["203.0.113.8"]})
    return server, network, {"SSL_CERT_FILE": str(authority.certificate)}


@pytest.mark.parametrize(
    "realm",
    [
        "http://auth.example.com/token",
        "http://registry.example.com/token",
        "http://127.0.0.1:1/token",
        "https://127.0.0.1:1/token",
        "https://localhost/token",
        "https://169.254.169.254/token",
        "https://[::1]/token",
        "file:///etc/passwd",
        "/token",
        "",
        "https://me:pw@auth.example.com/token",
        "ftp://auth.example.com/token",
    ],
)
def test_realm_that_may_not_see_the_login_never_does(tmp_path: Path, realm: str) -> None:
    server, network, environ = elsewhere(tmp_path, f'Bearer realm="{realm}",service="s"')
    found = credentials(tmp_path, {"registry.example.com": {"auth": BASIC}})
    with server, Http(environ=environ, network=network) as http:
        network.doors[ELSEWHERE] = server.port
        with pytest.raises(UnreachableError):
            tags(Registry("registry.example.com", http=http, credentials=found))
    assert network.dialled == [ELSEWHERE]
    assert [request.headers.get("authorization") for request in server.requests] == [None]


def test_service_that_makes_no_address_is_the_registrys_fault(tmp_path: Path) -> None:
    """Each of its letters is six in an address."""
    challenge = b'Bearer realm="https://auth.example.com/token",service="' + b"\xe9" * 7000 + b'"'
    refusal = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\nWWW-Authenticate: " + challenge + b"\r\n\r\n"
    with (
        WireServer(script=lambda exchange: exchange.send(refusal)) as server,
        Http(environ={}) as http,
        pytest.raises(UnreachableError, match=rf"{server.host}: token realm is unusable: address is too long"),
    ):
        tags(Registry(server.host, http=http, credentials=credentials(tmp_path, {})))


def test_realm_on_another_host_sees_the_login_in_tls_alone(tmp_path: Path) -> None:
    """The distribution's own design (auth.docker.io): over HTTPS the realm gets the login."""
    authority = Authority(tmp_path)

    def challenge(exchange: Exchange) -> None:
        if exchange.request.headers.get("authorization") == "Bearer granted":
            exchange.answer(200, b'{"tags": ["1"]}')
        else:
            exchange.answer(401, WWW_Authenticate='Bearer realm="https://auth.example.com/token?a=b",service="s"')

    network = SimulatedNetwork(names={"registry.example.com": [ELSEWHERE], "auth.example.com": ["203.0.113.8"]})
    with (
        WireServer(script=challenge, tls=authority.server_context("registry.example.com")) as server,
        WireServer(
            script=lambda exchange: exchange.answer(200, b'{"token": "granted"}'),
            tls=authority.server_context("auth.example.com"),
        ) as service,
        Http(environ={"SSL_CERT_FILE": str(authority.certificate)}, network=network) as http,
    ):
        network.doors |= {ELSEWHERE: server.port, "203.0.113.8": service.port}
        found = credentials(tmp_path, {"registry.example.com": {"auth": BASIC}})
        assert tags(Registry("registry.example.com", http=http, credentials=found)) == ["1"]
    (asked,) = service.requests
    assert asked.target == "/token?a=b&scope=repository%3Aacme%2Fweb%3Apull&service=s"
    assert asked.headers["authorization"] == f"Basic {BASIC}"
    assert [request.headers.get("authorization") for request in server.requests] == [None, "Bearer granted"]


def test_plain_registry_elsewhere_may_have_its_realm_beside_it_only(tmp_path: Path) -> None:
    network = SimulatedNetwork(names={"registry.example.com": [ELSEWHERE], "auth.example.com": ["203.0.113.8"]})
    realm = "http://registry.example.com/token"

    def script(exchange: Exchange) -> None:
        if exchange.request.target.startswith("/token"):
            exchange.answer(200, b'{"token": "granted"}')
        elif exchange.request.headers.get("authorization") == "Bearer granted":
            exchange.answer(200, b'{"tags": ["1"]}')
        else:
            exchange.answer(401, WWW_Authenticate=f'Bearer realm="{realm}"')

    with WireServer(script=script) as server, Http(environ={}, network=network) as http:
        network.doors[ELSEWHERE] = server.port
        found = credentials(tmp_path, {})
        assert tags(Registry("registry.example.com", http=http, credentials=found, plain_http=True)) == ["1"]
        realm = "http://auth.example.com/token"
        with pytest.raises(UnreachableError, match="not reached over HTTPS"):
            tags(Registry("registry.example.com", http=http, credentials=found, plain_http=True))
    assert set(network.dialled) == {ELSEWHERE}


def test_storage_that_challenges_is_not_answered(http: Http, tmp_path: Path) -> None:
    """A 401 after a redirect is the storage's: neither its realm nor its Basic is the registry's."""
    with (
        WireServer(script=lambda exchange: exchange.answer(401, WWW_Authenticate="Basic realm=x")) as storage,
        WireServer(script=lambda exchange: exchange.answer(307, Location=f"{storage.url}/x")) as server,
    ):
        found = credentials(tmp_path, {server.host: {"auth": BASIC}, storage.host: {"auth": BASIC}})
        with pytest.raises(UnreachableError, match="401"):
            Registry(server.host, http=http, credentials=found).blob_bytes(
                "acme/web", sha256(CONTENT), 7, deadline=soon()
            )
    assert [request.headers.get("authorization") for request in storage.requests] == [None]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"token": 5}',
        b'{"token": ""}',
        b'{"token": "a\\r\\nX-Evil: 1"}',
        b'{"token": "\\u00e4"}',
        b'{"token": "s3cr3t", "expires_in": "soon"}',
        b"[" * 50_000,
    ],
)
def test_token_in_another_form_is_an_error(http: Http, tmp_path: Path, body: bytes) -> None:
    with (
        WireServer(script=lambda exchange: exchange.answer(200, body)) as service,
        challenging(f'Bearer realm="{service.url}/token"') as server,
        pytest.raises(UnreachableError, match="in another form") as caught,
    ):
        tags(Registry(server.host, http=http, credentials=credentials(tmp_path, {})))
    assert "s3cr3t" not in str(caught.value)
    assert len(server.requests) == 1


def test_registry_that_never_has_enough_is_asked_twice(http: Http, tmp_path: Path) -> None:
    """A 401 in answer to a fresh token must not become a loop."""
    with granting() as service, challenging(f'Bearer realm="{service.url}/token"', wanted="another") as server:
        with pytest.raises(UnreachableError, match="wants a login"):
            tags(Registry(server.host, http=http, credentials=credentials(tmp_path, {})))
        assert (len(server.requests), len(service.requests)) == (2, 1)


def test_registry_token_goes_to_its_registry_as_it_is(http: Http, tmp_path: Path) -> None:
    with challenging('Bearer realm="https://auth.example.com/token"') as server:
        found = credentials(tmp_path, {server.host: {"registrytoken": "granted"}})
        assert tags(Registry(server.host, http=http, credentials=found)) == ["1"]


@pytest.mark.parametrize("kind", ["auth", "registrytoken"])
def test_login_of_one_part_of_a_host_is_not_sent_for_another(http: Http, tmp_path: Path, kind: str) -> None:
    """A file of podman's: two teams on one registry, each with its own login, and a robot for the rest."""
    logins = {name: b64encode(f"{name}:secret".encode()).decode() for name in ("a", "b", "robot")}

    def script(exchange: Exchange) -> None:
        if "authorization" in exchange.request.headers:
            exchange.answer(200, b'{"tags": ["1"]}')
        else:
            exchange.answer(401, b"{}", WWW_Authenticate="Basic realm=x")

    with WireServer(script=script) as server:
        keys = {f"{server.host}/team-a": "a", f"{server.host}/team-b": "b", server.host: "robot"}
        entries = {key: {kind: logins[name]} for key, name in keys.items()}
        registry = Registry(server.host, http=http, credentials=credentials(tmp_path, entries))
        for path in ("team-a/x", "team-b/x", "team-a/x", "team-c/x", "team-b/y", "team-c/x", "team-b/x"):
            assert tags(registry, path) == ["1"]
    sent = [request.headers.get("authorization", "").rpartition(" ")[2] for request in server.requests]
    a, b, robot = logins["a"], logins["b"], logins["robot"]
    assert sent == ["", a, "", b, a, "", robot, "", b, robot, b]


def test_login_is_not_sent_before_it_is_asked_for(http: Http, tmp_path: Path) -> None:
    with WireServer(script=lambda exchange: exchange.answer(200, b'{"tags": []}')) as server:
        tags(Registry(server.host, http=http, credentials=credentials(tmp_path, {server.host: {"auth": BASIC}})))
    assert "authorization" not in server.requests[0].headers


def test_endless_challenge_is_not_read(http: Http, tmp_path: Path) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\nWWW-Authenticate: Basic realm=x\r\n\r\n")
        while True:
            exchange.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with WireServer(script=script) as server, pytest.raises(UnreachableError, match="wants a login"):
        tags(Registry(server.host, http=http, credentials=credentials(tmp_path, {})))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["Basic realm=x"], [("basic", {"realm": "x"})]),
        (["Negotiate"], [("negotiate", {})]),
        (
            ['Bearer realm="https://a/t",service="s,=\\"x\\"",scope="repository:a:pull,push"'],
            [("bearer", {"realm": "https://a/t", "service": 's,="x"', "scope": "repository:a:pull,push"})],
        ),
        (['BASIC realm="a", Bearer Realm="b"'], [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        (['Basic realm="a"', 'Bearer realm="b"'], [("basic", {"realm": "a"}), ("bearer", {"realm": "b"})]),
        ([], []),
        ([""], []),
    ],
)
def test_challenges_are_read(values: list[str], expected: list[tuple[str, dict[str, str]]]) -> None:
    assert parse_challenges(values) == tuple(Challenge(scheme=s, parameters=p) for s, p in expected)


@pytest.mark.parametrize(
    "value",
    [
        'Bearer realm="a',
        'Bearer realm="a" service="b"',
        'Bearer realm="a",realm="b"',
        'Bearer realm="a",Realm="b"',
        "Bearer realm=a b",
        'Bearer realm=="a"',
        '="a"',
        "Bearer ä=b",
        "x" * 9000,
    ],
)
def test_malformed_challenge_is_refused(value: str) -> None:
    with pytest.raises(UnreachableError, match="login challenge"):
        parse_challenges([value])


@given(st.text(max_size=80))
def test_any_challenge_is_read_or_refused(value: str) -> None:
    try:
        parse_challenges([value, f"Bearer {value}"])
    except UnreachableError:
        return
