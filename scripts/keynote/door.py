"""The shop's address: one loopback port that stays while the containers behind it change."""

import contextlib
import socket
import threading


class Door:
    """Passes each connection to the loopback port ``leads_to``; None turns it away."""

    def __init__(self) -> None:
        self.leads_to: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Nobody comes in any more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(timeout=5)

    def _serve(self) -> None:
        while True:
            try:
                visitor, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(visitor, self.leads_to), daemon=True).start()

    def _pass_on(self, visitor: socket.socket, port: int | None) -> None:
        with visitor, contextlib.suppress(OSError):
            if port is None:
                return
            with socket.create_connection(("127.0.0.1", port), timeout=10) as shop:
                back = threading.Thread(target=_copy, args=(shop, visitor), daemon=True)
                back.start()
                _copy(visitor, shop)
                back.join(timeout=10)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
