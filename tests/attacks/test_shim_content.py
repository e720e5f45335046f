"""A registry that offers other content than was signed, and a shim before it.

Each test shows first that the attack works on who pulls from the registry itself.
"""

from __future__ import annotations

import json

import pytest

from tests.simulators.upstream import LAYER_TYPE, descriptor, picture
from tests.simulators.wire import Exchange, WireServer
from tests.simulators.world import index_bytes
from tests.simulators.yard import METADATA, Plot
from trust.digest import Digest, sha256
from trust.manifest import MANIFEST_MAX_BYTES, OCI_INDEX, OCI_MANIFEST
from trust.roles import Image

ALL_ACCEPTED = f"{OCI_MANIFEST}, {OCI_INDEX}"


def image_of(manifest: bytes, *, size_bytes: int | None = None) -> Image:
    """Return what somebody signs who does not look at the manifest."""
    size = len(manifest) if size_bytes is None else size_bytes
    return Image(digest=sha256(manifest), size_bytes=size, media_type=OCI_MANIFEST, children=())


def test_moved_tag_gives_the_signed_image(plot: Plot) -> None:
    plot.push("1", plot.stranger)
    assert plot.unprotected("1").body == plot.stranger.manifest
    reply = plot.through("1")
    assert (reply.status, reply.body) == (200, plot.picture.manifest)
    assert reply.headers["docker-content-digest"] == str(plot.picture.digest)
    assert plot.asked() == [f"GET {plot.at('1')}", f"GET {plot.at(plot.picture.digest)}"]


def test_deleted_tag_gives_the_signed_image(plot: Plot) -> None:
    del plot.yard.registry.manifests[plot.path, "1"]
    assert plot.unprotected("1").status == 404
    assert plot.through("1").body == plot.picture.manifest


def test_signed_image_that_the_registry_lacks_is_unknown(plot: Plot) -> None:
    for name in ("1", str(plot.picture.digest)):
        del plot.yard.registry.manifests[plot.path, name]
    reply = plot.through("1")
    assert (reply.status, reply.error["code"]) == (404, "MANIFEST_UNKNOWN")


def test_unsigned_tag_and_digest_are_refused_and_never_asked_for(plot: Plot) -> None:
    plot.push("evil", plot.stranger)
    assert plot.unprotected("evil").body == plot.stranger.manifest
    before = plot.asked()
    for last in ("evil", plot.stranger.digest):
        for method in ("GET", "HEAD"):
            reply = plot.through(last, method=method)
            assert reply.status == 403
            assert method == "HEAD" or reply.reason == "unsigned"
            assert plot.stranger.manifest not in reply.body
    assert plot.asked() == before


def test_unsigned_manifest_is_refused_as_a_blob_too(plot: Plot) -> None:
    """As containerd asks for one after a 404."""
    plot.push("evil", plot.stranger)
    plot.yard.registry.blobs[plot.path, str(plot.stranger.digest)] = plot.stranger.manifest
    assert plot.unprotected(plot.stranger.digest, "blobs").body == plot.stranger.manifest
    reply = plot.through(plot.stranger.digest, "blobs")
    assert (reply.status, reply.reason) == (403, "unsigned")


def test_signed_manifest_as_a_blob_is_the_verified_one(plot: Plot) -> None:
    plot.yard.registry.blobs[plot.path, str(plot.picture.digest)] = plot.stranger.manifest
    reply = plot.through(plot.picture.digest, "blobs")
    assert (reply.status, reply.body) == (200, plot.picture.manifest)


def test_blob_of_another_repository_is_refused(plot: Plot) -> None:
    other = plot.yard.plot()
    assert other.through("1").status == 200
    assert other.through(other.picture.layer, "blobs").status == 200
    plot.through("1")
    plot.yard.registry.blobs[plot.path, str(other.picture.layer)] = other.picture.blobs[-1]
    assert plot.unprotected(other.picture.layer, "blobs").status == 200
    for method in ("GET", "HEAD"):
        reply = plot.through(other.picture.layer, "blobs", method)
        assert reply.status == 403
    assert plot.through(other.picture.layer, "blobs").reason == "unsigned"


def test_blob_of_an_unsigned_image_is_refused(plot: Plot) -> None:
    plot.push("evil", plot.stranger)
    plot.through("evil")
    plot.through(plot.stranger.digest)
    assert plot.unprotected(plot.stranger.layer, "blobs").status == 200
    assert plot.through(plot.stranger.layer, "blobs").reason == "unsigned"


