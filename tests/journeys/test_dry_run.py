"""What ``--dry-run`` says is what would be: no word of it claims that something was done, and nothing was."""

from __future__ import annotations

import pytest

from tests.simulators.command_line import NAME, CommandLine


def stored(user: CommandLine) -> dict[str, bytes]:
    """Return what is in the store of ``user``, changes that wait too."""
    return {str(path): path.read_bytes() for path in user.metadata.rglob("*") if path.is_file()}


def would(user: CommandLine, *argv: str) -> str:
    """Return what a dry run says; the store is as before."""
    before = stored(user)
    said = user.expect(0, *argv, "--dry-run")
    assert stored(user) == before
    return said


@pytest.mark.parametrize("command", ["publish", "renew"])
def test_dry_run_of_a_publish_says_what_would_be_published(user: CommandLine, command: str) -> None:
    said = would(user, command, NAME)
    assert said.startswith(f"would be published {NAME} root=1 ")
    assert user.expect(0, command, NAME) == said.removeprefix("would be ")


def test_change_that_only_lacks_the_online_key_would_be_published(user: CommandLine) -> None:
    user.expect(5, *user.sign("2.0"), "--stage")
    change = user.expect(0, "pending", NAME, "--quiet").strip()
    published = f"would be published change {change}\nwould be published {NAME} "
    assert would(user, "publish", NAME).startswith(published)
    assert f"would be published {change}\n" in would(user, "approve", NAME, change)
    assert f"published change {change}\n" in user.expect(0, "publish", NAME)


@pytest.mark.parametrize("command", ["publish", "approve"])
def test_dry_run_leaves_a_change_that_is_published_where_it_lies(user: CommandLine, command: str) -> None:
    user.expect(5, *user.sign("2.0"), "--stage")
    change = user.expect(0, "pending", NAME, "--quiet").strip()
    waiting = {path: path.read_bytes() for path in user.metadata.rglob("*") if path.is_file()}
    user.expect(0, "publish", NAME)
    for path in waiting.keys() - set(user.metadata.rglob("*")):  # as after a crash before they were removed
        path.write_bytes(waiting[path])
    would(user, *(("publish", NAME) if command == "publish" else ("approve", NAME, change)))
    user.expect(0, "publish", NAME)
    assert user.expect(0, "pending", NAME) == "nothing waits\n"


def test_dry_run_of_pruning_refuses_nobody_yet(user: CommandLine) -> None:
    user.expect(0, *user.sign("2.0"))
    said = would(user, "prune", NAME, "--keep", "1")
    assert "would be dropped acme/web:1.4" in said
    assert "by its digest would be refused, as unsigned" in said
    user.expect(0, *user.verify("1.4"))
