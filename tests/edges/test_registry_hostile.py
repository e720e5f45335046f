"""A registry, or who stands before it, that lies about manifests and lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.edges.hostile import DIGEST, MANIFEST, OTHER, at, says, soon
from tests.simulators.network import ELSEWHERE, SimulatedNetwork
from tests.simulators.wire import Exchange, WireServer
from trust.errors import LimitError, RefusedError, UnreachableError
from trust.oci.credentials import Credentials
from trust.oci.errors import MalformedAnswerError, RegistryAnswerError
from trust.oci.http import Http
from trust.oci.registry import FetchedManifest, NotModified, Registry
from trust.stores.artifact import Artifact
from trust.stores.registry_view import Place, RegistryView


@pytest.fixture
def http() -> Iterator[Http]:
    with Http(environ={}, sleep=lambda _: None) as door:
        yield door


def test_body_that_differs_from_docker_content_digest_is_tampered(http: Http) -> None:
    """As skopeo 1.9 and dockerd 20.10 take it."""
    with WireServer(script=says(200, MANIFEST, Docker_Content_Digest=str(OTHER))) as server:
        for reference in ("1", DIGEST):
            with pytest.raises(RefusedError, match=f"expected {OTHER}, got {DIGEST}") as caught:
                at(server, http).manifest("acme/web", reference, deadline=soon())
            assert caught.value.reason == "tampered"


@pytest.mark.parametrize("headers", [{}, {"Docker_Content_Digest": str(DIGEST)}])
def test_body_that_differs_from_the_digest_asked_for_is_tampered(http: Http, headers: dict[str, str]) -> None:
    with (
        WireServer(script=says(200, MANIFEST, **headers)) as server,
        pytest.raises(RefusedError, match=f"expected {OTHER}, got {DIGEST}"),
    ):
        at(server, http).manifest("acme/web", OTHER, deadline=soon())


@pytest.mark.parametrize(
    "stated",
    [
        "sha256:",
        "sha256:../../etc",
        "md5:" + "0" * 32,
        "SHA256:" + "0" * 64,
        "sha256:" + "G" * 64,
        "x",
        "sha256:%2e",
    ],
)
def test_digest_that_is_none_is_tampered(http: Http, stated: str) -> None:
    with WireServer(script=says(200, MANIFEST, Docker_Content_Digest=stated)) as server:
        with pytest.raises(RefusedError, match="states no digest"):
            at(server, http).manifest("acme/web", "1", deadline=soon())
        with pytest.raises(RefusedError, match="states no digest"):
            at(server, http).tag_digest("acme/web", "1", deadline=soon())


def test_manifest_without_a_stated_digest_is_hashed(http: Http) -> None:
    with WireServer(script=says(200, MANIFEST)) as server:
        assert at(server, http).tag_digest("acme/web", "1", deadline=soon()) == DIGEST
    assert server.targets == ["HEAD /v2/acme/web/manifests/1", "GET /v2/acme/web/manifests/1"]


def test_head_that_is_not_supported_is_asked_as_get(http: Http) -> None:
    def script(exchange: Exchange) -> None:
        exchange.answer(
            405 if exchange.request.method == "HEAD" else 200,
            b"" if exchange.request.method == "HEAD" else MANIFEST,
        )

    with WireServer(script=script) as server:
        assert at(server, http).tag_digest("acme/web", "1", deadline=soon()) == DIGEST


@pytest.mark.parametrize("status", [400, 403, 410, 418, 429, 500, 503])
def test_no_answer_but_404_is_absence(http: Http, status: int) -> None:
    """Whoever can make a registry stumble must not make an image look unpublished."""
    with WireServer(
        script=says(status, b'{"errors": [{"code": "DENIED", "message": "no\\n\\u001b[31mway"}]}')
    ) as server:
        registry = at(server, http)
        for ask in (
            lambda: registry.manifest("acme/web", "1", deadline=soon()),
            lambda: registry.tag_digest("acme/web", "1", deadline=soon()),
            lambda: list(registry.tags("acme/web", deadline=soon())),
            lambda: registry.blob_bytes("acme/web", OTHER, 5, deadline=soon()),
        ):
            with pytest.raises(RegistryAnswerError) as caught:
                ask()
            assert caught.value.status == status
            assert caught.value.codes == ("DENIED",)
            assert str(caught.value).isprintable()
            assert "DENIED: no [31mway" in str(caught.value)
        with pytest.raises(RegistryAnswerError):
            registry.has_blob("acme/web", OTHER, deadline=soon())
        http.close()


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"<html>", b'{"errors": 5}', b'{"errors": [5]}', b"[" * 9000, b"\xff"]
)
def test_refusal_in_any_form_is_an_error_of_one_line(http: Http, body: bytes) -> None:
    with WireServer(script=says(403, body)) as server, pytest.raises(RegistryAnswerError) as caught:
        at(server, http).manifest("acme/web", "1", deadline=soon())
    assert (
        str(caught.value)
        == f"{server.host} could not read the manifest {server.host}/acme/web:1: expected success, got 403"
    )
    assert caught.value.hint == f"trust login {server.host}, as a user who may do this"


def test_endless_refusal_is_still_the_refusal(http: Http) -> None:
    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            exchange.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    with WireServer(script=script) as server, pytest.raises(RegistryAnswerError, match="got 403"):
        at(server, http).manifest("acme/web", "1", deadline=soon())


def test_nonsense_on_this_machine_is_told_as_it_came(http: Http) -> None:
    """It may have been a TLS server; where it is none either, the first error is the one that helps."""

    def script(exchange: Exchange) -> None:
        exchange.send(b"SSH-2.0-OpenSSH_9.2p1\r\n")
        exchange.end()

    with (
        WireServer(script=script) as server,
        pytest.raises(MalformedAnswerError, match=rf"http://{server.host}: malformed answer: .*SSH-2\.0"),
    ):
        at(server, http).manifest("acme/web", "1", deadline=soon())


def test_stumbling_registry_is_asked_again(http: Http) -> None:
    """Registries answer 500 to one or two of a hundred reads while a tag moves."""
    answers = iter([500, 200])
    with WireServer(script=lambda exchange: exchange.answer(next(answers), MANIFEST)) as server:
        fetched = at(server, http).manifest("acme/web", "1", deadline=soon())
        http.close()
    assert isinstance(fetched, FetchedManifest)


def test_manifest_above_4_mib_is_refused(http: Http) -> None:
    with (
        WireServer(script=says(200, b" " * (4 * 1024 * 1024 + 1))) as server,
        pytest.raises(LimitError, match="expected at most 4194304 bytes"),
    ):
        at(server, http).manifest("acme/web", "1", deadline=soon())


def test_registry_that_ignores_if_none_match_is_known_by_its_digest(http: Http) -> None:
    with WireServer(script=says(200, MANIFEST)) as server:
        registry = at(server, http)
        assert registry.manifest("acme/web", "1", known=DIGEST, deadline=soon()) == NotModified(digest=DIGEST)
        assert isinstance(registry.manifest("acme/web", "1", known=OTHER, deadline=soon()), FetchedManifest)
    assert server.requests[0].headers["if-none-match"] == f'"{DIGEST}"'


def test_not_modified_that_nobody_asked_for_is_an_error(http: Http) -> None:
    with WireServer(script=says(304)) as server, pytest.raises(RegistryAnswerError, match="304"):
        at(server, http).manifest("acme/web", "1", deadline=soon())


@pytest.mark.parametrize("status", [201, 203, 204, 206, 226])
def test_half_a_success_is_none(http: Http, status: int) -> None:
    """206: a range that nobody asked for would be a piece of the content."""
    with WireServer(script=says(status, MANIFEST if status != 204 else b"")) as server:
        registry = at(server, http)
        with pytest.raises(RegistryAnswerError):
            registry.manifest("acme/web", "1", deadline=soon())
        with pytest.raises(RegistryAnswerError):
            registry.blob_bytes("acme/web", DIGEST, len(MANIFEST), deadline=soon())


def test_tags_are_read_page_by_page(http: Http) -> None:
    def script(exchange: Exchange) -> None:
        if exchange.request.target == "/v2/acme/web/tags/list?n=1000":
            exchange.answer(200, b'{"tags": ["a", "b"]}', Link='</v2/acme/web/tags/list?n=2&last=b>; rel="next"')
        elif exchange.request.target == "/v2/acme/web/tags/list?n=2&last=b":
            exchange.answer(200, b'{"tags": ["c"]}')
        else:
            exchange.answer(418)

    with WireServer(script=script) as server:
        assert list(at(server, http).tags("acme/web", deadline=soon())) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "link",
    [
        '<https://evil.example.com/v2/acme/web/tags/list>; rel="next"',
        '<http://127.0.0.1:1/v2/acme/web/tags/list>; rel="next"',
        '<//evil.example.com/>; rel="next"',
        '<file:///etc/passwd>; rel="next"',
        "nonsense",
        '</x>; rel="prev"',
        '</x y>; rel="next"',
    ],
)
def test_link_to_another_place_is_refused(http: Http, link: str) -> None:
    with (
        WireServer(script=says(200, b'{"tags": ["a"]}', Link=link)) as server,
        pytest.raises(UnreachableError, match="link to more tags"),
    ):
        list(at(server, http).tags("acme/web", deadline=soon()))
    assert len(server.requests) == 1


def test_endless_pages_are_refused(http: Http) -> None:
    with (
        WireServer(
            script=says(200, b'{"tags": ["a"]}', Link='</v2/acme/web/tags/list?last=a>; rel="next"')
        ) as server,
        pytest.raises((LimitError, UnreachableError)),
    ):
        list(at(server, http).tags("acme/web", deadline=soon()))
    assert len(server.requests) <= 1001


@pytest.mark.parametrize("ask", [RegistryView.claims, lambda view: view.lowest_claim(besides=())])
def test_tags_of_claims_without_an_end_are_counted_and_refused(
    http: Http, ask: Callable[[RegistryView], object]
) -> None:
    """A hundred pages of them, each of ten thousand, would be kept."""

    def script(exchange: Exchange) -> None:
        page = len(server.requests)
        tags = [f"_trust.0000000005.{page * 10_000 + number:012x}" for number in range(10_000)]
        link = {"Link": f'</v2/acme/web/tags/list?p={page}>; rel="next"'} if page < 100 else {}
        exchange.answer(200, json.dumps({"tags": tags}).encode(), **link)

    with WireServer(script=script) as server:
        nothing = Artifact(generation=0, parent=None, parent_generation=0, files={})
        place = Place(path="acme/web", tag="_trust")
        with pytest.raises(LimitError, match="too many tags of claims"):
            ask(RegistryView(at(server, http), place, None, nothing, soon()))
        assert 1 < len(server.requests) < 5
        assert all("/tags/list" in request.target for request in server.requests)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"tags": 5}',
        b'{"tags": [5]}',
        b'{"tags": ["../x"]}',
        b'{"tags": ["a b"]}',
        b'{"tags": ["\\u0000"]}',
    ],
)
def test_list_that_holds_no_tags_is_refused(http: Http, body: bytes) -> None:
    with WireServer(script=says(200, body)) as server, pytest.raises(UnreachableError, match="list of tags"):
        list(at(server, http).tags("acme/web", deadline=soon()))


def test_repository_without_tags_has_none(http: Http) -> None:
    with WireServer(script=says(200, b'{"name": "acme/web", "tags": null}')) as server:
        assert list(at(server, http).tags("acme/web", deadline=soon())) == []


def test_docker_hub_is_spoken_to_at_its_own_host() -> None:
    network = SimulatedNetwork(names={"registry-1.docker.io": [ELSEWHERE]})
    with Http(environ={}, network=network) as http:
        registry = Registry("docker.io", http=http, credentials=Credentials(environ={}, home=Path("/nonexistent")))
        with pytest.raises(UnreachableError, match=r"https://registry-1\.docker\.io: no connection"):
            registry.manifest("library/nginx", "1", deadline=soon())
    assert network.dialled == [ELSEWHERE]
