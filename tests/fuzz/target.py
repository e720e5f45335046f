"""Owns what it means to try an input on a parser: which errors are its answer, and what must hold of what it took.

An input is *answered* where the parser refuses it with a documented error, of one line, or takes it and all
that its type promises holds. Any other exception is a crash. ``WrongAcceptError`` tells of the rest: something
was taken that is not as promised, or a second, independent reader came to another answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

SEEDS = Path(__file__).with_name("seeds")
_PRIVATE = (b"PRIVATE~KEY", b"PRIVATE KEY")  # made by counting, and kept so that no scanner takes them for secrets
Form = Literal["bytes", "text", "json", "tar"]


class WrongAcceptError(AssertionError):
    """A parser took what it must not take, or in another way than its type promises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parser as it is tried.

    ``parse`` may raise ``refuses`` and nothing else; ``judge`` raises where a value is not as promised.
    ``opinion`` is a second reader: it says whether the input is to be taken, or None. ``share`` is how much
    of the budget it gets: less where an input costs a file. ``form`` says how inputs are changed.
    """

    name: str
    parse: Callable[[bytes], Any]
    refuses: tuple[type[Exception], ...]
    judge: Callable[[bytes, Any], None] | None = None
    opinion: Callable[[bytes], bool | None] | None = None
    form: Form = "text"
    share: int = 10

    def answers(self, untrusted: bytes) -> bool:
        """Try one input; tell whether it was taken.

        Raises:
            WrongAcceptError: what was taken, or refused, is not what was promised.
            Exception: a crash.
        """
        try:
            value = self.parse(untrusted)
        except self.refuses as err:
            if "\n" in str(err):
                raise WrongAcceptError(f"{self.name}: a refusal of several lines: {err}") from err
            is_taken = False
        else:
            is_taken = True
            if self.judge is not None:
                self.judge(untrusted, value)
        expected = self.opinion(untrusted) if self.opinion is not None else None
        if expected is not None and expected != is_taken:
            raise WrongAcceptError(f"{self.name}: taken: {is_taken}; a second reader says {expected}")
        return is_taken

    def seeds(self) -> list[bytes]:
        """Return the inputs that are kept for it, regressions too."""
        kept = (path.read_bytes() for path in sorted((SEEDS / self.name).iterdir()))
        return [each.replace(*_PRIVATE) for each in kept]


def require(holds: object, what: str) -> None:
    """Raise unless ``holds``; ``what`` says what was promised."""
    if not holds:
        raise WrongAcceptError(what)


def text_of(untrusted: bytes) -> str:
    """Return ``untrusted`` as a command line gives it: bytes that are no UTF-8 become lone surrogates."""
    return untrusted.decode("utf-8", "surrogateescape")


def file_text(untrusted: bytes) -> str:
    """Return ``untrusted`` as a text file gives it."""
    return untrusted.decode("utf-8", "replace")
