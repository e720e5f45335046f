"""Lists of referrers: the registry's word in either spelling, capped, and never more than a list."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.moving.places import door, push_referrer, referrer_bytes, soon
from tests.simulators.pushing import PATH, push_image
from tests.simulators.registry import DockerRegistry
from tests.simulators.wire import Exchange, WireServer
from trust.digest import Digest, sha256
from trust.errors import InputError, LimitError, RefusedError, UnreachableError
from trust.manifest import OCI_INDEX, OCI_MANIFEST
from trust.oci.content import VerifiedChunks
from trust.oci.referrers import index_with, referrers_tag, subject_of

SUBJECT, OTHER = sha256(b"subject"), sha256(b"other")


def index_of(*digests: Digest) -> bytes:
    entries = [{"mediaType": OCI_MANIFEST, "digest": str(digest), "size": 1} for digest in digests]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}).encode()


def answering(status: int, body: bytes, **headers: str) -> Callable[[Exchange], None]:
    def script(exchange: Exchange) -> None:
        exchange.answer(status, body, Content_Type=OCI_INDEX, **headers)

    return script


def test_registry_with_the_api_is_asked_once_and_its_list_is_taken() -> None:
    with WireServer(script=answering(200, index_of(OTHER, OTHER))) as server, door(server.host) as registry:
        assert registry.referrers(PATH, SUBJECT, deadline=soon()) == (OTHER,)
        assert server.targets == [f"GET /v2/{PATH}/referrers/{SUBJECT}"]


def test_registry_with_the_api_needs_no_tag_for_the_list() -> None:
    with WireServer(script=answering(200, index_of())) as server, door(server.host) as registry:
        data = referrer_bytes(SUBJECT, b"note")
        assert registry.add_referrer(PATH, SUBJECT, data, deadline=soon()) is False
        assert [request.method for request in server.requests] == ["GET"]


@pytest.mark.parametrize(
    ("status", "body", "headers", "error"),
    [
        (500, b"", {}, UnreachableError),
        (200, b"<html>", {}, RefusedError),
        (200, referrer_bytes(SUBJECT, b"no index"), {}, RefusedError),
        (200, index_of(*(sha256(bytes([n % 256, n // 256])) for n in range(1001))), {}, LimitError),
        (200, index_of(OTHER), {"Link": '</v2/next>; rel="next"'}, LimitError),
    ],
    ids=["fault", "html", "manifest", "thousands", "pages"],
)
def test_list_that_is_none_or_endless_is_an_error_and_never_an_empty_list(
    status: int, body: bytes, headers: dict[str, str], error: type[Exception]
) -> None:
    server = WireServer(script=answering(status, body, **headers))
    with server, door(server.host) as registry, pytest.raises(error):
        registry.referrers(PATH, SUBJECT, deadline=soon())


def test_registry_without_the_api_keeps_each_referrer_under_the_tag(there: DockerRegistry) -> None:
    subject = push_image(there.host, "web", "content")
    digests = {push_referrer(there.host, PATH, subject, text) for text in (b"one", b"two", b"one")}
    with door(there.host) as registry:
        assert set(registry.referrers(PATH, subject, deadline=soon())) == digests
        assert registry.tag_digest(PATH, referrers_tag(subject), deadline=soon()) is not None


def test_entry_says_what_a_client_filters_by() -> None:
    data = referrer_bytes(SUBJECT, b"note")
    index = index_with(None, sha256(data), data)
    assert index is not None
    entry = json.loads(index)["manifests"][0]
    assert entry == {
        "mediaType": OCI_MANIFEST, "digest": str(sha256(data)), "size": len(data), "artifactType": "text/plain",
    }  # fmt: skip
    assert index_with(index, sha256(data), data) is None


def test_list_that_nobody_could_read_again_is_not_written() -> None:
    data = referrer_bytes(SUBJECT, b"note")
    full = index_of(*(sha256(bytes([n % 256, n // 256])) for n in range(1000)))
    with pytest.raises(LimitError, match="1000 referrers already"):
        index_with(full, sha256(data), data)
    document = json.loads(index_of(OTHER))
    document["manifests"][0]["annotations"] = {"a": "x" * (4 * 1024 * 1024 - 400)}
    with pytest.raises(LimitError, match="is full"):
        index_with(json.dumps(document).encode(), sha256(data), data)


@pytest.mark.parametrize(("length", "kept"), [(100, True), (5000, False)])
def test_annotations_of_a_referrer_are_listed_unless_they_would_fill_the_list(length: int, *, kept: bool) -> None:
    document = json.loads(referrer_bytes(SUBJECT, b"note")) | {"annotations": {"a": "x" * length}}
    data = json.dumps(document).encode()
    index = index_with(None, sha256(data), data)
    assert index is not None
    assert ("annotations" in json.loads(index)["manifests"][0]) is kept


@pytest.mark.parametrize("subject", ['"text"', "{}", '{"digest": 5}', '{"digest": "sha256:xyz"}', "[]"])
def test_subject_that_is_no_descriptor_is_refused(subject: str) -> None:
    with pytest.raises(InputError):
        subject_of(b'{"subject": %s}' % subject.encode())


def test_content_that_is_not_its_digest_never_arrives_whole(there: DockerRegistry) -> None:
    content = b"x" * 100_000
    with door(there.host) as registry:
        for lie in (b"y" + content[1:], content[:-1], content + b"x"):
            forged = VerifiedChunks(iter([lie[:50_000], lie[50_000:]]), sha256(content), len(content), what="blob")
            with pytest.raises(RefusedError):
                registry.push_blob(PATH, sha256(content), forged)
            assert not registry.has_blob(PATH, sha256(content), deadline=soon())
        honest = VerifiedChunks(iter([content]), sha256(content), len(content), what="blob")
        assert registry.push_blob(PATH, sha256(content), honest) is True
        assert registry.has_blob(PATH, sha256(content), deadline=soon())
