"""Owns the words for what waits for signatures: who signed, who is missing, what it would change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import click

from trust.cli.reporting import names_of_keys, who
from trust.cli.session import Session
from trust.difference import Difference
from trust.digest import Digest
from trust.pending import is_bin_name
from trust.policy import Stanza
from trust.proposal import Lacking, Waiting
from trust.value import replace


def waiting_document(waiting: Waiting) -> dict[str, object]:
    """Return what is said of a change that waits, for ``--json``."""
    return {
        "id": str(waiting.change.id),
        "role": waiting.change.place,
        "complete": waiting.is_complete,
        "roles": [
            {"role": role.role, "lacks": role.count, "signed": list(role.signed), "open": list(role.open)}
            for role in waiting.roles
        ],
    }


def waiting_lines(waiting: Waiting, names: dict[str, str]) -> list[str]:
    """Return what a reader is told of a change that waits: its id, how many signatures it lacks, and whose."""
    lines = [f"change {waiting.change.id}"]
    for role in _folded(waiting.roles):
        said = f"signed by {who(names, role.signed)}" if role.signed else "signed by nobody"
        if role.count:
            noun = "signature" if role.count == 1 else "signatures"
            lines.append(f"  {role.role} needs {role.count} more {noun} of {who(names, role.open)}; {said}")
        else:
            lines.append(f"  {role.role} is {said}")
    return lines


def _folded(roles: tuple[Lacking, ...]) -> Iterator[Lacking]:
    """Yield ``roles``, but of many bins that lack the same the first one, by a name for all of them."""
    bins = Counter(_alike(role) for role in roles)
    for role in roles:
        count = bins.pop(_alike(role), 0)
        if count > 1:
            yield replace(role, role=f"{role.role.rpartition('-')[0]}-… ({count} bins)")
        elif count:
            yield role


def _alike(role: Lacking) -> tuple[object, ...]:
    name = role.role.rpartition("-")[0] if is_bin_name(role.role) else role.role
    return name, role.count, role.signed, role.open


class Review:
    """Shows what waits to the person whose edit would sign it as well; each change once."""

    def __init__(self, run: Session, stanza: Stanza) -> None:
        self._run = run
        self._stanza = stanza
        self._agreed: set[Digest] = set()

    def __call__(self, waiting: Waiting, words: tuple[Difference, ...]) -> None:
        """Return if it is agreed to.

        Raises:
            click.Abort: it is not.
        """
        if waiting.change.id in self._agreed:
            return
        shown = [*waiting_lines(waiting, names_of_keys(self._run)), *difference_lines(words)]
        self._run.output.show([f"a change of {self._stanza.collection} waits, and you would sign it too:", *shown])
        click.confirm("sign it together with yours?", abort=True, err=True)
        self._agreed.add(waiting.change.id)


def difference_lines(words: tuple[Difference, ...]) -> list[str]:
    """Return what a reader is told before he signs: role by role, every field that differs."""
    return [f"  {each.role}: {line}" for each in words for line in each.words or ("nothing differs",)]
