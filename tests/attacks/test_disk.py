"""The disk is full, read-only, or shared by processes that all write: an answer or none, never a wrong one."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.simulators.command_line import CHECKOUT, NAME, CommandLine, Zygote
from tests.simulators.relay import Wire
from tests.simulators.world import Consumer, World
from trust.database import DATABASE, Database
from trust.deadline import deadline_in
from trust.errors import StateError
from trust.verdict import Denied, Reason, Verdict

LIMITS = (0, 100, 600, 2_000, 5_000, 20_000, 45_000)
NOBODY = 65534


@pytest.mark.parametrize("limit", LIMITS)
def test_full_disk_stops_a_verification_and_harms_nothing(user: CommandLine, limit: int) -> None:
    user.expect(0, *user.sign("2.0"))
    done = user.run(*user.verify("2.0"), file_bytes=limit)
    assert done.code in {0, 3}, done
    user.expect(0, *user.verify("1.4"))
    user.expect(0, *user.verify("2.0"))


@pytest.mark.parametrize("limit", LIMITS)
def test_full_disk_stops_a_signature_and_harms_nothing(user: CommandLine, limit: int) -> None:
    done = user.run(*user.sign("2.0"), file_bytes=limit)
    assert done.code in {0, 3}, done
    user.expect(0, *user.verify("1.4"))
    if done.code == 0:
        user.expect(0, *user.verify("2.0"))
    user.expect(0, *user.sign("2.0"))
    user.expect(0, *user.verify("2.0"))


def test_full_disk_at_first_use_leaves_a_fresh_start(user: CommandLine) -> None:
    (user.home / "state.db").unlink()
    for limit in LIMITS:
        done = user.run(*user.verify("1.4"), file_bytes=limit)
        assert done.code in {0, 3}, (limit, done)
    user.expect(0, *user.verify("1.4"))


def test_no_room_for_working_files_is_a_verdict_too(
    world: World, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sign("1.5")
    monkeypatch.setattr(tempfile, "tempdir", str(world.folder / "unmounted"))
    assert consumer.refusal().reason is Reason.STATE_DAMAGED


@pytest.mark.root
def test_full_file_system_stops_a_signature_and_harms_nothing(user: CommandLine, tmp_path: Path) -> None:
    """A file system of its own, in a mount name space of its own, filled to the last page."""
    script = f"""
        set -e
        mount -t tmpfs -o size=400k tmpfs {user.home}
        cp -a {tmp_path}/kept/. {user.home}/
        dd if=/dev/zero of={user.home}/full bs=4k 2>/dev/null || true
        set +e
        "$@"; echo "code $?"
        rm {user.home}/full
        "$@"; echo "code $?"
    """
    user.expect(0, *user.sign("2.0"))
    shutil.copytree(user.home, tmp_path / "kept")
    argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", sys.executable, "-m", "trust",
            *user.verify("2.0")]  # fmt: skip
    done = subprocess.run(argv, cwd=CHECKOUT, env=user.environment, capture_output=True, text=True, check=False)
    assert [line for line in done.stdout.splitlines() if line.startswith("code")] == ["code 3", "code 0"], done


def test_full_disk_is_told_as_such(tmp_path: Path) -> None:
    """SQLite has rolled back by itself then: that there is nothing to roll back is not what went wrong."""
    with closing(Database(tmp_path)) as database:
        (pages,) = database.rows("PRAGMA page_count")[0]
        database.rows(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(StateError, match="disk is full"), database.transaction() as connection:
            connection.execute("INSERT INTO root VALUES ('pin', 1, zeroblob(1000000))")


@pytest.fixture
def reader(founder: CommandLine) -> Iterator[CommandLine]:
    """Give a user whose files everybody may read: ``nobody``, who may write none of them, is the one who does."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        user = founder.copy(Path(folder) / "user")
        yield user
        _set_modes(user, writable=True)


def _set_modes(user: CommandLine, *, writable: bool) -> None:
    for path in (user.folder, *user.folder.rglob("*")):
        executable = path.is_dir()
        path.chmod((0o755 if writable else 0o555) if executable else (0o644 if writable else 0o444))


def _as_reader() -> int | None:
    """Return whom modes bind: root's name is no help."""
    return NOBODY if os.geteuid() == 0 else None


def _read(user: CommandLine, *argv: str) -> int | None:
    _set_modes(user, writable=False)
    code = user.run(*argv, uid=_as_reader()).code
    _set_modes(user, writable=True)
    return code


def test_read_only_home_is_enough_to_verify_what_is_known(reader: CommandLine) -> None:
    before = (reader.home / "state.db").read_bytes()
    assert _read(reader, *reader.verify("1.4", "--offline")) == 0
    assert _read(reader, *reader.verify("1.4")) == 0
    assert _read(reader, *reader.verify("2.0", "--offline")) == 1
    assert (reader.home / "state.db").read_bytes() == before


def test_read_only_home_could_not_decide_over_what_is_new(reader: CommandLine) -> None:
    reader.expect(0, *reader.sign("2.0"))
    before = (reader.home / "state.db").read_bytes()
    assert _read(reader, *reader.verify("2.0")) == 3
    assert _read(reader, *reader.verify("1.4", "--offline")) == 0
    assert (reader.home / "state.db").read_bytes() == before


def test_read_only_home_without_state_could_not_decide(reader: CommandLine) -> None:
    (reader.home / "state.db").unlink()
    assert _read(reader, *reader.verify("1.4")) == 3
    assert not (reader.home / "state.db").exists()


def test_read_only_store_can_be_verified_and_not_published_to(reader: CommandLine) -> None:
    for path in (reader.metadata, *reader.metadata.iterdir()):
        path.chmod(0o555)
    if os.geteuid() != 0:
        assert reader.run(*reader.sign("2.0")).code == 3
    reader.expect(0, *reader.verify("1.4"))


