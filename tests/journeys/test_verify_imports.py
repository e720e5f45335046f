"""What a warm verification imports: a gate starts it before each pull, and each of these costs more than it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.simulators.command_line import CHECKOUT, NAME, CommandLine

DEAR = {
    "requests",
    "urllib3",
    "ssl",
    "tuf",
    "securesystemslib",
    "cryptography",
    "asyncio",
    "email",
    "http",
    "rich",
}
SIGNING = {"trust.edition", "trust.repository", "trust.publish", "trust.sign", "trust.ceremony"}


def _imported(user: CommandLine, *argv: str) -> set[str]:
    """Return all modules that a process of its own imported for the command, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "trust", *argv],
        cwd=CHECKOUT, env=user.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    return set(re.findall(r"^import time: .*\| +(\S+)$", done.stderr, re.MULTILINE))


@pytest.mark.parametrize("command", ["verify", "resolve"])
def test_warm_offline_verification_imports_nothing_dear(founder: CommandLine, command: str) -> None:
    imported = _imported(founder, command, f"{NAME}web:1.4", "--offline")
    assert "trust.verify" in imported
    assert {name.partition(".")[0] for name in imported} & DEAR == set()
    assert "trust.refresh" not in imported


def test_warm_verification_of_an_unchanged_store_imports_nothing_dear(founder: CommandLine) -> None:
    imported = _imported(founder, *founder.verify("1.4"))
    assert "trust.stores.file" in imported
    assert {name.partition(".")[0] for name in imported} & DEAR == set()
    assert "trust.refresh" not in imported


def test_verifying_side_never_imports_signing_code_or_keys(user: CommandLine) -> None:
    user.expect(0, *user.sign("2.0"))
    imported = _imported(user, *user.verify("2.0"))
    assert "trust.refresh" in imported, "the cold path was not taken"
    assert imported & SIGNING == set()
    assert {name for name in imported if name.startswith("keys.")} <= {"keys.errors"}
