"""Pulls through a real shim from a real docker-registry, by clients that are not ours and by our own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.simulators.command_line import plain_environment
from tests.simulators.registry import docker_registry
from tests.simulators.shim import Reply, Shim, policy_text, until
from tests.simulators.upstream import Picture, descriptor, picture
from tests.simulators.world import World, index_bytes
from trust.deadline import Deadline, deadline_in
from trust.digest import Digest, sha256
from trust.manifest import OCI_INDEX, OCI_MANIFEST
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry
from trust.policy import Stanza
from trust.stores.artifact import EMPTY, Artifact, File, artifact_bytes
from trust.value import replace

PATH = "acme/web"
SINGLE = picture(b"small layer", b"large layer " * 100_000)
CHILDREN = (picture(b"for amd64"), picture(b"for arm64"))
MULTI = index_bytes(*(child.manifest for child in CHILDREN))
SBOM_TYPE = "application/vnd.example.sbom"
METADATA_TAG = "_trust"


def soon() -> Deadline:
    return deadline_in(60, time.monotonic)


@dataclass(frozen=True, kw_only=True)
class Site:
    """A registry in which everything is pushed, and what is signed is signed; a shim of two workers before it."""

    registry: Registry
    world: World
    shim: Shim

    def get(self, last: str | Digest, kind: str = "manifests", method: str = "GET", **headers: str) -> Reply:
        return self.shim.ask(f"/v2/{PATH}/{kind}/{last}", method, **headers)


def push(registry: Registry, image: Picture, tag: str | None = None) -> None:
    for blob in image.blobs:
        registry.push_blob(PATH, sha256(blob), blob)
    registry.put_manifest(PATH, tag or image.digest, image.manifest, OCI_MANIFEST, deadline=soon())


def publish_beside(registry: Registry, world: World) -> None:
    """Have the world's metadata beside the images, as ``trust`` publishes it."""
    files = {path.name: path.read_bytes() for path in world.directory.glob("*.json")}
    named = {name: File(digest=sha256(data), size_bytes=len(data)) for name, data in files.items()}
    path = "acme/trust-metadata"
    for data in (EMPTY, *files.values()):
        registry.push_blob(path, sha256(data), data)
    manifest = artifact_bytes(Artifact(generation=1, parent=None, parent_generation=0, files=named))
    registry.put_manifest(path, METADATA_TAG, manifest, OCI_MANIFEST, deadline=soon())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        running = stack.enter_context(docker_registry(folder / "registry"))
        http = stack.enter_context(Http(environ={}))
        credentials = Credentials(environ={}, home=Path("/nonexistent"))
        registry = Registry(running.host, http=http, credentials=credentials)
        sbom = picture(b"sbom", artifactType=SBOM_TYPE, subject=descriptor(OCI_MANIFEST, SINGLE.manifest))
        for image, tag in ((SINGLE, "1"), *((child, None) for child in CHILDREN), (sbom, None)):
            push(registry, image, tag)
        push(registry, picture(b"unsigned"), "evil")
        registry.put_manifest(PATH, "multi", MULTI, OCI_INDEX, deadline=soon())
        world = World(folder / "world", now=datetime.now(timezone.utc))
        world.push(*(child.manifest for child in CHILDREN))
        for tag, manifest in (("1", SINGLE.manifest), ("multi", MULTI), ("sbom", sbom.manifest)):
            world.sign(tag, path=PATH, manifest=manifest)
        publish_beside(registry, world)
        stanza = replace(world.stanza, metadata="registry:", max_age=timedelta(seconds=1))
        shim = Shim(
            folder=folder / "shim",
            policy=policy_text(stanza),
            upstreams=[{"name": "registry.test", "url": f"http://{running.host}"}],
            settings={"workers": 2},
        )
        yield Site(registry=registry, world=world, shim=stack.enter_context(shim))


def test_image_comes_whole_by_tag_and_by_digest(site: Site) -> None:
    for last in ("1", SINGLE.digest):
        reply = site.get(last)
        assert (reply.status, reply.body) == (200, SINGLE.manifest)
        assert reply.headers["content-type"] == OCI_MANIFEST
        assert reply.headers["docker-content-digest"] == str(SINGLE.digest)
        assert reply.headers["etag"] == f'"{SINGLE.digest}"'
        assert reply.headers["docker-distribution-api-version"] == "registry/2.0"
    for _ in range(2):  # from the upstream, then from the cache
        for blob in SINGLE.blobs:
            reply = site.get(sha256(blob), "blobs")
            assert (reply.status, reply.body, reply.is_whole) == (200, blob, True)
            assert reply.headers["docker-content-digest"] == str(sha256(blob))


def test_index_and_its_children_come_by_tag_and_by_digest(site: Site) -> None:
    for last in ("multi", sha256(MULTI)):
        reply = site.get(last)
        assert (reply.status, reply.body, reply.headers["content-type"]) == (200, MULTI, OCI_INDEX)
    for child in CHILDREN:
        assert site.get(child.digest).body == child.manifest
        assert site.get(child.layer, "blobs").body == child.blobs[-1]


