"""The errors of the package: one class for each thing a caller would do differently.

    TrustError
    ├── InputError         mend what was typed or read, then repeat          (exit 2)
    │   └── AmbiguousManifestError   bytes with two readings: refuse them
    ├── UnavailableError   nothing could be decided or done: try again      (exit 3)
    │   ├── UnreachableError         a registry or store did not answer
    │   ├── LimitError               a cap on bytes, time or rotations was reached
    │   ├── ClockError               this clock cannot be right: set it
    │   └── StateError               what is on this disk is damaged or cannot be written
    ├── ConflictError      another publisher was first: nothing published   (exit 4)
    │   └── StaleError               a change that waits was made on what is no longer current
    └── RefusedError       what was found is not trusted: stop              (exit 1)

Distrust of an *image* is a ``Denied`` verdict and never an exception; ``RefusedError`` is for journeys that
meet it on the way to something else (a publisher whose store was tampered with).
"""

from __future__ import annotations


class TrustError(Exception):
    """Something failed; ``str()`` is one line that says what, what was expected and what came.

    ``hint`` is the safe next step, without the word "hint", or None. It never suggests weakening a policy.
    ``reason`` is a stable name of ``trust.verdict.Reason``, where what failed has one; ``exit_code`` is what a
    command ends with that fails so.
    """

    reason: str | None = None
    exit_code = 3

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class InputError(TrustError):
    """What was typed or read is malformed: mend it and repeat."""

    exit_code = 2


class AmbiguousManifestError(InputError):
    """A manifest has more than one reading (CVE-2021-41190)."""

    reason = "ambiguous"


class UnavailableError(TrustError):
    """Nothing could be decided or done, and nothing was changed: try again."""


class UnreachableError(UnavailableError):
    """A registry or metadata store did not answer, or not in time."""

    reason = "unreachable"


class UnverifiedRoleError(UnreachableError):
    """A delegated role was not asked for before, or not since it changed; ``path`` is what would ask for it."""

    path: str | None = None


class LimitError(UnavailableError):
    """A cap on bytes, time, rotations or delegations was reached before an answer was found."""

    reason = "limit-reached"


class ClockError(UnavailableError):
    """By this clock, which trusted state shows to be wrong, nothing can be signed that anybody would accept."""

    reason = "clock"


class StateError(UnavailableError):
    """The trusted state on this disk is damaged, or the disk cannot take what was to be written."""

    reason = "state-damaged"


class ConflictError(TrustError):
    """Another publisher was first; nothing of this change was published."""

    exit_code = 4


class StaleError(ConflictError):
    """A change that waits for signatures was made on something that is no longer current."""


class RefusedError(TrustError):
    """What was found is not trusted; its ``reason`` says in which way."""

    reason: str
    exit_code = 1

    def __init__(self, message: str, *, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
