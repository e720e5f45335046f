"""Figure ``unpack-second``: an image whose base, the layer of figure ``unpack``, an unpacked image has already.

The same process as there, in a home that has the first image, and in one that has none. The disk is what blocks
the file system gave to files that no other image has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.bench.debian_layer import GZIP_LEVEL, debian_layer
from scripts.bench.layout import layer_of, write_layout
from scripts.bench.measure import Command, run, side_by_side
from scripts.bench.result import Row, ratio, timed
from scripts.bench.setting import Setting, component

FIGURE = "unpack-second"
OVER_FIRST_MAX = 0.9
DISK_MAX_MIB = 40.0
_ROUNDS, _QUICK_ROUNDS = 9, 3
_ALONE, _SECOND = "image on the base, alone", "image on the base, beside another"
_BLOCK = 512
_MIB = 1 << 20


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something could not be started, or failed.
    """
    base = debian_layer()
    own = layer_of({"opt/busybox": Path(component("busybox"))}, directories=("opt",))
    first, second = setting.directory / f"{FIGURE}.first", setting.directory / f"{FIGURE}.second"
    write_layout(first, [base], gzip_level=GZIP_LEVEL)
    write_layout(second, [base, own], gzip_level=GZIP_LEVEL)
    alone, beside = setting.fresh(f"{FIGURE}.alone"), setting.fresh(f"{FIGURE}.beside")

    def words(layout: Path, home: Path) -> tuple[str, ...]:
        return (setting.python, "-m", "scripts.bench.unpack_once", str(layout), str(home))

    def prepare(number: int) -> None:
        (alone / f"{number}").mkdir()
        run(*words(first, beside / f"{number}"), environ=setting.environ)

    timings = side_by_side(
        {
            _SECOND: Command(
                argv=lambda number: words(second, beside / f"{number}"), environ=setting.environ, prepare=prepare
            ),
            _ALONE: Command(argv=lambda number: words(second, alone / f"{number}"), environ=setting.environ),
        },
        rounds=_QUICK_ROUNDS if setting.is_quick else _ROUNDS,
    )
    return (
        *(timed(FIGURE, name, timing) for name, timing in timings.items()),
        ratio(FIGURE, "beside another over alone", timings[_SECOND].over(timings[_ALONE]), limit=OVER_FIRST_MAX),
        Row(figure=FIGURE, what=f"disk, {_ALONE}", value=_own_mib(alone / "0"), unit="MiB"),
        Row(figure=FIGURE, what=f"disk, {_SECOND}", value=_own_mib(beside / "0"), unit="MiB", limit=DISK_MAX_MIB),
    )


def _own_mib(home: Path) -> float:
    """Return what the image that was unpacked last takes of the disk alone."""
    newest = max(home.glob("rootfs/*/*"), key=lambda path: (path / "unpacked.json").stat().st_mtime_ns)
    others = [path for path in home.glob("rootfs/*/*") if path != newest]
    shared = {inode for path in others for inode in _blocks(path)}
    return sum(blocks for inode, blocks in _blocks(newest).items() if inode not in shared) * _BLOCK / _MIB


def _blocks(directory: Path) -> dict[int, int]:
    """Return the blocks of everything below ``directory``, by inode number."""
    return {state.st_ino: state.st_blocks for state in (path.lstat() for path in directory.rglob("*"))}
