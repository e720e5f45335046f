"""The moment, the signers and what else a signed target says: read at the bounds, and refused one past them."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest

from trust.digest import sha256
from trust.errors import InputError
from trust.targets import Target, parse_target

LAST_SECOND = datetime(9999, 12, 31, 23, 59, 59, tzinfo=timezone.utc)
SIGNERS = ("first", "second")


def parsed(**custom: Any) -> Target:
    said = {"signed": 1, **custom}
    return parse_target(hashes={"sha256": sha256(b"x").hex}, size_bytes=1, custom=said, signers=SIGNERS)


@pytest.mark.parametrize("moment", [datetime(1970, 1, 1, tzinfo=timezone.utc), LAST_SECOND])
def test_first_and_last_moment_are_read(moment: datetime) -> None:
    assert parsed(signed=int(moment.timestamp())).signed_at == moment


@pytest.mark.parametrize(
    "seconds", [-1, int(LAST_SECOND.timestamp()) + 1, 2**62, True, False, 1.0, 1.5, "1", None]
)
def test_what_is_no_moment_is_refused(seconds: object) -> None:
    with pytest.raises(InputError, match="signed is no moment"):
        parsed(signed=seconds)


@pytest.mark.parametrize(
    ("by", "keys"), [([0], ("first",)), ([1, 0], ("second", "first")), (["k", 1], ("k", "second"))]
)
def test_signer_is_the_one_of_its_number(by: list[object], keys: tuple[str, ...]) -> None:
    assert parsed(by=by).signed_by == keys


@pytest.mark.parametrize("number", [-1, 2, True, False, 0.0, None, [0]])
def test_number_that_is_of_no_signer_is_refused(number: object) -> None:
    with pytest.raises(InputError, match="a signed target lacks or misspells a field"):
        parsed(by=[number])
