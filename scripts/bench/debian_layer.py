"""Owns a layer as Debian images have them, made of the packages that set-up unpacked: the same bytes each time.

Thousands of small files and a few large ones, links, directories.
"""

from __future__ import annotations

import io
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path

from scripts.bench.setting import CHECKOUT, BenchError

LAYER_BYTES = 180_000_000
_FILE_MAX_BYTES = 6_000_000  # beyond are the programs of the lab, which no base image has
_ROOT = CHECKOUT / ".lab/root"
_MTIME = 1_700_000_000
GZIP_LEVEL = 6  # what builders take


def debian_layer() -> bytes:
    """Return the archive.

    Raises:
        BenchError: set-up has not unpacked enough.
    """
    out = io.BytesIO()
    left = LAYER_BYTES
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in _found(_ROOT):
            state = path.lstat()
            if stat.S_ISREG(state.st_mode) and not 0 <= state.st_size <= min(_FILE_MAX_BYTES, left):
                continue
            entry = archive.gettarinfo(str(path), str(path.relative_to(_ROOT)))
            entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = _MTIME, 0, 0, "", ""
            if entry.isreg():
                left -= entry.size
                archive.addfile(entry, io.BytesIO(path.read_bytes()))
            else:
                archive.addfile(entry)
    if left > LAYER_BYTES // 20:
        raise BenchError(
            f"packages make {LAYER_BYTES - left} bytes, expected {LAYER_BYTES}: scripts/setup --for bench"
        )
    return out.getvalue()


def _found(directory: Path) -> Iterator[Path]:
    """Yield what is below ``directory``, sorted, a directory before what is in it; set-up's record is left out."""
    for path in sorted(directory.iterdir()):
        if path == _ROOT / "unpacked.json":
            continue
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _found(path)
