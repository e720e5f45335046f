"""Owns what a person is told of a decision, a collection and a span of time: plain words for stable names."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import Literal

from registry_shim.status import CollectionStatus
from trust.instant import format_span
from trust.verdict import Reason

SENTENCES: dict[str, str] = {
    Reason.UNSIGNED.value: "The publisher has not signed it.",
    Reason.REVOKED.value: "The publisher has taken it back.",
    Reason.TAG_MOVED.value: "The registry's tag points elsewhere than the publisher signed.",
    Reason.ROLLED_BACK.value: "The metadata is older than what was seen here before.",
    Reason.EXPIRED.value: "What the publisher signed is past its date.",
    Reason.WRONG_SIGNER.value: "It is signed, but by no key that may.",
    Reason.BELOW_THRESHOLD.value: "Too few of the keys that must sign have signed.",
    Reason.TAMPERED.value: "The bytes are not those that were signed.",
    Reason.AMBIGUOUS.value: "Its manifest can be read as two different things.",
    Reason.ATTESTATION_MISSING.value: "An attestation that the policy asks for is missing.",
    Reason.NO_POLICY.value: "No collection in the policy covers this name.",
    Reason.NO_FIRST_USE.value: "Nothing was verified here before, and the policy allows no first time.",
    Reason.UNREACHABLE.value: "The metadata store or the registry did not answer.",
    Reason.LIMIT_REACHED.value: "A limit on size, time or steps was reached before an answer.",
    Reason.CLOCK.value: "This machine's clock cannot be right.",
    Reason.STATE_DAMAGED.value: "The trusted state on this machine's disk is damaged.",
}
OUTCOMES = {
    "allowed": ("✓", "allowed"),
    "denied": ("✗", "denied"),
    "undecided": ("?", "not decided"),
    "audited": ("!", "denied, but served"),
}
Level = Literal["good", "low", "last", "past", "unknown"]
_LOW, _LAST = 0.25, 0.10  # of the period; `trust verify` warns from the first on
_KEY_ID_SHOWN = 8
_DIGEST = re.compile("(sha256:[0-9a-f]{12})[0-9a-f]{52}", re.ASCII)


def sentence(reason: str) -> str:
    """Return what ``reason`` means; a name that is not known is told as it is, nothing for none."""
    return SENTENCES.get(reason, f"{reason}." if reason else "")


def condition(collection: CollectionStatus, now: float) -> tuple[str, str, str]:
    """Return of ``collection`` its kind (a name for the style), its state in a word, and what that means."""
    if collection.freshness == "unread":
        return "undecided", "Not read yet", "Nothing was verified so far; all it covers waits for that."
    if collection.freshness == "refused":
        return "denied", "Refused", f"All it covers is denied. {sentence(collection.reason)}"
    if collection.valid_until <= now:
        return "denied", "Expired", "All it covers is denied, until the publisher renews it."
    if collection.freshness == "stale":
        return (
            "undecided",
            "Stale",
            "Its store does not answer. What was verified is served until its time is over.",
        )
    return "allowed", "Fresh", "Its store answers, and all it shows is trusted."


def level(left: float, period: float) -> Level:
    """Return how urgent it is that ``left`` of ``period`` seconds remain; without a period only what is past."""
    if left <= 0:
        return "past"
    if period <= 0:
        return "unknown"
    share = left / period
    return "last" if share < _LAST else "low" if share < _LOW else "good"


def time_left(left: float) -> str:
    """Return ``left`` seconds for a reader: ``3 days left``, ``past for 2 hours``."""
    span = format_span(timedelta(seconds=left))
    return f"{span} left" if left > 0 else f"past for {span}"


def time_ago(seconds: float) -> str:
    """Return how long ago something was, for a reader; a clock that went back is not pretended to be none."""
    return f"{format_span(timedelta(seconds=seconds))} {'ago' if seconds >= 0 else 'ahead of this clock'}"


def moment(at: float) -> datetime:
    """Return UTC seconds as a moment; what no calendar has is its first day."""
    try:
        return datetime.fromtimestamp(at, timezone.utc)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, timezone.utc)


def short_key(keyid: str) -> str:
    """Return the beginning of a key id, enough to tell keys apart."""
    return keyid[:_KEY_ID_SHOWN]


def short_digest(digest: str) -> str:
    """Return a digest with its hex cut short; what only looks like one is left whole, for nothing to hide in."""
    match = _DIGEST.fullmatch(digest)
    return f"{match[1]}…" if match else digest
