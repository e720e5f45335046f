"""What runs is what was verified: one byte changed under each tier is refused at the start, or never read."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.runtime.conftest import Runner, Workshop
from tests.runtime.images import Piece, directory, file, hard_link, layer, symlink
from trust.digest import sha256
from trust.errors import RefusedError, StateError, UnavailableError
from trust.run import Ended, Started
from trust.runtime.course import Course
from trust.runtime.engine import Streams, has_ended, held_process
from trust.runtime.execution import Execution
from trust.runtime.image_mounts import why_not
from trust.runtime.options import RunOptions
from trust.runtime.restart import RestartPolicy
from trust.runtime.sealed import sealed_copy
from trust.runtime.tier import Tier, parse_tier

ROOT = os.geteuid() == 0
IMAGE_TIERS = [Tier.SEALED, Tier.FUSE_VERITY]
BIG = bytes(range(256)) * 4096
PIECES: tuple[Piece, ...] = (
    directory("d", 0o755),
    file("d/f", b"as it was signed\n"),
    file("d/big", BIG),
    hard_link("d/g", "d/f"),
    symlink("d/l", "f"),
)


@pytest.fixture
def one(workshop: Workshop, capfd: pytest.CaptureFixture[str]) -> Runner:
    """Give a runner with the engine that is there everywhere."""
    return Runner(workshop, "runc", capfd)


def run(runner: Runner, tier: Tier, script: str = "cat /d/f") -> int:
    options = RunOptions(command=("/bin/sh", "-c", script), is_removed_after=True, integrity=tier)
    ended = runner.run(runner.image(*PIECES), options)
    assert isinstance(ended, Ended)
    return ended.exit_status


def tree(runner: Runner) -> Path:
    [found] = (runner.workshop.home / "rootfs").glob("sha256/*/rootfs")
    return found


def flip(path: Path, at: int) -> None:
    """Change one bit, and nothing that a listing would show."""
    state = path.stat()
    with path.open("r+b") as changed:
        changed.seek(at)
        byte = changed.read(1)[0]
        changed.seek(at)
        changed.write(bytes([byte ^ 1]))
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def block_of(path: Path, content: bytes) -> int:
    at = path.read_bytes().find(content)
    assert at >= 0
    return at


def add_file(tree: Path) -> None:
    (tree / "d/extra").write_bytes(b"")


def replace_link(tree: Path) -> None:
    (tree / "d/l").unlink()
    (tree / "d/l").symlink_to("g")


def replace_link_by_file(tree: Path) -> None:
    (tree / "d/l").unlink()
    (tree / "d/l").write_bytes(b"f")


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a byte": (lambda tree: flip(tree / "d/f", 3), "/d/f has another content"),
    "the length": (lambda tree: os.truncate(tree / "d/f", 3), "/d/f has another size"),
    "a mode": (lambda tree: (tree / "d/f").chmod(0o4755), "/d/f has another mode"),
    "a mode of a directory": (lambda tree: (tree / "d").chmod(0o777), "/d has another mode"),
    "the root's mode": (lambda tree: tree.chmod(0o777), "/ has another mode"),
    "one more": (add_file, "/d/extra is new"),
    "one less": (lambda tree: (tree / "d/g").unlink(), "/d/g is missing"),
    "a link's target": (replace_link, "/d/l has another content"),
    "a file for a link": (replace_link_by_file, "/d/l has another mode"),
    "an attribute": (lambda tree: os.setxattr(tree / "d/f", b"user.x", b"1"), "/d/f has another attributes"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_directory_that_was_changed_is_refused_at_the_next_start(one: Runner, change: str) -> None:
    assert run(one, Tier.DIRECTORY) == 0
    act, said = CHANGES[change]
    act(tree(one))
    with pytest.raises(RefusedError, match=said) as refused:
        run(one, Tier.DIRECTORY, "touch /started")
    assert refused.value.reason == "tampered"
    assert not one.containers.all()


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "value"),
    [("trusted.overlay.opaque", b"y"), ("trusted.overlay.redirect", b"/etc"), ("security.capability", b"x" * 20)],
)
def test_attribute_that_steers_the_overlay_or_gives_a_capability_is_refused(
    one: Runner, name: str, value: bytes
) -> None:
    assert run(one, Tier.DIRECTORY) == 0
    if name == "security.capability":
        value = (0x02000000).to_bytes(4, "little") + (1 << 10).to_bytes(4, "little") + bytes(12)
    os.setxattr(tree(one) / "d/f", name, value)
    with pytest.raises(RefusedError, match="another attributes"):
        run(one, Tier.DIRECTORY)


@pytest.mark.root
def test_device_node_in_the_tree_is_refused(one: Runner) -> None:
    assert run(one, Tier.DIRECTORY) == 0
    os.mknod(tree(one) / "d/null", 0o20666, os.makedev(1, 3))
    with pytest.raises(RefusedError, match="/d/null is new"):
        run(one, Tier.DIRECTORY)


def test_inventory_that_was_changed_with_the_tree_is_refused(one: Runner) -> None:
    assert run(one, Tier.DIRECTORY) == 0
    flip(tree(one) / "d/f", 0)
    flip(tree(one).parent / "inventory", 200)
    with pytest.raises(RefusedError, match="and its inventory too"):
        run(one, Tier.DIRECTORY)


def test_tree_of_one_image_does_not_pass_for_another(workshop: Workshop, one: Runner) -> None:
    assert run(one, Tier.DIRECTORY) == 0
    mine = tree(one)
    other = workshop.unpack(layer(*PIECES))
    for name in ("rootfs", "inventory", "unpacked.json"):
        (mine.parent / name).rename(mine.parent / f"old-{name}")
        copy = shutil.copytree if name == "rootfs" else shutil.copy
        copy(other.parent / name, mine.parent / name)
    with pytest.raises(RefusedError, match="was changed"):
        run(one, Tier.DIRECTORY)


def test_tree_of_before_there_were_inventories_is_unpacked_anew(workshop: Workshop) -> None:
    root = workshop.unpack(layer(*PIECES))
    (root.parent / "unpacked.json").write_text(f'{{"schema": 1, "uid": {os.geteuid()}}}')
    (root / "d/f").unlink()
    assert workshop.unpack(layer(*PIECES)) == root
    assert (root / "d/f").exists()


@pytest.mark.root
@pytest.mark.parametrize("tier", IMAGE_TIERS)
def test_image_runs_the_same_under_each_tier(runner: Runner, tier: Tier) -> None:
    script = "cat /d/f; cat /d/l; ls -l /d | wc -l; echo new >/d/f; cat /d/f; id -u; pwd"
    said = runner.output(script, *PIECES, integrity=tier, config={"WorkingDir": "/d"})
    assert said == runner.output(script, *PIECES, integrity=Tier.DIRECTORY, config={"WorkingDir": "/d"})
    assert not loop_devices()


def loop_devices() -> list[str]:
    """Return the loop devices of images of ours that have not gone within two seconds."""
    for _ in range(40):
        found = [path.read_text() for path in Path("/sys/block").glob("loop*/loop/backing_file")]
        ours = [name for name in found if "trust-image" in name or "image.erofs" in name or name.strip() == "/"]
        if not ours:
            return []
        time.sleep(0.05)
    return ours


@pytest.mark.root
@pytest.mark.parametrize("tier", IMAGE_TIERS)
def test_detached_container_keeps_its_image_and_leaves_nothing_behind(one: Runner, tier: Tier) -> None:
    options = RunOptions(command=("/bin/sh", "-c", "sleep 60"), is_detached=True, integrity=tier)
    started = one.run(one.image(*PIECES), options)
    assert isinstance(started, Started)
    [listed] = one.containers.all()
    assert listed.pid is not None
    assert listed.container.integrity is tier
    assert (Path(f"/proc/{listed.pid}/root/d/big")).read_bytes() == BIG
    assert "erofs" not in Path("/proc/self/mounts").read_text()
    one.containers.remove(started.container, force=True)
    assert not loop_devices()


@pytest.mark.root
def test_sealed_image_that_was_changed_is_refused_at_the_start(one: Runner) -> None:
    assert run(one, Tier.SEALED) == 0
    image = tree(one).parent / "image.erofs"
    flip(image, block_of(image, b"as it was signed"))
    with pytest.raises(RefusedError, match="image file was changed") as refused:
        run(one, Tier.SEALED)
    assert refused.value.reason == "tampered"
    assert not one.containers.all()
    assert not loop_devices()


@pytest.mark.root
@pytest.mark.parametrize("tier", IMAGE_TIERS)
def test_tree_that_was_changed_does_not_become_an_image(one: Runner, tier: Tier) -> None:
    assert run(one, Tier.DIRECTORY) == 0
    flip(tree(one) / "d/f", 3)
    with pytest.raises(RefusedError, match="/d/f has another content"):
        run(one, tier)
    assert not list(tree(one).parent.glob("*image*"))


@pytest.mark.root
@pytest.mark.parametrize("tier", IMAGE_TIERS)
def test_tree_that_is_changed_later_is_not_what_runs(
    one: Runner, capfd: pytest.CaptureFixture[str], tier: Tier
) -> None:
    assert run(one, tier) == 0
    (tree(one) / "d/f").write_bytes(b"the attacker's\n")
    capfd.readouterr()
    assert run(one, tier) == 0
    assert capfd.readouterr().out == "as it was signed\n"


@pytest.mark.root
def test_sealed_memory_takes_no_write_even_of_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "image"
    file.write_bytes(BIG)
    with file.open("rb") as image:
        sealed = sealed_copy(image.fileno(), sha256(BIG), where=file)
    try:
        with Path(f"/proc/self/fd/{sealed}").open("r+b", buffering=0) as raw, pytest.raises(PermissionError):
            raw.write(b"x")
        assert os.pread(sealed, len(BIG), 0) == BIG
    finally:
        os.close(sealed)


@pytest.mark.root
def test_sealed_image_cannot_be_changed_while_it_runs(one: Runner) -> None:
    options = RunOptions(command=("/bin/sh", "-c", "sleep 60"), is_detached=True, integrity=Tier.SEALED)
    started = one.run(one.image(*PIECES), options)
    assert isinstance(started, Started)
    [listed] = one.containers.all()
    image = tree(one).parent / "image.erofs"
    flip(image, block_of(image, BIG[:4096]))
    backing = Path("/sys/block").glob("loop*/loop/backing_file")
    devices = [Path("/dev", path.parent.parent.name) for path in backing if "trust-image" in path.read_text()]
    for device in devices:
        with (
            pytest.raises(OSError, match=r"Read-only|not permitted|denied"),
            device.open("r+b", buffering=0) as raw,
        ):
            raw.write(b"x" * 4096)
    assert devices
    assert Path(f"/proc/{listed.pid}/root/d/big").read_bytes() == BIG
    one.containers.remove(started.container, force=True)


@pytest.mark.root
def test_fuse_verity_gives_an_error_and_not_the_changed_block(one: Runner) -> None:
    assert run(one, Tier.FUSE_VERITY, "true") == 0
    image = tree(one).parent / "image.erofs"
    flip(image, block_of(image, BIG[:4096]) + 300_000)
    options = RunOptions(command=("/bin/sh", "-c", "sleep 60"), is_detached=True, integrity=Tier.FUSE_VERITY)
    started = one.run(one.image(*PIECES), options)
    assert isinstance(started, Started)
    [listed] = one.containers.all()
    big = Path(f"/proc/{listed.pid}/root/d/big")
    with pytest.raises(OSError, match="Input/output error"):
        big.read_bytes()
    assert Path(f"/proc/{listed.pid}/root/d/f").read_bytes() == b"as it was signed\n"
    one.containers.remove(started.container, force=True)
    assert not loop_devices()


def servers_of(image: Path) -> list[int]:
    """Return the processes that have the image file open, but for this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            opened = {str(each.readlink()) for each in (process / "fd").iterdir()}
            if str(image) in opened and int(process.name) != os.getpid():
                found.append(int(process.name))
    return found


