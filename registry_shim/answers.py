"""Owns the shim's refusals: the codes of distribution-spec 1.1, what each means here, and their JSON.

    400 NAME_INVALID, DIGEST_INVALID   the request is none
    401 UNAUTHORIZED                   the upstream wants the client's login; never a matter of trust
    403 DENIED                         the policy refuses; the reason stands in ``message`` and ``detail``
    404 *_UNKNOWN                      signed, but the upstream does not have it
    405 UNSUPPORTED                    the shim is the pull side alone
    429 TOOMANYREQUESTS                too much of one client at once
    503 DENIED, with Retry-After       it could not be decided
    505 UNSUPPORTED                    another HTTP than 1.0 and 1.1

Pure. What is refused is never cached by anybody in between.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any

from trust.errors import LimitError, RefusedError, TrustError
from trust.verdict import UNDECIDED, Denied, Reason

RETRY_AFTER_SECONDS = 5
_UNAVAILABLE = 503


class Code(str, Enum):
    """Error codes. Source: distribution-spec 1.1 "Error Codes"."""

    BLOB_UNKNOWN = "BLOB_UNKNOWN"
    DENIED = "DENIED"
    DIGEST_INVALID = "DIGEST_INVALID"
    MANIFEST_UNKNOWN = "MANIFEST_UNKNOWN"
    NAME_INVALID = "NAME_INVALID"
    NAME_UNKNOWN = "NAME_UNKNOWN"
    TOOMANYREQUESTS = "TOOMANYREQUESTS"
    UNAUTHORIZED = "UNAUTHORIZED"
    UNSUPPORTED = "UNSUPPORTED"


_STATUS = {
    Code.BLOB_UNKNOWN: 404,
    Code.DENIED: 403,
    Code.DIGEST_INVALID: 400,
    Code.MANIFEST_UNKNOWN: 404,
    Code.NAME_INVALID: 400,
    Code.NAME_UNKNOWN: 404,
    Code.TOOMANYREQUESTS: 429,
    Code.UNAUTHORIZED: 401,
    Code.UNSUPPORTED: 405,
}


class RefusedRequestError(Exception):
    """A request that gets an error for its answer, and which."""

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        status: int | None = None,
        detail: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status or _STATUS[code]
        self.detail = detail
        self.headers = dict(headers or {})
        if self.status == _UNAVAILABLE:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))

    @property
    def body(self) -> bytes:
        """The JSON body; what a client shows of it is ``message``."""
        error: dict[str, Any] = {"code": self.code.value, "message": self.message}
        if self.detail is not None:
            error["detail"] = self.detail
        return json.dumps({"errors": [error]}).encode()


def denied(verdict: Denied) -> RefusedRequestError:
    """Return the answer for a denied image: 403, or 503 where it could not be decided."""
    detail = {
        "reason": verdict.reason.value,
        "image": str(verdict.reference),
        "hint": verdict.hint,
        "expected": str(verdict.expected) if verdict.expected else None,
        "got": str(verdict.got) if verdict.got else None,
    }
    return RefusedRequestError(
        Code.DENIED,
        f"{verdict.reason.value}: {verdict.detail}",
        status=_UNAVAILABLE if verdict.reason in UNDECIDED else 403,
        detail=detail,
    )


def failed(err: TrustError) -> RefusedRequestError:
    """Return the answer where the upstream gave nothing that could be used."""
    match err:
        case RefusedError():  # its bytes are not what was signed
            return RefusedRequestError(
                Code.DENIED, f"{err.reason}: {err}", detail={"reason": err.reason, "hint": err.hint}
            )
        case LimitError():
            reason = Reason.LIMIT_REACHED
        case _:
            reason = Reason.UNREACHABLE
    detail = {"reason": reason.value, "hint": err.hint}
    return RefusedRequestError(Code.DENIED, f"{reason.value}: {err}", status=_UNAVAILABLE, detail=detail)
