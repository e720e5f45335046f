"""A store is lost: written anew, byte for byte, from what a home verified or from a mirror; never older."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.simulators.command_line import NAME, CommandLine


def _consumer(user: CommandLine) -> CommandLine:
    consumer = CommandLine(user.folder / "consumer", user.zygote)
    (consumer.folder / "user-tmp").mkdir(parents=True)
    shutil.copy(user.folder / "policy.toml", consumer.folder)
    return consumer


def _current(user: CommandLine) -> dict[str, bytes]:
    """Have the user look at every role; return the files of the store by name."""
    user.expect(0, "check", NAME, "--warn-before", "1s")
    return {path.name: path.read_bytes() for path in user.metadata.glob("*.json")}


def _lose(user: CommandLine) -> None:
    shutil.rmtree(user.metadata)


@pytest.fixture
def teams(user: CommandLine) -> CommandLine:
    """Give a collection with a team of bins, and images of both."""
    user.expect(0, "key", "generate", "team")
    user.expect(0, "delegate", "add", NAME, "acme.web", "--paths", "acme/web", "--key", "team", "--bins", "4")
    user.expect(0, *user.sign("2.0"))
    user.expect(0, *user.sign("multi"))
    return user


def test_lost_store_is_rebuilt_from_a_publisher_that_looked(teams: CommandLine) -> None:
    consumer, files = _consumer(teams), _current(teams)
    consumer.expect(0, *teams.verify("2.0"))
    _lose(teams)
    consumer.expect(3, *teams.verify("2.0"))
    said = json.loads(teams.expect(0, "publish", NAME, "--rebuild", "--json").splitlines()[0])
    assert said["collections"][0]["step"] == "new"
    rebuilt = {path.name: path.read_bytes() for path in teams.metadata.glob("*.json")}
    assert len(rebuilt) == said["collections"][0]["files"]
    assert rebuilt.items() <= files.items()
    for tag in ("1.4", "2.0", "multi"):
        consumer.expect(0, *teams.verify(tag))
    (consumer.home / "state.db").unlink()
    consumer.expect(0, *teams.verify("multi"))
    teams.expect(0, *teams.sign("3.0"))
    consumer.expect(0, *teams.verify("3.0"))


def test_lost_store_is_rebuilt_from_a_consumer_that_has_no_key(teams: CommandLine) -> None:
    consumer = _consumer(teams)
    consumer.expect(0, "check", NAME, "--warn-before", "1s")
    _lose(teams)
    consumer.expect(0, "publish", NAME, "--rebuild")
    assert not (consumer.home / "keys").exists() or not list((consumer.home / "keys").iterdir())
    teams.expect(0, *teams.sign("3.0"))
    consumer.expect(0, *teams.verify("3.0"))


def test_lost_store_is_rebuilt_from_a_mirror(teams: CommandLine, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(teams.metadata, mirror)
    _lose(teams)
    teams.expect(0, "publish", NAME, "--rebuild", "--from", f"file:{mirror}")
    teams.expect(0, *teams.verify("2.0"))
    teams.expect(0, *teams.sign("3.0"))


def test_mirror_that_is_older_than_what_was_published_from_here_is_refused(
    teams: CommandLine, tmp_path: Path
) -> None:
    mirror = tmp_path / "mirror"
    shutil.copytree(teams.metadata, mirror)
    teams.expect(0, *teams.sign("3.0"))
    _lose(teams)
    said = teams.expect(1, "publish", NAME, "--rebuild", "--from", f"file:{mirror}")
    assert "older than what was published from here" in said
    assert not teams.metadata.exists()


def test_state_that_is_older_than_what_was_published_from_here_is_refused(teams: CommandLine) -> None:
    """The versions in between would be given away twice, with other contents."""
    _current(teams)
    teams.expect(0, *teams.sign("3.0"))
    _lose(teams)
    assert "older than what was published from here" in teams.expect(1, "publish", NAME, "--rebuild")
    assert not teams.metadata.exists()


def test_state_that_has_not_every_role_is_not_written(teams: CommandLine) -> None:
    consumer = _consumer(teams)
    consumer.expect(0, *teams.verify("2.0"))  # one bin of four
    _lose(teams)
    assert "the collection is not whole here" in consumer.expect(3, "publish", NAME, "--rebuild")
    assert not teams.metadata.exists()


def test_store_that_is_there_is_not_written_over(teams: CommandLine) -> None:
    _current(teams)
    before = {path.name: path.read_bytes() for path in teams.metadata.iterdir()}
    said = json.loads(teams.expect(0, "publish", NAME, "--rebuild", "--json").splitlines()[0])
    assert (said["collections"][0]["step"], said["collections"][0]["changed"]) == ("same", False)
    consumer = _consumer(teams)
    consumer.expect(0, "check", NAME, "--warn-before", "1s")
    teams.expect(0, *teams.sign("3.0"))
    newer = {path.name: path.read_bytes() for path in teams.metadata.iterdir()}
    said = json.loads(consumer.expect(0, "publish", NAME, "--rebuild", "--json").splitlines()[0])
    assert (said["collections"][0]["step"], said["collections"][0]["changed"]) == ("ahead", False)
    assert {path.name: path.read_bytes() for path in teams.metadata.iterdir()} == newer
    assert before.keys() <= newer.keys()


def test_dry_run_writes_nothing(teams: CommandLine) -> None:
    _current(teams)
    _lose(teams)
    assert "would be rebuilt" in teams.expect(0, "publish", NAME, "--rebuild", "--dry-run")
    assert not teams.metadata.exists()


@pytest.mark.parametrize("argv", [("--from", "file:/nowhere"), ("--rebuild", NAME)])
def test_what_cannot_be_meant_is_bad_input(user: CommandLine, argv: tuple[str, ...]) -> None:
    user.expect(2, "publish", NAME, *argv)


def test_home_that_verified_nothing_has_nothing_to_rebuild_from(user: CommandLine) -> None:
    (user.home / "state.db").unlink()
    assert "nothing of" in user.expect(2, "publish", NAME, "--rebuild")
