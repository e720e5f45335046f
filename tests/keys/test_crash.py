"""Killed, refused or cut short at every step of a write: the old key or the new one, never none, never half.

The writer is a child under strace, which ends it, or fails one of its calls, at the K-th call of a kind. The
bytes it writes are real key files, encrypted once; what the encryption adds to a write, it adds before it.
"""

from __future__ import annotations

import collections
import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from keys.directory import KeyDirectory
from tests.faults.places import Record, record

ROOT = Path(__file__).parents[2]
Action = Literal["first", "create", "replace", "remove"]
BEGIN, END = "/writing-begins", "/writing-ends"  # looked for by the child, so that they show in the trace
WRITER = f"""
import os, resource, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from keys.directory import KeyDirectory
from keys.errors import KeysError
action, home, limit = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
old, new = (Path(path).read_bytes() for path in sys.argv[4:6])
files = KeyDirectory(home)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
os.access({BEGIN!r}, os.F_OK)
try:
    if action in ("first", "create"):
        files.create("web", new, random=os.urandom)
    elif action == "replace":
        files.replace("web", old=old, new=new, random=os.urandom)
    else:
        files.remove("web")
except KeysError as err:
    print(type(err).__name__, err)
else:
    print("done")
os.access({END!r}, os.F_OK)
"""
UNLIMITED = -1
# Calls that cannot change the disk: between two others, it stays as it is. Allocation also differs between runs.
HARMLESS = {"brk", "mmap", "munmap", "mprotect", "madvise", "futex", "getrandom", "rt_sigaction", "rt_sigprocmask"}
HARMLESS |= {"read", "lseek", "close", "fcntl", "getdents64", "newfstatat", "fstat", "statx", "stat", "ioctl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A directory with the bystander ``other``, and with ``web`` holding ``old`` unless it is to be created.

    For the ``first`` key of all there is no directory either.
    """

    action: Action
    folder: Path
    old: bytes
    new: bytes

    @property
    def home(self) -> Path:
        """The key directory."""
        return self.folder / "home" / "keys"

    def reset(self) -> None:
        """Put the directory back as it was before the writer."""
        shutil.rmtree(self.home.parent, ignore_errors=True)
        files = KeyDirectory(self.home)
        if self.action != "first":
            files.create("other", self.old, random=os.urandom)
        if self.action in ("replace", "remove"):
            files.create("web", self.old, random=os.urandom)

    def write(self, *strace: str, limit: int = UNLIMITED) -> subprocess.CompletedProcess[str]:
        """Run the writer, under ``strace`` with these options if there are any."""
        paths = [self.folder / "old", self.folder / "new"]
        paths[0].write_bytes(self.old)
        paths[1].write_bytes(self.new)
        arguments = [self.action, str(self.home), str(limit), *map(str, paths)]
        command = [sys.executable, "-I", "-S", "-c", WRITER, *arguments]
        if strace:
            command = ["strace", "-f", "-o", str(self.trace), *strace, *command]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    @property
    def trace(self) -> Path:
        """Where strace writes."""
        return self.folder / "trace"

    def state(self) -> bytes | None:
        """Return what ``web`` holds, None if there is no such key, after checking all that must not change."""
        files = KeyDirectory(self.home)
        assert self.action == "first" or files.read("other") == self.old
        return files.read("web") if "web" in files.names() else None

    def allowed(self) -> set[bytes | None]:
        """Return the states that ``web`` may be left in: as before, and as intended."""
        before = self.old if self.action in ("replace", "remove") else None
        after = None if self.action == "remove" else self.new
        return {before, after}

    def leftovers(self) -> list[str]:
        """Return the temporary files that a dead writer left."""
        return [path.name for path in self.home.glob(".new-*")]


@pytest.fixture(params=["first", "create", "replace", "remove"])
def world(request: pytest.FixtureRequest, tmp_path: Path, ed25519_file: bytes, p256_file: bytes) -> World:
    """Give a world for each kind of write."""
    world = World(action=request.param, folder=tmp_path, old=ed25519_file, new=p256_file)
    world.reset()
    return world


def calls(world: World) -> list[tuple[str, int, str]]:
    """Return what the write does to the disk: each system call, which of its kind in this process, its line."""
    world.reset()
    world.write()  # unwatched, so that byte code is compiled before any call is counted
    world.reset()
    done = world.write("-e", "trace=all")
    assert done.stdout == "done\n", done.stderr
    seen: collections.Counter[str] = collections.Counter()
    steps: list[tuple[str, int, str]] = []
    inside = False
    for line in world.trace.read_text().splitlines():
        found = re.match(r"\d+ +(\w+)\(", line)
        if found is None:
            continue
        seen[found[1]] += 1
        if END in line:
            return steps
        if inside and found[1] not in HARMLESS and (found[1] != "openat" or "O_CREAT" in line):
            steps.append((found[1], seen[found[1]], line))
        inside = inside or BEGIN in line
    raise AssertionError(f"the trace has no {END}")


def test_killed_at_every_call_that_could_change_the_disk_leaves_the_old_or_the_new_key(
    world: World, record_property: Record
) -> None:
    steps = calls(world)
    left: collections.Counter[bytes | None] = collections.Counter()
    leftovers = 0
    for name, ordinal, line in steps:
        world.reset()
        # Without --seccomp-bpf, under which strace 6.1 does not deliver the signal.
        done = world.write("-e", f"trace={name},/access", "-e", f"inject={name}:signal=KILL:when={ordinal}")
        assert done.returncode == -signal.SIGKILL, line
        trace = world.trace.read_text()
        assert BEGIN in trace, line
        assert END not in trace, line
        left[world.state()] += 1
        leftovers += len(world.leftovers())
        KeyDirectory(world.home).create("next", world.new, random=os.urandom)
        assert not world.leftovers(), line
    assert set(left) == world.allowed()  # both were seen, and nothing else
    assert (leftovers > 0) == (world.action != "remove")
    record(record_property, len(steps), ())


def test_bytes_reach_the_disk_before_the_name_and_the_name_before_the_return(world: World) -> None:
    kinds = ("mkdir", "write", "fsync", "linkat", "renameat", "unlinkat")
    order = [kind for name, _, _ in calls(world) for kind in kinds if name.startswith(kind)]
    assert (
        order
        == {
            "first": ["mkdir", "fsync", "mkdir", "fsync", "write", "fsync", "linkat", "fsync", "unlinkat"],
            "create": ["write", "fsync", "linkat", "fsync", "unlinkat"],
            "replace": ["write", "fsync", "renameat", "fsync", "unlinkat"],
            "remove": ["unlinkat", "fsync"],
        }[world.action]
    )


def test_every_call_that_fails_leaves_the_old_or_the_new_key_and_says_so(
    world: World, record_property: Record
) -> None:
    steps = [
        step for step in calls(world) if step[0] in {"openat", "flock", "write", "fsync", "linkat", "renameat"}
    ]
    assert steps
    for name, ordinal, line in steps:
        world.reset()
        before = world.state()
        inject = f"inject={name}:error=ENOSPC:when={ordinal}"
        done = world.write("--seccomp-bpf", "-e", f"trace={name}", "-e", inject)
        assert "(INJECTED)" in world.trace.read_text(), line
        assert done.stdout.startswith("KeysUnavailableError "), (line, done.stdout, done.stderr)
        if "was changed, but the disk does not confirm it" in done.stdout:
            assert {world.state(), before} == world.allowed()
        else:
            assert world.state() == before
        assert not world.leftovers(), line
    record(record_property, len(steps), ())


def test_a_file_system_that_cannot_flush_directories_is_accepted(world: World) -> None:
    _, ordinal, _ = [step for step in calls(world) if step[0] == "fsync"][-1]
    world.reset()
    done = world.write("--seccomp-bpf", "-e", "trace=fsync", "-e", f"inject=fsync:error=EINVAL:when={ordinal}")
    assert done.stdout == "done\n"


def test_full_disk_in_the_middle_of_the_file_leaves_the_old_key(world: World) -> None:
    if world.action == "remove":
        done = world.write(limit=0)
        assert done.stdout == "done\n"  # removing needs no space
        assert world.state() is None
        return
    before = world.state()
    for limit in (0, 1, len(world.new) - 1):
        done = world.write(limit=limit)
        assert re.match(r"KeysUnavailableError cannot write .*web\.key: File too large\n", done.stdout), done
        assert world.state() == before
        assert not world.leftovers()


def test_read_only_directory_is_said_plainly(world: World) -> None:
    name, ordinal, _ = next(step for step in calls(world) if ".lock" in step[2])
    world.reset()
    before = world.state()
    done = world.write("--seccomp-bpf", "-e", f"trace={name}", "-e", f"inject={name}:error=EROFS:when={ordinal}")
    assert re.match(r"KeysUnavailableError cannot \w+ .*web\.key: Read-only file system\n", done.stdout), done
    assert world.state() == before


def test_writer_waits_until_the_lock_is_free(world: World) -> None:
    lock = world.home / ".lock"
    before = world.state()
    if world.action == "first":
        world.home.mkdir(0o700, parents=True)
        lock.touch(0o600)
    with ThreadPoolExecutor() as pool, lock.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        writing = pool.submit(world.write)
        waiting = re.compile(rf"-> FLOCK .*:{lock.stat().st_ino} ")
        while not waiting.search(Path("/proc/locks").read_text()):
            assert not writing.done(), writing.result()
        assert world.state() == before
        fcntl.flock(holder, fcntl.LOCK_UN)
        assert writing.result().stdout == "done\n"
    assert {world.state(), before} == world.allowed()
