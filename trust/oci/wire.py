"""Owns the bytes of one connection: every wait on its socket is bounded by a deadline and by a least pace.

A timeout on each read alone would let a server that drips one byte in half a second hold us for ever.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

from trust.deadline import Deadline
from trust.errors import LimitError, UnreachableError
from trust.oci.errors import MalformedAnswerError

PACE_MIN_BYTES_PER_SECOND = 1024  # slower than any line that can carry an image
RECEIVE_BYTES = 256 * 1024
_SEND_BYTES = 64 * 1024  # each of them within the idle time: about the least pace
_LINE_RECEIVE_BYTES = 8 * 1024  # what comes with a head is copied once more for each of its lines
_TRY_AGAIN = "try again later"


class Wire:
    """A connected socket, plain or TLS, with the bytes that arrived and were not yet asked for.

    ``peer`` names the other side in messages (``https://registry.example.com``). ``has_answered`` tells whether
    a byte came since the last ``limit``: an idle connection that ends before one can be replaced.
    """

    def __init__(self, connected: socket.socket, *, peer: str, clock: Callable[[], float]) -> None:
        self.peer = peer
        self._socket = connected
        self._clock = clock
        self._held = b""
        self.has_answered = False
        self._deadline: Deadline | None = None
        self._idle_seconds = 0.0
        self._waited_seconds = 0.0
        self._moved_bytes = 0

    def limit(self, *, deadline: Deadline | None, idle_seconds: float) -> None:
        """Bound every wait from now on: by ``deadline`` and, with or without it, by the pace.

        The pace: every ``idle_seconds`` of waiting must bring ``PACE_MIN_BYTES_PER_SECOND`` times as many bytes;
        the caller's own time does not count.
        """
        self._deadline, self._idle_seconds = deadline, idle_seconds
        self._waited_seconds, self._moved_bytes = 0.0, 0
        self.has_answered = False

    def receive(self, max_bytes: int) -> bytes:
        """Return the next bytes, at least one and at most ``max_bytes``; ``b""`` once the peer has ended.

        Raises:
            LimitError: the deadline passed; UnreachableError: too slow, or the connection broke.
        """
        if self._held:
            data, self._held = self._held[:max_bytes], self._held[max_bytes:]
            return data
        return self._receive(max_bytes)

    def receive_line(self, max_bytes: int) -> bytes:
        """Return the next line without its CRLF.

        Raises:
            LimitError: no CRLF within ``max_bytes``, or the deadline passed.
            UnreachableError: ended in the middle, a bare CR or LF, too slow, or the connection broke.
        """
        line = self._held
        while (end := line.find(b"\n")) < 0:
            if len(line) > max_bytes + len(b"\r"):
                raise self._line_too_long(max_bytes)
            more = self._receive(_LINE_RECEIVE_BYTES)
            if not more:
                raise MalformedAnswerError(f"{self.peer}: the answer ended before its head did", hint=_TRY_AGAIN)
            line += more
        self._held = line[end + 1 :]
        line = line[:end]
        if not line.endswith(b"\r") or line.find(b"\r") != len(line) - 1:
            raise MalformedAnswerError(f"{self.peer}: malformed answer: a line with a bare CR or LF")
        if len(line) > max_bytes + len(b"\r"):
            raise self._line_too_long(max_bytes)
        return line[:-1]

    def send(self, data: bytes) -> None:
        """Send all of ``data``.

        Raises:
            LimitError: the deadline passed; UnreachableError: too slow; OSError: the connection broke.
        """
        whole = memoryview(data)
        for start in range(0, len(whole), _SEND_BYTES):
            patience = self._patience_seconds()
            self._socket.settimeout(patience)
            try:
                self._socket.sendall(whole[start : start + _SEND_BYTES])
            except TimeoutError as err:
                raise self._too_slow(patience, f"less than {_SEND_BYTES} bytes were taken") from err

    @property
    def is_quiet(self) -> bool:
        """Tell whether nothing waits to be read: an idle connection that has news is dead or talks out of turn."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        in_tls = getattr(self._socket, "pending", None)  # what TLS has taken off the socket already
        return not self._held and not (in_tls is not None and in_tls()) and not poll.poll(0)

    def close(self) -> None:
        """Close the connection; what is still under way is lost."""
        self._socket.close()

    def _receive(self, max_bytes: int) -> bytes:
        patience = self._patience_seconds()
        self._socket.settimeout(patience)
        before = self._clock()
        try:
            data = self._socket.recv(max_bytes)
        except TimeoutError as err:
            raise self._too_slow(patience, "nothing came") from err
        except OSError as err:
            raise UnreachableError(f"{self.peer}: the connection broke: {err}", hint=_TRY_AGAIN) from err
        self.has_answered = self.has_answered or bool(data)
        if data:
            self._keep_pace(self._clock() - before, len(data))
        return data

    def _keep_pace(self, waited_seconds: float, moved_bytes: int) -> None:
        self._waited_seconds += waited_seconds
        self._moved_bytes += moved_bytes
        if self._waited_seconds >= self._idle_seconds:
            if self._moved_bytes < self._idle_seconds * PACE_MIN_BYTES_PER_SECOND:
                raise self._too_slow(self._waited_seconds, f"{self._moved_bytes} bytes came")
            self._waited_seconds, self._moved_bytes = 0.0, 0

    def _line_too_long(self, max_bytes: int) -> LimitError:
        return LimitError(f"{self.peer}: a line is too long: expected at most {max_bytes} bytes")

    def _patience_seconds(self) -> float:
        if self._deadline is None:
            return self._idle_seconds
        try:
            return min(self._deadline.remaining_seconds(), self._idle_seconds)
        except LimitError as err:
            raise LimitError(f"{self.peer}: {err}", hint=err.hint) from err

    def _too_slow(self, waited_seconds: float, what: str) -> LimitError | UnreachableError:
        if self._deadline is not None and waited_seconds < self._idle_seconds:  # the deadline was nearer
            return LimitError(f"{self.peer}: deadline passed: {what} in the end", hint=_TRY_AGAIN)
        return UnreachableError(f"{self.peer}: too slow: {what} in {waited_seconds:.0f} s", hint=_TRY_AGAIN)
