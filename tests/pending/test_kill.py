"""Killed at every call that changes the disk: a change waits, or is published, and never half of either.

``TRUST_FAULTS=all`` tries each call, otherwise three of each command.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.test_kill import MIN_POINTS
from tests.faults.places import few
from tests.simulators.command_line import NAME, CommandLine
from tests.simulators.killing import CHANGING, points_of
from tests.simulators.person import Person


def _copies(two: tuple[Person, Person], folder: Path) -> tuple[Person, Person]:
    ann = two[0]
    shutil.copytree(ann.folder, folder)
    for path in (folder / "policy.toml", *folder.glob("*/collections.toml")):
        path.write_text(path.read_text().replace(str(ann.folder), str(folder)))
    user = CommandLine(folder, ann.zygote)
    return Person(user, "ann-home"), Person(user, "bob-home")


@pytest.mark.parametrize(("name", "least"), [("sign", 5), ("approve", MIN_POINTS)])
def test_killed_signer_loses_no_change_and_publishes_no_half(
    two: tuple[Person, Person],
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    least: int,
    record_property: Callable[[str, object], None],
) -> None:
    folder = tmp_path_factory.mktemp("killed")
    ann, _ = two
    ann.expect(5, *ann.sign("2.0"))
    change = ann.expect(0, "pending", NAME, "--quiet").strip()
    if name == "sign":
        ann.expect(0, "reject", NAME, change)

    def command(people: tuple[Person, Person]) -> tuple[Person, list[str]]:
        if name == "sign":
            return people[0], people[0].sign("2.0")
        return people[1], ["approve", NAME, change]

    log, expected = folder / "log", 5 if name == "sign" else 0
    who, argv = command(_copies(two, folder / "rehearsal"))
    calls = ",".join(f"?{call}" for call in CHANGING)
    assert who.traced(["-y", "-o", str(log), "-e", f"trace={calls}"], *argv).code == expected
    points, broken = points_of(log, "/user-tmp/"), []
    tried = few(points, 3)
    for call, count in tried:
        people = _copies(two, folder / f"{call}-{count}")
        who, argv = command(people)
        done = who.traced(["-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={count}"], *argv)
        assert done.code is None, f"{call} {count} was not reached"
        try:
            _require_whole(people, name)
        except AssertionError as err:
            broken.append((call, count, done.said, str(err)))
        shutil.rmtree(who.folder)
    record_property("points", len(tried))
    record_property("broken", len(broken))
    assert len(points) > least
    assert not broken, broken


def _require_whole(people: tuple[Person, Person], name: str) -> None:
    """Require that the change waits or is published, and that repeating goes on from there."""
    ann, bob = people
    if name == "sign":
        ann.expect(5, *ann.sign("2.0"))
    if bob.run(*bob.verify("2.0")).code != 0:
        (change,) = bob.expect(0, "pending", NAME, "--quiet").split()
        bob.expect(0, "approve", NAME, change)
    bob.expect(0, *bob.verify("2.0"))
    ann.expect(0, "publish", NAME)
    assert "nothing waits" in ann.expect(0, "pending", NAME)
    bob.expect(0, *bob.verify("2.0"))
