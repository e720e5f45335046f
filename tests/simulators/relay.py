"""A store before another one: passes everything on, or what a test makes of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from trust.deadline import Deadline
from trust.stores.interface import Publication, Store, View


@dataclass(kw_only=True)
class Relay:
    """A store that hands everything to another; what differs from it says so."""

    honest: Store

    @property
    def url(self) -> str:
        return self.honest.url

    def view(self, *, known: str | None, deadline: Deadline) -> View | None:
        return self.honest.view(known=known, deadline=deadline)

    def publish(self, publication: Publication, *, deadline: Deadline) -> None:
        self.honest.publish(publication, deadline=deadline)

    def probe(self, *, deadline: Deadline) -> None:
        self.honest.probe(deadline=deadline)

    def pending(self, *, deadline: Deadline) -> Mapping[str, bytes]:
        return self.honest.pending(deadline=deadline)

    def set_pending(self, name: str, data: bytes | None, *, replaces: bytes | None, deadline: Deadline) -> None:
        self.honest.set_pending(name, data, replaces=replaces, deadline=deadline)

    def names(self, *, deadline: Deadline) -> frozenset[str]:
        return self.honest.names(deadline=deadline)

    def remove(self, names: Collection[str], *, deadline: Deadline) -> None:
        self.honest.remove(names, deadline=deadline)


@dataclass(kw_only=True)
class Wire(Relay):
    """A store whose reads go through ``read(name, max_bytes, honest_bytes)``: the wire, or who sits on it."""

    read: Callable[[str, int, bytes | None], bytes | None]

    def view(self, *, known: str | None, deadline: Deadline) -> View | None:
        view = self.honest.view(known=known, deadline=deadline)
        return None if view is None else _WireView(view, self.read)


class _WireView:
    token = None

    def __init__(self, view: View, read: Callable[[str, int, bytes | None], bytes | None]) -> None:
        self._view = view
        self._read = read

    def read(self, name: str, max_bytes: int) -> bytes | None:
        return self._read(name, max_bytes, self._view.read(name, max_bytes))

    def taken(self, name: str) -> bool:
        return self._view.taken(name)

    def strays(self) -> tuple[tuple[View, View], ...]:
        return ()
