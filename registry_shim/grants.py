"""Owns what upstreams have said of their clients' logins: who may read which repository, and until when.

Under ``auth = "forward"`` the upstream is asked before anything is served from the cache, so that a private image
stays private; its yes is believed for a while, its no never. A login is kept only as a keyed hash.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable

GRANTS_MAX = 100_000


class Grants:
    """Grants that last ``seconds`` each; ``clock`` is monotonic, in seconds."""

    def __init__(self, seconds: float, *, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._until: dict[tuple[str, str, bytes], float] = {}

    def holds(self, upstream: str, path: str, login: str | None) -> bool:
        """Tell whether ``upstream`` has shown ``path`` to ``login`` a moment ago."""
        return self._until.get(self._name(upstream, path, login), 0.0) > self._clock()

    def add(self, upstream: str, path: str, login: str | None) -> None:
        """Note that ``upstream`` has just shown ``path`` to ``login``."""
        if len(self._until) >= GRANTS_MAX:
            self._until.clear()
        self._until[self._name(upstream, path, login)] = self._clock() + self._seconds

    def _name(self, upstream: str, path: str, login: str | None) -> tuple[str, str, bytes]:
        if login is None:
            return upstream, path, b""
        return upstream, path, hashlib.blake2b(login.encode(), key=self._key, digest_size=16).digest()
