"""A tag names a manifest by itself or through what it is in: whatever a signer writes, the look-up ends."""

from __future__ import annotations

import pytest

from tests.simulators.images import AB, AB_C, EMPTY, A, C, attest, attestation_of, image_of, sign
from trust.digest import Digest
from trust.errors import LimitError
from trust.naming import HOLDERS_MAX, is_named
from trust.roles import Image
from trust.targets import Table, Target, digest_path
from trust.value import replace

WEB = "acme/web"


def named(table: Table, digest: Digest) -> bool:
    return is_named(table.targets.get, WEB, table.targets[digest_path(WEB, digest)])


@pytest.mark.parametrize("image", [AB_C, AB, A, C])
def test_child_is_named_by_the_tag_of_an_index_above_it_and_by_none_elsewhere(image: Image) -> None:
    untagged = sign(sign(EMPTY, WEB, None, AB_C), "acme/db", "multi", AB_C)
    assert not named(untagged, image.digest)
    assert named(sign(untagged, WEB, "multi", AB_C), image.digest)


def test_attestation_is_named_by_the_tag_of_what_it_speaks_of() -> None:
    said = attestation_of(WEB, A.digest, "spdx").digest
    for tag, is_so in ((None, False), ("1", True)):
        assert named(attest(sign(EMPTY, WEB, tag, A), WEB, A.digest, "spdx"), said) == is_so


def test_index_that_is_not_signed_or_is_another_under_its_name_names_nothing() -> None:
    table = sign(EMPTY, WEB, "multi", AB)
    name = digest_path(WEB, AB.digest)
    swapped = {**table.targets, name: replace(table.targets[name], digest=C.digest)}
    gone = {path: target for path, target in table.targets.items() if path != name}
    for targets in (swapped, gone):
        assert not is_named(targets.get, WEB, targets[digest_path(WEB, A.digest)])


def test_circle_of_signed_indexes_names_nothing_and_ends() -> None:
    table = sign(EMPTY, WEB, None, AB)
    one, other = (digest_path(WEB, image.digest) for image in (A, AB))
    targets = {**table.targets, other: replace(table.targets[other], inside=(A.digest,))}
    assert not is_named(targets.get, WEB, targets[one])


def test_manifest_in_more_indexes_than_are_looked_at_is_not_decided() -> None:
    above = [image_of(f"index {number}").digest for number in range(HOLDERS_MAX + 1)]
    lone = sign(EMPTY, WEB, None, A).targets[digest_path(WEB, A.digest)]

    def find(path: str) -> Target | None:
        return replace(lone, digest=next(each for each in above if path == digest_path(WEB, each)))

    assert not is_named(find, WEB, replace(lone, inside=tuple(above[:HOLDERS_MAX])))
    with pytest.raises(LimitError, match=f"more than {HOLDERS_MAX} others"):
        is_named(find, WEB, replace(lone, inside=tuple(above)))
