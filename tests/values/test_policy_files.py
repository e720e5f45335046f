"""A part of the policy that cannot be read refuses everything: what it denies is never allowed for that."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry_shim.policy_watch import PolicyWatch
from trust.digest import sha256
from trust.errors import InputError
from trust.policy_document import POLICY_MAX_BYTES
from trust.policy_files import policy_files, read_policy

NOBODY = 65534
DENY = f'schema = 1\ndeny = {{ digests = ["{sha256(b"bad")}"] }}\n'


@pytest.fixture
def policy() -> Iterator[Path]:
    """Give a policy whose deny list stands in ``policy.d``, where an ordinary user can read it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    path = folder / "policy.toml"
    path.write_text("schema = 1\n")
    (folder / "policy.d").mkdir()
    (folder / "policy.d" / "deny.toml").write_text(DENY)
    try:
        yield path
    finally:
        if (folder / "policy.d").is_dir():
            (folder / "policy.d").chmod(0o755)
        shutil.rmtree(folder)


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Have the test run as somebody for whom permissions count."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def _denied(path: Path) -> set[str]:
    return {str(digest) for digest in read_policy(policy_files(path, is_explicit=True)).denied_digests}


def _chmod(name: str, mode: int) -> Callable[[Path], object]:
    return lambda folder: os.chmod(folder / name, mode)  # noqa: PTH101 - one line


def _replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path], object]:
    def move(folder: Path) -> None:
        path = folder / name
        shutil.move(path, folder / "elsewhere")
        make(path)

    return move


MOVES: dict[str, Callable[[Path], object]] = {
    "a directory that is not to be listed": _chmod("policy.d", 0o311),
    "a directory that is not to be entered": _chmod("policy.d", 0o644),
    "a file that is not to be read": _chmod("policy.d/deny.toml", 0o000),
    "a file in the place of the directory": _replaced("policy.d", lambda path: path.write_text("")),
    "a link to nothing in the place of the directory": _replaced("policy.d", lambda path: path.symlink_to("gone")),
    "a link to itself in the place of the directory": _replaced("policy.d", lambda path: path.symlink_to(path)),
    "a link to nothing": _replaced("policy.d/deny.toml", lambda path: path.symlink_to("gone")),
    "a directory with the name of a file": _replaced("policy.d/deny.toml", Path.mkdir),
    "a pipe": _replaced("policy.d/deny.toml", os.mkfifo),
    "a policy that is a link to nothing": _replaced("policy.toml", lambda path: path.symlink_to("gone")),
}


@pytest.mark.usefixtures("ordinary_user")
def test_ordinary_user_reads_the_deny_list(policy: Path) -> None:
    assert _denied(policy) == {str(sha256(b"bad"))}


@pytest.mark.parametrize("what", MOVES)
def test_part_that_cannot_be_read_refuses_everything(policy: Path, what: str) -> None:
    watch = PolicyWatch(lambda: policy_files(policy, is_explicit=True))
    if os.geteuid() == 0:
        for path in (policy, policy.parent, policy.parent / "policy.d", policy.parent / "policy.d" / "deny.toml"):
            os.chown(path, NOBODY, -1)
    user = os.geteuid()
    MOVES[what](policy.parent)
    try:
        if user == 0:
            os.seteuid(NOBODY)
        with pytest.raises(InputError, match="policy"):
            _denied(policy)
        with pytest.raises(InputError, match="policy"):
            watch.read()
    finally:
        os.seteuid(user)
    assert watch.policy.denied_digests == {sha256(b"bad")}  # a shim that runs goes on with what it knew


def test_policy_that_is_a_link_to_nothing_does_not_hand_over_to_the_systems(policy: Path) -> None:
    shutil.rmtree(policy.parent / "policy.d")
    policy.unlink()
    policy.symlink_to("gone")
    (policy.parent / "policy.d").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_policy(policy_files(policy, is_explicit=False))


def test_policy_without_a_directory_beside_it_is_whole(policy: Path) -> None:
    shutil.rmtree(policy.parent / "policy.d")
    assert policy_files(policy, is_explicit=True) == [policy]
    (policy.parent / "policy.d").mkdir()
    (policy.parent / "policy.d" / "note.txt").mkdir()
    assert policy_files(policy, is_explicit=True) == [policy]


def test_policy_that_was_named_and_is_not_there_is_not_replaced_by_another(policy: Path) -> None:
    with pytest.raises(InputError, match="policy file is missing"):
        policy_files(policy.parent / "elsewhere" / "policy.toml", is_explicit=True)
    with pytest.raises(InputError, match="policy file is missing"):
        policy_files(policy / "policy.toml", is_explicit=True)  # below what is no directory


def test_user_without_a_policy_has_the_systems_and_his_own_is_never_joined_to_it(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trust.policy_files.SYSTEM_POLICY", policy)
    own = tmp_path / "policy.toml"
    assert policy_files(own, is_explicit=False) == [policy, policy.parent / "policy.d" / "deny.toml"]
    own.write_text("schema = 1\n")
    assert policy_files(own, is_explicit=False) == [own]
    monkeypatch.setattr("trust.policy_files.SYSTEM_POLICY", tmp_path / "none" / "policy.toml")
    own.unlink()
    assert policy_files(own, is_explicit=False) == []


def test_policy_that_is_not_text_is_refused(policy: Path) -> None:
    policy.write_bytes(b"schema = 1 # \xff")
    with pytest.raises(InputError, match="cannot be read"):
        read_policy(policy_files(policy, is_explicit=True))


def test_policy_of_which_nobody_can_tell_whether_it_is_there_does_not_hand_over_to_the_systems(
    tmp_path: Path,
) -> None:
    (tmp_path / "trust").symlink_to("trust")
    for is_explicit in (True, False):
        with pytest.raises(InputError, match="cannot be read"):
            policy_files(tmp_path / "trust" / "policy.toml", is_explicit=is_explicit)


def test_the_root_directory_is_no_policy() -> None:
    with pytest.raises(InputError, match="Is a directory"):
        read_policy(policy_files(Path("/"), is_explicit=True))


def test_policy_that_is_too_large_is_refused_and_not_cut(policy: Path) -> None:
    policy.write_text("schema = 1\n# " + "é" * (POLICY_MAX_BYTES // 2) + "\n" + 'deny = "lost"\n')
    with pytest.raises(InputError, match="too large"):
        _denied(policy)
