"""A rotation killed at every call that changes the store: old keys or new ones, and the next command goes on.

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

ALLOWED, DENIED = 0, 1
ELSEWHERE = "/user-tmp/|state.db"  # what a publisher remembers is told of in tests/attacks
MIN_POINTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """A rotation; with a stolen key consumers may refuse until the next command."""

    role: str
    how: str
    may_refuse: bool = False

    def argv(self, old: str) -> list[str]:
        """Return the command."""
        return ["rotate", NAME, self.role, "--add", "next", self.how, old]


STORIES = {
    "root": Story(role="root", how="--remove"),
    "targets": Story(role="targets", how="--remove"),
    "online": Story(role="online", how="--remove"),
    "stolen targets": Story(role="targets", how="--stolen", may_refuse=True),
    "stolen online": Story(role="online", how="--stolen", may_refuse=True),
}


def _consumer(user: CommandLine) -> CommandLine:
    """Return a consumer of the store of ``user``, with a home of his own."""
    consumer = CommandLine(user.folder / "consumer", user.zygote)
    (consumer.folder / "user-tmp").mkdir(parents=True, exist_ok=True)
    shutil.copy(user.folder / "policy.toml", consumer.folder)
    return consumer


def _old_key(user: CommandLine, role: str) -> str:
    (name,) = [path.stem for path in (user.home / "keys").glob(f"*.{role}.*")]
    return name


def _require_mended(user: CommandLine, story: Story, argv: list[str]) -> None:
    """Require that consumers see the old keys or the new ones, and the new ones once the command is repeated."""
    consumer = _consumer(user)
    code = consumer.run(*user.verify("1.4")).code
    assert code == ALLOWED or (story.may_refuse and code == DENIED)
    if code == DENIED:
        user.expect(0, "publish", NAME)  # any publisher's next command completes it
        consumer.expect(ALLOWED, *user.verify("1.4"))
    user.expect(0, *argv)
    consumer.expect(ALLOWED, *user.verify("1.4"))
    user.expect(0, *user.sign("2.0"))
    consumer.expect(ALLOWED, *user.verify("2.0"))


@pytest.mark.parametrize("name", STORIES)
def test_killed_rotation_leaves_old_keys_or_new_ones(
    founder: CommandLine, tmp_path: Path, name: str, record_property: Callable[[str, object], None]
) -> None:
    story = STORIES[name]
    start = founder.copy(tmp_path / "start")
    start.expect(0, "key", "generate", "next")
    argv = story.argv(_old_key(start, story.role))
    _consumer(start).expect(ALLOWED, *start.verify("1.4"))
    rehearsal, log = start.copy(tmp_path / "rehearsal"), tmp_path / "log"
    calls = ",".join(f"?{call}" for call in CHANGING)
    assert rehearsal.traced(["-y", "-o", str(log), "-e", f"trace={calls}"], *argv).code == 0
    points, broken = points_of(log, ELSEWHERE), []
    tried = few(points, 3)
    for call, count in tried:
        user = start.copy(tmp_path / f"{call}-{count}")
        done = user.traced(["-o", os.devnull, "-e", f"inject={call}:signal=KILL:when={count}"], *argv)
        assert done.code is None, f"{call} {count} was not reached"
        try:
            _require_mended(user, story, argv)
        except AssertionError as err:
            broken.append((call, count, str(err)))
        shutil.rmtree(user.folder)
    record_property("points", len(tried))
    record_property("broken", len(broken))
    assert len(points) > MIN_POINTS
    assert broken == []