def test_blob_is_refused_until_a_signed_manifest_that_names_it_has_passed(plot: Plot) -> None:
    assert plot.through(plot.picture.layer, "blobs").reason == "unsigned"
    plot.through("1")
    assert plot.through(plot.picture.layer, "blobs").body == plot.picture.blobs[-1]


@pytest.mark.parametrize("says_digest", [True, False])
def test_other_bytes_under_the_signed_digest_are_refused(plot: Plot, *, says_digest: bool) -> None:
    """As skopeo 1.9 and dockerd 20.10 take them."""

    def lie(exchange: Exchange) -> None:
        said = {"Docker_Content_Digest": str(plot.picture.digest)} if says_digest else {}
        exchange.answer(200, plot.stranger.manifest, Content_Type=OCI_MANIFEST, **said)

    plot.yard.registry.rules[plot.at(plot.picture.digest)] = lie
    assert plot.unprotected(plot.picture.digest).body == plot.stranger.manifest
    for last, kind in (("1", "manifests"), (plot.picture.digest, "manifests"), (plot.picture.digest, "blobs")):
        reply = plot.through(last, kind)
        assert (reply.status, reply.reason) == (403, "tampered")
        assert plot.stranger.manifest not in reply.body
    del plot.yard.registry.rules[plot.at(plot.picture.digest)]
    assert plot.through("1").body == plot.picture.manifest, "the lie is in no cache"


def ambiguous() -> bytes:
    both = json.loads(picture(b"layer").manifest)
    both["manifests"] = [descriptor(OCI_MANIFEST, b"{}")]
    return json.dumps(both).encode()


def test_manifest_with_two_readings_is_refused_even_signed(plot: Plot) -> None:
    """CVE-2021-41190."""
    manifest = ambiguous()
    plot.yard.registry.manifests[plot.path, "both"] = manifest
    plot.yard.registry.manifests[plot.path, str(sha256(manifest))] = manifest
    plot.yard.sign(plot.path, "both", image=image_of(manifest))
    assert plot.unprotected("both").body == manifest
    for last, kind in (("both", "manifests"), (sha256(manifest), "manifests"), (sha256(manifest), "blobs")):
        reply = plot.through(last, kind)
        assert (reply.status, reply.reason) == (403, "ambiguous")
        assert b"layers" not in reply.body.replace(b"it has layers and manifests", b"")


def test_manifest_sent_as_another_type_is_refused(plot: Plot) -> None:
    """CVE-2021-41190."""

    def lie(exchange: Exchange) -> None:
        exchange.answer(200, plot.picture.manifest, Content_Type=OCI_INDEX)

    plot.yard.registry.rules[plot.at(plot.picture.digest)] = lie
    assert plot.unprotected(plot.picture.digest).headers["content-type"] == OCI_INDEX
    assert plot.through("1").reason == "ambiguous"


def test_manifest_that_is_not_as_long_as_was_signed_is_refused(plot: Plot) -> None:
    plot.push("long", plot.stranger)
    wrong = image_of(plot.stranger.manifest, size_bytes=len(plot.stranger.manifest) + 1)
    plot.yard.sign(plot.path, "long", image=wrong)
    assert plot.unprotected("long").status == 200
    for _ in range(2):  # from the upstream, then from the cache
        assert plot.through("long").reason == "tampered"


def test_huge_manifest_is_given_up(plot: Plot) -> None:
    def lie(exchange: Exchange) -> None:
        exchange.answer(200, b" " * (MANIFEST_MAX_BYTES + 1), Content_Type=OCI_MANIFEST)

    plot.yard.registry.rules[plot.at(plot.picture.digest)] = lie
    assert len(plot.unprotected(plot.picture.digest).body) > MANIFEST_MAX_BYTES
    reply = plot.through("1")
    assert (reply.status, reply.reason) == (503, "limit-reached")
    assert int(reply.headers["retry-after"]) > 0


def test_child_that_is_not_in_the_signed_index_is_refused(plot: Plot) -> None:
    children = [picture(b"amd64"), picture(b"arm64")]
    index = index_bytes(*(child.manifest for child in children))
    plot.push("multi", *children, index=index)
    plot.yard.sign(plot.path, "multi", *(child.manifest for child in children), index)
    forged = index_bytes(children[0].manifest, plot.stranger.manifest)
    plot.push("multi", plot.stranger, index=forged)
    assert plot.unprotected("multi").body == forged
    assert plot.through("multi").body == index
    assert [plot.through(child.digest).status for child in children] == [200, 200]
    assert plot.through(children[1].layer, "blobs").body == b"arm64"
    for last in (plot.stranger.digest, sha256(forged)):
        for kind in ("manifests", "blobs"):
            assert plot.through(last, kind).reason == "unsigned"


