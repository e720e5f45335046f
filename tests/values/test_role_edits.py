"""Edits of a role where their order could hide something: what goes is all that has to, and nothing beside it."""

from __future__ import annotations

from itertools import permutations

import pytest

from tests.simulators.images import AB_C, EMPTY, A, C, sign, signature, tags_of
from trust.digest import Digest
from trust.roles import Image, revoke_digest, revoke_tag
from trust.targets import Table, digest_path
from trust.value import replace

WEB = "acme/web"


def index(digit: str, *children: Image) -> Image:
    """Return an index whose digest is that digit, which decides when it is looked at."""
    return Image(
        digest=Digest(algorithm="sha256", hex=digit * 64), size_bytes=1, media_type="t", children=children
    )


@pytest.mark.parametrize("digits", list(permutations("123")))
def test_every_index_above_a_revoked_digest_goes_whichever_is_met_twice(digits: tuple[str, ...]) -> None:
    inner = index(digits[0], A)
    indexes = {"inner": inner, "outer": index(digits[1], inner, A), "other": index(digits[2], A)}
    table = EMPTY
    for tag, image in indexes.items():
        table = sign(table, WEB, tag, image)
    table = revoke_digest(table, digest=A.digest, signature=signature())
    assert not table.targets
    assert set(table.revoked) == {str(image.digest) for image in (A, *indexes.values())}


@pytest.mark.parametrize("gone", ["1", "2", "3"])
def test_other_tags_of_an_image_stay_when_one_goes(gone: str) -> None:
    table = EMPTY
    for tag in ("1", "2", "3"):
        table = sign(table, WEB, tag, A)
    left = tuple(tag for tag in ("1", "2", "3") if tag != gone)
    for changed in (revoke_tag(table, path=WEB, tag=gone), sign(table, WEB, gone, C)):
        assert changed.targets[digest_path(WEB, A.digest)].tags == left
        assert {tag for tag, digest in tags_of(changed).items() if digest == A.digest} == {
            f"{WEB}:{tag}" for tag in left
        }


@pytest.mark.parametrize("is_reversed", [False, True])
def test_what_is_below_the_last_index_goes_however_the_role_lists_it(*, is_reversed: bool) -> None:
    table = sign(EMPTY, WEB, "multi", AB_C)
    entries = list(table.targets.items())
    listed: Table = replace(table, targets=dict(entries[::-1] if is_reversed else entries))
    assert not revoke_tag(listed, path=WEB, tag="multi").targets
