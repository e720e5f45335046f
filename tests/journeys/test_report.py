"""What is told of a collection: also of one that has expired, and then never without saying so."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.simulators.command_line import plain_environment
from tests.simulators.world import NAME, Consumer, World

NOW = datetime.now(timezone.utc).replace(microsecond=0)  # the command line has no other clock
A_WEEK_AGO, LONG_AGO = NOW - timedelta(days=8), NOW - timedelta(days=400)
WARNING = "no image is allowed until the publisher renews it"
COMMANDS = ("list", "inspect", "log", "check")


def made(folder: Path, when: datetime) -> Consumer:
    """Return somebody who has pinned a collection that was last signed at that moment."""
    world = World(folder, now=when)
    world.sign()
    consumer = world.consumer()
    policy = f'schema = 1\n[[collection]]\nname = "{NAME}"\nroot = "{world.stanza.root}"\n'
    (folder / "policy.toml").write_text(f'{policy}metadata = "{world.stanza.metadata}"\n')
    return consumer


def told(consumer: Consumer, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trust", *words, "--home", str(consumer.home)]
    environment = {**plain_environment(), "TRUST_POLICY": str(consumer.world.folder / "policy.toml")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("has_state", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
def test_expired_collection_is_shown_with_a_warning(tmp_path: Path, command: str, *, has_state: bool) -> None:
    consumer = made(tmp_path, A_WEEK_AGO)
    if has_state:
        consumer.allowed()
    before = consumer.rows()
    done = told(consumer, command, NAME)
    assert done.returncode == (1 if command == "check" else 0), done
    assert "1.4" in done.stdout or "timestamp" in done.stdout
    warned = [line.split()[2] for line in done.stderr.splitlines() if line.endswith(WARNING)]
    assert warned == ["timestamp", "snapshot"], done
    assert consumer.rows() == before, "what has expired is shown, and not trusted"


def test_newer_edition_that_has_expired_is_shown_in_place_of_the_trusted_one(tmp_path: Path) -> None:
    consumer = made(tmp_path, LONG_AGO)
    consumer.allowed()
    consumer.world.sign("2.0")
    done = told(consumer, "list", NAME, "--json")
    document = json.loads(done.stdout)
    assert {entry["tag"] for entry in document["tags"]} == {"1.4", "2.0"}
    assert document["expired"] == ["root", "timestamp", "snapshot", "targets"]
    assert json.loads(told(consumer, "list", NAME, "--json", "--offline").stdout)["expired"] == document["expired"]


def test_old_edition_is_not_shown_because_it_has_expired(tmp_path: Path) -> None:
    consumer = made(tmp_path, A_WEEK_AGO)
    files = consumer.world.attacker.files()
    consumer.world.sign("2.0")
    consumer.allowed()
    consumer.world.attacker.restore(files)
    done = told(consumer, "list", NAME)
    assert (done.returncode, done.stdout) == (1, "")
    assert "New timestamp version 2 must be >= 3" in done.stderr


def test_forged_edition_is_not_shown_because_it_has_expired(tmp_path: Path) -> None:
    consumer = made(tmp_path, A_WEEK_AGO)
    consumer.world.attacker.edit_bytes("2.targets.json", lambda data: data.replace(b"1.4", b"1.5"))
    done = told(consumer, "list", NAME)
    assert (done.returncode, done.stdout) == (1, "")
    assert "role targets version 2: Observed hash" in done.stderr


@pytest.mark.parametrize("command", ["list", "inspect", "log"])
def test_collection_that_is_valid_is_shown_without_a_warning(tmp_path: Path, command: str) -> None:
    done = told(made(tmp_path, NOW), command, NAME, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["expired"] == []
