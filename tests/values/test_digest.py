"""Digests and deadlines: one spelling, checked before it can become a path (containers-image CVE-2024-3727)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.deadline import Deadline, deadline_in
from trust.digest import HEX_LENGTHS, parse_digest, sha256
from trust.errors import InputError, LimitError

HEX = "0123456789abcdef"


@given(data=st.binary(max_size=100), algorithm=st.sampled_from(sorted(HEX_LENGTHS)))
def test_digest_prints_back_and_matches_its_own_bytes_alone(data: bytes, algorithm: str) -> None:
    text = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    digest = parse_digest(text)
    assert str(digest) == text
    assert digest.matches(data)
    assert not digest.matches(data + b"x")


@pytest.mark.parametrize("place", [0, 15, 16, 40, 63])
def test_digest_that_differs_in_one_digit_is_another(place: int) -> None:
    own = sha256(b"content").hex
    other = own[:place] + ("0" if own[place] != "0" else "1") + own[place + 1 :]
    assert not parse_digest(f"sha256:{other}").matches(b"content")


@given(data=st.binary(max_size=100))
def test_sha256_is_the_digest_of_the_bytes(data: bytes) -> None:
    assert parse_digest(str(sha256(data))) == sha256(data)
    assert sha256(data).matches(data)


@given(
    text=st.one_of(
        st.text(max_size=90), st.text(HEX + "Ag:.%/\n", min_size=60, max_size=75).map("sha256:".__add__)
    )
)
def test_what_is_accepted_prints_back(text: str) -> None:
    try:
        digest = parse_digest(text)
    except InputError:
        return
    assert str(digest) == text
    assert set(digest.hex) <= set(HEX)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no algorithm"),
        ("0" * 64, "no algorithm"),
        (":" + "0" * 64, "algorithm unknown"),
        ("sha1:" + "0" * 40, "algorithm unknown"),
        ("SHA256:" + "0" * 64, "algorithm unknown"),
        ("sha256 :" + "0" * 64, "algorithm unknown"),
        ("sha256:", "wrong length"),
        ("sha256:" + "0" * 63, "wrong length"),
        ("sha256:" + "0" * 128, "wrong length"),
        ("sha512:" + "0" * 64, "wrong length"),
        ("sha256:" + "0" * 64 + "\n", "wrong length"),
        ("sha256:" + "0" * 63 + "\n", "not lower-case hex"),
        ("sha256:" + "F" * 64, "not lower-case hex"),
        ("sha256:" + "0" * 61 + "/..", "not lower-case hex"),
        ("sha256:" + "0" * 63 + "\u0660", "not lower-case hex"),
    ],
)
def test_near_miss_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_digest(text)


@given(start=st.integers(0, 10**9), span=st.integers(1, 10**6), passed=st.integers(0, 2 * 10**6))
def test_deadline_has_time_left_or_raises(start: int, span: int, passed: int) -> None:
    now = [float(start)]
    deadline = deadline_in(span, lambda: now[0])
    now[0] += passed
    if passed < span:
        assert deadline.remaining_seconds() == span - passed
    else:
        with pytest.raises(LimitError, match="deadline passed"):
            deadline.remaining_seconds()


def test_deadline_at_its_very_end_is_over() -> None:
    with pytest.raises(LimitError):
        Deadline(ends_at=5.0, clock=lambda: 5.0).remaining_seconds()
