"""The database of the trusted state: changed as a whole or not at all, and made anew only where there is none."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from tests.simulators.world import Consumer, World
from trust.database import DATABASE, Database
from trust.errors import StateError
from trust.verdict import Reason

COUNT = "SELECT count(*) FROM root"
NOBODY = 65534


@contextmanager
def reader() -> Iterator[None]:
    """Be somebody who may read and not write, for whom that counts."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def shown() -> Iterator[Consumer]:
    """Give a consumer of a world, both where everybody can get to."""
    folder = Path(tempfile.mkdtemp())
    try:
        world = World(folder)
        world.sign()
        consumer = world.consumer()
        consumer.allowed()
        yield consumer
    finally:
        for path in folder.iterdir():
            path.chmod(0o755)
        shutil.rmtree(folder)


def close_to_writers(consumer: Consumer) -> None:
    """Have everybody read his home and his store, and nobody write them."""
    for folder in (consumer.home, consumer.world.directory):
        for path in (folder, *folder.iterdir()):
            path.chmod(0o555 if path.is_dir() else 0o444)
    consumer.world.folder.chmod(0o755)


def _broken_off(connection: sqlite3.Connection) -> None:
    _fill(connection)
    raise KeyError("the caller stumbled")


def _fill(connection: sqlite3.Connection, versions: range = range(1)) -> None:
    """Write a megabyte for each version."""
    rows = [(version, bytes(1_000_000)) for version in versions]
    connection.executemany("INSERT INTO root VALUES ('pin', ?, ?)", rows)


def test_change_that_is_broken_off_leaves_everything_as_it_was(tmp_path: Path) -> None:
    with closing(Database(tmp_path)) as database:
        with pytest.raises(KeyError, match="stumbled"), database.transaction() as connection:
            _broken_off(connection)
        assert database.rows(COUNT) == [(0,)]
        with database.transaction() as connection:
            _fill(connection)
        assert database.rows(COUNT) == [(1,)]


@contextmanager
def bounded(connection: sqlite3.Connection) -> Iterator[None]:
    """Have the library take no more pages: what was begun goes on, and is for its caller to undo."""
    ((pages,),) = connection.execute("PRAGMA page_count")
    connection.execute(f"PRAGMA max_page_count={pages + 300}")
    yield


@contextmanager
def full(connection: sqlite3.Connection) -> Iterator[None]:
    """Have the disk take no more bytes: the library ends what was begun by itself."""
    ((_, _, path),) = connection.execute("PRAGMA database_list")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(path).stat().st_size + 1_000_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("limited", [bounded, full])
def test_full_disk_is_told_and_leaves_everything_as_it_was(
    tmp_path: Path, limited: Callable[[sqlite3.Connection], AbstractContextManager[None]]
) -> None:
    with closing(Database(tmp_path)) as database:
        with database.transaction() as connection:
            _fill(connection)
        with (
            pytest.raises(StateError, match=r"cannot be written: .*(disk I/O error|disk is full)"),
            limited(connection),
            database.transaction() as again,
        ):
            _fill(again, range(1, 10))
        assert database.rows(COUNT) == [(1,)]
        with database.transaction() as connection:
            connection.execute("DELETE FROM root")
        assert database.rows(COUNT) == [(0,)]


def test_file_that_is_gone_below_an_open_state_is_told(tmp_path: Path) -> None:
    with closing(Database(tmp_path)) as database, pytest.raises(StateError, match="cannot be read"):
        database.rows("SELECT * FROM nothing_of_ours")


def test_schema_that_does_not_read_is_damage_and_no_fresh_start(tmp_path: Path) -> None:
    Database(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection, connection:
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("UPDATE sqlite_master SET sql = 'CREATE TABLE role (' WHERE name = 'role'")
    before = (tmp_path / DATABASE).read_bytes()
    with pytest.raises(StateError, match=r"damaged: .*malformed"):
        Database(tmp_path)
    assert (tmp_path / DATABASE).read_bytes() == before


def test_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be written"):
        Database(tmp_path / "file" / "home")
    assert (tmp_path / "file").read_text() == ""


@pytest.mark.parametrize("has_links", [True, False])
def test_state_on_a_disk_that_is_read_only_is_judged_by_though_an_older_version_made_it(
    shown: Consumer, *, has_links: bool
) -> None:
    if not has_links:
        with closing(sqlite3.connect(shown.home / DATABASE)) as connection, connection:
            connection.execute("DROP TABLE link")
    before = (shown.home / DATABASE).read_bytes()
    close_to_writers(shown)
    with reader():
        verdict = shown.allowed(offline=True)
        unchanged = shown.allowed()
    assert verdict.digest == unchanged.digest
    assert (shown.home / DATABASE).read_bytes() == before


def test_news_that_cannot_be_kept_decide_nothing(shown: Consumer) -> None:
    shown.world.revoke("1.4")
    before = (shown.home / DATABASE).read_bytes()
    close_to_writers(shown)
    with reader():
        denied = shown.denied()
    assert denied.reason is Reason.STATE_DAMAGED
    assert "cannot be written" in denied.detail
    assert (shown.home / DATABASE).read_bytes() == before
