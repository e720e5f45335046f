"""``trust init --dry-run`` says what would be made, and makes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.command_line import NAME, CommandLine
from tests.simulators.registry import docker_registry


@pytest.fixture
def newcomer(founder: CommandLine, tmp_path: Path) -> CommandLine:
    """Give a user who has nothing yet."""
    (tmp_path / "user-tmp").mkdir()
    return CommandLine(tmp_path, founder.zygote)


def everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def planned(user: CommandLine, *words: str) -> dict[str, Any]:
    """Return what a dry run says, which wrote nothing; run twice, it says the same."""
    before = everything(user.folder)
    document: dict[str, Any] = json.loads(user.expect(0, *words, "--dry-run", "--json"))
    assert everything(user.folder) == before
    return document


def test_dry_run_of_a_new_collection_makes_nothing(newcomer: CommandLine) -> None:
    document = planned(newcomer, *newcomer.init("--expires", "timestamp=1d"))
    assert (document["changed"], document["dry_run"], document["root"], document["policy"]) == (
        True,
        True,
        None,
        None,
    )
    assert document["collection"] == NAME
    assert document["keys"] == {"root": [None], "targets": [None], "online": [None]}
    said = newcomer.expect(0, *newcomer.init("--dry-run"))
    assert all(f"key {name} would be made" in said for name in document["new_keys"])
    assert len(document["new_keys"]) == 3
    made = json.loads(newcomer.expect(0, *newcomer.init("--json")).splitlines()[0])
    assert (made["changed"], made["dry_run"]) == (True, False)
    assert json.loads(newcomer.expect(0, "key", "list", "--json"))["keys"] != []


def test_dry_run_uses_the_keys_that_are_there(newcomer: CommandLine) -> None:
    newcomer.expect(0, "key", "generate", "mine")
    keyid = json.loads(newcomer.expect(0, "key", "show", "mine", "--json"))["keyid"]
    document = planned(newcomer, *newcomer.init("--root-key", "mine", "--targets-key", "other"))
    assert document["keys"] == {"root": [keyid], "targets": [None], "online": [None]}
    assert document["new_keys"][0] == "other"


def test_dry_run_of_a_collection_that_is_there_says_so(user: CommandLine) -> None:
    document = planned(user, *user.init())
    born = json.loads(user.expect(0, *user.init("--json")).splitlines()[0])
    assert (document["changed"], document["root"], document["new_keys"]) == (False, born["root"], [])
    assert document["keys"] == born["keys"]


def test_dry_run_over_anothers_collection_is_a_conflict(user: CommandLine, tmp_path: Path) -> None:
    other = CommandLine(tmp_path / "other", user.zygote)
    (other.folder / "user-tmp").mkdir(parents=True)
    other.metadata = user.metadata
    before = everything(tmp_path)
    assert "another collection is there already" in other.expect(4, *other.init("--dry-run"))
    assert everything(tmp_path) == before


@pytest.mark.parametrize("words", [("--root-threshold", "2"), ("--targets-key", "No Name"), ("--expires", "x=1d")])
def test_dry_run_refuses_what_init_refuses(newcomer: CommandLine, words: tuple[str, ...]) -> None:
    before = everything(newcomer.folder)
    newcomer.expect(2, *newcomer.init("--dry-run", *words))
    assert everything(newcomer.folder) == before


def test_dry_run_pushes_nothing_to_a_registry(newcomer: CommandLine, tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as server:
        document = json.loads(
            newcomer.expect(0, "init", f"{server.host}/acme/", "--metadata", "registry:", "--dry-run", "--json")
        )
        assert list(server.storage.rglob("link")) == []
    assert document["changed"]
