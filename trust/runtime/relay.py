"""Owns one connection to a published port: bytes go to and fro, ends are passed on, nothing blocks."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable

_CHUNK_BYTES = 1 << 16
_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Relay:
    """Two sockets, one from outside and one inside the container, which is still being connected.

    ``ended`` is called once, when nothing is left to carry.
    """

    def __init__(
        self,
        outside: socket.socket,
        inside: socket.socket,
        selector: selectors.BaseSelector,
        *,
        ended: Callable[[Relay], None],
    ) -> None:
        self._selector = selector
        self._ended = ended
        self._other = {outside: inside, inside: outside}
        self._waiting: dict[socket.socket, bytearray] = {outside: bytearray(), inside: bytearray()}
        self._has_ended = {outside: False, inside: False}
        self._is_shut = {outside: False, inside: False}
        self._connecting: socket.socket | None = inside
        for one in self._other:
            one.setblocking(False)  # noqa: FBT003 - the library has no word for it
            selector.register(one, _WRITE if one is inside else _READ, self)

    def ready(self, one: socket.socket, _events: int) -> None:
        """Carry what can be carried."""
        try:
            if self._connecting is not None:
                if one is self._connecting:
                    _check_connected(one)
                    self._connecting = None
                else:
                    self._read(one)
            else:
                self._read(one)
                self._write(one)
            self._write_ends()
        except OSError:
            self.close()
            return
        if all(self._is_shut.values()):
            self.close()
        else:
            self._watch()

    def close(self) -> None:
        """Close both ends."""
        for one in self._other:
            if one.fileno() >= 0:
                if one in self._selector.get_map():
                    self._selector.unregister(one)
                one.close()
        self._ended(self)

    def _read(self, one: socket.socket) -> None:
        """Take what ``one`` has for the other, unless that has enough already."""
        waiting = self._waiting[self._other[one]]
        if self._has_ended[one] or len(waiting) >= _CHUNK_BYTES:
            return
        try:
            chunk = one.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            self._has_ended[one] = True
        waiting += chunk
        if self._connecting is None:
            self._write(self._other[one])

    def _write(self, one: socket.socket) -> None:
        waiting = self._waiting[one]
        if waiting:
            try:
                del waiting[: one.send(waiting)]
            except BlockingIOError:
                return

    def _write_ends(self) -> None:
        for one, other in self._other.items():
            done = self._has_ended[other] and not self._waiting[one] and not self._is_shut[one]
            if done and self._connecting is None:
                one.shutdown(socket.SHUT_WR)
                self._is_shut[one] = True

    def _watch(self) -> None:
        for one, other in self._other.items():
            events = 0
            if not self._has_ended[one] and len(self._waiting[other]) < _CHUNK_BYTES:
                events |= _READ
            if self._waiting[one] or one is self._connecting:
                events |= _WRITE
            if one is self._connecting:
                events = _WRITE
            is_watched = one in self._selector.get_map()
            if events and is_watched:
                self._selector.modify(one, events, self)
            elif events:
                self._selector.register(one, events, self)
            elif is_watched:
                self._selector.unregister(one)


def _check_connected(one: socket.socket) -> None:
    error = one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, "refused")