@pytest.mark.root
def test_fuse_verity_whose_server_was_killed_gives_errors_and_nothing_unchecked(one: Runner) -> None:
    options = RunOptions(command=("/bin/sh", "-c", "sleep 60"), is_detached=True, integrity=Tier.FUSE_VERITY)
    started = one.run(one.image(*PIECES), options)
    assert isinstance(started, Started)
    [listed] = one.containers.all()
    [server] = servers_of(tree(one).parent / "image.erofs")
    with held_process(server) as process:
        os.kill(server, signal.SIGKILL)
        assert has_ended(process, 10.0)
    with pytest.raises(OSError, match="Input/output error"):
        Path(f"/proc/{listed.pid}/root/d/big").read_bytes()
    one.containers.remove(started.container, force=True)
    assert not loop_devices()


@pytest.mark.root
def test_server_of_fuse_verity_ends_with_its_container(one: Runner) -> None:
    assert run(one, Tier.FUSE_VERITY) == 0
    image = tree(one).parent / "image.erofs"
    for server in servers_of(image):
        with held_process(server) as process:
            assert has_ended(process, 10.0)
    assert not servers_of(image)


@pytest.mark.root
def test_fuse_verity_refuses_a_hash_tree_that_was_changed(one: Runner) -> None:
    assert run(one, Tier.FUSE_VERITY) == 0
    flip(tree(one).parent / "image.verity", 5000)
    with pytest.raises(RefusedError, match="hash tree was changed"):
        run(one, Tier.FUSE_VERITY)


