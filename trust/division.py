"""Owns the division of what a role signs when part of it is delegated, and its reunion. Pure, like the edits.

TUF reads depth-first: a target that is left in the parent hides its delegate for ever. So what a delegation covers
moves, tags and digests alike. A delegation of some tags shares the digests of their repository: those that its
tags need move with them, and stay as well where another tag needs them.
"""

from __future__ import annotations

from collections.abc import Iterator

from trust.delegations import Delegation, is_of_tags, matches
from trust.merge import in_step, joined, without_revoked
from trust.targets import Table, Target
from trust.value import replace


def divided(table: Table, delegation: Delegation) -> tuple[Table, Table]:
    """Return what stays of ``table`` and what moves to ``delegation``; revocations stay: they count below too."""
    covered = {path: target for path, target in table.targets.items() if delegation.covers(path)}
    if not is_of_tags(delegation.patterns):
        kept = {path: target for path, target in table.targets.items() if path not in covered}
        return Table(targets=kept, revoked=table.revoked), Table(targets=covered, revoked={})
    moved = {path: target for path, target in covered.items() if "@" not in path}
    kept = {
        path: target for path, target in table.targets.items() if path not in moved and _stands_alone(path, target)
    }
    return (
        Table(targets=in_step(kept, table), revoked=table.revoked),
        Table(targets=in_step(moved, table), revoked={}),
    )


def reunited(table: Table, below: Table) -> Table:
    """Return ``table`` with what a role below it signs; where both have a digest, it has the tags of both.

    What was revoked from above stays so, though the role below signs it still; what the role below revoked ends
    nothing that is signed now.
    """
    vouched = without_revoked(Table(targets=below.targets, revoked=table.revoked))
    targets = in_step({**vouched.targets, **table.targets}, vouched, table)
    living = {str(target.digest) for target in targets.values()}
    stones = joined(below.revoked, vouched.revoked)
    return Table(
        targets=targets,
        revoked={text: stone for text, stone in stones.items() if text in table.revoked or text not in living},
    )


def believed(table: Table, delegation: Delegation) -> Table:
    """Return what counts of a ``table`` that was signed below ``delegation``: what it covers.

    Nobody looks the rest up there. Whoever took it along into the role above would sign what a thief wrote of
    the images of others.
    """
    stones = {
        text: replace(stone, paths=paths)
        for text, stone in table.revoked.items()
        if (paths := tuple(filter(delegation.covers, stone.paths)))
    }
    return Table(
        targets={path: target for path, target in table.targets.items() if delegation.covers(path)}, revoked=stones
    )


def _stands_alone(path: str, target: Target) -> bool:
    """Tell whether a target needs no other to be there: a tag, or a digest that was signed without one."""
    return "@" not in path or (not target.tags and not target.inside)


def overlapping(patterns: tuple[str, ...], others: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of patterns that some path could match both of."""
    for one in patterns:
        for other in others:
            if _meet(one, other):
                yield one, other


def is_within(pattern: str, patterns: tuple[str, ...]) -> bool:
    """Tell whether whatever ``pattern`` matches, one of ``patterns`` matches: a star stands for itself here."""
    return any(matches(each, pattern) for each in patterns)


def _meet(one: str, other: str) -> bool:
    ones, others = one.split("/"), other.split("/")
    return len(ones) == len(others) and all(map(_share, ones, others))


def _share(one: str, other: str) -> bool:
    """Tell whether some text fits both of two patterns of one component.

    Row by row over the two: tried out one by one, the ways in which forty stars can match take for ever.
    """
    row = [not other[:place].strip("*") for place in range(len(other) + 1)]
    for mine in one:
        before, row = row, [row[0] and mine == "*"]
        for place, theirs in enumerate(other):
            if "*" in {mine, theirs}:
                row.append(before[place + 1] or row[place] if mine == "*" else row[place] or before[place + 1])
            else:
                row.append(before[place] and mine == theirs)
    return row[-1]
