"""``trust revoke --signed-by``, ``trust prune`` and ``trust log`` as they are typed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulators.command_line import NAME, CommandLine


def _json(user: CommandLine, *argv: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(user.expect(0, *argv, "--json").splitlines()[0])
    return said


def _targets_key(user: CommandLine) -> str:
    (name,) = [path.stem for path in (user.home / "keys").glob("*.targets.*")]
    return name


def test_what_a_key_signed_is_listed_then_revoked_then_gone(user: CommandLine) -> None:
    user.expect(0, *user.sign("2.0"))
    key = _targets_key(user)
    listed = _json(user, "revoke", NAME, "--signed-by", key, "--since", "1d", "--dry-run")
    assert {each["target"] for each in listed["targets"] if "@" not in each["target"]} == {
        "acme/web:1.4", "acme/web:2.0",
    }  # fmt: skip
    assert {each["role"] for each in listed["targets"]} == {"targets"}
    user.expect(0, *user.verify("2.0"))
    assert _json(user, "revoke", NAME, "--signed-by", key, "--since", "1d")["changed"]
    assert "revoked" in user.expect(1, *user.verify("2.0"))
    again = user.expect(0, "revoke", NAME, "--signed-by", key, "--since", "1d")
    assert "nothing was revoked" in again


def test_log_says_in_which_role(user: CommandLine) -> None:
    user.expect(0, "revoke", f"{NAME}web@{user.digest('1.4')}")
    events = _json(user, "log", NAME)["events"]
    assert {(each["event"], each["role"]) for each in events} == {("revoked", "targets")}
    assert "ROLE" in user.expect(0, "log", NAME)


def test_pruning_warns_of_pinned_deployments(user: CommandLine) -> None:
    user.expect(0, *user.sign("2.0"))
    said = user.expect(0, "prune", NAME, "--keep", "1")
    assert "who has pinned one of these by its digest is refused from now on" in said
    assert "dropped acme/web:" in said
    assert user.expect(0, "prune", NAME, "--keep", "1") == "nothing to drop\n"


@pytest.mark.parametrize(
    "argv",
    [
        ("revoke", NAME, "--signed-by", "nobody", "--since", "1d"),
        ("revoke", NAME, "--signed-by", "0" * 12),
        ("revoke", NAME, "--since", "1d"),
        ("revoke", NAME, NAME, "--signed-by", "0" * 12, "--since", "1d"),
        ("prune", NAME, "--keep", "0"),
        ("prune", NAME),
    ],
)
def test_what_cannot_be_meant_is_bad_input(user: CommandLine, argv: tuple[str, ...]) -> None:
    user.expect(2, *argv)
    user.expect(0, *user.verify("1.4"))
