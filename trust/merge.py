"""Owns the merge of two changes that were made to the targets of a role at the same time. Pure, like the edits.

1. each name is as the one who changed it left it; where both did, as ``table`` has it
2. digests name the tags that name them and the attestations that speak of them, and the manifests that a tag or an
   index needs are there, with their attestations
3. what either revoked is revoked: with all that names it, an index that contains it too
"""

from __future__ import annotations

from collections.abc import Mapping

from trust.digest import Digest, parse_digest
from trust.roles import Signature, revoke_digest
from trust.targets import Table, Target, Tombstone, digest_path
from trust.value import replace


def merge(table: Table, *, base: Table, theirs: Table) -> Table:
    """Return ``table`` with what changed from ``base`` to ``theirs`` applied, by the steps of this module.

    So a change that lost a race is kept. What both changed stays as ``table`` has it; a revocation always wins.
    """
    targets = dict(table.targets)
    for name in base.targets.keys() | theirs.targets.keys():
        was, now = base.targets.get(name), theirs.targets.get(name)
        if was == now or table.targets.get(name) != was:
            continue
        if now is None:
            targets.pop(name, None)
        else:
            targets[name] = now
    merged = Table(targets=in_step(targets, theirs, table), revoked=joined(theirs.revoked, table.revoked))
    return without_revoked(merged)


def in_step(targets: Mapping[str, Target], *sides: Table) -> dict[str, Target]:
    """Return ``targets`` in which digests name the tags that name them, and children the indexes that are there.

    What a tag or an index needs and ``targets`` lacks is taken from the ``sides``; the last one wins.
    """
    known: dict[str, Target] = {}
    parents: dict[str, set[Digest]] = {}
    for side in sides:
        for name, target in side.targets.items():
            if "@" in name:
                known[name] = target
                parents.setdefault(name, set()).update(target.inside)
    tags: dict[str, set[str]] = {}
    for name, target in targets.items():
        if "@" in name:
            known[name] = target
        else:
            path, _, tag = name.rpartition(":")
            tags.setdefault(digest_path(path, target.digest), set()).add(tag)
    wanted = {name for name in targets if "@" in name} | tags.keys()

    def held(name: str) -> tuple[Digest, ...]:
        path = name.partition("@")[0]
        return tuple(sorted(each for each in parents.get(name, ()) if digest_path(path, each) in wanted))

    while needed := {name for name in parents.keys() - wanted if held(name)}:
        wanted |= needed
    said = _attestations(known, wanted, {*tags, *filter(held, known)})
    result = {name: target for name, target in targets.items() if "@" not in name}
    for name in wanted & known.keys():
        result[name] = replace(
            known[name],
            tags=tuple(sorted(tags.get(name, ()))),
            inside=held(name),
            attestations={kind: tuple(sorted(digests)) for kind, digests in sorted(said.get(name, {}).items())},
        )
    return result


def _attestations(
    known: dict[str, Target], wanted: set[str], needed: set[str]
) -> dict[str, dict[str, set[Digest]]]:
    """Return the attestations by subject and type; ``wanted`` has them after this, and none without its subject.

    An attestation that something else needs (``needed``: a tag, an index) stays, and speaks of nothing any more.
    """
    said: dict[str, dict[str, set[Digest]]] = {}
    for name, target in list(known.items()):
        if target.attests is None:
            continue
        subject = digest_path(name.partition("@")[0], target.attests.subject)
        if subject in wanted:
            wanted.add(name)
            said.setdefault(subject, {}).setdefault(target.attests.type, set()).add(target.digest)
        elif name in needed:
            known[name] = replace(target, attests=None)
        else:
            wanted.discard(name)
    return said


def without_revoked(table: Table) -> Table:
    """Return ``table`` without what its own tombstones forbid: one may have signed what another revoked."""
    revoked = table.revoked
    for text in sorted(revoked.keys() & {str(target.digest) for target in table.targets.values()}):
        signature = Signature(at=revoked[text].revoked_at, by=revoked[text].revoked_by)
        table = revoke_digest(table, digest=parse_digest(text), signature=signature)
    return Table(targets=table.targets, revoked=joined(table.revoked, revoked))


def joined(some: Mapping[str, Tombstone], others: Mapping[str, Tombstone]) -> dict[str, Tombstone]:
    """Return the tombstones of both, the dates of the ``others`` where both have one, with all paths that went."""
    result = {**some, **others}
    for text in some.keys() & others.keys():
        paths = {*some[text].paths, *others[text].paths}
        result[text] = replace(others[text], paths=tuple(sorted(paths)))
    return result