@pytest.mark.root
@pytest.mark.parametrize("tier", IMAGE_TIERS)
def test_image_file_that_was_cut_off_is_refused(one: Runner, tier: Tier) -> None:
    assert run(one, tier) == 0
    image = tree(one).parent / "image.erofs"
    os.truncate(image, image.stat().st_size - 4096)
    with pytest.raises(StateError, match="another size"):
        run(one, tier)


def test_tier_that_cannot_be_had_here_is_refused_and_none_is_taken_in_its_place(one: Runner) -> None:
    lacking = {tier: why for tier in Tier if (why := why_not(tier)) is not None}
    for tier, why in lacking.items():
        with pytest.raises(UnavailableError) as refused:
            run(one, tier)
        assert str(refused.value) == f"integrity {tier.value} cannot be had here: {why}"
        assert refused.value.hint is not None
        assert "directory" in refused.value.hint
    assert not one.containers.all()


def test_dm_verity_is_refused_where_the_kernel_has_none(one: Runner) -> None:
    if "device-mapper" in Path("/proc/devices").read_text(encoding="ascii").split():
        assert not ROOT or run(one, Tier.DM_VERITY) == 0
        return
    why = "this kernel has no device mapper" if ROOT else "only root can mount an image file"
    with pytest.raises(UnavailableError, match=f"integrity dm-verity cannot be had here: {why}"):
        run(one, Tier.DM_VERITY)


