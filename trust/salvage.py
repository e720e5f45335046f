"""Owns what is left of a collection whose online key was stolen: the roles that their own keys vouch for.

Whoever has the online key can name any version in snapshot and timestamp: 2^31-1, of a role that has no such
file. Nobody can read such a collection, its publisher neither. So snapshot and timestamp are not believed here,
only read for their names:

  1. a role is the version that the snapshot names, if it is there, signed by its own keys, not older than known
  2. else the newest one above what this home has published or verified that is there and signed by its own keys
  3. what a delegate has spoilt of his own stays, or is left out where it is nobody's: no other waits for it
  4. snapshot and timestamp count on from what was published from here: a rotation of their keys resets them
     for every consumer (TUF 1.0 §5.3.11)

The next change signs snapshot and timestamp anew; nothing of this is for consumers, who refuse until then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone

from tuf.api.metadata import Metadata, MetaFile, Snapshot, Timestamp

from trust.chain import ONLINE_ROLES
from trust.delegations import TARGETS
from trust.digest import sha256
from trust.errors import InputError, LimitError, RefusedError, TrustError, UnreachableError
from trust.floors import NOTHING
from trust.loaded import Loaded
from trust.loaded_role import LoadedRole, TopLevel, UnreadableRoleError
from trust.metadata import SNAPSHOT_MAX_BYTES, TIMESTAMP_MAX_BYTES, identity_of, parse_metadata
from trust.policy import Stanza
from trust.refresh import walk_roots
from trust.roles import VERSION_JUMP_MAX
from trust.stores.interface import TIMESTAMP, View
from trust.verdict import Reason

_LONG_AGO = datetime.min.replace(tzinfo=timezone.utc)


def salvage(stanza: Stanza, view: View, *, known: Mapping[str, int]) -> Loaded:
    """Return what ``view`` has of the collection, by the steps of this module; ``known`` are versions by role.

    Raises:
        InputError: nothing is known here: an old version could not be told from the current one.
        RefusedError: a role is not there in any version that its keys have signed.
    """
    if not {TARGETS, *ONLINE_ROLES} <= known.keys():
        raise InputError(
            "snapshot and timestamp cannot be believed, and nothing was published from here that could tell more",
            hint="run it where the collection was published from before",
        )
    roots = walk_roots(stanza, NOTHING, view)
    timestamp_bytes = view.read(TIMESTAMP, TIMESTAMP_MAX_BYTES)
    if timestamp_bytes is None:
        raise UnreachableError(f"metadata has no {TIMESTAMP}", hint="was the collection initialised there?")
    top = TopLevel(
        identity=identity_of(parse_metadata(roots.bodies[1], "root").signed),
        roots=roots,
        root=roots.newest,
        timestamp=Metadata(Timestamp(version=known["timestamp"], expires=_LONG_AGO)),
        timestamp_bytes=timestamp_bytes,
        snapshot=Metadata(Snapshot(version=known["snapshot"], expires=_LONG_AGO)),
        snapshot_bytes=b"",
    )
    loaded = Loaded(view, top)
    loaded.behind, loaded.is_salvaged = frozenset(ONLINE_ROLES), True
    untrusted = _untrusted_versions(view, timestamp_bytes)
    pending = deque([(TARGETS, "root")])
    top.snapshot.signed.meta.clear()  # python-tuf begins with a targets version 1
    while pending:
        name, delegator = pending.popleft()
        if f"{name}.json" in top.snapshot.signed.meta:
            continue
        versions = _versions(view, name, known.get(name, 1), untrusted.get(name))
        role = _found(loaded, name, delegator, versions, is_known=name in known)
        if role is not None:
            pending.extend((each, name) for each in role.content.delegations.names())
    return loaded


def _found(
    loaded: Loaded, name: str, delegator: str, versions: Iterator[int], *, is_known: bool
) -> LoadedRole | None:
    """Return the role of the first of ``versions`` that is there and signed, named in the snapshot as it is.

    None where a delegate is to blame, and loses nothing but his own: he delegates to nobody, or to another's role
    by keys that are not its own, or his says what nobody understands.
    """
    meta = loaded.top.snapshot.signed.meta
    cause: TrustError | None = None
    for version in versions:
        meta[f"{name}.json"] = MetaFile(version=version)
        try:
            _, body = loaded.signed(name, delegator)
        except (RefusedError, UnreachableError, LimitError) as err:
            cause = cause or err
            continue
        if "-" not in name:  # bins are named by their version alone; only their names have a hyphen
            meta[f"{name}.json"] = MetaFile(version, len(body), {"sha256": sha256(body).hex})
        try:
            return loaded.role(name, delegator)
        except UnreadableRoleError:
            if delegator == "root":
                raise
            return None
    del meta[f"{name}.json"]
    is_foreign = getattr(cause, "reason", None) == Reason.BELOW_THRESHOLD.value
    if delegator not in {"root", TARGETS} and (is_foreign or not is_known):
        return None
    raise RefusedError(
        f"role {name} is not there in any version that its keys have signed: {cause}",
        reason=getattr(cause, "reason", "tampered"),
        hint="bring its file from a mirror, or rebuild the store: trust publish --rebuild",
    ) from cause


def _versions(view: View, name: str, known: int, untrusted: int | None) -> Iterator[int]:
    """Yield the versions that a role may have, the likeliest first."""
    if untrusted is not None and untrusted >= known:
        yield untrusted
    last = known
    while last < known + VERSION_JUMP_MAX and view.taken(f"{last + 1}.{name}.json"):
        last += 1
    yield from range(last, known - 1, -1)


def _untrusted_versions(view: View, timestamp_bytes: bytes) -> dict[str, int]:
    """Return the versions that the snapshot names, whoever signed it; nothing where it cannot be read."""
    with suppress(TrustError):
        number = parse_metadata(timestamp_bytes, "timestamp").signed.snapshot_meta.version
        body = view.read(f"{number}.snapshot.json", SNAPSHOT_MAX_BYTES)
        if body is not None:
            meta: Mapping[str, MetaFile] = parse_metadata(body, "snapshot").signed.meta
            return {name.removesuffix(".json"): link.version for name, link in meta.items()}
    return {}
