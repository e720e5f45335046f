"""``trust publish --watch`` as a service: its lines, its signals, what the service manager hears."""

from __future__ import annotations

import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.simulators.command_line import CHECKOUT, NAME, CommandLine
from trust.cli.crontab import crontab_line
from trust.instant import parse_duration

SHORT = ("--expires", "timestamp=4s", "--expires", "snapshot=3s")
UNIT = CHECKOUT / "deploy/systemd/trust-watch@.service"


class Service:
    """A watch that runs, and the other end of its notify socket."""

    def __init__(
        self, user: CommandLine, *arguments: str, stdout: int = subprocess.PIPE, **environment: str
    ) -> None:
        address = str(user.folder / "notify")
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.manager.bind(address)
        self.manager.settimeout(30)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trust", *arguments],
            cwd=CHECKOUT, text=True, stdout=stdout, stderr=subprocess.PIPE,
            env={**user.environment, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000", **environment},
        )  # fmt: skip

    def hear(self, word: str) -> None:
        """Wait until the service manager hears ``word``."""
        while word not in self.manager.recv(4096).decode().split("\n"):
            pass

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def end(self, number: signal.Signals) -> tuple[int, str, str]:
        """Return the exit code after the signal, and the rest of what was said."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


Start = Callable[..., Service]


@pytest.fixture
def service(user: CommandLine) -> Iterator[Start]:
    started: list[Service] = []

    def start(*arguments: str, stdout: int = subprocess.PIPE, **environment: str) -> Service:
        started.append(Service(user, *arguments, stdout=stdout, **environment))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()
        each.manager.close()


def test_watch_signs_in_time_and_ends_cleanly(user: CommandLine, service: Start) -> None:
    running = service("publish", NAME, "--watch", "--json", *SHORT)
    running.hear("READY=1")
    published: list[dict[str, Any]] = []
    while len(published) < 3:
        event = json.loads(running.line())
        if event["event"] == "published":
            published.append(event)
    user.expect(0, *user.verify("1.4"))
    running.hear("WATCHDOG=1")
    code, out, err = running.end(signal.SIGTERM)
    assert (code, err) == (0, "")
    last = json.loads(out.splitlines()[-1])
    assert (last["schema"], last["command"], last["event"]) == (1, "publish", "ended")
    running.hear("STOPPING=1")
    snapshots = [event["versions"]["snapshot"] for event in published]
    assert snapshots == sorted(set(snapshots))
    assert {event["collection"] for event in published} == {NAME}
    time.sleep(4)  # nobody renews any more
    assert "expired" in user.expect(1, *user.verify("1.4"))


def test_watch_publishes_what_was_staged(user: CommandLine, service: Start) -> None:
    running = service("publish", NAME, "--watch", *SHORT)
    running.hear("READY=1")
    user.expect(5, *user.sign("2.0"), "--stage")
    until = time.monotonic() + 30
    while user.run(*user.verify("2.0")).code != 0:
        assert time.monotonic() < until
    user.expect(0, *user.verify("2.0"))
    assert "nothing waits" in user.expect(0, "pending", NAME)


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_full_disk_under_its_output_does_not_end_a_watch(
    user: CommandLine, service: Start, more: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        running = service("publish", NAME, "--watch", *SHORT, *more, stdout=full.fileno())
    running.hear("READY=1")
    time.sleep(5)  # longer than what it signs is valid
    user.expect(0, *user.verify("1.4"))
    code, _, err = running.end(signal.SIGTERM)
    assert (code, "Traceback" in err) == (3, False), "what was lost is told by the exit code"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_watch_that_rests_at_once_with_0(service: Start, number: signal.Signals) -> None:
    running = service("publish", "--watch", NAME)
    running.hear("READY=1")
    began = time.monotonic()
    code, out, err = running.end(number)
    assert code == 0
    assert time.monotonic() - began < 10
    assert re.fullmatch(rf"published {re.escape(NAME)}: valid until .*Z \(2[34] hours\)\n", out)
    assert err == f"note: watching {NAME}\nnote: told to end\n"


def test_store_that_goes_away_and_comes_back_is_waited_for(user: CommandLine, service: Start) -> None:
    away = user.metadata.with_name("away")
    running = service("publish", NAME, "--watch", "--json", *SHORT)
    running.hear("READY=1")
    user.metadata.rename(away)
    events = iter(lambda: json.loads(running.line()), None)
    seen = [next(event for event in events if event["event"] == kind) for kind in ("failed", "expired")]
    assert "metadata directory is missing" in seen[0]["message"]
    assert "no image is allowed any more" in seen[1]["message"]
    away.rename(user.metadata)
    next(event for event in events if event["event"] == "published")
    user.expect(0, *user.verify("1.4"))
    assert running.end(signal.SIGTERM)[0] == 0


def test_watch_that_cannot_open_its_key_does_not_stay(user: CommandLine, service: Start) -> None:
    before = {path: path.read_bytes() for path in user.metadata.iterdir()}
    running = service("publish", "--watch", NAME, TRUST_PASSPHRASE="wrong")
    out, err = running.process.communicate(timeout=60)
    assert running.process.returncode == 2, err
    assert out == ""
    assert "passphrase" in err
    assert {path: path.read_bytes() for path in user.metadata.iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--watch", "--dry-run"), "expected no --dry-run"),
        (("--expires", "targets=90d"), "only snapshot and timestamp are signed here: got 'targets'"),
        (("--expires", "timestamp"), "expected NAME=VALUE"),
        (("--expires", "timestamp=soon"), "duration is malformed"),
    ],
)
def test_wrong_usage_publishes_nothing(user: CommandLine, arguments: tuple[str, ...], said: str) -> None:
    before = {path: path.read_bytes() for path in user.metadata.iterdir()}
    assert said in user.expect(2, "publish", NAME, *arguments)
    assert {path: path.read_bytes() for path in user.metadata.iterdir()} == before


def test_command_of_the_unit_is_one_that_this_program_has(service: Start) -> None:
    (command,) = re.findall(r"^ExecStart=ctrust (.*)$", UNIT.read_text(), re.MULTILINE)
    assert "Type=notify\n" in UNIT.read_text()
    running = service(*(word.replace("%I", NAME) for word in shlex.split(command)))
    running.hear("READY=1")
    assert running.end(signal.SIGTERM)[0] == 0


def test_publish_collects_what_a_dead_publisher_left_and_nothing_that_counts(user: CommandLine) -> None:
    before = {path.name for path in user.metadata.glob("*.json")}
    (user.metadata / "3.targets.json").write_text("half a rol")
    user.expect(0, *user.sign("2.0"))  # burns the number; to sign is not to collect
    assert (user.metadata / "3.targets.json").exists()
    (entry,) = json.loads(user.expect(0, "publish", NAME, "--json"))["collections"]
    assert entry["collected"] == ["3.targets.json"]
    assert before <= {path.name for path in user.metadata.glob("*.json")}
    user.expect(0, *user.verify("2.0"))


def test_old_metadata_that_cannot_be_removed_fails_no_publish(user: CommandLine) -> None:
    (user.metadata / "1.snapshot.json").unlink()
    (user.metadata / "1.snapshot.json").mkdir()
    said = user.expect(0, "publish", NAME)
    assert "warning: old metadata stays where it is: metadata cannot be read" in said
    user.expect(0, *user.verify("1.4"))


SCHEDULE = re.compile(r"([0-9]|[1-5][0-9]) (\*|1?[0-9]|2[0-3]|[0-5]-23/6) \* \* \* (.+)")


def test_line_that_init_prints_is_one_of_a_crontab_and_publishes(user: CommandLine, tmp_path: Path) -> None:
    secret = tmp_path / "its passphrase"
    secret.write_text(user.environment["TRUST_PASSPHRASE"] + "\n")
    document = json.loads(user.expect(0, *user.init("--json")).splitlines()[0])
    line = crontab_line(
        NAME, period=timedelta(days=7), program=shlex.split(document["cron"].split(" * * * ")[1])[0],
        home=user.home, passphrase_file=str(secret),
    )  # fmt: skip
    for text in (line, document["cron"]):
        assert SCHEDULE.fullmatch(text), text
    before = (user.metadata / "timestamp.json").read_bytes()
    command = SCHEDULE.fullmatch(line)[3].replace(r"\%", "%")  # type: ignore[index]  # asserted above
    cron = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TRUST_POLICY": user.environment["TRUST_POLICY"]}
    done = subprocess.run(["/bin/sh", "-c", command], env=cron, check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"published {NAME}")
    assert done.stderr == ""
    assert (user.metadata / "timestamp.json").read_bytes() != before


@pytest.mark.parametrize(
    ("period", "hours"),
    [
        ("7d", r"1?[0-9]|2[0-3]"),
        ("4d", r"1?[0-9]|2[0-3]"),
        ("3d", "[0-5]-23/6"),
        ("1d", "[0-5]-23/6"),
        ("23h", r"\*"),
    ],
)
def test_schedule_leaves_room_for_three_runs_that_fail(period: str, hours: str) -> None:
    line = crontab_line(
        NAME,
        period=parse_duration(period),
        program="/opt/100% trust/ctrust",
        home=Path("/a b"),
        passphrase_file=None,
    )
    assert re.fullmatch(rf"[0-9]+ ({hours}) \* \* \* .*", line)
    assert r"'/opt/100\% trust/ctrust'" in line


def test_time_left_is_told_by_verify_inspect_and_check(user: CommandLine) -> None:
    assert re.search(r"^allowed .*, valid for [67] days$", user.expect(0, *user.verify("1.4")), re.MULTILINE)
    assert "days left)" in user.expect(0, "inspect", NAME)
    for command in ("inspect", "check"):
        roles = json.loads(user.expect(0, command, NAME, "--json"))["roles"]
        assert [role["role"] for role in roles] == ["root", "timestamp", "snapshot", "targets"]
        assert all(5 * 86_400 < role["left_seconds"] < 366 * 86_400 for role in roles)
    said = user.expect(1, "check", NAME, "--warn-before", "8d")
    assert [line.split()[:2] for line in said.splitlines()] == [
        ["fine", "root"], ["near", "timestamp"], ["near", "snapshot"], ["fine", "targets"],
    ]  # fmt: skip


CUT = f"warning: role timestamp is signed for 7 days, not for 99 days: the root of {NAME} allows no more\n"


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_period_that_the_root_cuts_is_a_warning(user: CommandLine, more: tuple[str, ...]) -> None:
    said = user.expect(0, "publish", NAME, "--expires", "timestamp=99d", "--expires", "snapshot=7d", *more)
    assert said.count("warning:") == said.count(CUT) == 1
    roles = json.loads(user.expect(0, "inspect", NAME, "--json"))["roles"]
    assert all(role["left_seconds"] <= 7 * 86_400 for role in roles if role["role"] in {"timestamp", "snapshot"})


def test_watch_warns_once_of_a_period_that_the_root_cuts(user: CommandLine, service: Start) -> None:
    running = service("publish", NAME, "--watch", "--expires", "timestamp=99d", "--expires", "snapshot=3s")
    running.hear("READY=1")
    until = [running.line() for _ in range(3)]
    assert all(line.startswith("published ") for line in until), until
    assert running.end(signal.SIGTERM)[2].count(CUT) == 1


def test_verify_warns_below_a_quarter(user: CommandLine) -> None:
    user.expect(0, "publish", NAME, "--expires", "timestamp=12s")
    deadline = time.monotonic() + 12
    while "role timestamp expires in" not in (said := user.expect(0, *user.verify("1.4"))):
        assert time.monotonic() < deadline, said
        time.sleep(0.5)
    assert re.search(r"role timestamp expires in [0-3] seconds?, on ", said)
