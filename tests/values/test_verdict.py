"""The verdict: no truth value, stable names, and exit codes of which the worst counts."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.digest import sha256
from trust.errors import (
    AmbiguousManifestError,
    LimitError,
    RefusedError,
    StateError,
    TrustError,
    UnavailableError,
    UnreachableError,
)
from trust.reference import parse_reference
from trust.verdict import UNDECIDED, Allowed, Denied, Reason, Verdict, exit_code, reason_of, verdict_json

REFERENCE = parse_reference("registry.test/acme/web:1.4")
ALLOWED = Allowed(
    reference=REFERENCE, digest=sha256(b"x"), size_bytes=1, role="targets", signers=("a",),
    versions={"root": 1, "targets": 3}, valid_until=datetime(2031, 5, 1, tzinfo=timezone.utc), notices=("n",),
)  # fmt: skip


def denied(reason: Reason) -> Denied:
    return Denied(reference=REFERENCE, reason=reason, detail="why", hint="what next")


verdicts = st.lists(st.sampled_from([ALLOWED, *map(denied, Reason)]), max_size=6)


@pytest.mark.parametrize("verdict", [ALLOWED, *map(denied, Reason)])
def test_verdict_has_no_truth_value(verdict: Verdict) -> None:
    with pytest.raises(TypeError, match="no truth value"):
        bool(verdict)
    with pytest.raises(TypeError, match="no truth value"):
        _ = not verdict


@given(several=verdicts)
def test_worst_exit_code_counts_in_the_order_1_3_0(several: list[Verdict]) -> None:
    reasons = [verdict.reason for verdict in several if isinstance(verdict, Denied)]
    is_denied = any(reason not in UNDECIDED for reason in reasons)
    expected = 1 if is_denied else 3 if reasons else 0
    assert exit_code(several) == expected
    assert exit_code(reversed(several)) == expected


def test_names_of_the_reasons_are_a_contract() -> None:
    decided = {"unsigned", "revoked", "tag-moved", "rolled-back", "expired", "wrong-signer", "below-threshold",
               "tampered", "ambiguous", "attestation-missing", "no-policy", "no-first-use"}  # fmt: skip
    undecided = {"unreachable", "limit-reached", "clock", "state-damaged"}
    assert {reason.value for reason in UNDECIDED} == undecided
    assert {reason.value for reason in Reason} == decided | undecided


@pytest.mark.parametrize("verdict", [ALLOWED, *map(denied, Reason)])
def test_document_of_a_verdict_is_json_and_tells_the_reason(verdict: Verdict) -> None:
    document = json.loads(json.dumps(verdict_json(verdict)))
    assert document["image"] == str(REFERENCE)
    match verdict:
        case Allowed():
            assert document["verdict"] == "allowed"
            assert document["pinned"] == f"registry.test/acme/web@{verdict.digest}"
            assert document["valid_until"] == "2031-05-01T00:00:00Z"
        case Denied():
            assert document["verdict"] == ("undecided" if verdict.reason in UNDECIDED else "denied")
            assert document["reason"] == verdict.reason.value


def test_what_may_be_used_is_the_digest_and_no_tag() -> None:
    assert ALLOWED.pinned.tag is None
    assert ALLOWED.pinned.digest == ALLOWED.digest


def test_verdict_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        ALLOWED.digest = sha256(b"other")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("err", "reason"),
    [
        (RefusedError("x", reason="rolled-back"), Reason.ROLLED_BACK),
        (LimitError("x"), Reason.LIMIT_REACHED),
        (StateError("x"), Reason.STATE_DAMAGED),
        (UnreachableError("x"), Reason.UNREACHABLE),
        (AmbiguousManifestError("x"), Reason.AMBIGUOUS),
        (UnavailableError("x"), Reason.UNREACHABLE),
    ],
)
def test_error_that_ends_a_verification_has_its_reason_and_without_one_could_not_be_asked(
    err: TrustError, reason: Reason
) -> None:
    assert reason_of(err) is reason
