"""A container follows its tag, and nothing that is not signed for it ever takes its place."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.migration.harbour import CHECKOUT
from tests.updating.fleet import Host, Publisher

BROKEN = "echo the database is gone >&2; exit 3"


@pytest.mark.parametrize("engine", ["runc", pytest.param("crun", marks=pytest.mark.root), "bubblewrap"])
def test_newly_signed_version_takes_over_name_and_ports_and_nobody_is_turned_away(
    publisher: Publisher, host: Host, engine: str
) -> None:
    publisher.publish("one")
    before = host.start("-e", "KEPT=yes", engine=engine, trial="4s")  # by then it listens
    host.answered("one")
    answers: list[str | None] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            answers.append(host.answer())

    def sweep() -> None:  # as commands of others do at any moment
        while not is_over.is_set():
            host.containers.sweep()

    threads = [threading.Thread(target=ask), threading.Thread(target=sweep)]
    for thread in threads:
        thread.start()
    digest = publisher.publish("two")
    after = host.until(lambda web: web["digest"] == str(digest))
    host.answered("two")
    time.sleep(0.5)
    is_over.set()
    for thread in threads:
        thread.join()
    assert after["name"] == "web"
    assert after["id"] != before["id"]
    if engine != "bubblewrap":  # whose first process has its own words
        assert b"KEPT=yes" in Path(f"/proc/{after['pid']}/environ").read_bytes().split(b"\0")
    assert after["pid"] is not None
    assert set(answers) <= {"one", "two", None}
    assert answers.count(None) == 0, f"{answers.count(None)} of {len(answers)} were turned away"
    host.until(lambda _: host.directories() == [after["id"]])
    assert host.states() in ([after["id"]], [])
    updated = [one["digest"] for one in host.decisions() if one["outcome"] == "updated"]
    assert updated == [str(digest)]


def test_tag_that_the_registry_moves_to_an_unsigned_image_changes_nothing(
    publisher: Publisher, host: Host
) -> None:
    signed = publisher.publish("one")
    before = host.start(every="1h")
    evil = publisher.build("evil")
    other = Publisher(publisher.machine, publisher.registry, host.machine.directory / "evil", publisher.repository)
    assert other.build("evil") == evil
    other.publish("evil")  # the bytes are in the registry, signed
    publisher.publish("one")  # and withdrawn
    publisher.image_tag().write_text(str(evil))
    assert host.update()["outcome"] == "current"
    web = host.web()
    assert (web["digest"], web["pid"]) == (str(signed), before["pid"])


def test_metadata_that_is_set_back_is_refused_and_the_new_version_runs_on(
    publisher: Publisher, host: Host
) -> None:
    publisher.publish("one")
    old = publisher.metadata_tag().read_text()
    newer = publisher.publish("two")
    host.start(every="1h")
    current = publisher.metadata_tag().read_text()
    publisher.metadata_tag().write_text(old)
    try:
        refused = host.update(code=1)
    finally:
        publisher.metadata_tag().write_text(current)
    assert (refused["outcome"], refused["reason"]) == ("refused", "rolled-back")
    web = host.web()
    assert (web["digest"], web["update"]["reason"]) == (str(newer), "rolled-back")
    assert web["status"] == "running, update refused: rolled-back"
    assert host.decisions()[-1]["reason"] == "rolled-back"
    assert host.update()["outcome"] == "current"
    assert host.web()["status"] == "running"


def test_metadata_that_has_expired_leaves_the_old_version_running(publisher: Publisher, host: Host) -> None:
    publisher.publish("one")
    before = host.start(every="1h")
    done = subprocess.run(
        ["faketime", "-f", "+900d", sys.executable, "-m", "trust", "update", "web"], cwd=CHECKOUT,
        env=host.machine.environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done
    assert "update refused: expired" in done.stdout
    assert host.web()["pid"] == before["pid"]


def test_version_that_is_revoked_runs_on_and_everybody_is_told(publisher: Publisher, host: Host) -> None:
    digest = publisher.publish("one")
    before = host.start(every="1h")
    repository = publisher.image.removesuffix(":1")
    publisher.machine.run("revoke", f"{repository}@{digest}")
    refused = host.update(code=1)
    assert refused["reason"] == "revoked"
    assert str(digest) in refused["revoked"]
    web = host.web()
    assert web["pid"] == before["pid"]
    assert web["status"] == "running, REVOKED, update refused: revoked"


def test_registry_that_cannot_be_reached_decides_nothing(publisher: Publisher, host: Host) -> None:
    publisher.publish("one")
    before = host.start(every="1h")
    policy = host.machine.directory / "policy.toml"
    policy.write_text(policy.read_text().replace('"registry:"', '"registry://127.0.0.1:1/acme/x:_trust"'))
    undecided = host.update(code=3)
    assert (undecided["outcome"], undecided["reason"]) == ("undecided", "unreachable")
    assert host.web()["pid"] == before["pid"]


def test_version_that_ends_at_once_is_refused_with_its_last_words_and_not_tried_again_at_once(
    publisher: Publisher, host: Host
) -> None:
    publisher.publish("one")
    before = host.start("--restart", "always")
    broken = publisher.publish("two", BROKEN)
    web = host.until(lambda web: bool(web["update"]) and web["update"]["reason"] == "unhealthy")
    assert web["update"]["digest"] == str(broken)
    assert web["update"]["detail"] == "it ended with exit status 3: 'the database is gone'"
    time.sleep(1.5)
    assert host.web()["update"]["tries"] <= 2
    assert (host.web()["pid"], host.answer()) == (before["pid"], "one")
    host.until(lambda _: host.directories() == [before["id"]])
    assert host.states() == [before["id"]]
    mended = publisher.publish("three")
    host.until(lambda web: web["digest"] == str(mended))
    host.answered("three")
    assert "unhealthy" in [one["reason"] for one in host.decisions()]


def test_version_whose_health_check_fails_never_takes_over_and_one_that_is_healthy_does(
    publisher: Publisher, host: Host
) -> None:
    publisher.publish("one")
    asked = ["--health-cmd", "test ! -e /sick", "--health-interval", "1s", "--health-retries", "2"]
    before = host.start(*asked, every="1h")
    publisher.publish("two", f"touch /sick; {SLEEPS}")
    refused = host.update(code=1)
    assert (refused["reason"], refused["detail"]) == ("unhealthy", "its health check failed")
    assert host.web()["pid"] == before["pid"]
    well = publisher.publish("three")
    assert host.update()["outcome"] == "updated"
    web = host.web()
    assert (web["digest"], web["health"]) == (str(well), "healthy")
    host.answered("three")


SLEEPS = "sleep 600"


def test_container_that_is_stopped_or_removed_during_a_trial_stays_so(publisher: Publisher, host: Host) -> None:
    publisher.publish("one")
    host.start(every="1h", trial="30s")
    publisher.publish("two")
    for last_word in (["stop", "-t", "0", "web"], ["rm", "-f", "web"]):
        updating = subprocess.Popen(
            [sys.executable, "-m", "trust", "update", "web"], cwd=CHECKOUT, env=host.machine.environment,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        host.until(lambda _: len(host.states()) == 2)
        host.machine.run(*last_word)
        _, said = updating.communicate(timeout=60)
        assert updating.returncode == 4, said
        assert "stopped or removed while it was updated" in said
        assert host.web()["pid"] is None
        host.machine.run(
            "rm", "-f", *(["web"] if last_word[0] == "stop" else []), code=0 if last_word[0] == "stop" else 2
        )
        assert host.directories() == []
        if last_word[0] == "stop":
            publisher.publish("one")
            host.start(every="1h", trial="30s")
            publisher.publish("two")


@pytest.mark.parametrize("round_", range(8))
def test_everything_of_ours_may_be_killed_during_an_update_and_one_version_runs(
    publisher: Publisher, host: Host, round_: int
) -> None:
    publisher.publish("one")
    host.start("--restart", "always")
    host.answered("one")
    second = publisher.publish("two")
    time.sleep((0.6 + round_ * 0.618) % 2.6)  # a moment that nobody chose: before, on trial, handed over
    host.kill_all()
    web = host.web()  # the next command finds what is left, and has it looked after
    assert web["pid"] is not None
    host.until(lambda _: len(host.directories()) == 1 and len(host.states()) == 1)
    assert host.answer() in {"one", "two", None}
    host.until(lambda web: web["digest"] == str(second) and web["pid"] is not None)
    host.answered("two")
    host.until(lambda web: host.directories() == [web["id"]] == host.states())


def test_what_cannot_follow_a_tag_is_refused(publisher: Publisher, host: Host) -> None:
    digest = publisher.publish("one")
    run = ["run", "--engine", "runc", "--update"]
    for words in (
        [*run, publisher.image],
        [*run, "-d", "--network", "host", publisher.image],
        [*run, "-d", f"{publisher.image}@{digest}"],
        [*run, "-d", "--update-every", "never", publisher.image],
    ):
        assert host.run(*words, code=125)["error"]["code"] == 2
    assert host.machine.run("ps")["containers"] == []
    host.run("run", "--engine", "runc", "-d", "--name", "web", publisher.image)
    assert host.machine.run("update", "web", code=2)["error"]["message"] == "container web follows no tag"
