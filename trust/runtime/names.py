"""Owns the names of containers: ``names/NAME`` links to the identity of who bears it.

Making that link claims the name, and replacing it, which the kernel does at once or not at all, hands it over: a
container that does not bear its own name is one on trial, one replaced, or one whose maker was killed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from trust.errors import InputError
from trust.runtime.disk import make_private_directory, read_document
from trust.runtime.locks import RECORD, locked

NAMES = "names"


def bearer(containers: Path, name: str) -> str | None:
    """Return the identity of the container that bears ``name``; None where none does."""
    try:
        return (containers / NAMES / name).readlink().name
    except (FileNotFoundError, OSError):
        return None


def bearers(containers: Path) -> frozenset[str]:
    """Return the identities of all that bear a name; a name that comes or goes meanwhile hides no other."""
    try:
        names = os.listdir(containers / NAMES)  # noqa: PTH208 - whole, since links come and go
    except FileNotFoundError:
        return frozenset()
    found = (bearer(containers, name) for name in names if not name.startswith("."))
    return frozenset(identity for identity in found if identity is not None)


def clear_names(containers: Path) -> None:
    """Have no name that was being handed over by somebody who was killed."""
    with suppress(FileNotFoundError), locked(containers / NAMES, wait=True):
        for name in os.listdir(containers / NAMES):  # noqa: PTH208
            if name.startswith("."):
                (containers / NAMES / name).unlink(missing_ok=True)


def bears_its_name(directory: Path) -> bool:
    """Tell whether the container in ``directory`` bears the name that its record says."""
    document = read_document(directory / RECORD)
    return document is not None and bearer(directory.parent, str(document.get("name"))) == directory.name


def claim(containers: Path, name: str, identity: str) -> None:
    """Have ``name`` lead to ``identity``.

    Raises:
        InputError: it is taken.
    """
    link = make_private_directory(containers / NAMES) / name
    with locked(containers / NAMES, wait=True):
        with suppress(FileNotFoundError):
            if not (containers / link.readlink().name / RECORD).exists():
                link.unlink()  # its owner died while it was made or removed
        try:
            link.symlink_to(f"../{identity}")
        except FileExistsError as err:
            raise InputError(f"container name is taken: {name}", hint=f"trust rm {name}") from err


def hand_over(containers: Path, name: str, *, old: str, new: str) -> bool:
    """Have ``name`` lead to ``new`` where it led to ``old``; tell whether it did."""
    with locked(containers / NAMES, wait=True):
        if bearer(containers, name) != old:
            return False
        partial = containers / NAMES / f".{new}"
        with suppress(FileNotFoundError):
            partial.unlink()
        partial.symlink_to(f"../{new}")
        partial.rename(containers / NAMES / name)
        return True


def release(containers: Path, name: str, identity: str) -> None:
    """Have ``name`` free, if it is that of ``identity``."""
    with suppress(FileNotFoundError):
        if bearer(containers, name) == identity:
            (containers / NAMES / name).unlink()
