"""The limits that security rests on, by their numbers: one that changes has to be meant."""

from __future__ import annotations

from datetime import timedelta

import pytest

from trust import (
    attestations,
    chain,
    decision,
    delegations,
    digest,
    manifest,
    naming,
    reference,
    roles,
    strict_json,
)

DAYS = {"root": 365, "targets": 90, "snapshot": 7, "timestamp": 7}
LIMITS = [
    (attestations.INDEXES_MAX, 64),
    (chain.STALE, 0),
    (delegations.BINS_MAX, 16_384),
    (delegations.DEPTH_MAX, 8),
    (delegations.NAME_MAX, 60),
    (delegations.VISITED_MAX, 32),
    (digest.HEX_LENGTHS, {"sha256": 64, "sha512": 128}),
    (manifest.DESCRIPTORS_MAX, 4096),
    (manifest.MANIFEST_MAX_BYTES, 4_194_304),
    (naming.HOLDERS_MAX, 64),
    (decision.WARN_FRACTION, 4),
    (reference.PATH_MAX_LENGTH, 255),
    (roles.DEFAULT_EXPIRY, {name: timedelta(days=days) for name, days in DAYS.items()}),
    (roles.VERSION_JUMP_MAX, 1000),
    (strict_json.DEPTH_MAX, 32),
    (strict_json.INTEGER_MAX, 9_223_372_036_854_775_808),
]


@pytest.mark.parametrize(("limit", "number"), LIMITS)
def test_limit_is_the_number_that_was_decided(limit: object, number: object) -> None:
    assert limit == number
