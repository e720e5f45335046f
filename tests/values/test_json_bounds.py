"""The bounds of what is read as JSON, at the number itself and at the next on both sides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from trust.errors import InputError
from trust.strict_json import DEPTH_MAX, INTEGER_MAX, strict_json


def read(data: bytes) -> Any:
    return strict_json(data, max_bytes=10**6, what="document")


@pytest.mark.parametrize("number", [INTEGER_MAX - 1, 1 - INTEGER_MAX])
def test_last_number_of_each_sign_is_read_as_it_is(number: int) -> None:
    assert read(json.dumps(number).encode()) == number


@pytest.mark.parametrize(
    "number", [INTEGER_MAX, -INTEGER_MAX, INTEGER_MAX + 1, -INTEGER_MAX - 1, 10**21, -(10**21)]
)
def test_number_past_the_last_of_each_sign_is_refused(number: int) -> None:
    with pytest.raises(InputError, match="a number is too large"):
        read(json.dumps(number).encode())


@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_what_is_closed_neither_adds_to_the_depth_nor_takes_from_it(pair: str) -> None:
    siblings = ",".join([pair] * 2 * DEPTH_MAX)
    assert len(read(f"[{siblings}]".encode())) == 2 * DEPTH_MAX
    with pytest.raises(InputError, match="nested too deeply"):
        read(f"[{siblings},{'[' * DEPTH_MAX}{']' * DEPTH_MAX}]".encode())
