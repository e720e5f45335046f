"""What is signed about an image, and the tags that name it, are found past what is not there, and it ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulators.images import AB, AB_C, EMPTY, A, B, attest, attestation_of, image_of, sign
from tests.values.test_chain import CHAIN, ROLES, role
from trust.attestations import INDEXES_MAX, attestations_of
from trust.chain import STALE, RoleRefusal, TrustedChain
from trust.digest import Digest, parse_digest
from trust.naming import HOLDERS_MAX, is_named
from trust.targets import Table, Target, digest_path
from trust.value import replace

WEB = "acme/web"
LONE = sign(EMPTY, WEB, None, A).targets[digest_path(WEB, A.digest)]


def attested() -> Table:
    return attest(sign(EMPTY, WEB, None, AB), WEB, AB.digest, "spdx")


@pytest.mark.parametrize("gone", [Digest(algorithm="sha256", hex=digit * 64) for digit in "0f"])
def test_index_that_is_not_signed_hides_no_attestation_of_another(gone: Digest) -> None:
    table = attested()
    name = digest_path(WEB, A.digest)
    for inside in ((gone, AB.digest), (AB.digest, gone)):
        targets = {**table.targets, name: replace(table.targets[name], inside=inside)}
        said = attestations_of(targets.get, WEB, A.digest)
        assert said == {"spdx": (attestation_of(WEB, AB.digest, "spdx").digest,)}


def test_attestations_in_a_circle_of_indexes_are_found_once() -> None:
    table = attested()
    name, asked = digest_path(WEB, AB.digest), []
    targets = {**table.targets, name: replace(table.targets[name], inside=(A.digest,))}

    def find(path: str) -> Target | None:
        asked.append(path)
        assert len(asked) < 10, "the look-up goes round"
        return targets.get(path)

    said = attestations_of(find, WEB, A.digest)
    assert said == {"spdx": (attestation_of(WEB, AB.digest, "spdx").digest,)}
    assert len(asked) == 2


def test_attestations_of_no_more_indexes_than_the_limit_are_looked_at() -> None:
    above = tuple(image_of(f"index {number}").digest for number in range(3 * INDEXES_MAX))
    asked = []

    def find(path: str) -> Target | None:
        asked.append(path)
        halves = above[: INDEXES_MAX // 2], above
        return replace(LONE, inside=halves[0] if len(asked) == 1 else halves[1])

    attestations_of(find, WEB, A.digest)
    assert len(asked) == INDEXES_MAX


def test_index_that_was_seen_hides_no_tag_of_the_next() -> None:
    """``A`` is in two indexes, and the first is in itself."""
    table = sign(EMPTY, WEB, "multi", AB_C)
    one, two = digest_path(WEB, A.digest), digest_path(WEB, B.digest)
    targets = {
        **table.targets,
        one: replace(table.targets[one], inside=(B.digest,)),
        two: replace(table.targets[two], inside=(A.digest, B.digest, AB.digest)),
    }
    assert is_named(targets.get, WEB, targets[one])


@pytest.mark.parametrize("digit", "0f")
def test_target_of_another_digest_under_the_name_of_an_index_names_nothing(digit: str) -> None:
    other = parse_digest(f"sha256:{digit * 64}")

    def find(_path: str) -> Target | None:
        return replace(LONE, digest=other, tags=("1",))

    assert not is_named(find, WEB, replace(LONE, inside=(AB.digest,)))


def test_manifest_in_as_many_others_as_are_looked_at_is_decided() -> None:
    above = tuple(image_of(f"index {number}").digest for number in range(HOLDERS_MAX))
    assert not is_named(lambda _path: None, WEB, replace(LONE, inside=above))


@pytest.mark.parametrize("above", ["a", "z"])
def test_role_that_two_delegate_to_is_found_as_it_was_verified_under_each(above: str) -> None:
    """Names before and after the first delegator's in the alphabet."""
    other = role("below", above, version=9)
    chain = replace(CHAIN, shared={("below", above): other})
    assert chain.under("below", above) == other
    assert chain.under("below", "one") == CHAIN.roles["below"]
    assert chain.under("below", "other") is None


@pytest.mark.parametrize("name", ROLES)
@pytest.mark.parametrize("change", [{"root_version": 8}, {"delegator_version": 8}])
def test_role_that_was_verified_under_a_root_that_is_not_trusted_yet_is_not_current(
    name: str, change: dict[str, Any]
) -> None:
    changed = replace(ROLES[name], **change)
    assert not replace(CHAIN, roles={**CHAIN.roles, name: changed}).is_current(name)


def test_stale_role_is_current_under_no_root_not_even_the_first() -> None:
    first = {
        name: replace(found, facts=replace(found.facts, version=1), root_version=1, delegator_version=1)
        for name, found in ROLES.items()
    }
    chain: TrustedChain = replace(CHAIN, root_version=1, roles=first)
    assert chain.is_coherent()
    stale = {**first, "targets": replace(first["targets"], root_version=STALE)}
    assert not replace(chain, roles=stale).is_current("targets")


def test_refusal_of_a_role_is_a_value() -> None:
    assert RoleRefusal(reason="expired", detail="why").hint is None


def test_digests_stand_in_the_order_of_their_text() -> None:
    digests = [Digest(algorithm=name, hex=digit * 64) for name in ("sha256", "sha512") for digit in "09af"]
    mixed = digests[::-1]
    assert sorted(mixed) == digests
    assert [str(each) for each in digests] == sorted(map(str, digests))
