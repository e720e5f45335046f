"""Owns how much of the snapshot a delegate may take: every consumer reads it whole, and refuses one above its cap.

A name that is in a snapshot stays there for ever. So a change that only delegates have made adds no names

  1. where these and all that stand below the same delegate of ``targets`` take more than ``SHARE_MAX_BYTES``
  2. where the snapshot is half full: names that are delegated by nobody any more are counted there

Who signs ``targets`` may add what he likes, and has the other half.
"""

from __future__ import annotations

from collections.abc import Mapping

from trust.delegations import TARGETS, VISITED_MAX
from trust.errors import RefusedError
from trust.loaded import Loaded
from trust.metadata import SNAPSHOT_MAX_BYTES
from trust.pending import Pending, is_bin_name
from trust.verdict import Reason

SHARE_MAX_BYTES = SNAPSHOT_MAX_BYTES // 8  # 1,500 roles, or 5,000 bins: eight delegates fill it, and not one
FULL_BYTES = SNAPSHOT_MAX_BYTES // 2
_ROLE_BYTES, _BIN_BYTES = 128, 28  # of an entry beside the name: version, length and hash, or the version alone


def require_share(loaded: Loaded, pending: Pending) -> None:
    """Refuse a change by delegates whose new names take too much of the snapshot.

    Raises:
        RefusedError: they do.
    """
    meta = loaded.top.snapshot.signed.meta
    above = {role.name: role.delegator for role in pending.roles}
    new = [name for name in above if name != "root" and f"{name}.json" not in meta]
    if not new or above.keys() & {"root", TARGETS}:
        return
    total = sum(_cost(name.removesuffix(".json")) for name in meta) + sum(map(_cost, new))
    if total > FULL_BYTES:
        raise _refused(f"the snapshot would have {total} bytes: expected at most {FULL_BYTES}", len(new))
    contents = pending.contents()
    for top in dict.fromkeys(_top(loaded, name, above) for name in new):
        taken = 0
        for name in loaded.names_below(top, contents):
            taken += _cost(name)
            if taken > SHARE_MAX_BYTES:
                raise _refused(
                    f"role {top} and those below it would take more than {SHARE_MAX_BYTES} bytes of the snapshot",
                    len(new),
                )


def _top(loaded: Loaded, name: str, above: Mapping[str, str]) -> str:
    """Return the delegate of ``targets`` below which ``name`` stands."""
    for _ in range(VISITED_MAX):
        delegator = above.get(name) or loaded.delegator_of(name)
        if delegator in {TARGETS, "root"}:
            break
        name = delegator
    return name


def _cost(name: str) -> int:
    return len(name) + (_BIN_BYTES if is_bin_name(name) else _ROLE_BYTES)


def _refused(cause: str, count: int) -> RefusedError:
    return RefusedError(
        f"a pending change adds {count} names and leaves too little room for others: {cause}",
        reason=Reason.LIMIT_REACHED.value,
        hint="who signs targets can delegate them; or trust reject drops it",
    )
