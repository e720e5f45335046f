"""Owns the look-up of whether a signed tag still names a manifest, an index that it is in, or what it attests.

A child of an index is current as long as the index is: its own target names the indexes, and each of those has a
target of its own, in the same repository, that names its tags. Pure: no IO.
"""

from __future__ import annotations

from collections.abc import Callable

from trust.digest import Digest
from trust.errors import LimitError
from trust.targets import Target, digest_path

HOLDERS_MAX = 64  # above one manifest; a signed circle would not end, and each is a look-up


def is_named(find: Callable[[str], Target | None], path: str, target: Target) -> bool:
    """Tell whether a tag names ``target`` of the repository ``path``, or what it belongs to.

    ``find`` returns a signed target by its path. What it cannot tell of, it raises for: that is no "yes".

    Raises:
        LimitError: it belongs to more than ``HOLDERS_MAX`` others, none of the first of which has a tag.
    """
    pending, seen = [target], {target.digest}
    while pending:
        one = pending.pop()
        if one.tags:
            return True
        for digest in _holders(one):
            if digest in seen:
                continue
            if len(seen) > HOLDERS_MAX:
                raise LimitError(f"{target.digest} is in more than {HOLDERS_MAX} others: no tag was found by then")
            seen.add(digest)
            holder = find(digest_path(path, digest))
            if holder is not None and holder.digest == digest:
                pending.append(holder)
    return False


def _holders(target: Target) -> tuple[Digest, ...]:
    return target.inside if target.attests is None else (*target.inside, target.attests.subject)
