"""A container that is moved goes on where it was: its count, its server, its files, its output."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.migration.harbour import COUNT, Machine, last, until
from trust.runtime.image_mounts import why_not
from trust.runtime.tier import Tier

pytestmark = pytest.mark.root
SERVE = "nc -ll -p 8080 -e cat"
ASK = "echo are you there | busybox nc -w 2 127.0.0.1 8080"


def test_counter_goes_on_counting_on_another_machine(here: Machine, there: Machine) -> None:
    here.start("counter", f"echo kept > /kept; rm /etc/group; {COUNT}")
    until(lambda: last(here.output("counter")) > 5, "the counter")
    done = here.run("checkpoint", "counter", here.image("counter:live"))
    assert done["signed"]
    assert here.container("counter")["status"] == "exited (137)"
    stopped_at = last(here.output("counter"))
    there.run("restore", there.image("counter:live"), "--name", "moved")
    until(lambda: len(there.output("moved")) > 5, "the counter, moved")
    counted = [int(line) for line in there.output("moved")]
    assert counted == list(range(stopped_at + 1, stopped_at + 1 + len(counted)))
    upper = there.directory_of("moved") / "upper"
    assert (upper / "kept").read_text() == "kept\n"
    assert (upper / "etc/group").is_char_device()
    assert last(here.output("counter")) == stopped_at
    assert there.leftovers()["checkpoints"] == here.leftovers()["checkpoints"] == []


def test_server_goes_on_serving_in_a_network_of_its_own(here: Machine, there: Machine) -> None:
    here.start("server", SERVE)
    until(lambda: here.inside("server", ASK) == "are you there\n", "the server")
    here.run("checkpoint", "server", here.image("server:live"))
    there.run("restore", there.image("server:live"), "--name", "server")
    assert there.inside("server", ASK) == "are you there\n"
    assert there.inside("server", "readlink /proc/self/ns/net").strip() != str(
        Path("/proc/self/ns/net").readlink()
    )


def test_program_of_many_threads_goes_on_serving_and_every_thread_is_filtered(
    here: Machine, there: Machine
) -> None:
    """Of a thread with its leader's filter CRIU says nothing; it is put there with the leader's."""
    caddy = Path(shutil.which("caddy") or "").resolve()
    here.start("threads", "exec /caddy respond --listen 127.0.0.1:8080 many", "-e", "GODEBUG=multipathtcp=0",
               "-v", f"{_program(caddy)}:/caddy:ro")  # fmt: skip
    get = "printf 'GET / HTTP/1.0\r\n\r\n' | busybox nc -w 2 127.0.0.1 8080"
    until(lambda: "many" in here.inside("threads", get), "the server")
    here.run("checkpoint", "threads", here.image("threads:live"))
    there.run(
        "restore", there.image("threads:live"), "--name", "threads", "--volume", f"{_program(caddy)}:/caddy:ro"
    )
    assert "many" in there.inside("threads", get)
    tasks = [*Path(f"/proc/{there.container('threads')['pid']}/task").iterdir()]
    assert len(tasks) > 2
    assert all("Seccomp:\t2" in (task / "status").read_text() for task in tasks)


def test_process_that_has_ended_and_waits_for_its_parent_moves_as_such(here: Machine, there: Machine) -> None:
    here.start("parent", "sleep 0.1 & exec sleep 1000")

    def dead(machine: Machine) -> list[str]:
        pid = machine.container("parent")["pid"]
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [child for child in children if "State:\tZ" in Path(f"/proc/{child}/status").read_text()]

    until(lambda: dead(here), "the child to end")
    here.run("checkpoint", "parent", here.image("parent:live"))
    there.run("restore", there.image("parent:live"), "--name", "parent")
    assert len(dead(there)) == 1


def test_go_program_that_listens_by_mptcp_is_left_running_with_a_hint(here: Machine) -> None:
    caddy = Path(shutil.which("caddy") or "").resolve()
    here.start("mptcp", "exec /caddy respond --listen 127.0.0.1:8080 x", "-v", f"{_program(caddy)}:/caddy:ro")
    until(lambda: ":1F90" in here.inside("mptcp", "cat /proc/net/tcp"), "the server")
    done = here.run("checkpoint", "mptcp", here.image("mptcp:live"), code=3)
    assert "hint: CRIU knows no MPTCP" in done["said"]
    assert here.container("mptcp")["status"] == "running"


def _program(launcher: Path) -> Path:
    """Return the static program that a launcher of set-up starts."""
    if launcher.read_bytes()[:4] == b"\x7fELF":
        return launcher
    words = launcher.read_text().split()
    return next(Path(word) for word in reversed(words) if Path(word).name == "caddy").resolve()


def test_container_that_is_left_running_loses_no_count(here: Machine, there: Machine) -> None:
    here.start("counter", COUNT)
    until(lambda: last(here.output("counter")) > 5, "the counter")
    done = here.run("checkpoint", "counter", here.image("counter:copy"), "--leave-running")
    assert done["left_running"]
    frozen_at = last(here.output("counter"))
    until(lambda: last(here.output("counter")) > frozen_at + 5, "the counter to go on")
    counted = [int(line) for line in here.output("counter")]
    assert counted == list(range(1, len(counted) + 1))
    there.run("restore", there.image("counter:copy"), "--name", "copy")
    until(lambda: len(there.output("copy")) > 2, "the copy")
    assert 5 < int(there.output("copy")[0]) <= frozen_at + 1


def test_restored_container_can_be_moved_back(here: Machine, there: Machine) -> None:
    here.start("counter", COUNT)
    until(lambda: last(here.output("counter")) > 5, "the counter")
    here.run("checkpoint", "counter", here.image("counter:first"), "--leave-running")
    here.run("restore", here.image("counter:first"), "--name", "second")
    until(lambda: len(here.output("second")) > 3, "the second")
    here.run("checkpoint", "second", here.image("counter:again"))
    counted = last(here.output("second"))
    there.run("restore", there.image("counter:again"), "--name", "third")
    until(lambda: len(there.output("third")) > 3, "the third")
    assert int(there.output("third")[0]) == counted + 1


def test_volume_is_what_the_restoring_machine_says(here: Machine, there: Machine, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    here.start("writer", "while :; do echo x >> /data/log; sleep 0.05; done", "-v", f"{ours}:/data")
    until((ours / "log").exists, "the volume")
    here.run("checkpoint", "writer", here.image("writer:live"))
    refused = there.run("restore", there.image("writer:live"), code=2)
    assert "container had a volume at /data" in refused["said"]
    assert "hint: trust restore --volume HOST:/data" in refused["said"]
    before = (ours / "log").stat().st_size
    there.run("restore", there.image("writer:live"), "--volume", f"{theirs}:/data")
    until((theirs / "log").exists, "the other volume")
    assert (ours / "log").stat().st_size == before


def test_second_snapshot_sends_only_what_changed(here: Machine) -> None:
    here.start("large", f"x=$(head -c 15000000 /dev/urandom | base64); {COUNT}")
    until(lambda: last(here.output("large")) > 3, "the memory")
    first = here.run("checkpoint", "large", here.image("large:1"), "--leave-running")
    second = here.run("checkpoint", "large", here.image("large:2"), "--leave-running")
    assert first["bytes"]["sent"] > 10_000_000
    assert second["bytes"]["all"] > 10_000_000
    assert second["bytes"]["sent"] < first["bytes"]["sent"] / 10


def test_clone_counts_beside_the_original_and_says_that_secrets_are_doubled(here: Machine) -> None:
    here.start("ewe", COUNT)
    until(lambda: last(here.output("ewe")) > 5, "the counter")
    said = here.run("clone", "ewe", "dolly")["said"]
    assert "every secret and the random state" in said
    begun = int(here.output("dolly")[0]) if here.output("dolly") else 0
    until(lambda: len(here.output("dolly")) > 5, "the clone")
    begun = int(here.output("dolly")[0])
    assert begun > 5
    until(lambda: last(here.output("ewe")) > begun + 5, "the original")
    assert here.container("ewe")["pid"] != here.container("dolly")["pid"]
    assert here.leftovers()["checkpoints"] == []


def test_restored_container_has_the_confinement_of_one_that_was_started(here: Machine, there: Machine) -> None:
    here.start("one", "sleep 1000")
    before = Path(f"/proc/{here.container('one')['pid']}/status").read_text()
    here.run("checkpoint", "one", here.image("one:live"))
    there.run("restore", there.image("one:live"), "--name", "one")
    after = Path(f"/proc/{there.container('one')['pid']}/status").read_text()

    def walls(status: str) -> list[str]:
        return [line for line in status.splitlines() if line.startswith(("Cap", "NoNewPrivs", "Seccomp", "Uid"))]

    assert walls(after) == walls(before)
    cgroup = Path(f"/proc/{there.container('one')['pid']}/cgroup").read_text()
    assert str(there.container("one")["id"]) in cgroup


def test_restored_container_can_write_nowhere_that_it_could_not(
    here: Machine, there: Machine, tmp_path: Path
) -> None:
    here.start("one", "sleep 1000", "--volume", f"{tmp_path}:/data:ro", "--tmpfs", "/scratch")

    def mounts(machine: Machine) -> dict[str, str]:
        lines = Path(f"/proc/{machine.container('one')['pid']}/mountinfo").read_text().splitlines()
        return {line.split()[4]: line.split()[5].partition(",")[0] for line in lines}

    before = mounts(here)
    assert before["/data"] == before["/sys/firmware"] == before["/proc/sys"] == "ro"
    here.run("checkpoint", "one", here.image("one:walls"))
    there.run("restore", there.image("one:walls"), "--name", "one", "--volume", f"{tmp_path}:/data:ro")
    assert mounts(there) == before


def limits_of(machine: Machine, name: str) -> dict[str, int | None]:
    """Return what the kernel holds a container to."""
    from trust.runtime.cgroup import Controllers  # noqa: PLC0415

    pid, controllers = machine.container(name)["pid"], Controllers()
    groups = controllers.groups_of(pid)
    files = {
        "memory": ("memory.limit_in_bytes", "memory.max"),
        "pids": ("pids.max", "pids.max"),
        "cpu": ("cpu.cfs_quota_us", "cpu.max"),
    }
    found: dict[str, int | None] = {}
    for controller, (first, second) in files.items():
        word = (
            groups[controller] / (second if controllers.hierarchies[controller].is_unified else first)
        ).read_text()
        number = word.split()[0]
        found[controller] = int(number) if number.isdigit() and int(number) < 1 << 60 else None
    return found


def test_restored_container_is_held_to_its_image_as_it_was(here: Machine, there: Machine) -> None:
    """And never less in silence: a tier that is not to be had there is refused, until another is asked for."""
    missing = [tier for tier in Tier if why_not(tier) is not None]
    had = next(tier for tier in (Tier.SEALED, Tier.FUSE_VERITY, Tier.DM_VERITY) if tier not in missing)
    here.start("held", COUNT, "--integrity", had.value)
    until(lambda: last(here.output("held")) > 3, "the counter")
    here.run("checkpoint", "held", here.image("held:live"), "--leave-running")
    here.run("clone", "held", "dolly")
    there.run("restore", there.image("held:live"), "--name", "held")
    for machine, name in ((here, "dolly"), (there, "held")):
        assert machine.container(name)["integrity"] == had.value
        (root,) = (
            line
            for line in Path(f"/proc/{machine.container(name)['pid']}/mountinfo").read_text().splitlines()
            if line.split()[4] == "/"
        )
        assert f"lowerdir={machine.directory_of(name)}/image" in root
    until(lambda: last(there.output("held")) > 0, "the counter, held")
    for tier in missing[:1]:
        said = there.run("restore", there.image("held:live"), "--name", "other", "--integrity", tier.value, code=3)
        assert f"held to its image by {tier.value}" in said["said"]
        assert "trust restore --integrity" in said["said"]
        assert there.container("other")["status"] == "none"
    loose = there.run("restore", there.image("held:live"), "--name", "loose", "--integrity", "directory")
    assert f"integrity is directory, as asked for: it was {had.value}" in loose["said"]


MIB = 1 << 20
LIMITS = ("--memory", "64m", "--pids", "40", "--cpus", "0.5")


def test_restored_container_is_held_to_the_limits_it_had(here: Machine, there: Machine) -> None:
    here.start("limited", COUNT, *LIMITS)
    until(lambda: last(here.output("limited")) > 3, "the counter")
    held = {"memory": 64 * MIB, "pids": 40, "cpu": 50_000}
    assert limits_of(here, "limited") == held
    here.run("checkpoint", "limited", here.image("limited:live"), "--leave-running")
    here.run("clone", "limited", "dolly")
    there.run("restore", there.image("limited:live"), "--name", "limited")
    assert limits_of(there, "limited") == limits_of(here, "dolly") == held
    until(lambda: last(there.output("limited")) > 0, "the counter, limited")
    image = there.image("limited:again")
    here.run("checkpoint", "dolly", image)
    there.run("restore", image, "--name", "third", "--memory", "48m", "--pids", "30")
    assert limits_of(there, "third") == {"memory": 48 * MIB, "pids": 30, "cpu": 50_000}


def test_limits_that_a_snapshot_lacks_are_those_that_are_given(here: Machine, there: Machine) -> None:
    here.start("free", COUNT)
    until(lambda: last(here.output("free")) > 3, "the counter")
    here.run("checkpoint", "free", here.image("free:live"))
    there.run("restore", there.image("free:live"), "--name", "free", *LIMITS)
    assert limits_of(there, "free") == {"memory": 64 * MIB, "pids": 40, "cpu": 50_000}


def test_memory_below_what_it_holds_leaves_nothing(here: Machine, there: Machine) -> None:
    here.start("large", f"x=$(head -c 6000000 /dev/urandom | base64); {COUNT}")
    until(lambda: last(here.output("large")) > 3, "the counter")
    here.run("checkpoint", "large", here.image("large:small"), "--leave-running")
    before = there.leftovers()
    done = there.run("restore", there.image("large:small"), "--memory", "6m", code=3)
    assert len([line for line in done["said"].splitlines() if line.startswith("error:")]) == 1
    assert there.leftovers() == before


def test_directory_in_memory_moves_with_what_is_in_it(here: Machine, there: Machine) -> None:
    here.start("scratch", f"echo kept > /scratch/kept; {COUNT}", "--tmpfs", "/scratch:2m")
    until(lambda: last(here.output("scratch")) > 3, "the counter")
    here.run("checkpoint", "scratch", here.image("scratch:live"))
    there.run("restore", there.image("scratch:live"), "--name", "scratch")
    root = Path(f"/proc/{there.container('scratch')['pid']}/root/scratch")
    assert (root / "kept").read_text() == "kept\n"
    with pytest.raises(OSError, match="No space"):
        (root / "more").write_bytes(bytes(3 * MIB))
