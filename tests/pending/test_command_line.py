"""The real command line of two people, each with a home and one of two keys that must sign."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.command_line import NAME, CommandLine, write_layout

IMAGE = f"{NAME}web:2.0"


class Person(CommandLine):
    """Somebody with a home of his own beside the others' store, policy and images."""

    def __init__(self, of: CommandLine, name: str) -> None:
        super().__init__(of.folder, of.zygote)
        self.home = of.folder / name

    @property
    def environment(self) -> dict[str, str]:
        return {**super().environment, "TRUST_HOME": str(self.home)}

    def said(self, code: int, *argv: str) -> dict[str, Any]:
        """Return the document of a command that ends with ``code``; what goes to stderr is left out."""
        lines = self.expect(code, *argv, "--json").splitlines()
        found: dict[str, Any] = json.loads(next(line for line in lines if line.startswith("{")))
        return found


@pytest.fixture(scope="session")
def first_two(founder: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Person, Person]:
    """Give ann and bob: two targets keys, both must sign; each has one, and the online key."""
    user = CommandLine(tmp_path_factory.mktemp("two"), founder.zygote)
    write_layout(user.layout)
    (user.folder / "user-tmp").mkdir()
    both = Person(user, "both")
    more = ("--targets-key", "ann", "--targets-key", "bob", "--targets-threshold", "2", "--online-key", "online")
    both.expect(0, *both.init(*more))
    people = Person(user, "ann-home"), Person(user, "bob-home")
    for person, other in zip(people, ("bob", "ann"), strict=True):
        shutil.copytree(both.home, person.home)
        for path in (person.home / "keys").glob(f"{other}*"):
            path.unlink()
    return people


@pytest.fixture
def two(first_two: tuple[Person, Person], tmp_path: Path) -> tuple[Person, Person]:
    """Give people like them, who may change everything."""
    before = first_two[0].folder
    shutil.copytree(before, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / "policy.toml", *tmp_path.glob("*/collections.toml")):
        path.write_text(path.read_text().replace(str(before), str(tmp_path)))
    user = CommandLine(tmp_path, first_two[0].zygote)
    return Person(user, "ann-home"), Person(user, "bob-home")


def test_one_signs_the_other_approves_and_it_is_verified(two: tuple[Person, Person]) -> None:
    ann, bob = two
    signed = ann.said(5, *ann.sign("2.0"))
    assert signed["changed"] is True
    assert [(role["role"], role["lacks"]) for role in signed["waits"]["roles"]] == [("targets", 1)]
    assert bob.run(*bob.verify("2.0")).code == 1

    listing = bob.expect(0, "pending", NAME)
    change = bob.expect(0, "pending", NAME, "--quiet").strip()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", change)
    assert change == signed["waits"]["id"]
    assert f"tag acme/web:2.0 is new: {ann.digest('2.0')}" in listing
    assert "targets needs 1 more signature of bob" in listing

    said = bob.expect(0, "approve", NAME, change)
    assert f"tag acme/web:2.0 is new: {ann.digest('2.0')}" in said
    assert f"published {change}" in said
    bob.expect(0, *bob.verify("2.0"))
    assert "nothing waits" in ann.expect(0, "pending", NAME)


def test_nothing_is_signed_unseen_without_a_terminal(two: tuple[Person, Person]) -> None:
    ann, bob = two
    change = ann.said(5, *ann.sign("2.0"))["waits"]["id"]
    said = bob.expect(2, "approve", NAME, change[:20])
    assert f"if this is what you want signed: {change}" in said
    assert bob.said(0, "pending", NAME)["changes"][0]["roles"][0]["signed"] != []
    again = ann.said(5, "approve", NAME, change)
    assert again["changed"] is False
    bob.expect(0, "approve", NAME, change[:20], "--yes")


