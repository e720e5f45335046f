"""Killed at every call that changes the disk: the next command works, nothing that was acknowledged is lost.

``TRUST_FAULTS=all`` tries each call, otherwise three of each command.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.places import few
from tests.simulators.command_line import NAME, CommandLine
from tests.simulators.killing import CHANGING, points_of

MIN_POINTS = 10  # a sign, for one, has 30: fewer means that the tracer saw another process


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A command that is killed, what must hold before it, and what holds once it was done."""

    argv: tuple[str, ...]
    image: str
    before: str = ""
    told_elsewhere: str = (
        "/user-tmp/"  # calls on paths with this in them: in the temporary directory nothing lasts
    )


STORIES = {
    "sign": Story(argv=("sign", "oci:{layout}:2.0", "--as", f"{NAME}web:2.0"), image="2.0"),
    "publish": Story(argv=("publish", NAME), image="3.0"),
    "publish that collects": Story(argv=("publish", NAME), image="3.0", before="orphan"),
    "verify": Story(argv=("verify", "oci:{layout}:3.0", "--as", f"{NAME}web:3.0"), image="3.0"),
    "first verify": Story(
        argv=("verify", "oci:{layout}:3.0", "--as", f"{NAME}web:3.0"), image="3.0", before="no state"
    ),
    "init": Story(
        argv=("init", NAME, "--metadata", "file:{metadata}", "--write-policy"),
        image="1.4",
        before="nothing",
        told_elsewhere="/user-tmp/|state.db",
    ),
}


def _filled(user: CommandLine, story: Story) -> list[str]:
    return [part.format(layout=user.layout, metadata=user.metadata) for part in story.argv]


def _prepare(user: CommandLine, story: Story) -> None:
    """Bring the user to where he is before the command."""
    if story.before == "orphan":  # of a dead publisher: its number is burnt, and then below what is current
        (user.metadata / "3.targets.json").write_text("half a rol")
    user.expect(0, *user.sign("3.0"))
    if story.before in {"no state", "nothing"}:
        (user.home / "state.db").unlink()
    if story.before == "nothing":
        shutil.rmtree(user.metadata)
        (user.home / "collections.toml").unlink()
        (user.folder / "policy.toml").unlink()


def _require_whole(user: CommandLine, story: Story, said: str) -> None:
    """Require that what was acknowledged holds, that the command can be repeated, and that it then holds too."""
    if story.before == "nothing":
        user.expect(0, *_filled(user, story))
        user.expect(0, *user.sign("1.4"))
    user.expect(0, *user.verify("1.4"))
    if said:
        user.expect(0, *user.verify(story.image))
    user.expect(0, *_filled(user, story))
    user.expect(0, *user.verify(story.image))
    if story.before == "orphan":
        assert not (user.metadata / "3.targets.json").exists()


@pytest.mark.parametrize("name", STORIES)
def test_killed_command_is_repeated_without_repair(
    founder: CommandLine, tmp_path: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    story = STORIES[name]
    start = founder.copy(tmp_path / "start")
    _prepare(start, story)
    rehearsal, log = start.copy(tmp_path / "rehearsal"), tmp_path / "log"
    calls = ",".join(f"?{call}" for call in CHANGING)
    assert rehearsal.traced(["-y", "-o", str(log), "-e", f"trace={calls}"], *_filled(rehearsal, story)).code == 0
    points, broken = points_of(log, story.told_elsewhere), []
    tried = few(points, 3)
    for call, count in tried:
        user = start.copy(tmp_path / f"{call}-{count}")
        inject = ["-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={count}"]
        done = user.traced(inject, *_filled(user, story))
        assert done.code is None, f"{call} {count} was not reached"
        try:
            _require_whole(user, story, done.said)
        except AssertionError as err:
            broken.append((call, count, done.said, str(err)))
        shutil.rmtree(user.folder)
    record_property("points", len(tried))
    record_property("broken", len(broken))
    assert len(points) > MIN_POINTS
    assert broken == []
