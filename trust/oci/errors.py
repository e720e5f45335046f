"""The errors of the doors: finer kinds of ``UnreachableError``, and the one refusal they know.

UnreachableError
├── MalformedAnswerError        it does not speak HTTP here
├── UntrustedCertificateError   it speaks TLS, but nobody here vouches for it
├── LoginWantedError            it wants another login than ours, or one at all
├── AbsentError                 it answered that it has no such content
└── RegistryAnswerError         it answered, but not with what was asked for
"""

from __future__ import annotations

from trust.errors import RefusedError, UnreachableError


class MalformedAnswerError(UnreachableError):
    """What came is not HTTP/1.1, is it in more than one way, or ended before its head did."""


class UntrustedCertificateError(UnreachableError):
    """The server's certificate is of no authority known here, for another name, or out of date."""


class LoginWantedError(UnreachableError):
    """A registry, or its token server, does not take who we are."""


class AbsentError(UnreachableError):
    """Content that something names is not where it should be."""


class RegistryAnswerError(UnreachableError):
    """A registry answered, but not with what was asked for.

    ``status`` is its HTTP status, ``codes`` the codes of its ``errors`` (``TAG_INVALID``, ``DENIED``, …).
    Source: distribution-spec 1.1 "Error Codes".
    """

    def __init__(self, message: str, *, status: int, codes: tuple[str, ...], hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.codes = codes


def tampered(message: str) -> RefusedError:
    """Return the refusal of content that is not what its digest or its sender says."""
    return RefusedError(message, reason="tampered", hint="do not use it; ask those who run the place it came from")
