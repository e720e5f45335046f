"""Owns the look-up of what is signed about a manifest, and about the indexes that it is in. Pure: no IO."""

from __future__ import annotations

from collections.abc import Callable

from trust.digest import Digest
from trust.targets import Attestations, Target, digest_path

INDEXES_MAX = 64  # above one manifest; a signed circle would not end, and each is a look-up


def attestations_of(find: Callable[[str], Target | None], path: str, digest: Digest) -> Attestations:
    """Return the attestations, by type, of ``digest`` in the repository ``path`` and of every index that holds it.

    An attestation of an index speaks of its children as well: they are its content. It is not so the other way
    round: what is said of one platform says nothing of the others. ``find`` returns a signed target by its path.
    """
    found: dict[str, set[Digest]] = {}
    pending, seen = [digest], {digest}
    while pending:
        holder = find(digest_path(path, pending.pop()))
        if holder is None:
            continue
        for kind, digests in holder.attestations.items():
            found.setdefault(kind, set()).update(digests)
        above = [index for index in holder.inside if index not in seen][: INDEXES_MAX - len(seen)]
        seen.update(above)
        pending += above
    return {kind: tuple(sorted(digests)) for kind, digests in sorted(found.items())}
