"""The cache: whole content or none, within its bound, shared by processes that know nothing of each other."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from registry_shim.cache import ABANDONED_SECONDS, TOUCH_EVERY_SECONDS, Cache
from tests.simulators.command_line import CHECKOUT
from trust.digest import Digest, sha256
from trust.errors import StateError

MIB = 1024 * 1024

_WRITER = """
import sys
import time
from pathlib import Path
from registry_shim.cache import Cache
from trust.digest import sha256
cache = Cache(Path(sys.argv[1]), 1024 * 1024)
for number in range(120):
    data = str(number % 60).encode() * 20_000
    cache.put(sha256(data), data)
    kept = cache.open(sha256(data))
    if kept is not None:
        with kept.file:
            assert sha256(kept.file.read()) == sha256(data)
    if cache.wants_sweep:
        cache.sweep()
"""

_ONE = """
import sys
from pathlib import Path
from registry_shim.cache import Cache
from trust.digest import sha256
Cache(Path(sys.argv[1]), 1024 * 1024).put(sha256(b"content"), b"content")
"""


class Clock:
    """A clock of the test's, which begins where that of the files stands."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def content(cache: Cache, digest: Digest) -> bytes | None:
    kept = cache.open(digest)
    if kept is None:
        return None
    with kept.file:
        data = kept.file.read()
        assert len(data) == kept.size_bytes
        return data


def size_of(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.glob("sha256/*/*"))


def test_content_is_there_only_once_it_is_whole(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10 * MIB)
    descriptor, path = cache.incoming()
    os.write(descriptor, b"whole")
    assert cache.open(sha256(b"whole")) is None
    cache.commit(path, descriptor, sha256(b"whole"))
    os.close(descriptor)
    assert content(cache, sha256(b"whole")) == b"whole"
    assert not list((tmp_path / "incoming").iterdir())


def test_what_was_used_longest_ago_goes_first(tmp_path: Path) -> None:
    clock = Clock()
    cache = Cache(tmp_path, MIB, clock=clock)
    blobs = [bytes([number]) * (MIB // 8) for number in range(8)]
    for number, blob in enumerate(blobs):
        cache.put(sha256(blob), blob)
        path = tmp_path / "sha256" / sha256(blob).hex[:2] / sha256(blob).hex
        os.utime(path, (clock.now - 1000 + number, clock.now - 1000 + number))
    clock.now += TOUCH_EVERY_SECONDS
    assert content(cache, sha256(blobs[0])) == blobs[0]  # used now, so the second is the oldest
    new = b"n" * (MIB // 8)
    cache.put(sha256(new), new)
    assert cache.wants_sweep
    assert cache.sweep() == 2
    assert size_of(tmp_path) <= MIB * 0.9
    gone = [number for number, blob in enumerate(blobs) if content(cache, sha256(blob)) is None]
    assert gone == [1, 2]
    assert not cache.wants_sweep


def test_removed_file_stays_readable_for_who_has_opened_it(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 1000)
    cache.put(sha256(b"a" * 900), b"a" * 900)
    kept = cache.open(sha256(b"a" * 900))
    assert kept is not None
    cache.put(sha256(b"b" * 900), b"b" * 900)
    os.utime(tmp_path / "sha256" / sha256(b"a" * 900).hex[:2] / sha256(b"a" * 900).hex, (1, 1))
    assert cache.sweep() == 1
    with kept.file:
        assert kept.file.read() == b"a" * 900
    assert cache.open(sha256(b"a" * 900)) is None


def test_content_is_on_the_disk_before_it_has_its_name(tmp_path: Path) -> None:
    """It is hashed once, when it comes: what a power cut left under its name would be served for ever."""
    log, home = tmp_path / "log", tmp_path / "cache"
    traced = ["strace", "-f", "-y", "-o", str(log), "-e", "trace=fsync,fdatasync,rename,renameat,renameat2"]
    subprocess.run([*traced, sys.executable, "-c", _ONE, str(home)], check=True, cwd=CHECKOUT)
    calls = [line.split("(")[0].split()[-1] for line in log.read_text().splitlines() if str(home) in line]
    assert calls[0] in {"fsync", "fdatasync"}
    assert calls[1].startswith("rename")


def test_several_processes_share_it(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path)], cwd=CHECKOUT) for _ in range(2)]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    Cache(tmp_path, MIB).sweep()
    assert 0 < size_of(tmp_path) <= MIB
    assert not list((tmp_path / "incoming").iterdir())


def test_leftovers_of_a_killed_process_go(tmp_path: Path) -> None:
    clock = Clock()
    cache = Cache(tmp_path, MIB, clock=clock)
    for name, age in (("old", ABANDONED_SECONDS + 1), ("young", 1.0)):
        path = tmp_path / "incoming" / name
        path.write_bytes(b"half")
        os.utime(path, (clock.now - age, clock.now - age))
    cache.sweep()
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == ["young"]
    cache.clear_incoming()
    assert not list((tmp_path / "incoming").iterdir())


def test_disk_that_fills_up_in_a_write_keeps_nothing_of_it(tmp_path: Path) -> None:
    """A full disk takes a part of a write and calls that success."""
    cache = Cache(tmp_path, 10 * MIB)
    data = os.urandom(8192)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        cache.put(sha256(data), data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert cache.open(sha256(data)) is None
    assert not list((tmp_path / "incoming").iterdir())


def test_no_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    cache = Cache(tmp_path, MIB)
    assert cache.room_for(MIB // 2)
    assert not cache.room_for(MIB // 2 + 1)
    free = os.statvfs(tmp_path)
    assert not Cache(tmp_path, 2**62).room_for(free.f_bavail * free.f_frsize)


def test_directory_that_is_none_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="cache cannot be used"):
        Cache(tmp_path / "file", MIB)


def test_sweep_of_a_directory_that_is_gone_is_no_error(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache", MIB)
    (tmp_path / "cache/incoming").rmdir()
    (tmp_path / "cache").rmdir()
    assert cache.sweep() == 0


def test_sweep_goes_on_over_what_cannot_be_removed(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10)
    (tmp_path / "sha256/ab/in the way").mkdir(parents=True)
    kept = sha256(b"x" * 20)
    cache.put(kept, b"x" * 20)
    assert cache.sweep() == 1
    assert cache.open(kept) is None
    assert (tmp_path / "sha256/ab/in the way").is_dir()


def test_sweep_that_cannot_take_its_lock_removes_nothing(tmp_path: Path) -> None:
    cache = Cache(tmp_path, 10)
    (tmp_path / "sweep.lock").mkdir()
    cache.put(sha256(b"x" * 20), b"x" * 20)
    assert cache.sweep() == 0
    kept = cache.open(sha256(b"x" * 20))
    assert kept is not None
    kept.file.close()
