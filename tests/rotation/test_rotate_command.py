"""``trust rotate`` as it is typed: keys by name, by key id where they are lost, by public key file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.command_line import NAME, CommandLine


def _keys(user: CommandLine, role: str) -> list[str]:
    """Return the key ids of ``role``, as the collection has them."""
    said = json.loads(user.expect(0, "inspect", NAME, "--json").splitlines()[0])
    (found,) = [entry["keys"] for entry in said["roles"] if entry["role"] == role]
    return list(found)


def _name(user: CommandLine, role: str) -> str:
    (name,) = [path.stem for path in (user.home / "keys").glob(f"*.{role}.*")]
    return name


def _waiting(user: CommandLine) -> str:
    """Return the id of the change that waits."""
    (change,) = user.expect(0, "pending", NAME, "--quiet").split()
    return change


def _generate(user: CommandLine, name: str) -> str:
    keyid: str = json.loads(user.expect(0, "key", "generate", name, "--json").splitlines()[0])["keyid"]
    return keyid


def _rotate(user: CommandLine, role: str, *options: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(user.expect(0, "rotate", NAME, role, *options, "--json").splitlines()[0])
    return said


@pytest.mark.parametrize("role", ["root", "targets", "online"])
def test_rotation_says_what_was_changed_and_its_repetition_that_nothing_was(user: CommandLine, role: str) -> None:
    shown = "timestamp" if role == "online" else role
    (old,), new = _keys(user, shown), _generate(user, "next")
    options = ("--add", "next", "--remove", _name(user, role))
    said = _rotate(user, role, *options)
    assert (said["command"], said["role"], said["changed"]) == ("rotate", role, True)
    assert (said["added"], said["removed"]) == ([new], [old])
    assert said["versions"]["root"] == 2
    assert _keys(user, shown) == [new]
    assert not _rotate(user, role, *options)["changed"]
    user.expect(0, *user.verify("1.4"))


@pytest.mark.parametrize(("role", "code"), [("targets", 3), ("online", 5)])
def test_lost_key_is_removed_by_its_key_id(user: CommandLine, role: str, code: int) -> None:
    shown = "timestamp" if role == "online" else role
    old = _keys(user, shown)[0]
    for path in (user.home / "keys").glob(f"*.{role}.*"):
        path.unlink()
    new = _generate(user, "next")
    user.expect(code, *user.sign("2.0"))
    assert _rotate(user, role, "--add", "next", "--remove", old[:12])["changed"]
    assert _keys(user, shown) == [new]
    user.expect(0, *user.sign("2.0"))
    user.expect(0, *user.verify("2.0"))


def test_key_whose_private_half_is_elsewhere_is_added_by_its_file(user: CommandLine, tmp_path: Path) -> None:
    colleague = user.copy(tmp_path / "colleague")
    keyid = _generate(colleague, "theirs")
    file = tmp_path / "theirs.pem"
    file.write_text(colleague.expect(0, "key", "export", "theirs"))
    assert _rotate(user, "targets", "--add", str(file))["changed"]
    assert keyid in _keys(user, "targets")
    assert _rotate(user, "targets", "--remove", str(file))["changed"]
    assert keyid not in _keys(user, "targets")


def test_stolen_key_is_told_to_be_revoked_too(user: CommandLine) -> None:
    _generate(user, "next")
    said = user.expect(0, "rotate", NAME, "targets", "--add", "next", "--stolen", _name(user, "targets"))
    assert f"what the stolen key signed still stands: trust revoke {NAME} --signed-by" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "nothing to rotate"),
        (("--threshold", "2"), "threshold of targets cannot be met: expected at most 1 keys, got 2"),
        (("--remove", "nobody"), "of a key that is lost, give the key id"),
        (("--add", "nobody"), "nobody"),
    ],
)
def test_what_cannot_be_meant_is_bad_input(user: CommandLine, options: tuple[str, ...], words: str) -> None:
    files = sorted(user.metadata.iterdir())
    assert words in user.expect(2, "rotate", NAME, "targets", *options)
    assert sorted(user.metadata.iterdir()) == files


def test_rotation_that_another_must_sign_waits_for_him(user: CommandLine) -> None:
    _generate(user, "next")
    (key,) = (user.home / "keys").glob("*.root.*")
    elsewhere = key.rename(user.folder / key.name)
    said = user.expect(5, "rotate", NAME, "root", "--add", "next")
    assert "waits to be rotated: root" in said
    assert "root needs 1 more signature" in said
    assert len(_keys(user, "root")) == 1
    elsewhere.rename(key)
    user.expect(0, "approve", NAME, _waiting(user), "--yes")
    assert len(_keys(user, "root")) == 2
    user.expect(0, *user.verify("1.4"))


@pytest.mark.parametrize(
    ("role", "how"), [("targets", "--remove"), ("targets", "--stolen"), ("online", "--remove")]
)
def test_rotation_that_waited_for_the_root_key_is_published_by_who_completes_it(
    user: CommandLine, role: str, how: str
) -> None:
    shown = "timestamp" if role == "online" else role
    new = _generate(user, "next")
    (key,) = (user.home / "keys").glob("*.root.*")
    elsewhere = key.rename(user.folder / key.name)
    done = user.run("rotate", NAME, role, "--add", "next", how, _name(user, role))
    assert done.code in {3, 5}  # nobody here signs a root whose keys are all elsewhere
    elsewhere.rename(key)
    if done.code == 5:
        user.expect(0, "publish", NAME)  # the timestamp moves on meanwhile
        user.expect(0, "approve", NAME, _waiting(user), "--yes")
    else:
        user.expect(0, "rotate", NAME, role, "--add", "next", how, _name(user, role))
    assert _keys(user, shown) == [new]
    user.expect(0, *user.verify("1.4"))
    user.expect(0, *user.sign("2.0"))
    user.expect(0, *user.verify("2.0"))
