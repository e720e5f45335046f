"""Root of root's container is nobody on the host, and its files are the image's all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.ports import free_port
from tests.runtime.conftest import Runner, Workshop
from tests.runtime.images import directory, file
from tests.runtime.supervised import ALWAYS, COUNT, answer, start, until
from tests.runtime.test_containers import read_until
from tests.runtime.test_exec import said
from trust.checkpoint import frozen, open_machine
from trust.errors import InputError
from trust.run import Started
from trust.runtime.options import RunOptions, Volume
from trust.runtime.ports import parse_port
from trust.runtime.tier import Tier
from trust.runtime.user_namespace import RANGE_IDS, first_id

pytestmark = pytest.mark.root
oci = pytest.mark.parametrize("runner", ["runc", "crun"], indirect=True)


def lines(runner: Runner, script: str, *pieces: object, **options: object) -> list[str]:
    return runner.output(script, *pieces, has_own_ids=True, **options).splitlines()  # type: ignore[arg-type]


@oci
def test_root_of_the_container_is_an_id_that_nobody_has(runner: Runner) -> None:
    options = RunOptions(command=("/bin/sh", "-c", "echo up; sleep 60"), is_detached=True, has_own_ids=True)
    started = runner.run(runner.image(file("marker")), options)
    assert isinstance(started, Started)
    read_until(runner.containers.logs(started.container).stdout, "up")
    pid = until(runner, lambda one: one.pid is not None).pid
    status = Path(f"/proc/{pid}/status").read_text()
    first = first_id(started.container.identity)
    assert f"Uid:\t{first}\t{first}\t{first}\t{first}\n" in status
    assert f"Gid:\t{first}\t{first}\t{first}\t{first}\n" in status
    assert Path(f"/proc/{pid}/uid_map").read_text().split() == ["0", str(first), str(RANGE_IDS)]
    assert Path(f"/proc/{pid}/ns/user").readlink() != Path("/proc/self/ns/user").readlink()
    assert said(runner, started.container, "id", "-u") == "0\n"


@oci
def test_null_device_of_the_host_stays_the_hosts(runner: Runner) -> None:
    host = Path("/dev/null").stat()
    script = "cat; stat -L -c '%t %T' /proc/self/fd/0; echo up; sleep 60"
    options = RunOptions(command=("/bin/sh", "-c", script), is_detached=True, has_own_ids=True)
    started = runner.run(runner.image(), options)
    assert isinstance(started, Started)
    log = runner.containers.logs(started.container).stdout
    read_until(log, "up")
    assert log.read_text().split() == ["1", "3", "up"]
    after = Path("/dev/null").stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (host.st_uid, host.st_gid, host.st_mode)


@oci
def test_files_are_the_images_own_and_what_is_written_has_ids_that_nobody_has(runner: Runner) -> None:
    pieces = directory("etc"), file("of-app", b"x", uid=1000, gid=1001, mode=0o640)
    script = "stat -c '%u %g %a' /of-app /bin; echo new >/new; chown 5:6 /new; stat -c '%u %g' /new; id -u"
    assert lines(runner, script, *pieces) == ["1000 1001 640", "0 0 755", "5 6", "0"]
    started = runner.run(
        runner.image(*pieces),
        RunOptions(command=("/bin/sh", "-c", "echo new >/new; chown 5:6 /new"), has_own_ids=True),
    )
    first = first_id(started.container.identity)
    upper = runner.directory() / "upper"
    assert started.container.exit_status == 0
    assert ((upper / "new").stat().st_uid, (upper / "new").stat().st_gid) == (first + 5, first + 6)
    [tree] = runner.workshop.home.glob("rootfs/sha256/*/rootfs/of-app")
    assert tree.stat().st_uid == 1000


@oci
def test_user_of_the_image_is_himself_in_there_and_holds_no_capability(runner: Runner) -> None:
    image = {"User": "1000:1000"}
    assert lines(runner, "id -u; grep CapEff /proc/self/status", file("x"), config=image) == [
        "1000",
        "CapEff:\t0000000000000000",
    ]


@oci
def test_file_of_the_hosts_root_is_nobodys_and_closed(runner: Runner, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o755)
    (shared / "secret").write_text("of root\n")
    (shared / "secret").chmod(0o600)
    (shared / "open").write_text("for all\n")
    volume = Volume(source=shared, target="/shared", is_read_only=False)
    script = "cat /shared/open; cat /shared/secret || echo closed; touch /shared/mine || echo no; "
    script += "stat -c %u /shared/open"
    assert lines(runner, script, file("x"), volumes=(volume,)) == ["for all", "closed", "no", "65534"]
    assert sorted(path.name for path in shared.iterdir()) == ["open", "secret"]


@oci
def test_container_cannot_reach_the_hosts_settings_as_root(runner: Runner) -> None:
    script = "mount -t tmpfs none /mnt 2>/dev/null && echo mounted; "
    script += "echo 1 >/proc/sys/kernel/sysrq 2>/dev/null && echo set; echo end"
    assert lines(runner, script, file("x"), directory("mnt")) == ["end"]


@oci
@pytest.mark.parametrize("network", ["off", "private", "host"])
def test_every_network_and_a_sealed_image_go_with_it(runner: Runner, network: str) -> None:
    assert lines(runner, "echo ok", file("x"), network=network, integrity=Tier.SEALED) == ["ok"]


@oci
def test_it_is_started_again_with_its_files_and_its_ports_lead_into_it(runner: Runner) -> None:
    port = free_port()
    script = COUNT + "nc -l -p 8080 -e cat"  # serves once, and ends
    container = start(
        runner, script, has_own_ids=True, restart=ALWAYS, ports=(parse_port(f"127.0.0.1:{port}:8080"),)
    )
    assert answer(port) == b"hello\n"
    read_until(runner.containers.logs(container).stdout, "run 2")
    assert answer(port) == b"hello\n"


def test_it_cannot_be_moved(workshop: Workshop, capfd: pytest.CaptureFixture[str]) -> None:
    runner = Runner(workshop, "runc", capfd)
    container = start(runner, "sleep 60", has_own_ids=True)
    with (
        pytest.raises(InputError, match=r"its ids are its own \(--userns\)"),
        frozen(container, open_machine("runc", runner.host), host=runner.host, place=workshop.outside),
    ):
        pass
    assert until(runner, lambda one: one.pid is not None).container.identity == container.identity
    runner.containers.remove(container, force=True)


@pytest.mark.parametrize("runner", ["bubblewrap"], indirect=True)
def test_engine_that_cannot_is_refused(runner: Runner) -> None:
    with pytest.raises(InputError, match="no ids of its own"):
        runner.run(runner.image(), RunOptions(command=("true",), has_own_ids=True))
    assert runner.containers.all() == ()
