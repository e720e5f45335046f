"""Reading a hashed lock: which entries it has, and a part of it by name. Pure."""

import re
from collections.abc import Iterable

_NAME = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==")


def entries(lock: str) -> list[tuple[str, str]]:
    """Each requirement of ``lock`` as its name and its whole text, hashes and continuation lines included.

    Raises:
        ValueError: a line is neither a pinned, hashed requirement nor a comment.
    """
    found: list[tuple[str, str]] = []
    for block in lock.replace("\\\n", "\0").splitlines():
        if not block.strip() or block.startswith("#"):
            continue
        name = _NAME.match(block)
        if name is None or "--hash=sha256:" not in block:
            raise ValueError(f"lock entry: expected NAME==VERSION with hashes, got {block[:80]!r}")
        found.append((name[1].lower(), block.replace("\0", "\\\n") + "\n"))
    return found


def only(lock: str, names: Iterable[str]) -> str:
    """The entries of ``lock`` for ``names``, hashes and all; a lock in its own right.

    Raises:
        ValueError: the lock has none for one of them.
    """
    by_name: dict[str, str] = {}
    for name, text in entries(lock):
        by_name[name] = by_name.get(name, "") + text
    missing = sorted(set(names) - by_name.keys())
    if missing:
        raise ValueError(f"lock: expected entries for {', '.join(missing)}, got none")
    return "".join(by_name[name] for name in names)
