"""Owns the directories below ``TRUST_HOME``: made private, written whole, put in place at once, removed safely.

Descriptors are used throughout; what a container left behind may have any shape, depth and permissions.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from trust.errors import StateError

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def make_private_directory(path: Path) -> Path:
    """Have the directory ``path`` that only its owner may enter; return it.

    Images bring programs that run as root for whoever starts them: no other user of the machine may reach them
    (CVE-2021-41091).

    Raises:
        OSError: it cannot be made, or belongs to somebody else.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != 0o700:  # noqa: PLR2004 - rwx------
        path.chmod(0o700)
    return path


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Have ``document`` as JSON at ``path``, whole or not at all, readable to its owner alone.

    A power cut may leave an empty file: what it is the record of has ended then too.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with open(partial, "w", encoding="utf-8", opener=_private) as file:
        file.write(json.dumps(document))  # json.dump writes piece by piece, in five times the time
    partial.replace(path)


def read_document(path: Path) -> dict[str, Any] | None:
    """Return the JSON object at ``path``; None where there is no such file, or an empty one.

    Raises:
        StateError: it is there and is no such thing.
    """
    try:
        content = path.read_bytes()
        document = json.loads(content) if content else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as err:
        raise StateError(f"record {path} cannot be read: {err}") from err
    if document is not None and not isinstance(document, dict):
        raise StateError(f"record {path} is damaged: expected a JSON object")
    return document


def sync_file_system(path: Path) -> None:
    """Have everything on the file system of ``path`` on its disk, as one call and not one for each file."""
    fd = os.open(path, DIRECTORY_FLAGS)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(fd)


def remove_tree(path: Path) -> None:
    """Have nothing at ``path``; links in it are removed and never followed.

    Directories are moved up before they are emptied: a tree of any depth costs neither stack nor descriptors.

    Raises:
        OSError: something in it cannot be removed.
    """
    try:
        top = os.open(path, DIRECTORY_FLAGS)
    except FileNotFoundError:
        return
    try:
        os.fchmod(top, 0o700)
        counter = 0
        while names := os.listdir(top):  # noqa: PTH208 - a descriptor is no path
            for name in names:
                counter = _remove(top, name, counter)
    finally:
        os.close(top)
    path.rmdir()


def _remove(top: int, name: str, counter: int) -> int:
    """Remove ``name`` from ``top``; directories in it are moved to ``top`` under numbers above ``counter``."""
    try:
        os.unlink(name, dir_fd=top)
    except (IsADirectoryError, PermissionError):
        pass
    else:
        return counter
    _open_up(top, name)
    inner = os.open(name, DIRECTORY_FLAGS, dir_fd=top)
    try:
        with os.scandir(inner) as found:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        for child, is_directory in entries:
            if not is_directory:
                os.unlink(child, dir_fd=inner)
                continue
            _open_up(inner, child)  # to move a directory is to write to it
            counter = _move_up(inner, child, top, counter)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)
    return counter


def _move_up(inner: int, child: str, top: int, counter: int) -> int:
    while True:
        counter += 1
        try:
            os.rename(child, f".{counter}", src_dir_fd=inner, dst_dir_fd=top)
        except (FileExistsError, NotADirectoryError):
            continue  # the tree has such a name itself
        except OSError as err:
            if err.errno != errno.ENOTEMPTY:
                raise
            continue
        return counter


def _open_up(parent: int, name: str) -> None:
    """Let the owner into the directory ``name``; a link, which chmod would follow, is left alone."""
    with suppress(PermissionError):
        if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.chmod(name, 0o700, dir_fd=parent)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)
