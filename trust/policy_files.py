"""Owns where the policy stands on this machine, and the reading of it; the same for every gate.

The policy is ``policy.toml`` and the files of ``policy.d`` beside it. Without an explicit path it is the user's,
else the system's; the two are never joined. What is there and cannot be read is an error: a deny list that
vanishes would fall open.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from trust.errors import InputError
from trust.policy import Policy
from trust.policy_document import POLICY_MAX_BYTES, join_policies, parse_policy

SYSTEM_POLICY = Path("/etc/trust/policy.toml")


def policy_files(path: Path, *, is_explicit: bool) -> list[Path]:
    """Return the files that make up the policy at ``path``, in the order they are read.

    Where ``path`` is only the default and has none, the system's policy is returned; maybe none at all.

    Raises:
        InputError: an explicit policy is not there, or nobody can tell what is.
    """
    for candidate in [path] if is_explicit else [path, SYSTEM_POLICY]:
        found = [candidate] if _is_there(candidate) else []
        found += _files_of(candidate.parent / "policy.d")
        if found:
            return found
    if is_explicit:
        raise InputError(f"policy file is missing: {path}", hint="trust policy init makes one")
    return []


def _is_there(path: Path) -> bool:
    """Tell whether something has this name, be it a link to nothing."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as err:
        raise _unreadable(path, err) from err
    return True


def _files_of(directory: Path) -> list[Path]:
    """Return the files of a ``policy.d``, sorted; none where there is no such directory.

    Raises:
        InputError: it cannot be listed, or what has the name of a policy is no file.
    """
    if not _is_there(directory):
        return []
    found = []
    try:
        for path in sorted(each for each in directory.iterdir() if each.name.endswith(".toml")):
            if not stat.S_ISREG(path.stat().st_mode):
                raise InputError(
                    f"policy {path} is no file", hint="move it away: what it was to deny is not known"
                )
            found.append(path)
    except OSError as err:
        raise _unreadable(directory, err) from err
    return found


def _unreadable(path: Path, err: OSError) -> InputError:
    return InputError(
        f"policy {path} cannot be read: {err}", hint="whoever decides by it must be able to read all of it"
    )


def read_policy(files: Iterable[Path]) -> Policy:
    """Return the one policy that ``files`` spell.

    Raises:
        InputError: a file cannot be read or is wrong, or two speak of the same collection.
    """
    return policy_of(read_texts(files))


def read_texts(files: Iterable[Path]) -> list[tuple[str, str]]:
    """Return the name and the text of each file, for processes that must all judge by the same.

    Raises:
        InputError: a file cannot be read.
    """
    return [(str(path), _text(path)) for path in files]


def policy_of(texts: Iterable[tuple[str, str]]) -> Policy:
    """Return the one policy that ``texts``, each with the name of its source, spell.

    Raises:
        InputError: one is wrong, or two speak of the same collection.
    """
    return join_policies((source, parse_policy(text, source=source)) for source, text in texts)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(POLICY_MAX_BYTES + 1)
        if len(data) > POLICY_MAX_BYTES:  # its beginning alone could have lost what it denies
            raise InputError(f"policy {path} is too large: expected at most {POLICY_MAX_BYTES} bytes")
        return data.decode("utf-8")  # TOML has its own word on ends of lines
    except (OSError, UnicodeDecodeError) as err:
        raise InputError(f"policy {path} cannot be read: {err}") from err
