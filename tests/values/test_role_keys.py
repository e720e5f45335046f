"""Whose keys count for a role: one key is one key however it is spelled, and nobody else's signature counts."""

from __future__ import annotations

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Metadata, Root, Targets

from tests.values.signed_roles import IDS, ONE, OTHER, delegator, key, pem, role, signed, targets
from trust.errors import RefusedError
from trust.role_keys import (
    keys_of,
    require_different,
    require_distinct_keys,
    require_single_ids,
    role_keys,
    signers_of,
    without_keys,
)

ECDSA, OTHER_ECDSA = pem(), pem()


@pytest.mark.parametrize(
    ("kind", "one", "same", "other"),
    [
        ("ed25519", "ab" * 32, "AB" * 32, "cd" * 32),
        ("ecdsa", ECDSA, ECDSA.replace("\n", "\r\n"), OTHER_ECDSA),
        ("ecdsa", "no key that anybody can read", "no key that anybody can read", "another"),
    ],
    ids=["hex in capitals", "other ends of lines", "unreadable"],
)
def test_key_in_another_spelling_is_no_second_key(kind: str, one: str, same: str, other: str) -> None:
    require_different("acme", [key("1", one, kind), key("2", other, kind)])
    require_different("acme", [key("1", one, kind), key("1", same, kind)])
    with pytest.raises(RefusedError, match="one key under two ids: 1 and 2") as caught:
        require_different("acme", [key("1", one, kind), key("2", same, kind)])
    assert caught.value.reason == "below-threshold"


def test_signatures_of_a_key_go_with_those_under_its_other_ids() -> None:
    gone, kept = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
    spelled = gone.public_key.to_dict()["keyval"]["public"].upper()
    above = targets(keys=[gone.public_key, kept.public_key, key("twin", spelled, "ed25519")])
    metadata = Metadata(targets())
    for signer in (gone, kept):
        metadata.sign(signer, append=True)
    metadata.signatures["twin"] = metadata.signatures[gone.public_key.keyid]
    left = without_keys(above, metadata, [gone.public_key.keyid, "nobody's"])
    assert list(left.signatures) == [kept.public_key.keyid]
    assert list(without_keys(Targets(), metadata, []).signatures) == list(metadata.signatures)


def test_role_that_is_not_delegated_has_no_keys() -> None:
    above = targets(role("acme.web", ["1"], paths=["acme/web:*"]))
    assert role_keys(above, "acme.web").keyids == ["1"]
    with pytest.raises(RefusedError, match=r"role acme\.api is not delegated") as caught:
        role_keys(above, "acme.api")
    assert caught.value.reason == "tampered"


def test_threshold_is_met_by_different_keys_alone() -> None:
    both = delegator(*IDS, "twin", threshold=2)
    require_distinct_keys(both, signed(ONE, OTHER), "acme.web")
    require_distinct_keys(both, signed(ONE, OTHER, twins=True), "acme.web")
    require_distinct_keys(delegator(*IDS, "twin"), signed(ONE, twins=True), "acme.web")
    require_distinct_keys(delegator(*IDS), signed(ONE, OTHER), "acme.web")
    for metadata in (signed(ONE, twins=True), signed(ONE), signed()):
        with pytest.raises(RefusedError, match="expected 2 signatures by different keys") as caught:
            require_distinct_keys(both, metadata, "acme.web")
        assert caught.value.reason == "below-threshold"


def test_role_that_lists_one_key_under_two_ids_is_refused_and_one_that_repeats_an_id_is_not() -> None:
    require_single_ids(delegator(*IDS), "acme.web")
    require_single_ids(delegator(*IDS, "nobody's"), "acme.web")
    for keyids in ((IDS[0], "twin"), ("twin", IDS[0]), ("twin", *IDS)):
        with pytest.raises(RefusedError, match="lists one key under two ids") as caught:
            require_single_ids(delegator(*keyids), "acme.web")
        assert caught.value.reason == "below-threshold"


def test_signers_are_those_of_the_role_that_have_validly_signed_in_order() -> None:
    metadata = signed(OTHER, ONE)
    assert signers_of(delegator(*IDS), metadata, "acme.web") == tuple(IDS)
    assert signers_of(delegator(IDS[1]), metadata, "acme.web") == (IDS[1],)
    metadata.signatures[IDS[0]] = metadata.signatures[IDS[1]]
    assert signers_of(delegator(*IDS), metadata, "acme.web") == (IDS[1],)


def test_keys_are_those_of_root_or_of_what_delegates() -> None:
    root = Root(keys={ONE.public_key.keyid: ONE.public_key}, roles=Root().roles)
    assert keys_of(root) == {IDS[0]: ONE.public_key}
    assert set(keys_of(delegator(*IDS))) == {*IDS, "twin"}
    assert keys_of(Targets()) == {}


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_keys_of_other_kinds_are_told_by_what_they_are(kind: str) -> None:
    one, other = (key(keyid, public, "ecdsa") for keyid, public in (("1", ECDSA), ("2", OTHER_ECDSA)))
    for each in (one, other):
        each.keytype = kind
    require_different("acme", [one, other])
    with pytest.raises(RefusedError, match="one key under two ids"):
        require_different("acme", [one, SSlibKey("3", kind, one.scheme, {"public": ECDSA.replace("\n", "\r\n")})])
