"""Owns the line between keeper and worker: JSON documents, one a line, over a pair of sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

LINE_MAX_BYTES = 64 * 1024 * 1024
UNSENT_MAX_BYTES = 16 * 1024 * 1024


class Channel:
    """One end; iterate over it for what the other says, until it is gone."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def is_heard(self) -> bool:
        """Tell whether ``send`` would send now."""
        return self._writer.transport.get_write_buffer_size() <= UNSENT_MAX_BYTES and not self._writer.is_closing()

    def send(self, document: dict[str, Any]) -> bool:
        """Send ``document``; tell whether it was, since nothing is queued for an end that does not read."""
        if not self.is_heard:
            return False
        self._writer.write(json.dumps(document, separators=(",", ":")).encode() + b"\n")
        return True

    async def flush(self) -> None:
        """Return once nearly everything is sent."""
        await self._writer.drain()

    def close(self) -> None:
        """Let the other end see the end."""
        self._writer.close()

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            try:
                line = await self._reader.readline()
            except (ConnectionError, ValueError):
                return
            if not line.endswith(b"\n"):
                return
            yield json.loads(line)


async def open_channel(end: socket.socket) -> Channel:
    """Return the channel over ``end``, which it owns from now on."""
    reader, writer = await asyncio.open_unix_connection(sock=end, limit=LINE_MAX_BYTES)
    return Channel(reader, writer)
