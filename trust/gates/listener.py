"""Owns the canary's origin: a listener on this machine that records who comes, and has nothing."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

_ANSWER = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_FIRST_BYTES = 4096
_SILENCE_MAX_SECONDS = 5.0


class Listener:
    """Counts connections, whatever is spoken on them: a handshake that fails has reached the origin as well."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, name="canary", daemon=True)
        self.connections = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._server.close()

    @property
    def host(self) -> str:
        """``127.0.0.1:PORT``, as an image name has it."""
        return f"127.0.0.1:{self._server.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            with connection, suppress(OSError):  # the client may be gone already; that it came is what counts
                connection.settimeout(_SILENCE_MAX_SECONDS)
                connection.recv(_FIRST_BYTES)
                connection.sendall(_ANSWER)
