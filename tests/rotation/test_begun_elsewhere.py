"""A change that begins on a machine without a network, on a copy of the metadata, and is brought back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.simulators.command_line import NAME, CommandLine

WAITS, STALE = 5, 4


@pytest.fixture
def offline(user: CommandLine, tmp_path: Path) -> CommandLine:
    """Give the machine that has the root key and a copy of the metadata; ``user`` has neither from then on."""
    offline = user.copy(tmp_path / "offline")
    for path in (offline.home / "keys").glob("*.online.*"):
        path.unlink()
    for path in (user.home / "keys").glob("*.root.*"):
        path.unlink()
    return offline


def _brought(offline: CommandLine, *argv: str) -> str:
    """Have the machine begin and sign a change; return the file in which it is carried."""
    file = str(offline.folder / "change.json")
    offline.expect(WAITS, *argv)
    offline.expect(0, "pending", NAME, "--export", file)
    return file


def test_renewed_root_is_published_where_it_is_brought(user: CommandLine, offline: CommandLine) -> None:
    file = _brought(offline, "renew", NAME, "root")
    user.expect(0, *user.sign("2.0"))  # work goes on meanwhile
    user.expect(0, "approve", NAME, "--import", file, "--yes")
    assert (user.metadata / "2.root.json").exists()
    user.expect(0, *user.verify("2.0"))
    said = json.loads(user.expect(0, "approve", NAME, "--import", file, "--yes", "--json").splitlines()[0])
    assert not said["changed"]
    assert user.expect(0, "pending", NAME, "--quiet").split() == []


@pytest.mark.parametrize("role", ["targets", "online"])
def test_rotated_key_is_published_where_it_is_brought(user: CommandLine, offline: CommandLine, role: str) -> None:
    user.expect(0, "key", "generate", "next")
    public = offline.folder / "next.pem"
    public.write_text(user.expect(0, "key", "export", "next"))
    file = _brought(offline, "rotate", NAME, role, "--add", str(public))
    user.expect(0, "publish", NAME)
    user.expect(0, "approve", NAME, "--import", file, "--yes")
    user.expect(0, *user.sign("2.0"))
    user.expect(0, *user.verify("2.0"))


def test_change_that_is_stale_when_it_is_brought_does_not_wait(user: CommandLine, offline: CommandLine) -> None:
    first = _brought(offline, "renew", NAME, "root")
    Path(first).rename(offline.folder / "first.json")
    offline.expect(0, "reject", NAME, *offline.expect(0, "pending", NAME, "--quiet").split())
    offline.expect(0, "key", "generate", "next")
    second = _brought(offline, "rotate", NAME, "root", "--add", "next")
    user.expect(0, "approve", NAME, "--import", second, "--yes")
    files = sorted(path.name for path in user.metadata.iterdir())
    user.expect(STALE, "approve", NAME, "--import", str(offline.folder / "first.json"), "--yes")
    assert sorted(path.name for path in user.metadata.iterdir()) == files
    assert user.expect(0, "pending", NAME, "--quiet").split() == []
    user.expect(0, *user.verify("1.4"))


def test_change_that_was_rejected_comes_back_only_if_it_is_agreed_to(
    user: CommandLine, offline: CommandLine
) -> None:
    """It has all the signatures that it needs: whoever publishes would do so without a word."""
    file = _brought(offline, "renew", NAME, "root")
    said = user.expect(2, "approve", NAME, "--import", file)
    assert "expires moves from" in said
    assert user.expect(0, "pending", NAME, "--quiet").split() == []
    user.expect(0, "publish", NAME)
    assert not (user.metadata / "2.root.json").exists()
