"""The document of a refusal tells the digests that it knows, and the reason that an error has."""

from __future__ import annotations

from trust.digest import sha256
from trust.errors import LimitError, RefusedError, UnavailableError
from trust.reference import parse_reference
from trust.verdict import Denied, Reason, reason_of, verdict_json

EXPECTED, GOT = sha256(b"expected"), sha256(b"got")


def test_refusal_tells_each_digest_that_it_knows() -> None:
    for expected in (None, EXPECTED):
        for got in (None, GOT):
            document = verdict_json(
                Denied(
                    reference=parse_reference("registry.test/acme/web:1"),
                    reason=Reason.TAMPERED,
                    detail="other bytes",
                    expected=expected,
                    got=got,
                )
            )
            assert document["expected"] == (str(EXPECTED) if expected else None)
            assert document["got"] == (str(GOT) if got else None)


def test_error_without_a_reason_is_of_what_could_not_be_asked() -> None:
    assert reason_of(UnavailableError("no answer")) is Reason.UNREACHABLE
    assert reason_of(LimitError("too many")) is Reason.LIMIT_REACHED
    assert reason_of(RefusedError("rolled back", reason="rolled-back")) is Reason.ROLLED_BACK
