"""The trusted state is damaged, deleted, older than it was, or read by a clock that is wrong."""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import pytest

from tests.simulators.world import Consumer, World, soon
from trust.database import DATABASE
from trust.errors import StateError
from trust.verdict import Allowed, Denied, Reason, Verdict

ONE_FIVE = "registry.test/acme/web:1.5"
PAGE_BYTES = 4096
ODD_CELLS = (None, "", "x", "{}", "[]", "[1]", -1, 0, 1.5, 2**62, b"\x00", b'{"signed":{}}')


def _database(consumer: Consumer) -> bytes:
    return (consumer.home / DATABASE).read_bytes()


def _answer(consumer: Consumer, *, offline: bool) -> Reason | str:
    """Return the digest that is allowed, or the reason of the denial; damage that is found at once is one too."""
    try:
        verdict: Verdict = consumer.verify(offline=offline)
    except StateError:
        return Reason.STATE_DAMAGED
    match verdict:
        case Allowed():
            return str(verdict.digest)
        case Denied():
            return verdict.reason


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "zero length": lambda data: data[:0],
    "one byte": lambda data: data[:1],
    "half a header": lambda data: data[:50],
    "one page": lambda data: data[:PAGE_BYTES],
    "half": lambda data: data[: len(data) // 2],
    "half a page short": lambda data: data[: -PAGE_BYTES // 2],
    "one page short": lambda data: data[:-PAGE_BYTES],
    "zeroes": lambda data: bytes(len(data)),
    "text": lambda data: b"not a database".ljust(len(data)),
    "another program's": lambda data: data[:68] + b"ABCD" + data[72:],
    "a later version's": lambda data: data[:60] + (99).to_bytes(4, "big") + data[64:],
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE.keys())
@pytest.mark.parametrize("offline", [False, True])
def test_damaged_state_could_not_be_decided_and_is_no_fresh_start(
    consumer: Consumer, change: Callable[[bytes], bytes], *, offline: bool
) -> None:
    damaged = change(_database(consumer))
    (consumer.home / DATABASE).write_bytes(damaged)
    assert _answer(consumer, offline=offline) is Reason.STATE_DAMAGED
    assert _database(consumer) == damaged


def test_state_cut_off_anywhere_gives_no_other_answer(world: World, consumer: Consumer) -> None:
    data, digest = _database(consumer), str(consumer.allowed().digest)
    for length in range(0, len(data), 509):
        (consumer.home / DATABASE).write_bytes(data[:length])
        assert _answer(consumer, offline=True) in {Reason.STATE_DAMAGED, digest}, length
    (consumer.home / DATABASE).write_bytes(data)
    assert world.consumer().allowed(offline=True).digest is not None


def _cells(consumer: Consumer) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(consumer.home / DATABASE)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return [(table, row[1]) for table in tables for row in connection.execute(f"PRAGMA table_info({table})")]


@pytest.mark.parametrize("offline", [False, True])
def test_odd_cell_of_the_state_is_never_a_crash(world: World, consumer: Consumer, *, offline: bool) -> None:
    """Who writes the home decides what is trusted in it; a bit that fell over must be told apart from a denial."""
    digest, good = str(consumer.allowed().digest), _database(consumer)
    world.sign("1.5")
    crashes = []
    for table, column in _cells(consumer):
        for odd in ODD_CELLS:
            (consumer.home / DATABASE).write_bytes(good)
            with closing(sqlite3.connect(consumer.home / DATABASE)) as connection, connection:
                connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (odd,))  # noqa: S608
            try:
                answer = _answer(consumer, offline=offline)
            except Exception as err:  # noqa: BLE001 - all of them are told at once
                crashes.append((table, column, odd, repr(err)))
            else:
                assert isinstance(answer, Reason) or answer == digest or table == "target"
    assert crashes == []