def test_an_edit_of_another_is_not_signed_along_unseen(two: tuple[Person, Person]) -> None:
    ann, bob = two
    change = ann.said(5, *ann.sign("2.0"))["waits"]["id"]
    said = bob.expect(4, *bob.sign("3.0"))
    assert f"change {change} of targets waits, and was not approved from here" in said
    assert "trust approve" in said
    bob.expect(0, "reject", NAME, change)
    bob.expect(5, *bob.sign("3.0"))


def test_job_stages_and_another_job_publishes(two: tuple[Person, Person]) -> None:
    ann, bob = two
    change = ann.said(5, *ann.sign("2.0"), "--stage")["waits"]["id"]
    for path in (bob.home / "keys").glob("online*"):
        shutil.move(path, ann.home.parent)
    waiting = bob.said(5, "approve", NAME, change)["waits"]
    assert waiting["complete"] is True
    assert bob.run(*bob.verify("2.0")).code == 1
    published = ann.said(0, "publish", NAME)["collections"][0]
    assert published["changes"] == [change]
    bob.expect(0, *bob.verify("2.0"))


def test_change_is_carried_to_a_signer_without_a_store_and_back(
    two: tuple[Person, Person], tmp_path: Path
) -> None:
    ann, bob = two
    change = ann.said(5, *ann.sign("2.0"))["waits"]["id"]
    file = tmp_path / "stick" / "change.json"
    file.parent.mkdir()
    ann.expect(0, "pending", NAME, "--export", str(file))
    away = ann.metadata.rename(ann.metadata.with_name("unplugged"))
    said = bob.expect(5, "approve", NAME, change, "--import", str(file))
    assert f"tag acme/web:2.0 is new: {ann.digest('2.0')}" in said
    assert "the store is not at hand" in said
    away.rename(ann.metadata)
    assert bob.run(*bob.verify("2.0")).code == 1
    done = ann.said(0, "approve", NAME, "--import", str(file))
    assert done["changed"] is True
    bob.expect(0, *bob.verify("2.0"))
    replayed = ann.said(2, "approve", NAME, "--import", str(file))
    assert "no change with this id waits" in replayed["error"]["message"]


def test_collection_of_several_hands_is_made_by_the_last_of_them(founder: CommandLine, tmp_path: Path) -> None:
    user = CommandLine(tmp_path, founder.zygote)
    write_layout(user.layout)
    (tmp_path / "user-tmp").mkdir()
    ann, bob = Person(user, "ann"), Person(user, "bob")
    for person in (ann, bob):
        for role in ("root", "targets"):
            name = f"{person.home.name}-{role}"
            person.expect(0, "key", "generate", name)
            (tmp_path / f"{name}.pub").write_text(person.expect(0, "key", "export", name))
    roles = [
        f"--{role}-{word}"
        for role in ("root", "targets")
        for word in (f"key=ann-{role}", f"key={tmp_path}/bob-{role}.pub", "threshold=2")
    ]
    where = ("--metadata", f"file:{user.metadata}")
    begun = ann.said(5, "init", NAME, *where, *roles, "--online-key", "online")
    assert begun["root"] is None
    change = begun["waits"]["id"]
    assert not list(user.metadata.glob("*.json"))
    assert change in bob.expect(0, "pending", NAME, *where)
    stick = str(tmp_path / "stick.json")
    ann.expect(0, "pending", NAME, *where, "--export", stick)
    said = bob.expect(5, "approve", NAME, change, *where, "--import", stick, "--offline")
    assert "the collection is new" in said
    assert not list(user.metadata.glob("*.json"))
    signed = ann.said(0, "approve", NAME, "--import", stick, *where)
    assert signed["root"] is not None
    made = ann.said(0, "init", NAME, *where, *roles, "--online-key", "online", "--write-policy")
    assert made["changed"] is False
    assert made["root"] == signed["root"]
    bob.expect(0, "policy", "add", NAME, "--root", made["root"], *where)
    waits = ann.said(5, *ann.sign("2.0"))["waits"]
    bob.expect(5, "approve", NAME, waits["id"])
    ann.expect(0, "publish", NAME)
    bob.expect(0, *bob.verify("2.0"))
