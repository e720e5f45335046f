"""Moments and spans: one spelling in, the same one out."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.errors import InputError
from trust.instant import DURATION_MAX, format_span, format_utc, parse_duration, parse_utc

moments = st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9999, 12, 31)).map(  # noqa: DTZ001
    lambda naive: naive.replace(microsecond=0, tzinfo=timezone.utc)
)


@given(moment=moments)
def test_moment_prints_back(moment: datetime) -> None:
    assert parse_utc(format_utc(moment)) == moment
    assert format_utc(parse_utc(format_utc(moment))) == format_utc(moment)


@given(moment=moments, hours=st.integers(-12, 14))
def test_moment_of_another_zone_is_told_in_utc(moment: datetime, hours: int) -> None:
    elsewhere = timezone(timedelta(hours=hours))
    if 1000 < moment.year < 9999:
        assert format_utc(moment.astimezone(elsewhere)) == format_utc(moment)


def test_parts_of_a_second_are_cut_off() -> None:
    assert format_utc(datetime(2031, 5, 1, 12, 0, 0, 999_999, tzinfo=timezone.utc)) == "2031-05-01T12:00:00Z"


@given(text=st.text("0123456789TZ:-+. ", max_size=24))
def test_moment_that_is_accepted_prints_back(text: str) -> None:
    try:
        moment = parse_utc(text)
    except InputError:
        return
    assert format_utc(moment) == text


@pytest.mark.parametrize(
    "text",
    ["", "2031-05-01", "2031-05-01T12:00:00", "2031-05-01T12:00:00+00:00", "2031-05-01 12:00:00Z",
     "2031-05-01T12:00:00.5Z", "2031-02-30T12:00:00Z", "2031-05-01T24:00:00Z", "2031-05-01T12:00:60Z",
     "2031-05-01T12:00:00Z ", " 2031-05-01T12:00:00Z", "2031-05-01t12:00:00z", "31-05-01T12:00:00Z",
     "2031-5-01T12:00:00Z", "2031-05-1T12:00:00Z", "2031-05-01T1:2:3Z", "2031-05-01T12:00:0Z",
     "\u0662031-05-01T12:00:00Z", "0000-05-01T12:00:00Z"],
)  # fmt: skip
def test_other_spelling_of_a_moment_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="time is malformed"):
        parse_utc(text)


@given(number=st.integers(1, 9_999_999), unit=st.sampled_from("dhms"))
def test_duration_is_its_number_of_units(number: int, unit: str) -> None:
    span = timedelta(seconds=number * {"d": 86_400, "h": 3_600, "m": 60, "s": 1}[unit])
    if span <= DURATION_MAX:
        assert parse_duration(f"{number}{unit}") == span
        return
    with pytest.raises(InputError, match="duration is too long: expected at most 36500d"):
        parse_duration(f"{number}{unit}")


@pytest.mark.parametrize(("longest", "too_long"), [("36500d", "36501d"), ("876000h", "876001h")])
def test_duration_above_a_hundred_years_is_refused(longest: str, too_long: str) -> None:
    assert parse_duration(longest) == DURATION_MAX
    with pytest.raises(InputError, match="duration is too long"):
        parse_duration(too_long)


@pytest.mark.parametrize(
    "text",
    ["", "0", "0d", "00d", "01d", "-1d", "+1d", "1", "d", "1.5h", "1w", "1D", "1 d", "1d ", " 1d", "1d1h", "1d\n",
     "10000000d", "1e3s", "\u0661d", "inf"],
)  # fmt: skip
def test_other_spelling_of_a_duration_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="duration is malformed"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 seconds"), (1, "1 second"), (59, "59 seconds"), (60, "1 minute"), (119, "1 minute"), (3_600, "1 hour"),
     (7_200, "2 hours"), (86_399, "23 hours"), (86_400, "1 day"), (90 * 86_400, "90 days"), (-60, "1 minute")],
)  # fmt: skip
def test_span_is_told_in_its_largest_fitting_unit(seconds: int, text: str) -> None:
    assert format_span(timedelta(seconds=seconds)) == text
