"""Owns the file that a command names: of the image, and never one of the kernel's.

``/proc/self/exe`` is the runtime's own binary on the host (CVE-2019-5736), ``/dev/fd/3`` a descriptor of it. A
name comes there by many spellings: ``//proc``, ``proc/self/exe`` with the working directory ``/``, a ``PATH``
of the image's, a link in its tree, the first line of a script. All are refused as far as the tree tells; what a
program does once it runs is the engine's to guard against.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable

from trust.errors import InputError
from trust.runtime.image import KERNEL_DIRECTORIES
from trust.runtime.walk import LINKS_MAX, Directory, Root

_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FIRST_LINE_MAX_BYTES = 256  # as much as the kernel reads
_FILES_MAX = 6  # five scripts, one the interpreter of the other, and a program: as many as it goes through
_SHELL = "/bin/sh"
_ELF = b"\x7fELF"
_INTERPRETER = re.compile(rb"#![ \t]*([^ \t\n\0]+)")
_KERNEL = frozenset(os.fsencode(name) for name in KERNEL_DIRECTORIES)


def require_own_command(root: Root, word: str, *, working_directory: str, search: str) -> None:
    """Return if ``word`` names no file of the kernel's, wherever along ``search`` (a ``PATH``) it is found.

    Raises:
        InputError: it does.
    """
    for path in _candidates(word, working_directory, search):
        if not _runs(root, path, word, working_directory):
            _runs(root, _SHELL, word, working_directory)


def _runs(root: Root, path: str, word: str, working_directory: str) -> bool:
    """Tell whether a program is at the end of ``path`` and its interpreters; else execvp(3) has the shell read it.

    Raises:
        InputError: a file of the kernel's is.
    """
    for _ in range(_FILES_MAX):
        head = _head(root, os.fsencode(path), word)
        interpreter = _interpreter(head)
        if interpreter is None:
            return head.startswith(_ELF)
        path = os.path.join(working_directory, interpreter)  # noqa: PTH118 - a path of the container's
    return False


def require_spelled_elsewhere(word: str, *, working_directory: str) -> None:
    """Return if ``word`` is not spelled as a file of the kernel's, where the tree cannot be looked into.

    Raises:
        InputError: it is.
    """
    first = os.path.normpath("/" + os.path.join(working_directory, word)).lstrip("/").split("/")[0]  # noqa: PTH118
    if "/" in word and first in KERNEL_DIRECTORIES:
        raise _refusal(word, first)


def _candidates(word: str, working_directory: str, search: str) -> Iterable[str]:
    places = [""] if "/" in word else search.split(":")
    return [os.path.join(working_directory, place, word) for place in places]  # noqa: PTH118 - the container's


def _head(root: Root, path: bytes, word: str) -> bytes:
    """Return the first bytes of the file at ``path``, links followed inside the root; nothing without one."""
    with Directory(root.fd) as place:
        pending, links = list(reversed(path.split(b"/"))), 0
        while pending and links <= LINKS_MAX:
            name = pending.pop()
            if name == b"..":
                place.leave()
            elif name not in (b"", b"."):
                if not place.path and name in _KERNEL:
                    raise _refusal(word, os.fsdecode(name))
                try:
                    place.enter(name)
                except OSError as err:
                    if err.errno not in (errno.ENOTDIR, errno.ELOOP):
                        return b""
                    target = _link(place.fd, name)
                    if target is None:
                        return b"" if pending else _first_bytes(place.fd, name)
                    links += 1
                    if target.startswith(b"/"):
                        place.close()
                    pending.extend(reversed(target.split(b"/")))
    return b""


def _link(directory: int, name: bytes) -> bytes | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        return None


def _first_bytes(directory: int, name: bytes) -> bytes:
    try:
        fd = os.open(name, _FILE, dir_fd=directory)
    except OSError:
        return b""
    try:
        return os.read(fd, _FIRST_LINE_MAX_BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _interpreter(head: bytes) -> str | None:
    """Return the program that the kernel runs for a script: up to a space, a tab or a NUL, and no other blank."""
    found = _INTERPRETER.match(head)
    return os.fsdecode(found[1]) if found is not None else None


def _refusal(word: str, directory: str) -> InputError:
    return InputError(f"command lies in /{directory}, where it is one of the host's: got {word[:80]!r}")
