"""Figure ``unpack``: a layer of Debian, 180 MB of seven thousand files, from its blob to a tree.

Ours is a whole process that does what ``trust run`` does: hashes the blob, inflates, hashes the content, writes
the tree and takes its inventory. Beside it, on the same blob: GNU tar with ``sha256sum`` of blob and content, the
two digests that an image names, at the same time; GNU tar with that of the blob alone, which leaves the content
unchecked, for comparison; and ``umoci unpack``. Neither tar takes an inventory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scripts.bench.debian_layer import GZIP_LEVEL, debian_layer
from scripts.bench.layout import write_layout
from scripts.bench.measure import Command, side_by_side
from scripts.bench.result import Row, ratio, timed
from scripts.bench.setting import Setting, component

FIGURE = "unpack"
OVER_TAR_MAX = 1.0
OVER_UMOCI_MAX = 1.0
_ROUNDS, _QUICK_ROUNDS = 11, 5
_OURS, _UMOCI = "trust unpack", "umoci unpack"
_TAR, _TAR_OF_BLOB = "tar, sha256sum of blob and content", "tar, sha256sum of blob alone"
_TAR_SCRIPT = (
    'mkfifo "$2/.content"; sha256sum "$1" & sha256sum "$2/.content" & '
    'gzip -dc "$1" | tee "$2/.content" | tar -xf - -C "$2"; wait'
)
_TAR_OF_BLOB_SCRIPT = 'sha256sum "$1" & tar -xzf "$1" -C "$2"; wait'


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something could not be started, or failed.
    """
    layout = setting.directory / f"{FIGURE}.layout"
    write_layout(layout, [debian_layer()], gzip_level=GZIP_LEVEL)
    blob = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    umoci = component("umoci")
    timings = side_by_side(
        {
            _OURS: _into(
                setting, "trust", lambda to: (setting.python, "-m", "scripts.bench.unpack_once", str(layout), to)
            ),
            _TAR: _into(setting, "tar", lambda to: ("/bin/sh", "-c", _TAR_SCRIPT, "sh", str(blob), to)),
            _TAR_OF_BLOB: _into(
                setting, "blob", lambda to: ("/bin/sh", "-c", _TAR_OF_BLOB_SCRIPT, "sh", str(blob), to)
            ),
            _UMOCI: _into(
                setting, "umoci", lambda to: (umoci, "unpack", "--image", f"{layout}:v0", f"{to}/bundle")
            ),
        },
        rounds=_QUICK_ROUNDS if setting.is_quick else _ROUNDS,
    )
    ours = timings[_OURS]
    return (
        *(timed(FIGURE, name, timing) for name, timing in timings.items()),
        ratio(FIGURE, f"{_OURS} over {_TAR}", ours.over(timings[_TAR]), limit=OVER_TAR_MAX),
        ratio(FIGURE, f"{_OURS} over {_TAR_OF_BLOB}", ours.over(timings[_TAR_OF_BLOB])),
        ratio(FIGURE, f"{_OURS} over {_UMOCI}", ours.over(timings[_UMOCI]), limit=OVER_UMOCI_MAX),
    )


def _into(setting: Setting, name: str, words: Callable[[str], Sequence[str]]) -> Command:
    """Return the command that unpacks into a directory which is new each time.

    None is removed before the end: for a minute ext4 looks at every inode that was given up before it takes one.
    """
    parent = setting.fresh(f"{FIGURE}.{name}")

    def prepare(number: int) -> None:
        (parent / f"{number}").mkdir()

    return Command(argv=lambda number: words(str(parent / f"{number}")), environ=setting.environ, prepare=prepare)
