"""Owns the reading of content against its digest: whoever reads to the end has read exactly that content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from trust.digest import Digest
from trust.oci.errors import tampered
from trust.oci.message import Passing


class VerifiedChunks(Passing):
    """Yields content piece by piece; it ends only if all of it was ``size_bytes`` long and hashed to ``digest``.

    The last piece is withheld until the hash agrees, so that a reader who writes through never holds the whole
    of a forgery. ``what`` names the content in messages.
    """

    def __init__(self, untrusted_chunks: Iterable[bytes], digest: Digest, size_bytes: int, *, what: str) -> None:
        self.digest = digest
        self.size_bytes = size_bytes
        self._chunks = iter(untrusted_chunks)
        self._hash = hashlib.new(digest.algorithm)
        self._got_bytes = 0
        self._what = what
        self._withheld: bytes | None = None
        self._ended = False
        self._tell: Callable[[int], None] | None = None

    def watched(self, tell: Callable[[int], None]) -> VerifiedChunks:
        """Return this; ``tell`` is called with the size of each piece as it arrives, believed or not."""
        self._tell = tell
        return self

    def __next__(self) -> bytes:
        """Return the next piece.

        Raises:
            RefusedError: wrong size or wrong digest, reason ``tampered``; and what the source raises.
        """
        while not self._ended:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._check()
                self._ended = True
                ready, self._withheld = self._withheld, None
            else:
                ready, self._withheld = self._withheld, self._taken(chunk)
            if ready:
                return ready
        raise StopIteration

    @property
    def has_begun(self) -> bool:
        """Tell whether something was read already: it cannot be read from its beginning again."""
        return self._got_bytes > 0 or self._ended

    def close(self) -> None:
        """Give up what is unread, and the connection or file it comes from."""
        close = getattr(self._chunks, "close", None)
        if close is not None:
            close()

    def _taken(self, chunk: bytes) -> bytes:
        self._got_bytes += len(chunk)
        if self._got_bytes > self.size_bytes:
            raise tampered(f"{self._what}: expected {self.size_bytes} bytes, got more")
        self._hash.update(chunk)
        if self._tell is not None:
            self._tell(len(chunk))
        return chunk

    def _check(self) -> None:
        if self._got_bytes != self.size_bytes:
            raise tampered(f"{self._what}: expected {self.size_bytes} bytes, got {self._got_bytes}")
        got = self._hash.hexdigest()
        if got != self.digest.hex:
            raise tampered(f"{self._what}: expected {self.digest}, got {self.digest.algorithm}:{got}")
