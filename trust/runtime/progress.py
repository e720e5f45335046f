"""Owns how long work tells how far it is: in bytes, to whoever wants to know. Pure."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Is told of work that takes long; from several threads at once."""

    def begin(self, what: str, total_bytes: int) -> None:
        """Work called ``what`` begins, and takes ``total_bytes``; what was begun before has ended."""

    def advance(self, count: int) -> None:
        """So many more bytes are done."""


class Untold:
    """Nobody wants to know."""

    def begin(self, what: str, total_bytes: int) -> None:
        """Do nothing."""

    def advance(self, count: int) -> None:
        """Do nothing."""


UNTOLD = Untold()