def test_head_says_what_get_would_bring(site: Site) -> None:
    for last, kind, data in (("1", "manifests", SINGLE.manifest), (SINGLE.layer, "blobs", SINGLE.blobs[-1])):
        for _ in range(2):
            reply = site.get(last, kind, "HEAD")
            assert (reply.status, reply.body) == (200, b"")
            assert reply.headers["content-length"] == str(len(data))
            assert reply.headers["docker-content-digest"] == str(sha256(data))
            site.get(last, kind)
    assert site.get("none", method="HEAD").status == 403


def test_tags_come_page_by_page(site: Site) -> None:
    target, seen = f"/v2/{PATH}/tags/list?n=2&ns=registry.test", []
    while target:
        reply = site.shim.ask(target)
        seen.append(json.loads(reply.body)["tags"])
        link = reply.headers.get("link", "")
        assert not link or link.endswith('>; rel="next"')
        assert not link or "ns=registry.test" in link, "the next page is of the same registry"
        target = link.partition(">")[0].removeprefix("<")
    assert seen == [["1", "multi"], ["sbom"]]
    assert json.loads(site.shim.ask(f"/v2/{PATH}/tags/list?n=0").body)["tags"] == []
    assert json.loads(site.shim.ask(f"/v2/{PATH}/tags/list?last=multi").body)["tags"] == ["sbom"]


def test_referrers_are_answered_even_where_the_registry_knows_none(site: Site) -> None:
    """This docker-registry is older than they are."""
    reply = site.get(SINGLE.digest, "referrers")
    assert (reply.status, reply.headers["content-type"]) == (200, OCI_INDEX)
    assert json.loads(reply.body)["manifests"] == []


def test_repository_without_anything_signed_lists_nothing(site: Site) -> None:
    reply = site.shim.ask("/v2/acme/none/tags/list")
    assert reply.status in {200, 404}
    assert reply.status == 404 or json.loads(reply.body)["tags"] == []


@pytest.mark.parametrize(("tag", "copies"), [("1", True), ("multi", True), ("evil", False)])
def test_skopeo_copies_what_is_signed_and_nothing_else(
    site: Site, tmp_path: Path, tag: str, *, copies: bool
) -> None:
    def copy(host: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "--all", "--src-tls-verify=false",
             f"docker://{host}/{PATH}:{tag}", f"dir:{tmp_path / host}"],
            env={**plain_environment(), "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    assert copy(site.registry.host).returncode == 0, "it is there"
    done = copy(site.shim.host)
    assert (done.returncode == 0) is copies, done.stderr
    assert copies or "unsigned" in done.stderr, "the user is told why"


def consumer_of(site: Site, folder: Path, policy: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    (folder / "policy.toml").write_text(policy)
    environment = {**plain_environment(), "HOME": str(folder), "TRUST_HOME": str(folder / "home"),
                   "TRUST_POLICY": str(folder / "policy.toml")}  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "trust", *arguments], env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def behind(site: Site) -> Stanza:
    """Return what somebody says in his policy who reaches nothing but the shim."""
    return replace(
        site.world.stanza,
        metadata=f"registry://{site.shim.host}/acme/trust-metadata:{METADATA_TAG}",
        registries=(site.shim.host,),
    )


def test_consumer_behind_the_shim_verifies_for_himself(site: Site, tmp_path: Path) -> None:
    policy = policy_text(behind(site))
    done = consumer_of(site, tmp_path / "he", policy, "verify", f"{site.shim.host}/{PATH}:1")
    assert done.returncode == 0, done.stdout + done.stderr
    done = consumer_of(site, tmp_path / "he", policy, "verify", f"{site.shim.host}/{PATH}:evil")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "unsigned" in done.stdout + done.stderr


def test_metadata_that_is_unchanged_costs_a_consumer_one_short_answer(site: Site) -> None:
    address = "/v2/acme/trust-metadata/manifests/_trust"
    reply = site.shim.ask(address)
    again = site.shim.ask(address, If_None_Match=reply.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert site.shim.ask(address, If_None_Match='"other"').status == 200
    for layer in json.loads(reply.body)["layers"]:
        blob = site.shim.ask(f"/v2/acme/trust-metadata/blobs/{layer['digest']}")
        assert (blob.status, str(sha256(blob.body))) == (200, layer["digest"])


def test_blob_that_the_registry_lost_is_unknown(site: Site) -> None:
    lost = picture(b"lost layer")
    site.registry.push_blob(PATH, sha256(lost.blobs[0]), lost.blobs[0])
    site.registry.push_blob(PATH, sha256(lost.blobs[1]), lost.blobs[1])
    site.registry.put_manifest(PATH, "lost", lost.manifest, OCI_MANIFEST, deadline=soon())
    site.world.sign("lost", path=PATH, manifest=lost.manifest)
    publish_beside(site.registry, site.world)
    until(lambda: site.get("lost").status == 200, "the new tag is known")
    for link in Path(site.shim.folder.parent / "registry/storage").rglob(f"{lost.layer.hex}/link"):
        link.unlink()
    assert site.registry.has_blob(PATH, lost.layer, deadline=soon()) is False
    for method in ("HEAD", "GET"):
        reply = site.get(lost.layer, "blobs", method)
        assert reply.status == 404
    assert reply.error["code"] == "BLOB_UNKNOWN"
    site.world.revoke("lost", path=PATH)
    publish_beside(site.registry, site.world)
    until(lambda: site.get("lost").status == 403, "the revoked tag is refused")
