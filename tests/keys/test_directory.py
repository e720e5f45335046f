"""The directory on disk: names that are no paths, files that nobody else can read, nothing but regular files."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.directory import KeyDirectory
from keys.errors import (
    KeyChangedError,
    KeyDamagedError,
    KeyExistsError,
    KeyExposedError,
    KeyInputError,
    KeyMissingError,
    KeysError,
    KeysUnavailableError,
)
from keys.name import check_name

DATA = b"x" * 300
LATER = b"y" * 300


@pytest.fixture
def files(home: Path) -> KeyDirectory:
    """Give a directory that holds ``web``."""
    directory = KeyDirectory(home)
    directory.create("web", DATA, random=os.urandom)
    return directory


@given(st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True))
def test_a_name_is_accepted_as_it_is_or_not_at_all(name: str) -> None:
    if ".." in name:
        with pytest.raises(KeyInputError):
            check_name(name)
    else:
        assert check_name(name) == name


BAD_NAMES = ["", ".", "..", "a..b", ".web", "-web", "_web", "Web", "a/b", "/etc/passwd", "../web", "a%2fb", "a\\b"]
BAD_NAMES += ["a\0", "a\n", "web\n", "a b", "ä", "\uff0e\uff0e", "\u0661", "a" * 65]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_could_leave_the_directory_is_refused(name: str, files: KeyDirectory) -> None:
    for attempt in (
        lambda: files.read(name),
        lambda: files.create(name, DATA, random=os.urandom),
        lambda: files.replace(name, old=DATA, new=DATA, random=os.urandom),
        lambda: files.remove(name),
    ):
        with pytest.raises(KeyInputError, match="not a key name"):
            attempt()
    assert files.names() == ["web"]


def test_longest_name_can_be_used(files: KeyDirectory) -> None:
    files.create("a" * 64, DATA, random=os.urandom)
    assert files.read("a" * 64) == DATA


def test_files_and_directories_are_made_for_the_owner_alone(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        KeyDirectory(tmp_path / "a" / "b" / "keys").create("web", DATA, random=os.urandom)
    finally:
        os.umask(previous)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "a").rglob("*")}
    assert modes == {"b": 0o700, "keys": 0o700, "web.key": 0o600, ".lock": 0o600}
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o700


def test_reading_what_does_not_exist_makes_nothing(home: Path) -> None:
    files = KeyDirectory(home)
    assert files.names() == []
    for attempt in (
        lambda: files.read("web"),
        lambda: files.remove("web"),
        lambda: files.replace("web", old=DATA, new=LATER, random=os.urandom),
    ):
        with pytest.raises(KeyMissingError, match="no key web in"):
            attempt()
    assert not home.parent.exists()


def test_other_files_are_no_keys(files: KeyDirectory, home: Path) -> None:
    for name in ("README", "Web.key", "a..b.key", ".key", "web.key.bak", ".new-00"):
        (home / name).write_bytes(DATA)
    assert files.names() == ["web"]


def test_a_taken_name_is_refused_and_its_key_untouched(files: KeyDirectory) -> None:
    with pytest.raises(KeyExistsError, match="key web exists already"):
        files.create("web", LATER, random=os.urandom)
    assert files.read("web") == DATA


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o666])
def test_key_file_open_to_others_is_refused(files: KeyDirectory, home: Path, mode: int) -> None:
    (home / "web.key").chmod(mode)
    for attempt in (
        lambda: files.read("web"),
        lambda: files.replace("web", old=DATA, new=LATER, random=os.urandom),
    ):
        with pytest.raises(KeyExposedError, match=f"expected mode 0600, got {mode:04o}") as caught:
            attempt()
        assert f"chmod 600 {home / 'web.key'}" in str(caught.value.hint)
    (home / "web.key").chmod(0o600)
    assert files.read("web") == DATA


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o770, 0o777, 0o701])
def test_key_directory_open_to_others_is_refused(files: KeyDirectory, home: Path, mode: int) -> None:
    home.chmod(mode)
    for attempt in (
        lambda: files.read("web"),
        files.names,
        lambda: files.remove("web"),
        lambda: files.create("other", DATA, random=os.urandom),
    ):
        with pytest.raises(KeyExposedError, match=f"expected mode 0700, got {mode:04o}") as caught:
            attempt()
        assert f"chmod 700 {home}" in str(caught.value.hint)
    home.chmod(0o700)
    assert files.names() == ["web"]


def test_key_of_another_user_is_refused(files: KeyDirectory, home: Path) -> None:
    mine = os.geteuid()
    with pytest.raises(KeyExposedError, match=f"belongs to another user: expected uid {mine + 1}, got {mine}"):
        KeyDirectory(home, owner_uid=mine + 1).read("web")
    assert files.read("web") == DATA


def test_key_that_others_can_read_can_still_be_removed(files: KeyDirectory, home: Path) -> None:
    (home / "web.key").chmod(0o644)
    files.remove("web")
    assert files.names() == []


def test_symbolic_link_is_not_followed(files: KeyDirectory, home: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    secret.chmod(0o600)
    (home / "link.key").symlink_to(secret)
    with pytest.raises(KeyDamagedError, match="is a symbolic link"):
        files.read("link")
    with pytest.raises(KeyExistsError):
        files.create("link", DATA, random=os.urandom)
    assert secret.read_bytes() == b"secret"


def test_dangling_link_is_not_written_through(files: KeyDirectory, home: Path, tmp_path: Path) -> None:
    (home / "link.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyExistsError):
        files.create("link", DATA, random=os.urandom)
    assert not (tmp_path / "elsewhere").exists()


def test_fifo_and_directory_of_the_name_are_refused_at_once(files: KeyDirectory, home: Path) -> None:
    os.mkfifo(home / "fifo.key", 0o600)
    (home / "folder.key").mkdir(0o700)
    for name in ("fifo", "folder"):
        with pytest.raises(KeyDamagedError, match="expected a regular file"):
            files.read(name)


def test_file_above_64_kib_is_not_read(files: KeyDirectory, home: Path) -> None:
    with (home / "web.key").open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(KeyDamagedError, match="too large: at most 65536 bytes, got 1099511627776"):
        files.read("web")


def test_directory_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"")
    files = KeyDirectory(tmp_path / "keys")
    for attempt in (files.names, lambda: files.create("web", DATA, random=os.urandom)):
        with pytest.raises(KeysUnavailableError, match="Not a directory"):
            attempt()


def test_leftovers_of_dead_writers_are_removed_by_the_next(files: KeyDirectory, home: Path) -> None:
    (home / ".new-0011223344556677").write_bytes(b"half")
    files.create("other", DATA, random=os.urandom)
    assert sorted(path.name for path in home.iterdir()) == [".lock", "other.key", "web.key"]


def test_of_many_writers_of_one_name_one_succeeds(home: Path) -> None:
    start = threading.Barrier(8)
    outcomes: list[bytes | KeysError] = []

    def write(data: bytes) -> None:
        start.wait()
        try:
            KeyDirectory(home).create("web", data, random=os.urandom)
        except KeysError as err:
            outcomes.append(err)
        else:
            outcomes.append(data)

    threads = [threading.Thread(target=write, args=(bytes([number]) * 300,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
    assert len(outcomes) == 8
    assert [KeyDirectory(home).read("web")] == winners
    assert all(isinstance(outcome, bytes | KeyExistsError) for outcome in outcomes)
    assert sorted(path.name for path in home.iterdir()) == [".lock", "web.key"]


def test_replacing_a_key_that_was_removed_does_not_bring_it_back(files: KeyDirectory) -> None:
    files.remove("web")
    with pytest.raises(KeyMissingError):
        files.replace("web", old=DATA, new=LATER, random=os.urandom)
    assert files.names() == []


def test_replacing_a_key_that_was_changed_loses_no_change(files: KeyDirectory) -> None:
    files.replace("web", old=DATA, new=LATER, random=os.urandom)
    with pytest.raises(KeyChangedError, match="changed by another process meanwhile: nothing was written"):
        files.replace("web", old=DATA, new=b"z", random=os.urandom)
    assert files.read("web") == LATER
