"""The limits of what is read as metadata, by their numbers: one that changes has to be meant."""

from __future__ import annotations

import pytest

from trust import descent, metadata, refresh

LIMITS = [
    (descent.ROLES_MAX, 20_000),
    (metadata.PERIOD_MAX_SECONDS, 3_153_600_000),
    (metadata.ROOT_MAX_BYTES, 512_000),
    (metadata.SNAPSHOT_MAX_BYTES, 2_000_000),
    (metadata.TARGETS_MAX_BYTES, 32_000_000),
    (metadata.TIMESTAMP_MAX_BYTES, 16_384),
    (refresh.ROOT_ROTATIONS_MAX, 1024),
]


@pytest.mark.parametrize(("limit", "number"), LIMITS)
def test_limit_is_the_number_that_was_decided(limit: object, number: object) -> None:
    assert limit == number
