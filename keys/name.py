"""Owns the names of keys: checked once, before they become a path."""

from __future__ import annotations

import re

from keys.errors import KeyInputError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def is_name(untrusted_name: str) -> bool:
    """Tell whether ``untrusted_name`` is 1 to 64 of ``a-z0-9._-``, first a letter or digit, without ``..``."""
    return _NAME.fullmatch(untrusted_name) is not None and ".." not in untrusted_name


def check_name(untrusted_name: str) -> str:
    """Return ``untrusted_name``, now known to be safe as a file's name.

    Raises:
        KeyInputError: not a name.
    """
    if not is_name(untrusted_name):
        raise KeyInputError(
            "not a key name: expected 1 to 64 of a-z, 0-9, '.', '_', '-', first a letter or digit, without '..', "
            f"got {untrusted_name[:80]!r}"
        )
    return untrusted_name