def test_referrers_are_signed_ones_and_say_what_was_signed(plot: Plot) -> None:
    kind = "application/vnd.example.sbom"
    good = picture(b"sbom", artifactType=kind)
    plot.push(None, good, plot.stranger)
    plot.yard.sign(plot.path, "sbom", good.manifest)
    entry = {**descriptor(OCI_MANIFEST, good.manifest), "artifactType": kind}
    plot.yard.registry.referrers[plot.path, str(plot.picture.digest)] = [
        {**entry, "annotations": {"verified": "true"}, "data": "ZXZpbA==", "urls": ["http://evil.test/"]},
        {**descriptor(OCI_MANIFEST, plot.stranger.manifest), "artifactType": kind},
        {**entry, "size": 5},
        {**entry, "artifactType": []},
    ]
    assert len(json.loads(plot.unprotected(plot.picture.digest, "referrers").body)["manifests"]) == 4
    reply = plot.through(plot.picture.digest, "referrers")
    assert (reply.status, reply.headers["content-type"]) == (200, OCI_INDEX)
    assert json.loads(reply.body)["manifests"] == [entry]
    filtered = plot.yard.shim.ask(plot.at(plot.picture.digest, "referrers") + "?artifactType=application/other")
    assert json.loads(filtered.body)["manifests"] == []
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    assert plot.through(plot.stranger.digest, "referrers").reason == "unsigned"


def test_list_of_referrers_that_is_none_is_no_answer(plot: Plot) -> None:
    plot.yard.registry.rules[plot.at(plot.picture.digest, "referrers")] = lambda exchange: exchange.answer(
        200, b'{"schemaVersion": 2, "manifests": [{"digest": "sha256:../.."}]}', Content_Type=OCI_INDEX
    )
    reply = plot.through(plot.picture.digest, "referrers")
    assert (reply.status, reply.error["code"]) == (503, "DENIED")


def test_runnable_image_under_a_reserved_tag_is_refused(plot: Plot) -> None:
    for tag in ("_trust", "_trust.7.abc", "_trustworthy"):
        plot.push(tag, plot.stranger)
        assert plot.unprotected(tag).body == plot.stranger.manifest
        reply = plot.through(tag)
        assert (reply.status, reply.reason) == (403, "unsigned")
    plot.yard.registry.push("acme/trust-metadata", "_trust", plot.stranger)
    served = plot.yard.shim.ask(METADATA)
    assert served.status == 200
    assert json.loads(served.body)["artifactType"] == "application/vnd.content-trust.metadata.v1"
    assert plot.yard.shim.ask(METADATA + ".7.abc").reason == "unsigned"
    assert f"GET {METADATA}" not in plot.yard.server.targets
    del plot.yard.registry.manifests["acme/trust-metadata", "_trust"]


def test_address_inside_a_manifest_is_never_followed(plot: Plot) -> None:
    """Foreign layers: the address may be that of a machine that only the shim reaches."""
    with WireServer(script=lambda exchange: exchange.answer(200, b"foreign")) as trap:
        foreign = {**descriptor(LAYER_TYPE, b"foreign"), "urls": [f"{trap.url}/layer"]}
        image = picture(b"own")
        document = json.loads(image.manifest)
        document["layers"].append(foreign)
        manifest = json.dumps(document).encode()
        plot.push(None, image)
        plot.yard.registry.manifests[plot.path, str(sha256(manifest))] = manifest
        plot.yard.sign(plot.path, "foreign", manifest)
        assert plot.through("foreign").status == 200
        reply = plot.through(sha256(b"foreign"), "blobs")
        assert (reply.status, reply.error["code"]) == (404, "BLOB_UNKNOWN")
        assert trap.requests == []


def test_tags_are_those_that_were_signed(plot: Plot) -> None:
    plot.push("evil", plot.stranger)
    tags = plot.at("list", "tags")
    assert json.loads(plot.unprotected("list", "tags").body)["tags"] == ["1", "evil"]
    assert json.loads(plot.yard.shim.ask(tags).body) == {"name": plot.path, "tags": ["1"]}


def test_empty_blob_is_served(plot: Plot) -> None:
    empty = picture(b"", b"more")
    plot.push("empty", empty)
    plot.yard.sign(plot.path, "empty", empty.manifest)
    plot.through("empty")
    reply = plot.through(sha256(b""), "blobs")
    assert (reply.status, reply.body, reply.is_whole) == (200, b"", True)


def test_digest_of_another_algorithm_is_no_way_around(plot: Plot) -> None:
    other = Digest(algorithm="sha512", hex="0" * 128)
    assert plot.through(other).reason == "unsigned"
    assert plot.through(other, "blobs").reason == "unsigned"
