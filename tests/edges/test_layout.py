"""Layouts as a source that may lie, and as a store that keeps what it took."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.moving.places import referrer_bytes
from trust.digest import Digest, sha256
from trust.errors import InputError, LimitError, RefusedError, StateError
from trust.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Platform
from trust.oci import layout_files
from trust.oci.content import VerifiedChunks
from trust.oci.layout import REF_NAME, Layout
from trust.oci.layout_files import temporary_file
from trust.oci.layout_repository import LayoutRepository

CONTENT = os.urandom(300_000)
DIGEST = sha256(CONTENT)
CHECKOUT = Path(__file__).parents[2]
MANIFEST = b'{"schemaVersion": 2}'


def pieces(content: bytes = CONTENT) -> Iterator[bytes]:
    for start in range(0, len(content), 65_536):
        yield content[start : start + 65_536]


def described(content: bytes, platform: Platform | None = None) -> Descriptor:
    return Descriptor(
        media_type=OCI_MANIFEST,
        digest=sha256(content),
        size_bytes=len(content),
        platform=platform,
        annotations={"a": "b"},
    )


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout.create(tmp_path / "layout")


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
    import hashlib  # noqa: PLC0415

    digest = Digest(algorithm="sha512", hex=hashlib.sha512(CONTENT).hexdigest())
    assert layout.add_blob(pieces(), digest, len(CONTENT)) is True
    assert layout.blob_path(digest) == layout.directory / "blobs" / "sha512" / digest.hex


def test_layout_is_opened_as_it_was_left(layout: Layout) -> None:
    layout.add_blob([MANIFEST], sha256(MANIFEST), len(MANIFEST))
    layout.tag("1.4", described(MANIFEST, Platform(os="linux", architecture="arm64", variant="v8")))
    again = Layout.create(layout.directory)
    assert Layout.open(layout.directory).resolve("1.4") == again.resolve(None)
    found = again.resolve("1.4")
    assert found.digest == sha256(MANIFEST)
    assert found.platform == Platform(os="linux", architecture="arm64", variant="v8")
    assert found.annotations == {"a": "b", REF_NAME: "1.4"}
    assert again.manifest(found.digest) == MANIFEST


def test_tag_stands_for_one_manifest_and_leaves_the_others(layout: Layout) -> None:
    for name, content in (("1", b"one"), ("2", b"two"), ("1", b"three")):
        layout.tag(name, described(content))
    assert layout.resolve("1").digest == sha256(b"three")
    assert layout.resolve("2").digest == sha256(b"two")
    with pytest.raises(InputError, match="more than one manifest"):
        layout.resolve(None)
    with pytest.raises(InputError, match="no tag '3'"):
        layout.resolve("3")


def test_unknown_fields_of_other_entries_survive_tagging(layout: Layout) -> None:
    index = layout.directory / "index.json"
    document = json.loads(index.read_text())
    entry = {"mediaType": OCI_MANIFEST, "digest": str(DIGEST), "size": 5, "artifactType": "x/y"}
    document |= {"manifests": [entry], "annotations": {"kept": "yes"}}
    index.write_text(json.dumps(document))
    layout.tag("1", described(b"one"))
    after = json.loads(index.read_text())
    assert after["manifests"][0] == entry
    assert after["annotations"] == {"kept": "yes"}


def test_index_that_nobody_could_read_again_is_not_written(layout: Layout) -> None:
    large = replace(described(MANIFEST), annotations={"a": "x" * 1_500_000})
    for name in ("1", "2"):
        layout.tag(name, large)
    before = (layout.directory / "index.json").read_bytes()
    with pytest.raises(LimitError, match="layout is full"):
        layout.tag("3", large)
    assert (layout.directory / "index.json").read_bytes() == before
    assert layout.resolve("2").digest == sha256(MANIFEST)


def test_layout_of_as_many_manifests_as_are_read_takes_no_more(layout: Layout) -> None:
    entries = [
        {"mediaType": OCI_MANIFEST, "digest": str(sha256(b"%d" % number)), "size": 1} for number in range(4096)
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    (layout.directory / "index.json").write_text(json.dumps(document))
    with pytest.raises(LimitError, match="layout is full"):
        layout.tag("1", described(MANIFEST))
    with pytest.raises(LimitError, match="layout is full"):
        layout.add_referrers([referrer_bytes(DIGEST, b"note")])
    assert len(layout.nameless()) == 4096


def test_referrers_word_is_no_name_in_a_layout_and_fills_none(layout: Layout) -> None:
    document = json.loads(referrer_bytes(DIGEST, b"note"))
    document["annotations"] = {REF_NAME: "1.4", "a": "x" * 3_000_000}
    document["artifactType"] = "y" * 500_000
    data = json.dumps(document).encode()
    layout.add_blob([data], sha256(data), len(data))
    assert layout.add_referrers([data]) is True
    assert layout.add_referrers([data]) is False
    assert layout.nameless() == (sha256(data),)
    assert (layout.directory / "index.json").stat().st_size < 1000
    with pytest.raises(InputError, match="no tag"):
        layout.resolve("1.4")


def test_referrers_of_many_are_found_by_reading_each_once(layout: Layout) -> None:
    """A bundle of two hundred kilobytes had kept whoever read it busy for hours."""
    subjects = [sha256(b"%d" % number) for number in range(100)]
    manifests = [referrer_bytes(subject, b"note") for subject in subjects]
    for data in manifests:
        layout.add_blob([data], sha256(data), len(data))
    repository = LayoutRepository(layout)
    with opened() as names:
        repository.put_referrers(zip(subjects, manifests, strict=True))
        found = [repository.referrers(subject) for subject in subjects]
    assert found == [(sha256(data),) for data in manifests]
    assert names.count("index.json") < 10
    assert len([name for name in names if len(name) == 64]) == len(manifests)


_opened: list[list[str]] = []  # an audit hook stays for good: there is one


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _opened:
        _opened[-1].append(str(arguments[0]))


sys.addaudithook(_audit)


@contextmanager
def opened() -> Iterator[list[str]]:
    """Give the names of all files that are opened meanwhile."""
    _opened.append([])
    try:
        yield _opened[-1]
    finally:
        _opened.pop()


def test_two_manifests_under_one_tag_are_refused(layout: Layout) -> None:
    """Readers differ in which one they take."""
    entries = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": str(sha256(content)),
            "size": 1,
            "annotations": {REF_NAME: "1"},
        }
        for content in (b"a", b"b")
    ]
    (layout.directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    with pytest.raises(InputError, match="more than one tag '1'"):
        layout.resolve("1")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 513])
def test_tag_that_nobody_could_read_is_refused(layout: Layout, name: str) -> None:
    with pytest.raises(InputError, match="layout tag is malformed"):
        layout.tag(name, described(b"one"))


@pytest.mark.parametrize("marker", [None, b"", b"{}", b"[]", b'{"imageLayoutVersion": "2.0.0"}', b" " * 5000])
def test_directory_that_is_no_layout_is_bad_input(tmp_path: Path, marker: bytes | None) -> None:
    if marker is not None:
        (tmp_path / "oci-layout").write_bytes(marker)
    with pytest.raises(InputError, match="layout"):
        Layout.open(tmp_path)


@pytest.mark.parametrize(
    "index", [None, b"", b"[]", b"{}", b'{"schemaVersion": 2, "layers": [], "manifests": []}']
)
def test_malformed_index_is_bad_input(layout: Layout, index: bytes | None) -> None:
    path = layout.directory / "index.json"
    path.unlink() if index is None else path.write_bytes(index)
    with pytest.raises(InputError):
        layout.resolve("1")
    with pytest.raises(InputError):
        layout.tag("1", described(b"one"))
    assert path.exists() == (index is not None)


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


@pytest.mark.parametrize("name", ["oci-layout", "index.json"])
def test_symlinked_index_and_marker_are_refused(layout: Layout, tmp_path: Path, name: str) -> None:
    real = tmp_path / "elsewhere"
    (layout.directory / name).rename(real)
    (layout.directory / name).symlink_to(real)
    with pytest.raises(InputError, match="no regular file"):
        Layout.open(layout.directory).resolve("1")


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


def test_two_writers_of_one_blob_both_succeed(layout: Layout) -> None:
    """Each waits in mid-blob until the other is there too."""
    barrier = threading.Barrier(2, timeout=10)
    results: list[bool] = []

    def slowly() -> Iterator[bytes]:
        first = True
        for piece in pieces():
            if first:
                barrier.wait()
                first = False
            yield piece

    def write() -> None:
        results.append(layout.add_blob(slowly(), DIGEST, len(CONTENT)))

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True, True]
    assert layout.blob_bytes(DIGEST, len(CONTENT)) == CONTENT
    assert not list(layout.directory.glob(".ingest-*"))


def test_tags_of_many_writers_are_all_kept(layout: Layout) -> None:
    def write(number: int) -> None:
        for turn in range(5):
            Layout.open(layout.directory).tag(f"{number}.{turn}", described(f"{number}.{turn}".encode()))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        for turn in range(5):
            assert layout.resolve(f"{number}.{turn}").digest == sha256(f"{number}.{turn}".encode())


@pytest.mark.parametrize("held", [fcntl.LOCK_SH, fcntl.LOCK_EX])
def test_lock_that_somebody_holds_stops_a_writer_for_a_while_and_is_named(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, held: int
) -> None:
    """A program that is stopped, or a user who may read the lock and nothing else."""
    monkeypatch.setattr(layout_files, "LOCK_SECONDS", 0.2)
    lock = layout.directory / ".lock"
    with lock.open("rb") as reader:
        fcntl.flock(reader, held)
        with pytest.raises(LimitError, match=f"another has held {lock}"):
            layout.tag("1.0", described(MANIFEST))
        with pytest.raises(LimitError, match=f"another has held {lock}"):
            Layout.create(layout.directory)
    assert layout.nameless() == ()
    layout.tag("1.0", described(MANIFEST))
    assert layout.resolve("1.0").digest == sha256(MANIFEST)


def test_lock_of_a_layout_is_nothing_for_readers(layout: Layout) -> None:
    lock = layout.directory / ".lock"
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    lock.chmod(0o644)  # as earlier versions made it
    layout.tag("1.0", described(MANIFEST))
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_lock_that_is_no_file_is_refused(layout: Layout, tmp_path: Path, kind: str) -> None:
    lock = layout.directory / ".lock"
    lock.unlink()
    if kind == "link":
        lock.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(lock)
    with pytest.raises(StateError, match="lock is no regular file"):
        layout.tag("1.0", described(MANIFEST))
    assert not (tmp_path / "elsewhere").exists()
    assert layout.nameless() == ()


def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_writes_is_not(layout: Layout) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from trust.oci.layout_files import temporary_file\n"
        "with temporary_file(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    died = subprocess.run([sys.executable, "-c", script, str(layout.directory)], check=False, cwd=CHECKOUT)
    assert died.returncode == -9
    assert len(list(layout.directory.glob(".ingest-*"))) == 1
    with temporary_file(layout.directory) as living:
        living.write(b"more to come")
        assert len(list(layout.directory.glob(".ingest-*"))) == 2
        Layout.create(layout.directory)
        assert len(list(layout.directory.glob(".ingest-*"))) == 1
        living.keep_as(("blobs", "sha256", DIGEST.hex))
    assert layout.blob_path(DIGEST).read_bytes() == b"more to come"


def test_full_disk_is_a_state_error_and_leaves_nothing(layout: Layout) -> None:
    """A limit on the size of files stands in for a full disk: the write fails in the same place."""
    before = files(layout.directory)
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from trust.digest import sha256; from trust.errors import StateError\n"
        "from trust.oci.layout import Layout\n"
        "layout = Layout.open(Path(sys.argv[1])); content = bytes(300_000)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: layout.add_blob([content], sha256(content), len(content))\n"
        "except StateError as err: print(err)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(layout.directory)],
        check=True,
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
    )
    assert f"layout cannot be written: {layout.directory}: {os.strerror(errno.EFBIG)}" in done.stdout
    assert files(layout.directory) == before
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def test_layout_cannot_be_made_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be made"):
        Layout.create(tmp_path / "file" / "layout")
