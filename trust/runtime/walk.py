"""Owns the way to a path inside a root: with directory descriptors, one component at a time.

Symbolic links are followed as the container would see them: an absolute one begins at the root, ``..`` ends
there. No path string longer than one component is ever given to the kernel, and every step refuses links, so that
nothing leads out of the root, whatever an archive or a container has put there.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from trust.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Self

LINKS_MAX = 40  # the kernel's own
DEPTH_MAX = 256

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Make = Callable[[int, bytes, tuple[bytes, ...]], None]


class Directory:
    """An open directory inside a root; ``path`` is where it really lies. A context manager that closes it."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._steps: list[tuple[bytes, int]] = []

    @property
    def fd(self) -> int:
        """Its descriptor; the root's own where no step was taken."""
        return self._steps[-1][1] if self._steps else self._root_fd

    @property
    def path(self) -> tuple[bytes, ...]:
        """The components from the root to it, none of them a link."""
        return tuple(name for name, _ in self._steps)

    def enter(self, name: bytes) -> None:
        """Go to the directory ``name`` in this one.

        Raises:
            OSError: there is none, or it is no directory.
        """
        if len(self._steps) >= DEPTH_MAX:
            raise InputError(f"path is too deep: expected at most {DEPTH_MAX} levels")
        self._steps.append((name, os.open(name, _DIRECTORY, dir_fd=self.fd)))

    def leave(self) -> None:
        """Go one level up; at the root, stay."""
        if self._steps:
            os.close(self._steps.pop()[1])

    def trim(self, parts: Sequence[bytes]) -> int:
        """Go up until the way to it is the beginning of ``parts``; return how many of these it has."""
        same = 0
        for (name, _), part in zip(self._steps, parts, strict=False):
            if name != part:
                break
            same += 1
        while len(self._steps) > same:
            self.leave()
        return same

    def close(self) -> None:
        """Go to the root; its descriptor stays open, it belongs to the root."""
        while self._steps:
            self.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Root:
    """A directory that stands for ``/``, by its path or a descriptor; a context manager that closes it."""

    def __init__(self, where: Path | int) -> None:
        self.fd = os.open(where, _DIRECTORY) if isinstance(where, Path) else os.open(".", _DIRECTORY, dir_fd=where)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)

    def directory(
        self, parts: Sequence[bytes], *, make: Make | None = None, near: Directory | None = None
    ) -> Directory:
        """Return the directory at ``parts``, links followed inside the root.

        ``make`` is asked to create what is missing, as (descriptor of the parent, name, path of the new one).
        ``near`` is taken over: an open directory, still where it was found, from which the way begins as far as
        both ways are the same.

        Raises:
            FileNotFoundError: something is missing, and there is no ``make``.
            InputError: something on the way is no directory, or the links go in a circle.
        """
        place = near or Directory(self.fd)
        try:
            self._descend(place, list(reversed(parts[place.trim(parts) :])), make)
        except BaseException:
            place.close()
            raise
        return place

    def _descend(self, place: Directory, pending: list[bytes], make: Make | None) -> None:
        links = 0
        while pending:
            name = pending.pop()
            if name == b"..":
                place.leave()
            elif name not in (b"", b"."):
                target = self._step(place, name, make)
                if target is None:
                    continue
                links += 1
                if links > LINKS_MAX:
                    raise InputError(f"path goes through more than {LINKS_MAX} links: got {name[:80]!r}")
                if target.startswith(b"/"):
                    place.close()
                pending.extend(reversed(target.split(b"/")))

    def _step(self, place: Directory, name: bytes, make: Make | None) -> bytes | None:
        """Enter ``name``; where it is a link, return its target instead."""
        try:
            place.enter(name)
        except FileNotFoundError:
            if make is None:
                raise
            make(place.fd, name, (*place.path, name))
            place.enter(name)
        except OSError as err:
            if err.errno == errno.ENAMETOOLONG:  # of a link's target: names of entries are checked before
                raise InputError(f"path goes through a name that no file can have: {name[:80]!r}") from err
            if err.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise
            try:
                return os.readlink(name, dir_fd=place.fd)
            except OSError as not_a_link:
                raise InputError(f"path goes through what is no directory: {name[:80]!r}") from not_a_link
        return None

    def exact(self, parts: Sequence[bytes]) -> Directory | None:
        """Return the directory at ``parts``; None where it is missing or a link stands anywhere on the way."""
        place = Directory(self.fd)
        try:
            for name in parts:
                place.enter(name)
        except OSError:
            place.close()
            return None
        return place

    def read(self, parts: Sequence[bytes], *, max_bytes: int) -> bytes | None:
        """Return the content of the regular file at ``parts``, links followed inside the root; None without one.

        Raises:
            InputError: longer than ``max_bytes``, or the links go in a circle.
        """
        parts = list(parts)
        for _ in range(LINKS_MAX):
            if not parts or parts[-1] in (b"", b".", b".."):
                return None  # a directory, and perhaps not one of the root's
            try:
                with self.directory(parts[:-1]) as place:
                    try:
                        return _content(os.open(parts[-1], _FILE, dir_fd=place.fd), max_bytes)
                    except OSError as err:
                        if err.errno != errno.ELOOP:
                            return None
                    target = os.readlink(parts[-1], dir_fd=place.fd)
                    parts = target.split(b"/") if target.startswith(b"/") else [*place.path, *target.split(b"/")]
            except FileNotFoundError:
                return None
        raise InputError(f"path goes through more than {LINKS_MAX} links: got {parts[-1][:80]!r}")


def _content(fd: int, max_bytes: int) -> bytes | None:
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise InputError(f"file of the image is too large: expected at most {max_bytes} bytes")
    return content
