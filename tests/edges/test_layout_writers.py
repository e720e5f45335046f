"""Writers of a layout beside each other: locks, one that was killed, a full disk."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edges.layouts import CONTENT, DIGEST, MANIFEST, described, files, pieces
from trust.digest import sha256
from trust.errors import LimitError, StateError
from trust.oci import layout_files
from trust.oci.layout import Layout
from trust.oci.layout_files import temporary_file

CHECKOUT = Path(__file__).parents[2]


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
