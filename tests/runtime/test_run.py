"""A container is what its image says, behind the walls that every engine builds, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.runtime.conftest import Runner
from tests.runtime.images import (
    LATER,
    busybox,
    directory,
    file,
    sha256_of,
    symlink,
)
from trust.errors import InputError, RefusedError, TrustError, UnavailableError
from trust.run import Ended
from trust.runtime.engine import engine_program
from trust.runtime.host import open_engine
from trust.runtime.options import RunOptions, Volume
from trust.value import replace

ROOT = Path(__file__).parents[2]
IS_ROOT = os.geteuid() == 0


def tree_of(runner: Runner) -> list[tuple[str, int, bytes]]:
    """Return every file of every shared tree, with what a write would change."""
    found = []
    trees = (runner.workshop.home / "rootfs").glob("*/*/rootfs")
    for path in sorted(path for tree in trees for path in (tree, *tree.rglob("*"))):
        one = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(one.st_mode) else b""
        found.append((str(path), one.st_mode, content))
    return found


def test_exit_status_is_the_containers_own(runner: Runner) -> None:
    for status in (0, 1, 3, 125):
        ended = runner.run(runner.image(), RunOptions(command=("sh", "-c", f"exit {status}")))
        assert isinstance(ended, Ended)
        assert (ended.exit_status, ended.container.exit_status) == (status, status)


def test_container_that_is_killed_has_the_status_of_its_signal(runner: Runner) -> None:
    ended = runner.run(runner.image(), RunOptions(command=("sh", "-c", "sh -c 'kill -9 $$'; exit $?")))
    assert isinstance(ended, Ended)
    assert ended.exit_status == 128 + signal.SIGKILL


def test_image_says_what_is_run_and_the_user_has_the_last_word(
    runner: Runner, capfd: pytest.CaptureFixture[str]
) -> None:
    config = {
        "Entrypoint": ["/bin/sh", "-c", 'echo "$0 $A $B"; pwd'],
        "Cmd": ["from-image"],
        "Env": ["A=1", "B=2"],
    }
    manifest = runner.image(config={**config, "WorkingDir": "/srv/app"})
    runner.run(manifest, RunOptions())
    assert capfd.readouterr().out == "from-image 1 2\n/srv/app\n"
    runner.run(manifest, RunOptions(command=("from-user",), environment=(("B", "3"),)))
    assert capfd.readouterr().out == "from-user 1 3\n/srv/app\n"


def test_image_without_a_command_needs_one(runner: Runner) -> None:
    with pytest.raises(InputError, match="no command"):
        runner.run(runner.image(), RunOptions())


def test_environment_is_the_images_and_none_of_ours(runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUST_PASSPHRASE", "never-to-be-seen")
    seen = runner.output("env; cat /proc/1/environ; cat /proc/1/cmdline", environment=(("ASKED", "yes"),))
    assert "never-to-be-seen" not in seen
    assert "ASKED=yes" in seen
    assert "HOME=/root" in seen


def test_container_cannot_write_to_the_shared_tree(runner: Runner) -> None:
    pieces = [file("data", b"of the image"), directory("d", 0o777), file("d/gone", b"x")]
    runner.output("true", *pieces)
    before = tree_of(runner)
    seen = runner.output(
        "echo changed > /data; rm /d/gone; touch /d/new /bin/new; ln /data /d/hard; cat /data", *pieces
    )
    assert seen == "changed\n"
    assert tree_of(runner) == before
    assert runner.output("cat /data; ls /d", *pieces) == "of the imagegone\n"


def test_two_containers_of_one_image_do_not_see_each_other(runner: Runner) -> None:
    first = runner.start("echo mine > /mark; sleep 60")
    assert runner.output("ls / | grep -c mark || true") == "0\n"
    assert "mark" not in runner.output("ls /proc/*/root/ 2>/dev/null")
    assert runner.containers.stop(first, timeout_seconds=0)


def test_read_only_root_takes_no_write_but_memory_does(runner: Runner) -> None:
    seen = runner.output(
        "touch /x 2>/dev/null || echo refused; echo fine > /dev/shm/y && cat /dev/shm/y", is_read_only=True
    )
    assert seen == "refused\nfine\n"


def test_nothing_is_left_of_a_container_that_is_removed_after(runner: Runner) -> None:
    runner.output("mkdir -p /a/b/c; chmod 0 /a/b; touch /x")
    assert runner.containers.all() == ()
    assert not runner.directory().exists()
    assert [path.name for path in (runner.workshop.home / "containers").iterdir()] == ["names"]
    assert "rootfs" not in Path("/proc/self/mountinfo").read_text().replace("rootfs rootfs", "")


def test_nothing_is_left_of_a_container_that_could_not_be_started(runner: Runner) -> None:
    with pytest.raises(UnavailableError, match=runner.engine.name):
        runner.run(runner.image(), RunOptions(command=("/no/such/program",)))
    assert runner.containers.all() == ()
    assert not runner.directory().exists()


def with_failing_engine(runner: Runner, directory: Path, script: str) -> None:
    """Have ``runner`` start what runs ``script`` in the place of the engine, whose program is ``$real``."""
    program = engine_file(runner)
    fake = directory / "bin" / program.name
    fake.parent.mkdir()
    others = f'case " $* " in *" run "*|*" --args "*) ;; *) exec {program} "$@" ;; esac'
    fake.write_text(f"#!/bin/sh\nreal={program}\n{others}\n{script}\n")
    fake.chmod(0o755)
    environ = {**runner.host.environ, "PATH": f"{fake.parent}:{os.environ['PATH']}"}
    runner.host = replace(runner.host, environ=environ)
    runner.engine = open_engine(runner.engine.name, runner.host)


@pytest.mark.parametrize("script", ["exit 0", "exit 1", "exit 125", "kill -9 $$"])
@pytest.mark.parametrize("detached", [False, True])
def test_status_of_an_engine_that_started_nothing_is_not_the_containers(
    runner: Runner, tmp_path: Path, script: str, *, detached: bool
) -> None:
    with_failing_engine(runner, tmp_path, script)
    with pytest.raises(UnavailableError, match=f"{runner.engine.name} could not run the container: exit status"):
        runner.run(runner.image(), RunOptions(command=("true",), is_detached=detached))
    assert runner.containers.all() == ()


def test_status_of_an_engine_that_is_killed_is_not_the_containers(runner: Runner, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(0o777)
    script = f'"$real" "$@" & until [ -e {out}/started ]; do sleep 0.05; done; kill -9 $! $$'
    with_failing_engine(runner, tmp_path, script)
    command = ("sh", "-c", "touch /out/started; sleep 60")
    volumes = (Volume(source=out, target="/out", is_read_only=False),)
    with pytest.raises(UnavailableError, match=f"{runner.engine.name} could not run the container"):
        runner.run(runner.image(), RunOptions(command=command, volumes=volumes))
    assert runner.containers.all() == ()
    assert runner.engine.running(runner.identities) == {}


def test_container_sees_no_process_of_the_host_and_its_own_name(runner: Runner) -> None:
    seen = runner.output("ls -d /proc/[0-9]* | wc -l; hostname; cat /etc/hostname").split()
    assert int(seen[0]) <= 6
    assert seen[1] == seen[2] == runner.identities[-1][:12]


def test_network_is_off_but_for_the_containers_own_loopback(runner: Runner) -> None:
    seen = runner.output("ls /proc/sys/net/ipv4/conf; cat /proc/net/dev | grep -c : ; ip a | grep -c UP")
    assert seen.split() == ["all", "default", "lo", "1", "1"]
    assert runner.output("cat /etc/resolv.conf") == ""


def test_network_of_the_host_is_the_hosts_and_so_is_its_resolver(runner: Runner) -> None:
    seen = runner.output("readlink /proc/self/ns/net; cat /etc/resolv.conf", network="host")
    assert seen == f"{Path('/proc/self/ns/net').readlink()}\nnameserver 192.0.2.1\n"


def test_no_new_privileges_and_few_capabilities(runner: Runner) -> None:
    status = dict(line.split(":", 1) for line in runner.output("cat /proc/self/status").splitlines())
    assert status["NoNewPrivs"].strip() == "1"
    assert int(status["CapEff"], 16) & ~0xA80425FB == 0  # the fourteen
    if runner.engine.name != "bubblewrap":
        assert status["Seccomp"].strip() == "2"
        assert int(status["CapBnd"], 16) & ~0xA80425FB == 0
        assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0  # CVE-2022-24769


def test_kernel_files_are_hidden_or_cannot_be_written(runner: Runner) -> None:
    script = "for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/default_smp_affinity; do"
    script += " [ -e $f ] && (echo x > $f) && echo written $f; done; cat /proc/keys /proc/timer_list"
    assert runner.output(f"{script} 2>/dev/null; true") == ""


def test_device_node_cannot_be_made_or_gives_no_access(runner: Runner) -> None:
    script = (
        "busybox mknod /sda b 8 0 2>/dev/null && head -c 1 /sda; busybox mknod /mem c 1 1 2>/dev/null && cat /mem"
    )
    assert runner.output(f"({script}) 2>/dev/null; echo done") == "done\n"


def test_setuid_program_gives_its_caller_nothing(runner: Runner) -> None:
    if runner.engine.name == "bubblewrap" and IS_ROOT:
        with pytest.raises(InputError, match="cannot become"):
            runner.output("true", config={"User": "web"})
        return
    su = file("su/busybox", busybox(), mode=0o4755)
    seen = runner.output("grep CapEff /proc/self/status; /su/busybox id -u", su, config={"User": "web"}).split()
    assert int(seen[1], 16) == 0
    assert seen[2] == ("101" if IS_ROOT or runner.engine.name == "bubblewrap" else "0")


@pytest.mark.root
def test_user_of_the_image_has_its_groups_and_owns_its_files(runner: Runner) -> None:
    if runner.engine.name == "bubblewrap":
        with pytest.raises(InputError, match="cannot become"):
            runner.output("id", config={"User": "web"})
        return
    pieces = [directory("srv", 0o750, uid=101, gid=102)]
    seen = runner.output("id -u; id -g; id -G; touch /srv/mine; touch /x 2>/dev/null || echo refused; echo $HOME",
                         *pieces, config={"User": "web"})  # fmt: skip
    assert seen == "101\n102\n102 103\nrefused\n/srv\n"


def test_volume_is_seen_and_written_to_only_where_it_was_asked_for(runner: Runner, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "in").write_text("hello\n")
    volume = Volume(source=shared, target="/data/deep", is_read_only=False)
    assert runner.output("cat /data/deep/in; echo back > /data/deep/out", volumes=(volume,)) == "hello\n"
    assert (shared / "out").read_text() == "back\n"
    shut = Volume(source=shared, target="/data", is_read_only=True)
    assert runner.output("touch /data/x 2>/dev/null || echo refused", volumes=(shut,)) == "refused\n"
    single = Volume(source=shared / "in", target="/etc/motd", is_read_only=True)
    assert runner.output("cat /etc/motd", volumes=(single,)) == "hello\n"


def test_volume_over_a_link_of_the_image_never_reaches_the_host(runner: Runner, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    aim = tmp_path / "aim"
    volume = Volume(source=shared, target="/data/x", is_read_only=False)
    for link in (str(aim), f"/oldroot{aim}", "../../../../../../.." + str(aim)):
        with suppress(TrustError, AssertionError):
            runner.output("true", symlink("data", link), volumes=(volume,))
    assert not aim.exists()


@pytest.mark.parametrize("name", ["proc", "dev", "etc"])
def test_cve_2019_19921_link_in_the_place_of_a_mount_never_reaches_the_host(
    runner: Runner, tmp_path: Path, name: str
) -> None:
    aim = tmp_path / "aim"
    manifest_pieces = [symlink(name, f"/oldroot{aim}"), symlink("oldroot", "/")]
    with suppress(TrustError, AssertionError):
        runner.output("true", *manifest_pieces)
    assert not aim.exists()


def test_cve_2024_21626_working_directory_by_way_of_a_link_is_refused(runner: Runner) -> None:
    with pytest.raises(InputError, match="working directory"):
        runner.output("pwd", symlink("way", "/proc/self/fd"), config={"WorkingDir": "/way/7"})
    with pytest.raises(InputError, match="directory lies in /proc"):
        runner.output("pwd", config={"WorkingDir": "/proc/self/fd/7"})


def test_cve_2019_5736_command_that_is_the_engine_itself_is_refused_and_leaves_it_alone(runner: Runner) -> None:
    program = engine_file(runner)
    before = sha256_of(program)
    with pytest.raises(InputError, match="/proc"):
        runner.run(runner.image(), RunOptions(command=("/proc/self/exe", "--version")))
    script = "#!/proc/self/exe\n"
    pieces = [symlink("bin/evil", "/proc/self/exe"), file("bin/evil.sh", script.encode(), mode=0o755)]
    for name in ("/bin/evil", "/bin/evil.sh", "evil", "//proc/self/exe", "proc/self/exe"):
        with pytest.raises(InputError, match="/proc"):
            runner.run(runner.image(*pieces), RunOptions(command=(name,), is_removed_after=True))
    assert sha256_of(program) == before


def test_leaked_descriptors_do_not_reach_the_container(runner: Runner) -> None:
    root = os.open("/", os.O_RDONLY)
    fcntl.fcntl(root, fcntl.F_SETFD, 0)  # what another library may have done
    try:
        seen = runner.output("ls -l /proc/self/fd /proc/1/fd 2>/dev/null; true")
    finally:
        os.close(root)
    targets = {line.split(" -> ")[1] for line in seen.splitlines() if " -> " in line}
    assert "/dev/null" in targets
    assert "/" not in targets


def test_standard_input_is_read_only_when_asked_for(runner: Runner, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("typed\n")
    kept = os.dup(0)
    with (tmp_path / "in").open() as typed:
        os.dup2(typed.fileno(), 0)
        try:
            assert runner.output("cat", interactive=True) == "typed\n"
            assert runner.output("cat") == ""
        finally:
            os.dup2(kept, 0)
            os.close(kept)


def test_verdict_that_has_expired_starts_nothing(runner: Runner) -> None:
    with pytest.raises(RefusedError, match="expired") as caught:
        runner.run(runner.image(), RunOptions(command=("true",)), now=LATER)
    assert caught.value.reason == "expired"
    assert runner.containers.all() == ()


def test_signal_to_us_reaches_the_container(runner: Runner) -> None:
    script = "trap 'echo stopped; exit 7' TERM; echo ready; while :; do sleep 0.05; done"
    process = started(runner, script)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert (out, process.returncode) == (b"stopped\n", 7)


def test_container_outlives_us_and_is_found_stopped_and_removed(runner: Runner) -> None:
    process = started(runner, "echo ready; sleep 60")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.wait()
    process.stdout.close()
    (listed,) = runner.containers.all()
    assert listed.pid is not None
    assert runner.containers.stop(listed.container, timeout_seconds=0)
    (listed,) = runner.containers.all()
    assert listed.pid is None
    # Asked to stop, then killed at once: bubblewrap may have seen it end by either, or been killed itself before.
    assert listed.container.exit_status in {None, 128 + signal.SIGTERM, 128 + signal.SIGKILL}
    runner.containers.remove(listed.container)
    assert runner.containers.all() == ()


RUN = """
import secrets, sys
from pathlib import Path
from tests.runtime.images import NOW, allowed, deadline, host, image_bytes, busybox_layer, vetted
from trust.oci.layout import Layout
from trust.run import run
from trust.runtime.host import open_engine
from trust.runtime.engine import engine_program
from trust.runtime.options import RunOptions
from trust.runtime.source import LayoutSource

