"""Owns how a role grows beyond one file: its targets spread over hash bins that its own keys sign, and back.

The role keeps no target itself, only its revocations and the bins' keys and threshold, which are its own. A new
lay-out has new names (``ROLE.g2-0f``): a name that was in a snapshot is never free again. Consumers notice
nothing: the walk to a path ends in its bin, and the role that answers has the same name as before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from trust.delegations import BINS_MAX, NO_DELEGATIONS, Bins, Delegation, Delegations
from trust.draft import Changes
from trust.errors import InputError
from trust.loaded import Loaded
from trust.publish import Publisher
from trust.published import Published
from trust.role_table import role_table
from trust.targets import Content, Table, Target


def rebin(publisher: Publisher, name: str, count: int) -> Published:
    """Return what was published so that role ``name`` has ``count`` bins (0: none); nothing if it has.

    Raises:
        InputError: it delegates to named roles, which TUF does not let it do beside bins.
    """
    checked_count(count)

    def change(loaded: Loaded) -> Changes | None:
        role = loaded.find(name)
        delegations = role.content.delegations
        if (delegations.bins.count if delegations.bins is not None else 0) == count:
            return None
        if delegations.roles:
            raise InputError(
                f"role {name} delegates to {delegations.roles[0].name}, and can have no bins beside",
                hint="delegate its own images to a role, and give that one bins",
            )
        whole = Content(table=role_table(loaded, role, None))
        if count == 0:
            return Changes(contents={name: whole})
        owner = Delegation(name=name, patterns=(), keyids=loaded.keyids(role), threshold=loaded.threshold(role))
        keys = loaded.keys(role)
        number = generation_after(loaded, name)
        return Changes(contents=binned(whole, name, owner, keys, count=count, generation=number))

    return publisher.publish(change)


def binned(
    whole: Content, name: str, owner: Delegation, keys: Mapping[str, Any], *, count: int, generation: int
) -> dict[str, Content]:
    """Return the contents of role ``name`` and of its ``count`` bins, which together say ``whole``."""
    bins = Bins(
        prefix=f"{name}.g{generation}",
        count=checked_count(count),
        keyids=owner.keyids,
        threshold=owner.threshold,
        period=owner.period,
    )
    shelves: dict[str, dict[str, Target]] = {bin_name: {} for bin_name in bins.names()}
    for path, target in whole.table.targets.items():
        shelves[bins.name_of(path)][path] = target
    table = Table(targets={}, revoked=whole.table.revoked)
    contents = {name: Content(table=table, delegations=Delegations(bins=bins, keys=dict(keys)))}
    return contents | {
        bin_name: Content(table=Table(targets=targets, revoked={}), delegations=NO_DELEGATIONS)
        for bin_name, targets in shelves.items()
    }


def generation_after(loaded: Loaded, name: str) -> int:
    """Return the number of a lay-out of bins that ``name`` has not had before."""
    pattern = re.compile(rf"{re.escape(name)}\.g([0-9]+)-[0-9a-f]+\.json")
    used = (pattern.fullmatch(file_name) for file_name in loaded.top.snapshot.signed.meta)
    return 1 + max((int(match[1]) for match in used if match), default=0)


def checked_count(count: int) -> int:
    """Return ``count`` if bins can be so many: none, or a power of two.

    Raises:
        InputError: they cannot.
    """
    if count < 0 or count == 1 or count > BINS_MAX or count & (count - 1):
        raise InputError(f"bins are a power of two, at most {BINS_MAX}, or 0 for none: got {count}")
    return count