@pytest.mark.parametrize("text", ["", "dm_verity", "Sealed", "none"])
def test_tier_that_nobody_knows_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="expected dm-verity, sealed, fuse-verity, directory"):
        parse_tier(text)


def restarted(runner: Runner, tier: Tier, script: str, prepare: Callable[[], object]) -> Course:
    """Return how a container of the image fares that fails once, after ``prepare``."""
    options = RunOptions(
        command=("/bin/sh", "-c", script),
        is_detached=True,
        integrity=tier,
        restart=RestartPolicy(when="on-failure", tries=1),
    )
    started = runner.run(runner.image(*PIECES), options)
    assert isinstance(started, Started)
    prepare()
    runner.containers.execute(
        started.container,
        Execution(command=("touch", "/go")),
        Streams(stdin=subprocess.DEVNULL, stdout=None, stderr=None),
    )
    ends = time.monotonic() + 15
    while True:
        (listed,) = runner.containers.all()
        if listed.pid is None and listed.course is not None and listed.course.is_over:
            runner.containers.remove(listed.container, force=True)
            return listed.course
        assert time.monotonic() < ends, listed
        time.sleep(0.02)


ONCE = "[ -e /second ] && exec cat /d/f; until [ -e /go ]; do sleep 0.02; done; touch /second; exit 9"


@pytest.mark.parametrize("tier", [Tier.DIRECTORY, *(pytest.param(t, marks=pytest.mark.root) for t in IMAGE_TIERS)])
def test_container_is_started_again_on_what_was_verified(one: Runner, tier: Tier) -> None:
    if why_not(tier) is not None:
        pytest.skip(f"{why_not(tier)}")
    course = restarted(one, tier, ONCE, lambda: None)
    assert (course.exit_status, course.restarts, course.why) == (0, 1, None)


def test_container_is_not_started_again_on_a_tree_that_was_changed(one: Runner) -> None:
    course = restarted(one, Tier.DIRECTORY, ONCE, lambda: flip(tree(one) / "d/f", 3))
    assert (course.exit_status, course.restarts) == (9, 1)
    assert course.why is not None
    assert "/d/f has another content" in course.why
