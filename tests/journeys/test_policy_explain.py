"""``trust policy explain`` says what ``trust verify`` would, as far as the policy alone decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.command_line import NAME, CommandLine
from trust.digest import sha256

DIGEST = sha256(b"another's image")
PINNED = f"other.test/pause@{DIGEST}"


@pytest.fixture
def reader(founder: CommandLine, tmp_path: Path) -> CommandLine:
    """Give a user with a policy, and nothing else."""
    (tmp_path / "user-tmp").mkdir()
    user = CommandLine(tmp_path, founder.zygote)
    user.expect(0, "policy", "add", NAME, "--root", str(sha256(b"root")), "--metadata", f"file:{user.metadata}")
    return user


def pin(user: CommandLine, *, until: str) -> None:
    """Pin ``PINNED`` in the policy of ``user``."""
    with (user.folder / "policy.toml").open("a") as file:
        file.write(f'\n[[pinned]]\nimage = "other.test/pause:3.9@{DIGEST}"\nuntil = "{until}"\n')


def explained(user: CommandLine, code: int, image: str) -> dict[str, Any]:
    """Return what is explained of ``image``; where it is denied, ``verify`` denies it for the same reason."""
    document: dict[str, Any] = json.loads(user.expect(code, "policy", "explain", image, "--json"))
    if document["denied"] is not None:
        (verdict,) = json.loads(user.expect(1, "verify", image, "--offline", "--json"))["verdicts"]
        assert document["denied"] == {key: verdict[key] for key in ("reason", "detail")}
        said = user.expect(1, "policy", "explain", image)
        assert f"is denied ({verdict['reason']}): {verdict['detail']}" in said
    return document


@pytest.mark.parametrize("image", [PINNED, "other.test/pause:3.9"])
def test_pin_in_force_is_explained_with_its_end(reader: CommandLine, image: str) -> None:
    pin(reader, until="2041-01-01T00:00:00Z")
    document = explained(reader, 0, image)
    assert (document["pinned"], document["denied"]) == (f"other.test/pause:3.9@{DIGEST}", None)
    assert f"@{DIGEST} until 2041-01-01T00:00:00Z\n" in reader.expect(0, "policy", "explain", image)
    reader.expect(0, "verify", PINNED, "--offline")


@pytest.mark.parametrize("image", [PINNED, "other.test/pause:3.9"])
def test_expired_pin_is_explained_as_denied(reader: CommandLine, image: str) -> None:
    pin(reader, until="2001-01-01T00:00:00Z")
    document = explained(reader, 1, image)
    assert document["pinned"] == f"other.test/pause:3.9@{DIGEST}"
    assert document["denied"]["reason"] == "expired"


@pytest.mark.parametrize("image", [PINNED, "other.test/pause:3.9"])
def test_pinned_digest_on_the_deny_list_is_explained_as_denied(reader: CommandLine, image: str) -> None:
    pin(reader, until="2041-01-01T00:00:00Z")
    reader.expect(0, "policy", "deny", str(DIGEST))
    assert explained(reader, 1, image)["denied"]["reason"] == "revoked"


def test_digest_on_the_deny_list_is_denied_though_a_collection_covers_it(reader: CommandLine) -> None:
    assert explained(reader, 0, f"{NAME}web@{DIGEST}")["denied"] is None
    reader.expect(0, "policy", "deny", str(DIGEST))
    document = json.loads(reader.expect(1, "policy", "explain", f"{NAME}web@{DIGEST}", "--json"))
    assert (document["collection"], document["denied"]["reason"]) == (NAME, "revoked")
    said = reader.expect(1, "policy", "explain", f"{NAME}web@{DIGEST}")
    assert f"is decided by collection {NAME}" in said
    assert f"is denied (revoked): digest {DIGEST} is on the local deny list" in said


def test_what_nothing_covers_is_explained_as_denied(reader: CommandLine) -> None:
    document = explained(reader, 1, "other.test/pause:3.9")
    assert (document["collection"], document["pinned"]) == (None, None)
    assert document["denied"]["reason"] == "no-policy"
