"""The real command line of two people, each with a home and one of two keys that must sign."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.simulators.command_line import NAME, CommandLine, write_layout
from tests.simulators.person import Person


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


def test_what_a_proposer_writes_is_seen_as_it_is_stored(two: tuple[Person, Person]) -> None:
    """Whoever approves reads every letter, in its order: "Trojan Source", CVE-2021-42574."""
    ann, bob = two
    change = ann.said(5, *ann.sign("2.0"), "--annotation", "note=\u202etset\u200b\x1b[2K\u2028ok é")["waits"]["id"]
    for arguments in (("pending", NAME, change), ("approve", NAME, change)):
        assert "annotations note=?tset??[2K?ok é" in bob.expect(0, *arguments)


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
    replayed = ann.said(0, "approve", NAME, "--import", str(file))
    assert replayed["changed"] is False


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
    approval = ("approve", NAME, change, *where, "--import", stick, "--offline")
    assert f"would be signed {change}" in bob.expect(5, *approval, "--dry-run")
    assert "the collection is new" in bob.expect(5, *approval)
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
