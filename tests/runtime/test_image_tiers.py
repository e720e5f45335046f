"""What runs is what was verified, from an image: a changed block is refused at the start, or never read."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.runtime.conftest import Runner
from tests.runtime.loops import Loops, left_behind
from tests.runtime.tiers import BIG, IMAGE_TIERS, PIECES, block_of, flip, run, tree
from trust.digest import sha256
from trust.errors import RefusedError, StateError
from trust.run import Started
from trust.runtime.engine import has_ended, held_process
from trust.runtime.options import RunOptions
from trust.runtime.sealed import sealed_copy
from trust.runtime.tier import Tier


@pytest.mark.root
@pytest.mark.parametrize("tier", IMAGE_TIERS)
def test_detached_container_keeps_its_image_and_leaves_nothing_behind(
    loops: Loops, one: Runner, tier: Tier
) -> None:
    options = RunOptions(command=("/bin/sh", "-c", "sleep 60"), is_detached=True, integrity=tier)
    started = one.run(one.image(*PIECES), options)
    assert isinstance(started, Started)
    [listed] = one.containers.all()
    assert listed.pid is not None
    assert listed.container.integrity is tier
    assert (Path(f"/proc/{listed.pid}/root/d/big")).read_bytes() == BIG
    assert "erofs" not in Path("/proc/self/mounts").read_text()
    one.containers.remove(started.container, force=True)
    assert not left_behind(loops)


@pytest.mark.root
def test_sealed_image_that_was_changed_is_refused_at_the_start(loops: Loops, one: Runner) -> None:
    assert run(one, Tier.SEALED) == 0
    image = tree(one).parent / "image.erofs"
    flip(image, block_of(image, b"as it was signed"))
    with pytest.raises(RefusedError, match="image file was changed") as refused:
        run(one, Tier.SEALED)
    assert refused.value.reason == "tampered"
    assert not one.containers.all()
    assert not left_behind(loops)


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
def test_fuse_verity_gives_an_error_and_not_the_changed_block(loops: Loops, one: Runner) -> None:
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
    assert not left_behind(loops)


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
def test_fuse_verity_whose_server_was_killed_gives_errors_and_nothing_unchecked(loops: Loops, one: Runner) -> None:
    options = RunOptions(command=("/bin/sh", "-c", "sleep 60"), is_detached=True, integrity=Tier.FUSE_VERITY)
    started = one.run(one.image(*PIECES), options)
    assert isinstance(started, Started)
    [listed] = one.containers.all()
    [server] = servers_of(tree(one).parent / "image.erofs")
    with held_process(server) as process:
        os.kill(server, signal.SIGKILL)
        assert has_ended(process, 1e9)  # poll(2) takes 24 days at the most
    with pytest.raises(OSError, match="Input/output error"):
        Path(f"/proc/{listed.pid}/root/d/big").read_bytes()
    one.containers.remove(started.container, force=True)
    assert not left_behind(loops)


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
