"""What runs is what was verified, on a directory: one byte changed in the tree is refused at the next start."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.runtime.conftest import Runner, Workshop
from tests.runtime.images import layer
from tests.runtime.loops import Loops, left_behind
from tests.runtime.tiers import IMAGE_TIERS, PIECES, ROOT, flip, run, tree
from trust.errors import RefusedError, UnavailableError
from trust.run import Started
from trust.runtime.course import Course
from trust.runtime.engine import Streams
from trust.runtime.execution import Execution
from trust.runtime.image_mounts import why_not
from trust.runtime.options import RunOptions
from trust.runtime.restart import RestartPolicy
from trust.runtime.tier import Tier, parse_tier


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
def test_image_runs_the_same_under_each_tier(loops: Loops, runner: Runner, tier: Tier) -> None:
    script = "cat /d/f; cat /d/l; ls -l /d | wc -l; echo new >/d/f; cat /d/f; id -u; pwd"
    said = runner.output(script, *PIECES, integrity=tier, config={"WorkingDir": "/d"})
    assert said == runner.output(script, *PIECES, integrity=Tier.DIRECTORY, config={"WorkingDir": "/d"})
    assert not left_behind(loops)


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
