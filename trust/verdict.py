"""Owns the answer of every gate: ``Allowed`` or ``Denied`` with a reason of a closed list.

A verdict has no truth value: ``if verdict:`` raises, callers ``match``. What fetches or runs takes an
``Allowed``, never a tag. Reasons and exit codes are a contract with scripts: names are never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, NoReturn

from trust.digest import Digest
from trust.errors import TrustError
from trust.reference import Reference
from trust.targets import Attestations, attestations_json
from trust.value import dataclass, field


class Reason(str, Enum):
    """Why an image was not allowed. The second group means "could not decide"."""

    UNSIGNED = "unsigned"
    REVOKED = "revoked"
    TAG_MOVED = "tag-moved"
    ROLLED_BACK = "rolled-back"
    EXPIRED = "expired"
    WRONG_SIGNER = "wrong-signer"
    BELOW_THRESHOLD = "below-threshold"
    TAMPERED = "tampered"
    AMBIGUOUS = "ambiguous"
    ATTESTATION_MISSING = "attestation-missing"
    NO_POLICY = "no-policy"
    NO_FIRST_USE = "no-first-use"

    UNREACHABLE = "unreachable"
    LIMIT_REACHED = "limit-reached"
    CLOCK = "clock"
    STATE_DAMAGED = "state-damaged"


UNDECIDED = frozenset({Reason.UNREACHABLE, Reason.LIMIT_REACHED, Reason.CLOCK, Reason.STATE_DAMAGED})


class _NoTruthValue:
    __slots__ = ()

    def __bool__(self) -> NoReturn:
        raise TypeError("a verdict has no truth value: match on Allowed and Denied")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed(_NoTruthValue):
    """``reference`` may be used, as exactly ``digest`` of ``size_bytes`` bytes, until ``valid_until`` (UTC).

    ``signers`` are key ids that signed ``role``; ``versions`` maps role name to metadata version.
    ``notices`` are facts for the user that change nothing (a tag that moved on, an expiry that nears).
    ``attestations`` are the digests of what is signed about the image, or an index that it is in, by type.
    """

    reference: Reference
    digest: Digest
    size_bytes: int
    role: str
    signers: tuple[str, ...]
    versions: Mapping[str, int]
    valid_until: datetime
    notices: tuple[str, ...] = ()
    attestations: Attestations = field(default_factory=dict)

    @property
    def pinned(self) -> Reference:
        """The same repository by the signed digest alone: what is pulled and run."""
        return self.reference.at(self.digest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied(_NoTruthValue):
    """``reference`` must not be used; ``detail`` says what failed, what was expected and what came."""

    reference: Reference
    reason: Reason
    detail: str
    hint: str | None = None
    expected: Digest | None = None
    got: Digest | None = None


Verdict = Allowed | Denied


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """Return the worst exit code of ``verdicts`` in the order 1 (denied), 3 (undecided), 0 (allowed)."""
    codes = {0 if isinstance(v, Allowed) else 3 if v.reason in UNDECIDED else 1 for v in verdicts}
    return next((code for code in (1, 3) if code in codes), 0)


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return ``verdict`` as the JSON object of the command line contract, schema 1."""
    if isinstance(verdict, Allowed):
        return {
            "image": str(verdict.reference),
            "verdict": "allowed",
            "digest": str(verdict.digest),
            "pinned": str(verdict.pinned),
            "size_bytes": verdict.size_bytes,
            "role": verdict.role,
            "signers": list(verdict.signers),
            "versions": dict(verdict.versions),
            "valid_until": verdict.valid_until.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "notices": list(verdict.notices),
            "attestations": attestations_json(verdict.attestations),
        }
    return {
        "image": str(verdict.reference),
        "verdict": "undecided" if verdict.reason in UNDECIDED else "denied",
        "reason": verdict.reason.value,
        "detail": verdict.detail,
        "hint": verdict.hint,
        "expected": str(verdict.expected) if verdict.expected else None,
        "got": str(verdict.got) if verdict.got else None,
    }


def reason_of(err: TrustError) -> Reason:
    """Return the reason of a verdict that ended with ``err``."""
    return Reason(err.reason) if err.reason is not None else Reason.UNREACHABLE
