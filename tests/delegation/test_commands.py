"""The commands of delegation, as a person types them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulators.command_line import NAME, CommandLine
from trust.cli.delegation_file import FILE_MAX_BYTES

FILE = """
[[role]]
name = "acme.web"
paths = ["acme/web"]
keys = ["web"]

[[role]]
name = "acme.api"
paths = ["acme/api"]
keys = ["api.pub", "web"]
threshold = 2
expires = "30d"
"""


def document(user: CommandLine, *argv: str) -> Any:
    return json.loads(user.expect(0, *argv, "--json").splitlines()[0])


def test_delegated_repository_is_signed_and_verified_by_its_role(user: CommandLine) -> None:
    said = user.expect(0, "delegate", "add", NAME, "acme.web", "--paths", "acme/web")
    assert "delegated acme.web" in said
    verdict = document(user, *user.verify("1.4"))["verdicts"][0]
    assert (verdict["verdict"], verdict["role"]) == ("allowed", "acme.web")
    user.expect(0, *user.sign("2.0"))
    rows = {entry["tag"]: entry["role"] for entry in document(user, "list", NAME)["tags"]}
    assert rows == {"1.4": "acme.web", "2.0": "acme.web"}
    role = document(user, "delegate", "list", NAME)["roles"][0]
    assert (role["role"], role["paths"], role["threshold"]) == ("acme.web", ["acme/web:*", "acme/web@*"], 1)
    assert [entry["role"] for entry in document(user, "inspect", NAME)["roles"]][-1] == "acme.web"
    again = document(user, "delegate", "add", NAME, "acme.web", "--paths", "acme/web")
    assert again["changed"] is False


def test_dry_run_delegates_nothing(user: CommandLine) -> None:
    before = {path.name for path in user.metadata.iterdir()}
    words = ("delegate", "add", NAME, "acme.web", "--paths", "acme/web", "--key", _key(user))
    assert "would be delegated" in user.expect(0, *words, "--dry-run")
    assert {path.name for path in user.metadata.iterdir()} == before


def test_file_delegates_many_roles_in_one_publish(user: CommandLine) -> None:
    user.expect(0, "key", "generate", "web")
    user.expect(0, "key", "generate", "api")
    (user.folder / "api.pub").write_text(user.expect(0, "key", "export", "api"))
    (user.folder / "roles.toml").write_text(FILE)
    done = document(user, "delegate", "apply", NAME, str(user.folder / "roles.toml"))
    assert (done["changed"], done["roles"], done["versions"]["targets"]) == (True, ["acme.web", "acme.api"], 3)
    assert document(user, "delegate", "apply", NAME, str(user.folder / "roles.toml"))["changed"] is False
    user.expect(0, *user.verify("1.4"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[role]]\nname = 'x'\npaths = ['acme/web']\n", "role 1: keys is missing"),
        (FILE + FILE, "role acme.api stands twice"),
        ("[[role]]\nnaem = 'x'\npaths = []\nkeys = []\n", "unknown key 'naem'"),
        ("", "no [[role]] is in it"),
        ("[[role", "not valid TOML"),
    ],
)
def test_wrong_file_is_told_in_one_line(user: CommandLine, text: str, words: str) -> None:
    (user.folder / "roles.toml").write_text(text)
    assert words in user.expect(2, "delegate", "apply", NAME, str(user.folder / "roles.toml"))


def test_file_that_is_too_large_is_refused_and_not_cut(user: CommandLine) -> None:
    roles = user.folder / "roles.toml"
    roles.write_text(f"# {'é' * (FILE_MAX_BYTES // 2)}\n{FILE}")
    assert "too large" in user.expect(2, "delegate", "apply", NAME, str(roles))


def test_who_may_sign_is_not_said_to_have_signed(user: CommandLine) -> None:
    user.expect(0, "key", "generate", "spare")
    user.expect(0, "rotate", NAME, "targets", "--add", "spare")
    said = user.expect(0, "inspect", NAME)
    assert "spare" in said
    assert "SIGNED BY" not in said


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        ("other/web", "paths are not in collection"),
        ("acme/web[ab]", "paths are malformed"),
        ("acme/*", "paths are malformed"),
        ("acme/we?", "paths are malformed"),
    ],
)
def test_paths_that_mean_something_else_are_refused(user: CommandLine, paths: str, words: str) -> None:
    assert words in user.expect(2, "delegate", "add", NAME, "team", "--paths", paths, "--key", _key(user))


def test_role_is_removed_by_whoever_says_whose_its_images_are(user: CommandLine) -> None:
    user.expect(0, "delegate", "add", NAME, "acme.web", "--paths", "acme/web")
    assert "--drop-images" in user.expect(2, "delegate", "remove", NAME, "acme.web")
    user.expect(0, "delegate", "remove", NAME, "acme.web", "--drop-images")
    assert "unsigned" in user.expect(1, *user.verify("1.4"))


def test_bins_are_made_and_unmade(user: CommandLine) -> None:
    assert document(user, "bins", NAME, "--count", "8")["changed"]
    assert document(user, *user.verify("1.4"))["verdicts"][0]["role"] == "targets"
    targets = next(role for role in document(user, "inspect", NAME)["roles"] if role["role"] == "targets")
    assert targets["bins"] == 8
    assert document(user, "bins", NAME, "--count", "8")["changed"] is False
    assert "power of two" in user.expect(2, "bins", NAME, "--count", "7")
    assert document(user, "bins", NAME, "--count", "0")["changed"]
    user.expect(0, *user.verify("1.4"))


def test_collection_may_begin_with_bins(user: CommandLine) -> None:
    other = "registry.test/other/"
    user.expect(0, "init", other, "--metadata", f"file:{user.folder}/other", "--bins", "4", "--write-policy")
    assert len(list((user.folder / "other").glob("*.targets.g1-*.json"))) == 4
    user.expect(0, "sign", f"oci:{user.layout}:1.4", "--as", f"{other}web:1.4")
    user.expect(0, "verify", f"oci:{user.layout}:1.4", "--as", f"{other}web:1.4")


def _key(user: CommandLine) -> str:
    user.expect(0, "key", "generate", "team")
    return "team"


def test_delegated_role_is_renewed_by_its_name(user: CommandLine) -> None:
    user.expect(0, "delegate", "add", NAME, "acme.web", "--paths", "acme/web", "--bins", "2")
    before = {path.name for path in user.metadata.glob("*.acme.web*.json")}
    user.expect(0, "renew", NAME, "acme.web")
    assert len({path.name for path in user.metadata.glob("*.acme.web*.json")} - before) == 3
    assert "no role nobody" in user.expect(2, "renew", NAME, "nobody")
