"""Owns what travels: requests, headers without case, and whole responses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

from trust.deadline import Deadline
from trust.oci.url import Url
from trust.value import dataclass, field


class Headers(Mapping[str, str]):
    """The header fields of one response; names have no case, a repeated name joins with a comma."""

    __slots__ = ("_values",)

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in pairs:
            self._values.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name: str) -> str:
        return ", ".join(self._values[name.lower()])

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def each(self, name: str) -> list[str]:
        """Return every value of ``name`` as it was sent, none joined."""
        return list(self._values.get(name.lower(), ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole answer. ``url`` is where it came from after redirects; nothing in it is trusted.

    ``is_local`` tells whether that place is a loopback or link-local address: only such a place may point
    to another.
    """

    status: int
    headers: Headers
    body: bytes
    url: Url
    is_local: bool


class Passing(Iterator[bytes]):
    """Content of ``size_bytes`` bytes on its way through: it can be sent once, from its beginning."""

    size_bytes: int

    @property
    def has_begun(self) -> bool:
        """Tell whether something was read already."""
        raise NotImplementedError


Body = bytes | BinaryIO | Passing | None  # a file is seekable, and sent from its start to its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it stands after the redirects so far.

    ``idle_seconds`` is the longest silence; without a ``deadline`` it also bounds the head of the answer.
    ``plain_http`` allows it to other machines. ``allow_local`` allows a loopback or link-local address: not
    where a server elsewhere named it.
    """

    method: str
    url: Url
    headers: Mapping[str, str] = field(repr=False)
    body: Body = field(repr=False)
    deadline: Deadline | None
    idle_seconds: float
    plain_http: bool
    allow_local: bool

    @property
    def is_safe(self) -> bool:
        """Tell whether asking twice changes nothing: GET and HEAD."""
        return self.method in {"GET", "HEAD"}
