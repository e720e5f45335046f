"""Blobs of a layout, as a source that may lie: what is read is what was named, and nothing else enters."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edges.layouts import CONTENT, DIGEST, MANIFEST, files, pieces
from trust.digest import Digest, sha256
from trust.errors import InputError, RefusedError, StateError
from trust.oci.content import VerifiedChunks
from trust.oci.layout import Layout


def test_added_blob_is_read_back(layout: Layout) -> None:
    assert layout.has(DIGEST, len(CONTENT)) is False
    assert layout.add_blob(pieces(), DIGEST, len(CONTENT)) is True
    assert layout.add_blob(pieces(), DIGEST, len(CONTENT)) is False
    assert layout.has(DIGEST, len(CONTENT)) is True
    assert layout.blob_bytes(DIGEST, len(CONTENT)) == CONTENT
    assert layout.blob_path(DIGEST).read_bytes() == CONTENT
    with layout.open_blob(DIGEST) as file:
        assert file.read() == CONTENT


def test_sha512_blob_has_its_own_directory(layout: Layout) -> None:
    digest = Digest(algorithm="sha512", hex=hashlib.sha512(CONTENT).hexdigest())
    assert layout.add_blob(pieces(), digest, len(CONTENT)) is True
    assert layout.blob_path(digest) == layout.directory / "blobs" / "sha512" / digest.hex


@pytest.mark.parametrize(
    "sent",
    [b"", CONTENT[:-1], CONTENT + b"x", CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]), bytes(len(CONTENT))],
)
def test_blob_of_other_content_never_enters(layout: Layout, sent: bytes) -> None:
    before = files(layout.directory)
    with pytest.raises(RefusedError) as caught:
        layout.add_blob(pieces(sent), DIGEST, len(CONTENT))
    assert caught.value.reason == "tampered"
    assert files(layout.directory) == before
    assert layout.has(DIGEST, len(CONTENT)) is False


def test_endless_blob_never_fills_the_disk(layout: Layout) -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while True:
            taken += 65_536
            yield bytes(65_536)

    with pytest.raises(RefusedError, match="got more"):
        layout.add_blob(endless(), DIGEST, 100_000)
    assert taken < 300_000


def test_blob_handed_over_half_read_never_enters(layout: Layout) -> None:
    """What was hashed elsewhere is not hashed again: then all of it has to come this way."""
    chunks = VerifiedChunks(pieces(), DIGEST, len(CONTENT), what="blob")
    next(chunks)
    with pytest.raises(RefusedError, match="expected 300000 bytes"):
        layout.add_blob(chunks, DIGEST, len(CONTENT))
    assert layout.has(DIGEST, len(CONTENT)) is False


def test_blob_verified_against_another_digest_is_hashed_again(layout: Layout) -> None:
    other = sha256(bytes(len(CONTENT)))
    chunks = VerifiedChunks(pieces(), DIGEST, len(CONTENT), what="blob")
    with pytest.raises(RefusedError, match=f"expected {other}"):
        layout.add_blob(chunks, other, len(CONTENT))


def test_source_that_breaks_leaves_nothing(layout: Layout) -> None:
    before = files(layout.directory)

    def breaking() -> Iterator[bytes]:
        yield CONTENT[:1000]
        raise StateError("gone")

    with pytest.raises(StateError, match="gone"):
        layout.add_blob(breaking(), DIGEST, len(CONTENT))
    assert files(layout.directory) == before


def test_blob_corrupted_on_disk_is_refused_when_read(layout: Layout) -> None:
    layout.add_blob(pieces(), DIGEST, len(CONTENT))
    layout.add_blob([MANIFEST], sha256(MANIFEST), len(MANIFEST))
    layout.blob_path(DIGEST).write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    layout.blob_path(sha256(MANIFEST)).write_bytes(MANIFEST + b" ")
    with pytest.raises(RefusedError, match="expected sha256"):
        layout.blob_bytes(DIGEST, len(CONTENT))
    with pytest.raises(RefusedError, match="expected sha256"):
        layout.manifest(sha256(MANIFEST))


def test_truncated_blob_is_replaced(layout: Layout) -> None:
    layout.add_blob(pieces(), DIGEST, len(CONTENT))
    layout.blob_path(DIGEST).write_bytes(CONTENT[:1000])
    assert layout.add_blob(pieces(), DIGEST, len(CONTENT)) is True
    assert layout.blob_bytes(DIGEST, len(CONTENT)) == CONTENT


def test_symlinked_blob_is_refused(layout: Layout, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(CONTENT)
    (layout.directory / "blobs" / "sha256" / DIGEST.hex).symlink_to(secret)
    for ask in (
        lambda: layout.blob_bytes(DIGEST, len(CONTENT)),
        lambda: layout.manifest(DIGEST),
        lambda: layout.open_blob(DIGEST),
        lambda: layout.blob_path(DIGEST),
    ):
        with pytest.raises(InputError, match="no regular file"):
            ask()
    assert layout.has(DIGEST, len(CONTENT)) is False
    assert layout.add_blob(pieces(), DIGEST, len(CONTENT)) is True  # the link is replaced, not written through
    assert not layout.blob_path(DIGEST).is_symlink()


@pytest.mark.parametrize("linked", ["blobs", "blobs/sha256"])
def test_symlinked_directory_is_refused(layout: Layout, tmp_path: Path, linked: str) -> None:
    layout.add_blob(pieces(), DIGEST, len(CONTENT))
    real = tmp_path / "elsewhere"
    (layout.directory / linked).rename(real)
    (layout.directory / linked).symlink_to(real)
    other = sha256(b"other")
    before = files(real)
    with pytest.raises(InputError, match="no regular file"):
        layout.blob_bytes(DIGEST, len(CONTENT))
    with pytest.raises((InputError, StateError)):
        layout.add_blob([b"other"], other, 5)
    assert files(real) == before


@pytest.mark.parametrize("kind", ["fifo", "directory", "socket"])
def test_blob_that_is_no_file_is_refused_and_holds_nobody(layout: Layout, kind: str) -> None:
    path = layout.directory / "blobs" / "sha256" / DIGEST.hex
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        os.mknod(path, 0o140600)
    with pytest.raises(InputError, match="no regular file"):
        layout.blob_bytes(DIGEST, len(CONTENT))


def test_missing_blob_is_bad_input_with_its_name(layout: Layout) -> None:
    with pytest.raises(InputError, match=f"layout lacks blobs/sha256/{DIGEST.hex}"):
        layout.blob_bytes(DIGEST, len(CONTENT))


def test_manifest_above_4_mib_is_bad_input(layout: Layout) -> None:
    content = bytes(4 * 1024 * 1024 + 1)
    layout.add_blob([content], sha256(content), len(content))
    with pytest.raises(InputError, match="too large"):
        layout.manifest(sha256(content))
