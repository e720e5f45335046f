"""Owns what a role says as a whole: gathered from its bins where it has some, and spread over them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trust.loaded import Loaded
from trust.loaded_role import LoadedRole
from trust.targets import Content, Table, Target
from trust.value import replace


def role_table(loaded: Loaded, role: LoadedRole, paths: Iterable[str] | None) -> Table:
    """Return what ``role`` says of ``paths`` (None: of everything), gathered from its bins where it has some.

    Revocations are the role's own, in bins or not.
    """
    bins = role.content.delegations.bins
    if bins is None:
        return role.content.table
    names = bins.names() if paths is None else sorted({bins.name_of(path) for path in paths})
    found: dict[str, Target] = {}
    for name in names:
        found.update(loaded.role(name, role.name).content.table.targets)
    return Table(targets=found, revoked=role.content.table.revoked)


def role_tables(loaded: Loaded) -> Iterator[tuple[LoadedRole, Table]]:
    """Yield what can be read of every role, as ``role_table`` has it; past those that are not trusted."""
    for role in loaded.named():
        targets = dict(role.content.table.targets)
        for each in loaded.bins(role):
            targets.update(each.content.table.targets)
        yield role, replace(role.content.table, targets=targets)


def role_contents(loaded: Loaded, role: LoadedRole, before: Table, after: Table) -> dict[str, Content]:
    """Return the content of each role that changes as ``before`` becomes ``after``: ``role``, or its bins."""
    bins, delegations = role.content.delegations.bins, role.content.delegations
    if bins is None:
        return {} if after == before else {role.name: Content(table=after, delegations=delegations)}
    tables: dict[str, dict[str, Target]] = {}
    for path in before.targets.keys() | after.targets.keys():
        target = after.targets.get(path)
        if target == before.targets.get(path):
            continue
        name = bins.name_of(path)
        if name not in tables:
            tables[name] = dict(loaded.role(name, role.name).content.table.targets)
        if target is None:
            tables[name].pop(path, None)
        else:
            tables[name][path] = target
    changed = {name: Content(table=Table(targets=targets, revoked={})) for name, targets in sorted(tables.items())}
    if after.revoked != before.revoked:
        own = Table(targets=role.content.table.targets, revoked=after.revoked)
        changed[role.name] = Content(table=own, delegations=delegations)
    return changed
