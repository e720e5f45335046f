"""Owns the changes of publishers that a registry passed over: found, checked, merged into what is current.

A change is theirs alone only between the two versions that they signed. Both must be signed by the keys of now,
the newer be newer than what is current: an old edition, replayed as a claim, changes nothing. Where a stolen key
is named, what needs its signature changes nothing either.
"""

from __future__ import annotations

from trust.delegations import Delegations
from trust.errors import RefusedError, TrustError
from trust.loaded import Loaded
from trust.merge import merge
from trust.repository import load_under
from trust.role_keys import require_distinct_keys, without_keys
from trust.targets import Content


def take_strays(loaded: Loaded, distrusted: tuple[str, ...] = ()) -> tuple[dict[str, Content], tuple[str, ...]]:
    """Return the content, by role, that ``loaded`` has from now on because of changes that were passed over.

    And the roles of which one was left out: without the keys of ``distrusted`` (their ids, or beginnings), which
    were stolen, too few have signed it.
    """
    taken: dict[str, Content] = {}
    left = dict[str, None]()
    for stray, base in loaded.view.strays():
        try:
            theirs, was = load_under(loaded.top.roots, stray), load_under(loaded.top.roots, base)
            if theirs.identity == loaded.identity == was.identity:
                found = dict(_changed(loaded, theirs, was))
            else:
                found = {}
        except TrustError:
            continue  # whoever can write to the registry can push rubbish; it is nobody's change
        for name, content in found.items():
            if _is_by_others(theirs, name, distrusted):
                loaded.put(name, content)
                taken[name] = content
            else:
                left[name] = None
    return taken, tuple(left)


def _is_by_others(theirs: Loaded, name: str, distrusted: tuple[str, ...]) -> bool:
    """Tell whether ``name`` has its signatures without those by ``distrusted`` too."""
    role = theirs.role(name, _entered(theirs, name))
    gone = [keyid for keyid in role.metadata.signatures if keyid.startswith(distrusted)]
    if not gone:
        return True
    above = theirs.delegator(role)
    try:
        require_distinct_keys(above, without_keys(above, role.metadata, gone), name)
    except RefusedError:
        return False
    return True


def _changed(loaded: Loaded, theirs: Loaded, was: Loaded) -> list[tuple[str, Content]]:
    found = []
    for file_name, link in theirs.top.snapshot.signed.meta.items():
        name = file_name.removesuffix(".json")
        before, current = (each.top.snapshot.signed.meta.get(file_name) for each in (was, loaded))
        if before is None or current is None or link.version in {before.version, current.version}:
            continue
        role = theirs.role(name, _entered(theirs, name))
        if role.version > current.version and role.base_version == before.version:
            base, mine = was.role(name, _entered(was, name)), loaded.role(name, _entered(loaded, name))
            table = merge(mine.content.table, base=base.content.table, theirs=role.content.table)
            delegations = _merged(
                mine.content.delegations, base=base.content.delegations, theirs=role.content.delegations
            )
            content = Content(table=table, delegations=delegations)
            if content != mine.content:
                found.append((name, content))
    return found


def _entered(loaded: Loaded, name: str) -> str:
    """Return the delegator of ``name``, itself verified."""
    return "root" if name == "targets" else loaded.delegator_of(name)


def _merged(mine: Delegations, *, base: Delegations, theirs: Delegations) -> Delegations:
    """Return the delegations of both; where both changed the same role, as ``mine`` has it."""
    if theirs == base or mine.bins is not None or theirs.bins is not None:
        return mine
    if mine == base:
        return theirs
    known = {role.name for role in (*mine.roles, *base.roles)}
    new = tuple(role for role in theirs.roles if role.name not in known)
    return Delegations(roles=(*mine.roles, *new), keys={**theirs.keys, **mine.keys})
