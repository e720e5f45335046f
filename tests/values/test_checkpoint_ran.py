"""What was run is read back as it was written; limits that are none are refused, and never left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.digest import sha256
from trust.errors import InputError
from trust.reference import parse_reference
from trust.runtime.checkpoint_ran import Ran, parse_ran, ran_document
from trust.runtime.limits import MEMORY_MIN_BYTES, PIDS_MAX, Limits
from trust.runtime.options import Tmpfs
from trust.runtime.tier import Tier
from trust.value import replace

RAN = Ran(
    image=parse_reference("registry.example.com/acme/web:1"),
    digest=sha256(b"index"),
    manifest=sha256(b"manifest"),
    arguments=("/bin/sh", "-c", "true"),
    environment=(("A", "b=c"),),
    hostname="web",
    is_read_only=True,
    volumes=(("/data", False),),
    tmpfs=(Tmpfs(target="/scratch", size_bytes=4096),),
)


@given(
    memory=st.none() | st.integers(min_value=MEMORY_MIN_BYTES, max_value=1 << 50),
    pids=st.none() | st.integers(min_value=1, max_value=PIDS_MAX),
    cpus=st.none() | st.integers(min_value=1_000, max_value=10_000_000),
)
def test_what_was_run_is_read_back(memory: int | None, pids: int | None, cpus: int | None) -> None:
    limits = Limits(memory_bytes=memory, pids=pids, cpus=None if cpus is None else cpus / 100_000)
    ran = replace(RAN, limits=limits)
    document = ran_document(ran)
    assert ran_document(parse_ran(document)) == document
    assert parse_ran(document).limits.memory_bytes == memory
    assert parse_ran(document).limits.pids == pids


def test_snapshot_of_before_there_were_limits_has_none() -> None:
    document = ran_document(RAN)
    del document["limits"], document["tmpfs"], document["integrity"]
    assert parse_ran(document).limits == Limits()
    assert parse_ran(document).integrity is Tier.DIRECTORY
    assert parse_ran(document).tmpfs == ()


@pytest.mark.parametrize("tier", Tier)
def test_tier_of_integrity_is_read_back(tier: Tier) -> None:
    document = ran_document(replace(RAN, integrity=tier))
    assert parse_ran(document).integrity is tier
    assert ran_document(parse_ran(document)) == document


@pytest.mark.parametrize(
    "edit",
    [
        {"integrity": "none"},
        {"integrity": ""},
        {"limits": {"memory_bytes": MEMORY_MIN_BYTES - 1}},
        {"limits": {"memory_bytes": -1}},
        {"limits": {"memory_bytes": "256m"}},
        {"limits": {"memory_bytes": True}},
        {"limits": {"pids": 0}},
        {"limits": {"pids": PIDS_MAX + 1}},
        {"limits": {"cpu_microseconds": 999}},
        {"limits": []},
        {"tmpfs": [{"target": "/", "size_bytes": 1}]},
        {"tmpfs": [{"target": "/x", "size_bytes": None}]},
        {"tmpfs": [{"target": "../x", "size_bytes": 1}]},
        {"tmpfs": [{"target": "/x", "size_bytes": 0}]},
        {"hostname": "x" * 65},
        {"arguments": []},
    ],
)
def test_malformed_request_is_refused(edit: dict[str, Any]) -> None:
    with pytest.raises((InputError, AttributeError, TypeError, LookupError)):
        parse_ran({**ran_document(RAN), **edit})


def test_limits_that_are_given_hold_in_place_of_those_there_were() -> None:
    had = Limits(memory_bytes=1 << 30, pids=10)
    assert had.overridden_by(Limits(memory_bytes=1 << 20, cpus=1.0)) == Limits(
        memory_bytes=1 << 20, pids=10, cpus=1.0
    )
