"""A ``file:`` store whose directory others may write: they never turn its publisher on his other files."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.simulators.world import soon
from tests.stores.editions import edition, now, publish
from trust.errors import ConflictError, StateError
from trust.stores.file import FileStore
from trust.stores.interface import TIMESTAMP

EDITIONS = 40


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "metadata").mkdir()
    return tmp_path / "metadata"


@pytest.fixture
def store(directory: Path) -> FileStore:
    store = FileStore(f"file:{directory}", directory)
    publish(store, 1)
    return store


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    """Give a file of the publisher's that is nobody else's business."""
    path = tmp_path / "precious"
    path.write_bytes(b"precious")
    path.chmod(0o644)
    return path


@contextmanager
def linking(directory: Path, target: Path) -> Iterator[None]:
    """Have another process put links to ``target`` under the name of everything that is being written."""
    script = (
        "import os, sys\n"
        "names = ['timestamp.json', *(f'{n}.{role}.json' for n in (2, 3) for role in ('targets', 'snapshot'))]\n"
        "print(flush=True)\n"
        "while os.getppid() == int(sys.argv[3]):\n"
        "    seen = {name for name in os.listdir(sys.argv[1]) if name[:5] == '.tmp-'}\n"
        "    for name in {f'.tmp-{name}' for name in names} | seen:\n"
        "        try: os.symlink(sys.argv[2], os.path.join(sys.argv[1], name))\n"
        "        except OSError: pass\n"
    )
    arguments = [sys.executable, "-c", script, str(directory), str(target), str(os.getpid())]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as attacker:
        assert attacker.stdout is not None
        attacker.stdout.readline()
        try:
            yield
        finally:
            attacker.kill()


def test_links_in_the_way_of_what_is_written_lead_to_no_file_elsewhere(
    store: FileStore, directory: Path, precious: Path
) -> None:
    with linking(directory, precious):
        for number in range(2, EDITIONS):
            publish(store, number)
            assert precious.read_bytes() == b"precious"
    assert not (directory / TIMESTAMP).is_symlink()
    assert now(store).read(TIMESTAMP, 100) == f"timestamp {EDITIONS - 1}".encode()


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_lock_that_is_no_file_is_refused_at_once_and_not_made_elsewhere(
    store: FileStore, directory: Path, tmp_path: Path, kind: str
) -> None:
    lock = directory / ".lock"
    lock.unlink()
    if kind == "link":
        lock.symlink_to(tmp_path / "elsewhere")
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.mkdir()
    started = time.monotonic()
    with pytest.raises(StateError, match=rf"lock is no regular file: {lock}"):
        publish(store, 2)
    with pytest.raises(StateError, match="lock is no regular file"):
        store.probe(deadline=soon())
    assert time.monotonic() - started < 5
    assert not (tmp_path / "elsewhere").exists()
    assert now(store).read(TIMESTAMP, 100) == b"timestamp 1"


@pytest.mark.parametrize("kind", ["pipe", "link to the same bytes", "link to nothing"])
def test_what_is_no_file_under_a_version_burns_its_number(
    store: FileStore, directory: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "pipe":
        os.mkfifo(directory / "2.targets.json")
    else:
        (directory / "2.targets.json").symlink_to(tmp_path / "elsewhere")
    if kind == "link to the same bytes":
        (tmp_path / "elsewhere").write_bytes(b"targets 2")
    with pytest.raises(ConflictError, match="two contents"):
        store.publish(edition(now(store), 2), deadline=soon())
    assert now(store).read(TIMESTAMP, 100) == b"timestamp 1"
    assert now(store).taken("2.targets.json")
    publish(store, 3)


def test_directory_of_changes_that_leads_elsewhere_is_not_written_into(
    store: FileStore, directory: Path, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / ".tmp-mine").write_bytes(b"mine")
    (directory / "pending").symlink_to(elsewhere)
    for data in (b"change", None):
        with pytest.raises(StateError, match="pending is no directory"):
            store.set_pending("targets", data, replaces=None, deadline=soon())
    assert {path.name: path.read_bytes() for path in elsewhere.iterdir()} == {".tmp-mine": b"mine"}


@pytest.mark.parametrize(("mode", "expected"), [(0o755, 0o600), (0o2775, 0o660), (0o1777, 0o666)])
@pytest.mark.parametrize("before", [None, 0o644])
def test_lock_is_for_those_who_may_write_the_directory(
    store: FileStore, directory: Path, mode: int, expected: int, before: int | None
) -> None:
    """Whoever may read a file can hold its lock, and so stop every publisher."""
    lock = directory / ".lock"
    if before is None:
        lock.unlink()
    else:
        lock.chmod(before)
    directory.chmod(mode)
    publish(store, 2)
    assert stat.S_IMODE(lock.stat().st_mode) == expected


def test_lock_that_is_another_file_by_a_second_name_changes_nothing_of_it(
    store: FileStore, directory: Path, precious: Path
) -> None:
    (directory / ".lock").unlink()
    (directory / ".lock").hardlink_to(precious)
    publish(store, 2)
    assert (precious.read_bytes(), stat.S_IMODE(precious.stat().st_mode)) == (b"precious", 0o644)