def test_commit_that_died_is_no_answer_on_a_read_only_disk(founder: CommandLine) -> None:
    """Half of the new state must not pass for the old: the journal that tells cannot be rolled back there."""
    died = 0
    for number in range(1, 12):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder).chmod(0o755)
            user = founder.copy(Path(folder) / "user")
            user.expect(0, *user.sign("2.0"))
            fault = f"inject=pwrite64:signal=KILL:when={number}"
            done = user.traced(
                ["-o", os.devnull, "-P", str(user.home / "state.db"), "-e", fault], *user.verify("2.0")
            )
            died += done.code is None
            assert _read(user, *user.verify("1.4", "--offline")) == (3 if done.code is None else 0)
            user.expect(0, *user.verify("1.4", "--offline"))
            user.expect(0, *user.verify("2.0"))
    assert died > 5


@pytest.mark.root
def test_read_only_file_system_is_enough_to_verify_what_is_known(user: CommandLine) -> None:
    script = """
        mount --bind "$TRUST_HOME" "$TRUST_HOME" && mount -o remount,bind,ro "$TRUST_HOME" || exit 9
        touch "$TRUST_HOME/x" 2>/dev/null && exit 8
        exec "$@"
    """
    user.expect(0, *user.sign("2.0"))
    cases = ((user.verify("1.4", "--offline"), 0), (user.verify("2.0", "--offline"), 1), (user.verify("2.0"), 3))
    for argv, code in cases:
        done = subprocess.run(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh",
             sys.executable, "-m", "trust", *argv],
            cwd=CHECKOUT, env=user.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == code, done


def _tags(user: CommandLine) -> set[str]:
    document = json.loads(user.expect(0, "list", NAME, "--json"))
    return {entry["tag"] for entry in document["tags"]}


def _side_by_side(*works: object) -> None:
    threads = [threading.Thread(target=work) for work in works]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


EACH = 6


def test_two_publishers_at_once_lose_no_acknowledged_signature(user: CommandLine, tmp_path: Path) -> None:
    other = user.copy(tmp_path / "other")
    for path in (other.folder / "policy.toml", other.home / "collections.toml"):
        path.write_text(path.read_text().replace(str(other.metadata), str(user.metadata)))
    other.zygote = Zygote()
    acknowledged: list[str] = []
    codes: list[int | None] = []

    def publish(who: CommandLine, name: str) -> None:
        for number in range(EACH):
            tag = f"{name}-{number}"
            done = who.run("sign", f"oci:{who.layout}:1.4", "--as", f"{NAME}web:{tag}")
            codes.append(done.code)
            if done.code == 0:
                acknowledged.append(tag)

    _side_by_side(lambda: publish(user, "one"), lambda: publish(other, "two"))
    assert set(codes) <= {0, 4}
    assert set(acknowledged) <= _tags(user)
    assert set(acknowledged) <= _tags(other)
    assert len(acknowledged) + codes.count(4) == 2 * EACH
    other.zygote.close()


def test_two_verifiers_of_one_home_at_once_and_a_publisher_beside_them(user: CommandLine) -> None:
    zygotes = [Zygote(), Zygote()]
    codes: list[int | None] = []

    def verify(zygote: Zygote) -> None:
        twin = CommandLine(user.folder, zygote)
        codes.extend(twin.run(*twin.verify("1.4")).code for _ in range(15))

    def publish() -> None:
        codes.extend(user.run("publish", NAME).code for _ in range(3))

    _side_by_side(*(lambda zygote=zygote: verify(zygote) for zygote in zygotes), publish)
    assert set(codes) == {0}
    user.expect(0, *user.verify("1.4"))
    for zygote in zygotes:
        zygote.close()


def test_what_was_verified_is_on_the_disk_before_it_is_said(user: CommandLine, tmp_path: Path) -> None:
    """A power cut must not take back the versions below which nothing is believed."""
    user.expect(0, *user.sign("2.0"))
    log = tmp_path / "log"
    done = user.traced(["-f", "-y", "-o", str(log), "-e", "trace=pwrite64,fsync,fdatasync"], *user.verify("2.0"))
    assert done.code == 0, done
    calls = re.findall(rf"(\w+)\(\d+<[^>]*/{DATABASE}(?:-wal)?>", log.read_text())
    assert "pwrite64" in calls
    assert calls[-1] in {"fsync", "fdatasync"}


def test_refresh_waits_for_the_one_that_is_under_way(world: World, consumer: Consumer) -> None:
    """Side by side, the slower one would write the older metadata that it had read over the newer."""
    others: list[Verdict] = []

    def read(name: str, _max_bytes: int, data: bytes | None) -> bytes | None:
        if name.endswith("snapshot.json") and not others:
            world.sign("1.6")
            others.append(consumer.verify(deadline=deadline_in(0.2, time.monotonic)))
        return data

    world.sign("1.5")
    consumer.allowed(store=Wire(honest=world.store, read=read))
    (other,) = others
    assert isinstance(other, Denied)
    assert other.reason is Reason.LIMIT_REACHED
    consumer.allowed("registry.test/acme/web:1.6")


def test_eight_threads_of_one_process_all_get_an_answer(world: World, consumer: Consumer) -> None:
    """python-tuf alone lost a third of eight refreshes on one directory."""
    world.sign("1.5")
    verdicts = []
    _side_by_side(*(lambda: verdicts.append(consumer.verify()) for _ in range(8)))
    assert len(verdicts) == 8
    assert not [verdict for verdict in verdicts if isinstance(verdict, Denied)]