@pytest.mark.parametrize("table", ["collection", "role", "root"])
def test_lost_rows_are_never_taken_for_an_answer_offline(consumer: Consumer, table: str) -> None:
    with closing(sqlite3.connect(consumer.home / DATABASE)) as connection, connection:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608
    if table == "root":
        consumer.allowed(offline=True)  # roots are only needed to go further
    else:
        assert consumer.refusal(offline=True).reason is Reason.UNREACHABLE


def test_deleted_state_starts_fresh_and_says_so(consumer: Consumer) -> None:
    shutil.rmtree(consumer.home)
    assert any("first use" in notice for notice in consumer.allowed().notices)
    assert not any("first use" in notice for notice in consumer.allowed().notices)


def test_deleted_state_is_refused_where_the_policy_forbids_a_first_use(world: World) -> None:
    consumer = world.consumer()
    consumer.allowed()
    strict = world.consumer(fresh="deny")
    strict.allowed()
    shutil.rmtree(strict.home)
    assert strict.refusal().reason is Reason.NO_FIRST_USE
    assert strict.refusal(offline=True).reason is Reason.UNREACHABLE


def test_state_of_another_pin_is_no_state(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = World(tmp_path_factory.mktemp("other"))
    other.sign()
    consumer = other.consumer()
    consumer.allowed()
    consumer.stanza = world.stanza
    consumer.world = world
    assert consumer.refusal(offline=True).reason is Reason.UNREACHABLE
    assert any("first use" in notice for notice in consumer.allowed().notices)


def test_state_restored_from_a_backup_goes_on_from_there(world: World, consumer: Consumer) -> None:
    backup = _database(consumer)
    world.sign("1.5")
    consumer.allowed(ONE_FIVE)
    (consumer.home / DATABASE).write_bytes(backup)
    assert consumer.refusal(ONE_FIVE, offline=True).reason is Reason.UNSIGNED
    consumer.allowed(ONE_FIVE)


def test_state_restored_from_a_backup_still_refuses_what_is_older(world: World) -> None:
    older = world.attacker.files()
    world.sign("1.5")
    consumer = world.consumer()
    consumer.allowed(ONE_FIVE)
    backup = _database(consumer)
    world.sign("1.6")
    consumer.allowed(ONE_FIVE)
    (consumer.home / DATABASE).write_bytes(backup)
    world.attacker.restore(older)
    assert consumer.refusal(ONE_FIVE).reason is Reason.ROLLED_BACK


def test_clock_one_day_back_could_not_be_decided(world: World, consumer: Consumer) -> None:
    world.later(days=-1)
    assert consumer.refusal().reason is Reason.CLOCK
    assert consumer.refusal(offline=True).reason is Reason.CLOCK


def test_clock_a_minute_back_is_no_matter(world: World, consumer: Consumer) -> None:
    world.later(minutes=-1)
    consumer.allowed()
    consumer.allowed(offline=True)


def test_clock_a_minute_back_does_not_spare_the_question(world: World) -> None:
    """Between the last check and now lies a time below zero, which is no reason to believe what is stored."""
    consumer = world.consumer()
    consumer.allowed()
    world.revoke("1.4")
    world.later(minutes=-1)
    denied = consumer.verify()
    assert isinstance(denied, Denied)
    assert denied.reason is Reason.UNSIGNED


def test_clock_one_year_ahead_refuses_and_recovers(world: World, consumer: Consumer) -> None:
    world.later(days=365)
    assert consumer.refusal().reason is Reason.EXPIRED
    assert consumer.refusal(offline=True).reason is Reason.EXPIRED
    world.later(days=-365)
    consumer.allowed()


def test_clock_ahead_while_something_new_is_there_refuses_and_recovers(world: World, consumer: Consumer) -> None:
    world.sign("1.5")
    world.later(days=365)
    assert consumer.refusal(ONE_FIVE).reason is Reason.EXPIRED
    world.later(days=-365)
    consumer.allowed(ONE_FIVE)


def test_clock_ahead_at_first_use_leaves_nothing_behind(world: World) -> None:
    consumer = world.consumer()
    world.later(days=365)
    assert consumer.refusal().reason is Reason.EXPIRED
    assert consumer.rows() == {}
    world.later(days=-365)
    consumer.allowed()


def test_age_that_the_policy_admits_spares_the_question_and_no_longer(world: World) -> None:
    consumer = world.consumer(max_age=timedelta(minutes=10))
    consumer.allowed()
    world.revoke("1.4")
    world.later(minutes=9)
    consumer.allowed()
    world.later(minutes=1)
    assert isinstance(consumer.verify(), Denied)


def _fall(body: bytes, part: bytes) -> bytes:
    """Return ``body`` with one bit flipped behind ``part``."""
    place = body.index(part) + len(part) + 5
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


@pytest.mark.parametrize("part", [b'"expires":', b'"sig":', b'"x-collection":'])
@pytest.mark.parametrize(
    ("table", "where"),
    [("root", "version = 1"), ("role", "name = 'timestamp'"), ("role", "name = 'snapshot'")],
)
def test_floor_with_a_fallen_bit_is_no_missing_floor(
    world: World, consumer: Consumer, table: str, where: str, part: bytes
) -> None:
    """python-tuf passes over what it cannot read locally: a rollback would then be news."""
    older = world.attacker.files()
    world.sign("1.5")
    consumer.allowed()
    with closing(sqlite3.connect(consumer.home / DATABASE)) as connection, connection:
        ((body,),) = connection.execute(f"SELECT body FROM {table} WHERE {where}")  # noqa: S608
        connection.execute(f"UPDATE {table} SET body = ? WHERE {where}", (_fall(body, part),))  # noqa: S608
    world.attacker.restore(older)
    assert consumer.refusal().reason is Reason.STATE_DAMAGED


@pytest.mark.parametrize("body", [b"", b"{", b'{"signed": {}, "signatures": []}'])
def test_damaged_targets_body_could_not_be_decided(world: World, consumer: Consumer, body: bytes) -> None:
    world.sign("1.5")
    with closing(sqlite3.connect(consumer.home / DATABASE)) as connection, connection:
        connection.execute("UPDATE role SET body = ? WHERE name = 'targets'", (body,))
    assert consumer.refusal().reason is Reason.STATE_DAMAGED


def test_root_that_cannot_be_read_any_more_is_damage_and_not_the_publishers_fault(
    world: World, consumer: Consumer
) -> None:
    world.rotate()
    world.sign("1.5")
    with closing(sqlite3.connect(consumer.home / DATABASE)) as connection, connection:
        connection.execute("UPDATE root SET body = ?", (b"{}",))
    assert consumer.refusal().reason is Reason.STATE_DAMAGED


def test_process_that_hangs_over_its_refresh_costs_another_no_more_than_its_deadline(
    world: World, consumer: Consumer
) -> None:
    world.sign("1.5")
    (lock,) = consumer.home.glob("refresh-*.lock")
    with lock.open() as held:
        fcntl.flock(held.fileno(), fcntl.LOCK_EX)
        assert consumer.refusal(ONE_FIVE, deadline=soon(0.2)).reason is Reason.LIMIT_REACHED
        later = threading.Timer(0.2, fcntl.flock, (held.fileno(), fcntl.LOCK_UN))
        later.start()
        consumer.allowed(ONE_FIVE)  # it waits until the other is through
        later.join()


def test_home_in_which_no_lock_can_be_taken_keeps_nothing_and_decides_nothing(
    world: World, consumer: Consumer
) -> None:
    world.sign("1.5")
    (lock,) = consumer.home.glob("refresh-*.lock")
    lock.unlink()
    lock.mkdir()
    assert consumer.refusal(ONE_FIVE).reason is Reason.STATE_DAMAGED
    consumer.allowed(offline=True)
