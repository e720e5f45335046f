"""What a real registry takes and gives."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulators.authority import Authority
from tests.simulators.registry import DockerRegistry, docker_registry
from trust.deadline import Deadline, deadline_in
from trust.digest import Digest, sha256
from trust.errors import InputError, RefusedError, UnreachableError
from trust.manifest import OCI_INDEX, OCI_MANIFEST
from trust.oci.credentials import Credentials
from trust.oci.errors import RegistryAnswerError, UntrustedCertificateError
from trust.oci.http import Http
from trust.oci.registry import FetchedManifest, NotModified, Registry

NOBODY = Credentials(environ={}, home=Path("/nonexistent"))
BLOB = os.urandom(300_000)
ABSENT = sha256(b"absent")


def soon() -> Deadline:
    return deadline_in(10, time.monotonic)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def registry(server: DockerRegistry) -> Iterator[Registry]:
    with Http(environ={}) as http:
        yield Registry(server.host, http=http, credentials=NOBODY)


def push_image(registry: Registry, path: str, tag: str, *, note: str = "") -> bytes:
    """Push an image of one layer under ``path:tag`` and return its manifest."""
    config = json.dumps({"note": note}).encode()
    for content in (config, BLOB):
        registry.push_blob(path, sha256(content), content, deadline=soon())
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": str(sha256(config)),
                "size": len(config),
            },
            "layers": [
                {
                    "mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": str(sha256(BLOB)),
                    "size": len(BLOB),
                }
            ],
        }
    ).encode()
    assert registry.put_manifest(path, tag, manifest, OCI_MANIFEST, deadline=soon()) == sha256(manifest)
    return manifest


def test_pushed_manifest_is_read_by_tag_and_by_digest(registry: Registry) -> None:
    manifest = push_image(registry, "acme/web", "1.4")
    expected = FetchedManifest(untrusted_bytes=manifest, content_type=OCI_MANIFEST, digest=sha256(manifest))
    assert registry.manifest("acme/web", "1.4", deadline=soon()) == expected
    assert registry.manifest("acme/web", sha256(manifest), deadline=soon()) == expected
    assert registry.tag_digest("acme/web", "1.4", deadline=soon()) == sha256(manifest)


def test_what_is_not_there_is_none(registry: Registry) -> None:
    push_image(registry, "acme/web", "1.4")
    assert registry.manifest("acme/web", "none", deadline=soon()) is None
    assert registry.manifest("acme/web", ABSENT, deadline=soon()) is None
    assert registry.manifest("acme/none", "1.4", deadline=soon()) is None
    assert registry.tag_digest("acme/web", "none", deadline=soon()) is None
    assert registry.tag_digest("acme/none", "1.4", deadline=soon()) is None
    assert registry.has_blob("acme/web", ABSENT, deadline=soon()) is False
    assert list(registry.tags("acme/none", deadline=soon())) == []


def test_known_manifest_is_not_sent_again(registry: Registry) -> None:
    manifest = push_image(registry, "acme/known", "1")
    known = sha256(manifest)
    assert registry.manifest("acme/known", "1", known=known, deadline=soon()) == NotModified(digest=known)
    moved = push_image(registry, "acme/known", "1", note="moved")
    fetched = registry.manifest("acme/known", "1", known=known, deadline=soon())
    assert isinstance(fetched, FetchedManifest)
    assert fetched.untrusted_bytes == moved


def test_index_is_pushed_by_digest(registry: Registry) -> None:
    child = push_image(registry, "acme/multi", "child")
    index = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [{"mediaType": OCI_MANIFEST, "digest": str(sha256(child)), "size": len(child)}],
        }
    ).encode()
    registry.put_manifest("acme/multi", sha256(index), index, OCI_INDEX, deadline=soon())
    fetched = registry.manifest("acme/multi", sha256(index), deadline=soon())
    assert isinstance(fetched, FetchedManifest)
    assert (fetched.untrusted_bytes, fetched.content_type) == (index, OCI_INDEX)


def test_manifest_under_another_digest_is_not_sent(registry: Registry) -> None:
    with pytest.raises(InputError, match="does not match its digest"):
        registry.put_manifest("acme/web", ABSENT, b"{}", OCI_MANIFEST, deadline=soon())


def test_refused_manifest_tells_what_the_registry_said(registry: Registry) -> None:
    manifest = push_image(registry, "acme/web", "1.4").replace(str(sha256(BLOB)).encode(), str(ABSENT).encode())
    with pytest.raises(
        RegistryAnswerError, match=r"could not take the manifest .*acme/web:bad.*400 \(.*BLOB_UNKNOWN"
    ) as caught:
        registry.put_manifest("acme/web", "bad", manifest, OCI_MANIFEST, deadline=soon())
    assert caught.value.status == 400
    assert "\n" not in str(caught.value)


def test_blob_is_pushed_once_and_read_back(registry: Registry) -> None:
    content = os.urandom(700_000)
    assert registry.push_blob("acme/blobs", sha256(content), content, deadline=soon()) is True
    assert registry.push_blob("acme/blobs", sha256(content), content, deadline=soon()) is False
    assert registry.has_blob("acme/blobs", sha256(content), deadline=soon())
    assert registry.blob_bytes("acme/blobs", sha256(content), len(content), deadline=soon()) == content
    pieces = list(registry.blob("acme/blobs", sha256(content), len(content)))
    assert b"".join(pieces) == content
    assert len(pieces) > 1


def test_file_is_pushed(registry: Registry, tmp_path: Path) -> None:
    content = os.urandom(1_500_000)
    file = tmp_path / "layer"
    file.write_bytes(content)
    assert registry.push_blob("acme/files", sha256(content), file) is True
    assert registry.blob_bytes("acme/files", sha256(content), len(content), deadline=soon()) == content


def test_file_that_is_not_there_is_bad_input(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unreadable"):
        registry.push_blob("acme/files", ABSENT, tmp_path / "none")


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_what_is_no_file_is_not_pushed(registry: Registry, tmp_path: Path, kind: str) -> None:
    """Whoever may write a layout puts a link to a secret where a blob was, or a pipe."""
    (tmp_path / "secret").write_bytes(b"secret")
    blob = tmp_path / "blob"
    if kind == "link":
        blob.symlink_to(tmp_path / "secret")
    elif kind == "pipe":
        os.mkfifo(blob)
    else:
        blob.mkdir()
    digest = sha256(b"secret")
    with pytest.raises(InputError, match=rf"file to push is (unreadable|no regular file): {blob}"):
        registry.push_blob(f"acme/no-{kind}", digest, blob)
    assert registry.has_blob(f"acme/no-{kind}", digest, deadline=soon()) is False


def test_empty_blob_is_pushed_and_read(registry: Registry) -> None:
    registry.push_blob("acme/blobs", sha256(b""), b"", deadline=soon())
    assert registry.blob_bytes("acme/blobs", sha256(b""), 0, deadline=soon()) == b""


def test_blob_of_another_content_is_refused_by_the_registry(registry: Registry) -> None:
    with pytest.raises(RegistryAnswerError, match="DIGEST_INVALID"):
        registry.push_blob("acme/blobs", ABSENT, b"something else", deadline=soon())


def test_blob_is_mounted_from_another_repository(registry: Registry) -> None:
    content = os.urandom(1000)
    registry.push_blob("acme/here", sha256(content), content, deadline=soon())
    mounted = registry.push_blob("acme/there", sha256(content), b"not it", mount_from="acme/here", deadline=soon())
    assert mounted is False
    assert registry.blob_bytes("acme/there", sha256(content), 1000, deadline=soon()) == content


def test_blob_that_cannot_be_mounted_is_sent(registry: Registry) -> None:
    content = os.urandom(1000)
    sent = registry.push_blob("acme/there", sha256(content), content, mount_from="acme/nowhere", deadline=soon())
    assert sent is True


def test_sha512_content_is_checked(registry: Registry) -> None:
    """docker-registry 2.8 keeps blobs by sha256 alone; what it has under no such name is an error, not content."""
    digest = Digest(algorithm="sha512", hex="0" * 128)
    with pytest.raises(UnreachableError):
        registry.blob_bytes("acme/blobs", digest, 5, deadline=soon())


def test_blob_that_is_not_there_is_an_error_with_its_name(registry: Registry) -> None:
    with pytest.raises(RegistryAnswerError, match=rf"could not read the blob .*acme/web@{ABSENT}.*404"):
        registry.blob_bytes("acme/web", ABSENT, 5, deadline=soon())


def test_corrupted_manifest_is_tampered(registry: Registry, server: DockerRegistry) -> None:
    manifest = push_image(registry, "acme/corrupt", "1", note="corrupted on disk")
    server.blob_file(sha256(manifest).hex).write_bytes(manifest + b" ")
    for reference in ("1", sha256(manifest)):
        with pytest.raises(RefusedError, match=r"expected sha256:.* got sha256:") as caught:
            registry.manifest("acme/corrupt", reference, deadline=soon())
        assert caught.value.reason == "tampered"


def test_corrupted_blob_is_tampered_before_its_end(registry: Registry, server: DockerRegistry) -> None:
    content = os.urandom(600_000)
    registry.push_blob("acme/corrupt", sha256(content), content, deadline=soon())
    server.blob_file(sha256(content).hex).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    got: list[bytes] = []
    with pytest.raises(RefusedError, match=r"expected sha256:.* got sha256:") as caught:
        got.extend(registry.blob("acme/corrupt", sha256(content), len(content)))
    assert caught.value.reason == "tampered"
    assert sum(map(len, got)) < len(content)


@pytest.mark.parametrize("size", [0, 599_999, 600_001])
def test_blob_of_another_size_is_tampered(registry: Registry, size: int) -> None:
    content = bytes(600_000)
    registry.push_blob("acme/sizes", sha256(content), content, deadline=soon())
    with pytest.raises(RefusedError, match=f"expected {size} bytes"):
        registry.blob_bytes("acme/sizes", sha256(content), size, deadline=soon())


def test_tags_are_listed_above_a_given_one(registry: Registry) -> None:
    for tag in ("1.0", "1.1", "_trust", "_trust.7.abc", "latest"):
        push_image(registry, "acme/tags", tag)
    assert sorted(registry.tags("acme/tags", deadline=soon())) == [
        "1.0",
        "1.1",
        "_trust",
        "_trust.7.abc",
        "latest",
    ]
    assert sorted(registry.tags("acme/tags", after="_trust", deadline=soon())) == ["_trust.7.abc", "latest"]


def test_tag_is_moved_and_its_old_manifest_stays(registry: Registry) -> None:
    old = push_image(registry, "acme/moved", "1")
    new = push_image(registry, "acme/moved", "1", note="new")
    assert registry.tag_digest("acme/moved", "1", deadline=soon()) == sha256(new)
    assert registry.manifest("acme/moved", sha256(old), deadline=soon()) is not None


def test_tag_that_the_registry_does_not_delete_is_told(registry: Registry) -> None:
    """docker-registry 2.8 deletes manifests, not tags: the manifest must never be deleted in the tag's place."""
    manifest = push_image(registry, "acme/deleted", "1")
    assert registry.delete_tag("acme/deleted", "1", deadline=soon()) is False
    assert registry.tag_digest("acme/deleted", "1", deadline=soon()) == sha256(manifest)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "..",
        "acme/../web",
        "acme/..",
        "/etc",
        "acme//web",
        "acme/web/",
        "Acme/web",
        "acme/web%2f",
        "acme/web?x",
    ],
)
def test_path_that_is_no_name_never_reaches_the_registry(registry: Registry, path: str) -> None:
    for ask in (
        lambda: registry.manifest(path, "1", deadline=soon()),
        lambda: registry.tag_digest(path, "1", deadline=soon()),
        lambda: registry.blob_bytes(path, ABSENT, 5, deadline=soon()),
        lambda: registry.push_blob(path, ABSENT, b"", deadline=soon()),
        lambda: registry.push_blob("acme/web", ABSENT, b"", mount_from=path, deadline=soon()),
        lambda: list(registry.tags(path, deadline=soon())),
        lambda: registry.delete_tag(path, "1", deadline=soon()),
        lambda: registry.put_manifest(path, "1", b"{}", OCI_MANIFEST, deadline=soon()),
    ):
        with pytest.raises(InputError, match="repository name is malformed"):
            ask()


@pytest.mark.parametrize(
    "tag", ["", "..", "a/b", "a:b", "a%2fb", "a?b", "a\x00", ".a", "-a", "x" * 129, "sha256:" + "0" * 64]
)
def test_tag_that_is_none_never_reaches_the_registry(registry: Registry, tag: str) -> None:
    with pytest.raises(InputError, match="tag is malformed"):
        registry.manifest("acme/web", tag, deadline=soon())


def test_registry_on_this_machine_may_speak_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with (
        docker_registry(tmp_path / "registry", tls=authority.issue("127.0.0.1")) as server,
        Http(environ={"SSL_CERT_FILE": str(authority.certificate)}) as http,
    ):
        manifest = push_image(Registry(server.host, http=http, credentials=NOBODY), "acme/web", "1")
        again = Registry(server.host, http=http, credentials=NOBODY)
        assert again.tag_digest("acme/web", "1", deadline=soon()) == sha256(manifest)
        with Http(environ={}) as ignorant:
            other = Registry(server.host, http=ignorant, credentials=NOBODY)
            with pytest.raises(UntrustedCertificateError):
                other.tag_digest("acme/web", "1", deadline=soon())
