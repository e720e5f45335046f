"""Owns the supervisor's door: a command connects, asks one thing, may hand over a mount, and gets one answer.

Only the owner of the home gets here: its directory is private. What is asked is JSON, at most 64 KiB; who sends
nothing has only looked whether we are here.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from trust.errors import TrustError
from trust.runtime.supervision import MESSAGE_MAX_BYTES
from trust.runtime.workers import Answer, failure

_PATIENCE_SECONDS = 1.0
CLIENT = "client"

# What does what is asked; None is an answer that comes later.
Served = Callable[[dict[str, Any], Sequence[int], socket.socket], Answer | None]


class Reception:
    """``serve`` is called for each request, with the descriptors that came with it, which it may not keep."""

    def __init__(self, door: socket.socket, selector: selectors.BaseSelector, *, serve: Served) -> None:
        self._door, self._selector, self._serve = door, selector, serve
        selector.register(door, selectors.EVENT_READ, None)

    def accept(self) -> None:
        """Let somebody in."""
        client, _ = self._door.accept()
        self._selector.register(client, selectors.EVENT_READ, CLIENT)

    def hear(self, client: socket.socket) -> None:
        """Do what a command asks for, and answer now or have it answered later."""
        self._selector.unregister(client)
        mounts: Sequence[int] = ()
        try:
            client.settimeout(_PATIENCE_SECONDS)
            message, mounts, _, _ = socket.recv_fds(client, MESSAGE_MAX_BYTES, 1)
            answer = self._serve(json.loads(message), mounts, client) if message else {}
        except (TrustError, OSError, ValueError) as err:
            answer = failure(err)
        finally:
            for descriptor in mounts:
                os.close(descriptor)  # a child has its own
        if answer is not None:
            tell(client, answer)


def tell(client: socket.socket, answer: Answer) -> None:
    """Give a command its answer, if it is there still."""
    with suppress(OSError):
        client.send(json.dumps(answer).encode())
    client.close()
