"""Owns the policy that the shim stands by: read whole, noticed when it changes, kept when the next is wrong."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trust.policy import Policy
from trust.policy_files import policy_of, read_texts

Stamp = tuple[tuple[str, int, int, int], ...]  # path, inode, moment of change, size


class PolicyWatch:
    """The policy in the files that ``find`` names, asked anew each time.

    ``policy`` and ``texts``, the same with its sources, change only by ``read``.

    Raises:
        InputError: there is no right policy to begin with.
    """

    def __init__(self, find: Callable[[], list[Path]]) -> None:
        self._find = find
        self._files: list[Path] = []
        self._stamp: Stamp = ()
        self.texts: list[tuple[str, str]] = []
        self.policy = Policy()
        self.read()

    @property
    def has_changed(self) -> bool:
        """Tell whether a file was changed, added or taken away since the last ``read``, right or wrong."""
        return _stamp(self._files) != self._stamp

    def touch(self) -> None:
        """Take it for changed."""
        self._stamp = ()

    def read(self) -> None:
        """Take the policy as it stands in its files now.

        Raises:
            InputError: it is wrong; the former one stays, until a file changes again.
        """
        self._stamp = _stamp(self._files)
        files = self._find()
        stamp = _stamp(files)  # before it is read: what changes meanwhile is read again
        texts = read_texts(files)
        self.policy = policy_of(texts)
        self.texts, self._files, self._stamp = texts, files, stamp


def _stamp(files: list[Path]) -> Stamp:
    """Return what changes when one of ``files`` or their directory of further ones does."""
    found: list[tuple[str, int, int, int]] = []
    for path in files:
        beside = path.parent if path.parent.name == "policy.d" else path.with_name("policy.d")
        for each in (path, beside):
            with suppress(OSError):
                status = each.stat()
                found.append((str(each), status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(found)
