"""Owns the rule that no key serves two collections: metadata of two that share one could be swapped."""

from __future__ import annotations

from collections.abc import Mapping

from trust.digest import Digest
from trust.errors import InputError
from trust.metadata import parse_metadata
from trust.state import TrustedState


def require_unshared(
    state: TrustedState, wanted: Mapping[str, str], name: str, *, own: Digest | None = None
) -> None:
    """Refuse keys (``wanted``: role by key id) that another collection known here has in its root.

    ``own`` is the pin of the collection itself, where it exists already.

    Raises:
        InputError: a key is shared.
    """
    for pin, (other, body) in state.newest_roots().items():
        shared = sorted(wanted.keys() & set(parse_metadata(body, "root").signed.keys))
        if shared and pin != str(own):
            raise InputError(
                f"key {shared[0][:12]} for {wanted[shared[0]]} of {name} belongs to collection {other} ({pin})",
                hint="give each collection keys of its own: leave --key out and new ones are made",
            )
