"""Owns delegations: which role answers for a target path, and what a role gives away to whom.

A targets role delegates either to named roles, each with patterns, or to hash bins (TUF 1.0 §4.5, TAP 15). The
walk is TUF's (§5.6.7), preorder and depth first: a path that a role holds is answered by it; else the delegations
that match are entered in order, and a terminating one ends the search. It is one function for the consumer, the
gates and the publisher, so that none of them can disagree. Pure: no IO, no clock, no TUF library.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Protocol

from trust.errors import InputError, LimitError
from trust.value import dataclass

TARGETS = "targets"
VISITED_MAX = 32  # roles entered for one path: a cycle or a chain of 10^4 delegations ends here
DEPTH_MAX = 8  # `acme/team/**` reaches so many names below `acme/team`; globs do not cross a slash
BINS_MAX = 16_384
NAME_MAX = 60  # with a version before it and a bin behind it, still a file name
_NAME = re.compile(r"[a-z0-9_][a-z0-9._]*", re.ASCII)
_PATTERN = re.compile(r"[a-z0-9A-Z._/:@*-]+", re.ASCII)
_REPOSITORY = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*", re.ASCII)
_TAG_PATTERN = re.compile(r"[A-Za-z0-9._*-]{1,128}", re.ASCII)
_TOP_LEVEL = frozenset({"root", "timestamp", "snapshot", TARGETS})
_NO_KEYS: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """A role with patterns of its own: ``acme/web:*``, ``acme/web@*``; ``period`` is what it is renewed for."""

    name: str
    patterns: tuple[str, ...]
    keyids: tuple[str, ...]
    threshold: int
    terminating: bool = True
    period: timedelta | None = None

    def covers(self, path: str) -> bool:
        """Tell whether a pattern matches ``path``, component by component."""
        return any(matches(pattern, path) for pattern in self.patterns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """``count`` roles ``prefix-xx``, each for the paths whose sha256 begins with its number."""

    prefix: str
    count: int
    keyids: tuple[str, ...]
    threshold: int
    period: timedelta | None = None

    @property
    def bits(self) -> int:
        """How many leading bits of the hash choose the bin."""
        return self.count.bit_length() - 1

    def name_of(self, path: str) -> str:
        """Return the bin of ``path``."""
        return self._name(int.from_bytes(sha256(path.encode()).digest()[:4], "big") >> (32 - self.bits))

    def names(self) -> Iterator[str]:
        """Return the names of all bins."""
        return map(self._name, range(self.count))

    def _name(self, number: int) -> str:
        return f"{self.prefix}-{number:0{(self.bits + 3) // 4}x}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegations:
    """What one role delegates: named roles in the order of the search, or bins; ``keys`` as TUF spells them."""

    roles: tuple[Delegation, ...] = ()
    bins: Bins | None = None
    keys: Mapping[str, Any] = _NO_KEYS

    def of(self, path: str) -> Iterator[tuple[str, bool]]:
        """Return the roles to search for ``path``, in order, and whether each ends the search."""
        if self.bins is not None:
            yield self.bins.name_of(path), True
        for role in self.roles:
            if role.covers(path):
                yield role.name, role.terminating

    def named(self, name: str) -> Delegation | None:
        """Return the delegation of that name, or None."""
        return next((role for role in self.roles if role.name == name), None)

    def names(self) -> Iterator[str]:
        """Return every role that is delegated to, bins too."""
        yield from self.bins.names() if self.bins is not None else (role.name for role in self.roles)


NO_DELEGATIONS = Delegations()


class Roles(Protocol):
    """Verified targets roles, wherever they are kept."""

    def enter(self, role: str, delegator: str) -> Delegations:
        """Return what ``role``, verified as a delegate of ``delegator``, delegates.

        Raises:
            TrustError: it is not verified so; what it covers is refused, never answered by another.
        """

    def holds(self, role: str, path: str) -> bool:
        """Tell whether an entered ``role`` has a target or a tombstone under ``path``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The roles that were searched for a path, in order; the last one answers, be it with "not here"."""

    links: tuple[tuple[str, str], ...]  # each role, and the delegator under which it was searched
    line: tuple[str, ...]  # from a delegate of targets down to the one that answers, as people know it: no bins

    @property
    def owner(self) -> str:
        """The role that answers, by the name that people know: of a bin, the role it belongs to."""
        return self.line[-1] if self.line else TARGETS

    @property
    def visited(self) -> tuple[str, ...]:
        """The roles by name."""
        return tuple(role for role, _ in self.links)

    @property
    def last(self) -> str:
        """The role that answers."""
        return self.links[-1][0]


def walk(path: str, roles: Roles) -> Route:
    """Return the route to the role that answers for ``path``.

    Raises:
        LimitError: more than ``VISITED_MAX`` roles would have to be searched: "absent" would be a guess.
        TrustError: a role on the way is not verified.
    """
    line: tuple[str, ...] = ()
    pending, visited = [(TARGETS, "root", line)], dict[str, str]()
    while pending:
        role, delegator, line_here = pending.pop()
        if role in visited:
            continue  # a cycle, or a diamond that was searched already
        if len(visited) >= VISITED_MAX:
            raise LimitError(f"delegations for {path} go on after {VISITED_MAX} roles")
        delegations = roles.enter(role, delegator)
        visited[role] = delegator
        line = line_here
        if roles.holds(role, path):
            break
        matching = []
        for name, terminating in delegations.of(path):
            matching.append((name, role, line_here if delegations.bins else (*line_here, name)))
            if terminating:
                pending.clear()
                break
        pending.extend(reversed(matching))
    return Route(links=tuple(visited.items()), line=line)


def matches(pattern: str, path: str) -> bool:
    """Tell whether ``path`` fits ``pattern``; ``*`` stands for any text but a slash (TUF 1.0 §4.5 PATHPATTERN)."""
    parts, names = pattern.split("/"), path.split("/")
    return len(parts) == len(names) and all(map(_fits, parts, names))


def _fits(pattern: str, name: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    *middle, last = rest
    if not name.startswith(first) or not name.endswith(last) or len(name) < len(first) + len(last):
        return False
    place, end = len(first), len(name) - len(last)
    for part in middle:
        found = name.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def checked_pattern(pattern: str) -> str:
    """Return a pattern that was signed, if it is of the kind that is understood here.

    Raises:
        InputError: it has ``?`` or ``[``: what it covers would be read one way here and another way elsewhere.
    """
    if not _PATTERN.fullmatch(pattern):
        raise InputError(f"delegation pattern is not supported: got {pattern[:120]!r}")
    return pattern


def checked_role(name: str) -> str:
    """Return ``name`` if a delegated role may have it.

    Raises:
        InputError: it has other characters than ``a-z0-9._``, is too long, or is one of the four top-level roles.
    """
    if not _NAME.fullmatch(name) or ".." in name or len(name) > NAME_MAX or name in _TOP_LEVEL:
        raise InputError(
            f"role name is malformed: expected at most {NAME_MAX} of a-z 0-9 . _, got {name[:80]!r}",
            hint="one that a person recognises: acme.web",
        )
    return name


def expanded(text: str) -> tuple[str, ...]:
    """Return the patterns that ``--paths`` means.

    ``acme/web`` is all tags and digests of one repository, ``acme/team/**`` of every repository below a name,
    ``acme/web:dev-*`` the tags that match, and the digests that they point to.

    Raises:
        InputError: it is none of these.
    """
    repository, colon, tag = text.partition(":")
    base = repository.removesuffix("/**")
    if not _REPOSITORY.fullmatch(base) or (colon and (base != repository or not _TAG_PATTERN.fullmatch(tag))):
        raise InputError(
            f"paths are malformed: got {text[:120]!r}",
            hint="a repository (acme/web), all below a name (acme/team/**), or tags (acme/web:dev-*)",
        )
    if colon:
        return (f"{base}:{tag}", f"{base}@*")
    if base == repository:
        return (f"{base}:*", f"{base}@*")
    stars = ["/".join("*" * depth) for depth in range(1, DEPTH_MAX + 1)]
    return tuple(f"{base}/{star}{kind}" for star in stars for kind in (":*", "@*"))


def is_of_tags(patterns: tuple[str, ...]) -> bool:
    """Tell whether ``patterns`` choose some tags of a repository: the digests are shared with the delegator."""
    return any(":" in pattern and not pattern.endswith(":*") for pattern in patterns)
