"""A refresh over several editions and the making of a key, killed at every call that changes the disk.

``TRUST_FAULTS=all`` tries each call, otherwise three of them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from keys.encrypted_file import public_half
from keys.store import KeyStore
from tests.faults.places import Record, few, record
from tests.simulators.command_line import NAME, PASSPHRASE, CommandLine, Done
from tests.simulators.killing import CHANGING, points_of

LIMITS = (0, 100, 600, 2_000, 5_000, 20_000, 45_000)


def killed(
    start: CommandLine, folder: Path, argv: list[str], is_whole: Callable[[CommandLine, Done], bool]
) -> tuple[int, list[object]]:
    """Return at how many points ``argv`` was killed, each on a copy of ``start``, and which of them did harm."""
    rehearsal, log = start.copy(folder / "rehearsal"), folder / "log"
    calls = ",".join(f"?{call}" for call in CHANGING)
    assert rehearsal.traced(["-y", "-o", str(log), "-e", f"trace={calls}"], *argv).code == 0
    points = few(points_of(log, "/user-tmp/"), 3)
    broken: list[object] = []
    for call, count in points:
        user = start.copy(folder / f"{call}-{count}")
        done = user.traced(["-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={count}"], *argv)
        assert done.code is None, f"{call} {count} was not reached"
        if not is_whole(user, done):
            broken.append((call, count, done.said))
        shutil.rmtree(user.folder)
    return len(points), broken


@pytest.fixture(scope="module")
def left_behind(founder: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """Give a consumer who has missed a new root and two images."""
    user = founder.copy(tmp_path_factory.mktemp("left") / "behind")
    state = (user.home / "state.db").read_bytes()
    (old,) = [path.stem for path in (user.home / "keys").glob("*.root.*")]
    user.expect(0, "key", "generate", "next")
    user.expect(0, "rotate", NAME, "root", "--add", "next", "--remove", old)
    user.expect(0, *user.sign("2.0"))
    user.expect(0, *user.sign("3.0"))
    (user.home / "state.db").write_bytes(state)
    return user


def is_refreshed(user: CommandLine, _done: Done) -> bool:
    """Tell whether the next verification goes on by itself, and no old answer is given under a newer root."""
    offline = user.run(*user.verify("1.4", "--offline"))
    if offline.code != 0 and not (offline.code == 3 and "verify once without --offline" in offline.said):
        return False
    return [user.run(*user.verify(tag)).code for tag in ("3.0", "1.4")] == [0, 0]


def test_killed_refresh_leaves_the_old_state_or_the_new(
    left_behind: CommandLine, tmp_path: Path, record_property: Record
) -> None:
    record(record_property, *killed(left_behind, tmp_path, left_behind.verify("3.0"), is_refreshed))


def test_refresh_on_a_full_disk_leaves_the_old_state_or_the_new(
    left_behind: CommandLine, tmp_path: Path, record_property: Record
) -> None:
    limits, broken = few(LIMITS), []
    for limit in limits:
        user = left_behind.copy(tmp_path / str(limit))
        done = user.run(*user.verify("3.0"), file_bytes=limit)
        if done.code not in {0, 3} or not is_refreshed(user, done):
            broken.append((limit, done))
    record(record_property, len(limits), broken)


def is_none_or_whole(user: CommandLine, done: Done) -> bool:
    """Tell whether the key is there and opens, or is not and can be made; and the others open."""
    store = KeyStore(user.home / "keys")
    if "new" not in store.names():
        if (done.said and "error: " not in done.said) or user.run("key", "generate", "new").code != 0:
            return False
        store = KeyStore(user.home / "keys")
    opens = public_half(store.unlock("new", PASSPHRASE)) == store.public_key("new")
    goes_on = user.run("key", "generate", "another").code == 0
    return opens and goes_on and not list((user.home / "keys").glob(".new-*"))


def test_killed_while_a_key_is_made_leaves_a_whole_one_or_none(
    user: CommandLine, tmp_path: Path, record_property: Record
) -> None:
    record(record_property, *killed(user, tmp_path, ["key", "generate", "new"], is_none_or_whole))


def test_key_that_is_made_on_a_full_disk_is_whole_or_none(
    founder: CommandLine, tmp_path: Path, record_property: Record
) -> None:
    limits, broken = few((0, 1, 100, 300), 2), []
    for limit in limits:
        user = founder.copy(tmp_path / str(limit))
        done = user.run("key", "generate", "new", file_bytes=limit)
        if done.code != 3 or user.run("key", "show", "new").code == 0 or not is_none_or_whole(user, done):
            broken.append((limit, done))
    record(record_property, len(limits), broken)
