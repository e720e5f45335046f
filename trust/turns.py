"""Owns the order in which the roles of a collection are tried: by turns, so that nobody's many are another's wait.

Each role that targets delegates to has a branch, and all branches take turns, the nearest of each first. A branch
that is not through when it has had enough of them has too many, and costs no other a turn. Pure.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator

from trust.delegations import TARGETS
from trust.value import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A role to try, the delegator that names it, the branch that it is on, and how many roles are above it."""

    branch: str
    role: str
    delegator: str
    depth: int


class Turns:
    """The turns of the branches ``names``, at most ``most`` of each; ``unfinished`` are those that wanted more."""

    def __init__(self, names: Iterable[str], *, most: int) -> None:
        self.unfinished: tuple[str, ...] = ()
        self._most = most
        self._had = Counter[str]()
        # Names are taken one by one: a thief's roles, each with as many as its file holds, fill no memory.
        self._branches = {name: deque([(iter((name,)), TARGETS, 1)]) for name in names}

    def __iter__(self) -> Iterator[Turn]:
        """Yield the turns; what is added meanwhile comes after what its branch has already."""
        while self._branches:
            for branch in list(self._branches):
                turn = self._next(branch)
                if turn is None:
                    continue
                if self._had[branch] >= self._most:
                    self.unfinished = (*self.unfinished, branch)
                    del self._branches[branch]
                    continue
                self._had[branch] += 1
                yield turn

    def add(self, turn: Turn, names: Iterator[str]) -> None:
        """Have the roles ``names``, to which that of ``turn`` delegates, tried as well."""
        self._branches[turn.branch].append((names, turn.role, turn.depth + 1))

    def _next(self, branch: str) -> Turn | None:
        queue = self._branches[branch]
        while queue:
            names, delegator, depth = queue[0]
            role = next(names, None)
            if role is not None:
                return Turn(branch=branch, role=role, delegator=delegator, depth=depth)
            queue.popleft()
        del self._branches[branch]
        return None
