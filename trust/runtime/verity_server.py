"""Owns the program that serves one image file to the kernel, each block checked against a hash tree as it is read.

    python -m trust.runtime.verity_server FUSE IMAGE TREE BLOCKS ROOT SALT

The first three are open descriptors. It exits 3 if the tree has another root; else it leaves a process that
serves, and exits 0. A block that is not what was recorded is an input/output error, and so is everything once that
process was killed. It ends by itself when the kernel has no more use for the file. The file system is one file,
its root: there is no name to look up. Standard library only. Source: Linux ``include/uapi/linux/fuse.h``.
"""

from __future__ import annotations

import errno
import os
import struct
import sys
from collections.abc import Callable

from trust.runtime.merkle import BLOCK, is_block, leaf_hashes

_GETATTR, _OPEN, _READ, _RELEASE, _FLUSH, _INIT, _DESTROY = 3, 14, 15, 18, 25, 26, 38
_FORGET, _INTERRUPT, _BATCH_FORGET = 2, 36, 42  # these take no answer
_HEADER = struct.Struct("=IIQQIIIHH")
_ANSWER = struct.Struct("=IiQ")
_INIT_IN = struct.Struct("=IIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHHIIH22x")
_ATTRIBUTES = struct.Struct("=QII QQQQQQIII IIIIIII")
_OPENED = struct.Struct("=QIi")
_READ_IN = struct.Struct("=QQI")
_MAJOR, _MINOR = 7, 31
_ASYNC_READ, _MAX_PAGES = 1, 1 << 22
_PAGES = 256
_KEEP_CACHE = 2
_MODE = 0o100400
_VALID_SECONDS = 3600
_REQUEST_BYTES = 256 * 1024  # the least that the kernel takes is 8 KiB; nobody writes here


class VerifiedFile:
    """An image file of which only what was recorded can be read."""

    def __init__(self, image: int, *, blocks: int, leaves: bytes, salt: bytes) -> None:
        self._image = image
        self._leaves = leaves
        self._salt = salt
        self.size = blocks * BLOCK

    def read(self, offset: int, size: int) -> bytes:
        """Return the bytes there, none behind the end.

        Raises:
            OSError: EIO; a block of them is not what was recorded.
        """
        begin, end = offset // BLOCK * BLOCK, min(-(-(offset + size) // BLOCK) * BLOCK, self.size)
        data = os.pread(self._image, max(end - begin, 0), begin)
        for at in range(0, max(end - begin, 0), BLOCK):
            number = (begin + at) // BLOCK
            if not is_block(data[at : at + BLOCK], number, leaves=self._leaves, salt=self._salt):
                raise OSError(errno.EIO, f"block {number} is not what was recorded")
        return data[offset - begin : offset - begin + size]


def serve(fuse: int, file: VerifiedFile) -> None:
    """Answer the kernel until it has no more use for the file."""
    answers = _answers(file)
    while True:
        try:
            request = os.read(fuse, _REQUEST_BYTES)
        except InterruptedError:
            continue
        except OSError as err:
            if err.errno == errno.ENOENT:  # the request was taken back
                continue
            return  # ENODEV: it is mounted nowhere any more
        _, operation, unique, *_ = _HEADER.unpack_from(request)
        if operation in (_FORGET, _INTERRUPT, _BATCH_FORGET):
            continue
        number, answer = 0, b""
        try:
            answer = answers[operation](request[_HEADER.size :])
        except KeyError:
            number = errno.ENOSYS
        except OSError as err:
            number = err.errno or errno.EIO
        try:
            os.writev(fuse, [_ANSWER.pack(_ANSWER.size + len(answer), -number, unique), answer])
        except FileNotFoundError:
            continue
        except OSError:
            return


def _answers(file: VerifiedFile) -> dict[int, Callable[[bytes], bytes]]:
    def read(request: bytes) -> bytes:
        _, offset, size = _READ_IN.unpack_from(request)
        return file.read(offset, size)

    attributes = _ATTRIBUTES.pack(
        _VALID_SECONDS, 0, 0, 1, file.size, file.size // 512, 0, 0, 0, 0, 0, 0, _MODE, 1, 0, 0, 0, BLOCK, 0
    )
    return {
        _INIT: _init,
        _GETATTR: lambda _: attributes,
        _OPEN: lambda _: _OPENED.pack(1, _KEEP_CACHE, 0),
        _READ: read,
        _RELEASE: lambda _: b"",
        _FLUSH: lambda _: b"",
        _DESTROY: lambda _: b"",
    }


def _init(request: bytes) -> bytes:
    _, minor, read_ahead, flags = _INIT_IN.unpack_from(request)
    return _INIT_OUT.pack(
        _MAJOR, min(minor, _MINOR), read_ahead, flags & (_ASYNC_READ | _MAX_PAGES),
        16, 12, BLOCK, 1, _PAGES, 0, 0, 0, 0,
    )  # fmt: skip


def main(arguments: list[str]) -> int:
    """Serve as the module says; return the exit status."""
    fuse, image, tree, blocks = map(int, arguments[:4])
    root, salt = map(bytes.fromhex, arguments[4:])
    recorded = os.pread(tree, os.fstat(tree).st_size, 0)
    try:
        leaves = leaf_hashes(recorded, blocks=blocks, salt=salt, root=root)
    except ValueError:
        return 3
    if os.fork():
        return 0
    serve(fuse, VerifiedFile(image, blocks=blocks, leaves=leaves, salt=salt))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