source, home, engine, script = Layout.open(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
here = host(home)
ended = run(
    allowed(image_bytes(source, busybox_layer())), identity=secrets.token_hex(16), host=here, now=NOW,
    options=RunOptions(command=("/bin/sh", "-c", script)), engine=open_engine(engine, here),
    source=LayoutSource(layout=source), deadline=deadline(), vet=vetted,
)
sys.exit(ended.exit_status)
"""


def started(runner: Runner, script: str) -> subprocess.Popen[bytes]:
    """Return a process of its own that runs a container in the foreground."""
    paths = [str(runner.workshop.source.directory), str(runner.workshop.home)]
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *paths, runner.engine.name, script],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def engine_file(runner: Runner) -> Path:
    return engine_program(runner.engine.name, search_path=os.environ["PATH"])[1]


@pytest.mark.parametrize("name", ["a:b,c\\d e", "é\n", "/".join(["long" * 50] * 7)], ids=["odd", "more", "long"])
@pytest.mark.parametrize("runner", ["runc"], indirect=True)
def test_home_may_have_any_name_and_the_shared_tree_stays_as_it_is(
    runner: Runner, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    home = runner.workshop.home / name
    home.mkdir(parents=True)
    there = Runner(runner.workshop.at(home), runner.engine.name, capfd)
    assert there.output("echo changed > /data; cat /data; id -u", file("data", b"x")) == "changed\n0\n"
    assert there.output("cat /data", file("data", b"x")) == "x"
