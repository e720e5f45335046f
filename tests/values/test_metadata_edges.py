"""Metadata as values, at the edges: what binds a role, whose keys count, and how long a role was signed for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Delegations, Metadata, Root, Signed, SuccinctRoles, Targets

from tests.values.test_metadata import ECDSA, EXPIRES, key, role, targets
from tests.values.test_metadata import OTHER as OTHER_ECDSA
from trust.errors import RefusedError
from trust.metadata import (
    PERIOD_MAX_SECONDS,
    delegations_of,
    keys_of,
    parse_metadata,
    period_of,
    require_binding,
    require_different,
    require_distinct_keys,
    require_single_ids,
    signed_bytes_of,
    signed_period,
    signers_of,
    table_of,
    trusted_role,
)
from trust.roles import (
    COLLECTION_FIELD,
    DEFAULT_EXPIRY,
    EXPIRY_FIELD,
    PERIOD_FIELD,
    REVOKED_FIELD,
    ROLE_FIELD,
    SIGNERS_FIELD,
)

ONE, OTHER = sorted((CryptoSigner.generate_ed25519() for _ in range(2)), key=lambda each: each.public_key.keyid)
IDS = [ONE.public_key.keyid, OTHER.public_key.keyid]


def twin(signer: CryptoSigner) -> Any:
    """Return the key of ``signer`` under another id, in capitals."""
    return key("twin", signer.public_key.to_dict()["keyval"]["public"].upper(), "ed25519")


def delegator(*keyids: str, threshold: int = 1, period: object = None) -> Targets:
    fields = {} if period is None else {EXPIRY_FIELD: period}
    found = role("acme.web", list(keyids), paths=["acme/web:*"], unrecognized_fields=fields)
    found.threshold = threshold
    return targets(found, keys=[ONE.public_key, OTHER.public_key, twin(ONE)])


def signed(*signers: CryptoSigner, twins: bool = False) -> Metadata[Any]:
    metadata = Metadata(Targets(version=3, expires=EXPIRES))
    for signer in signers:
        metadata.sign(signer, append=True)
    if twins:
        metadata.signatures["twin"] = metadata.signatures[ONE.public_key.keyid]
    return metadata


def reason(caught: pytest.ExceptionInfo[RefusedError]) -> str | None:
    return caught.value.reason


@pytest.mark.parametrize(("key", "right"), [(COLLECTION_FIELD, "identity"), (ROLE_FIELD, "acme.web")])
@pytest.mark.parametrize("wrong", ["a", "z", "", None, 1])
def test_role_that_binds_another_name_before_or_behind_the_right_one_is_refused(
    key: str, right: str, wrong: object
) -> None:
    fields = {COLLECTION_FIELD: "identity", ROLE_FIELD: "acme.web"}
    require_binding(Targets(unrecognized_fields=fields), "acme.web", "identity")
    assert fields[key] == right
    for changed in ({**fields, key: wrong}, {name: value for name, value in fields.items() if name != key}):
        with pytest.raises(RefusedError, match="belongs elsewhere") as caught:
            require_binding(Targets(unrecognized_fields=changed), "acme.web", "identity")
        assert reason(caught) == "tampered"


def test_threshold_is_met_by_different_keys_alone() -> None:
    both = delegator(*IDS, "twin", threshold=2)
    require_distinct_keys(both, signed(ONE, OTHER), "acme.web")
    require_distinct_keys(both, signed(ONE, OTHER, twins=True), "acme.web")
    require_distinct_keys(delegator(*IDS, "twin"), signed(ONE, twins=True), "acme.web")
    require_distinct_keys(delegator(*IDS), signed(ONE, OTHER), "acme.web")
    for metadata in (signed(ONE, twins=True), signed(ONE), signed()):
        with pytest.raises(RefusedError, match="expected 2 signatures by different keys") as caught:
            require_distinct_keys(both, metadata, "acme.web")
        assert reason(caught) == "below-threshold"


def test_role_that_lists_one_key_under_two_ids_is_refused_and_one_that_repeats_an_id_is_not() -> None:
    require_single_ids(delegator(*IDS), "acme.web")
    require_single_ids(delegator(*IDS, "nobody's"), "acme.web")
    for keyids in ((IDS[0], "twin"), ("twin", IDS[0]), ("twin", *IDS)):
        with pytest.raises(RefusedError, match="lists one key under two ids") as caught:
            require_single_ids(delegator(*keyids), "acme.web")
        assert reason(caught) == "below-threshold"


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


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"signed": {}, "signatures": []}', b'{"signed": 1, "signatures": {}}', b"\xff"]
)
def test_bytes_that_are_no_metadata_are_refused(body: bytes) -> None:
    with pytest.raises(RefusedError, match="role acme is not TUF metadata") as caught:
        parse_metadata(body, "acme")
    assert reason(caught) == "tampered"


def test_metadata_is_read_as_it_was_written_and_signed_over_the_same_bytes() -> None:
    metadata = signed(ONE)
    again = parse_metadata(metadata.to_bytes(), "acme")
    assert again.signed == metadata.signed
    assert signed_bytes_of(again) == signed_bytes_of(metadata)


@pytest.mark.parametrize(
    "fields", [{SIGNERS_FIELD: {}}, {SIGNERS_FIELD: "ab"}, {REVOKED_FIELD: {"x": {}}}, {REVOKED_FIELD: 5}]
)
def test_signed_field_that_is_malformed_is_refused(fields: dict[str, object]) -> None:
    assert table_of(Targets()).targets == {}
    with pytest.raises(RefusedError) as caught:
        table_of(Targets(unrecognized_fields=fields))
    assert reason(caught) == "tampered"


@pytest.mark.parametrize(
    ("seconds", "is_taken"),
    [(1, True), (60, True), (PERIOD_MAX_SECONDS, True), (PERIOD_MAX_SECONDS + 1, False), (0, False), (-1, False),
     ("60", False), (60.0, False), (None, False)],
)  # fmt: skip
def test_period_that_is_none_is_the_default(seconds: object, *, is_taken: bool) -> None:
    root = Root(unrecognized_fields={EXPIRY_FIELD: {"snapshot": seconds}})
    said: Signed = Targets(unrecognized_fields={PERIOD_FIELD: seconds})
    wanted = timedelta(seconds=seconds) if is_taken and isinstance(seconds, int) else None
    assert period_of(root, "snapshot") == (wanted or DEFAULT_EXPIRY["snapshot"])
    assert period_of(delegator(*IDS, period=seconds), "acme.web") == (wanted or DEFAULT_EXPIRY["targets"])
    assert signed_period(Root(), "snapshot", said) == (wanted or DEFAULT_EXPIRY["snapshot"])
    assert delegations_of(delegator(*IDS, period=seconds)).roles[0].period == wanted


@pytest.mark.parametrize("fields", [{}, {EXPIRY_FIELD: 5}, {EXPIRY_FIELD: {}}, {EXPIRY_FIELD: ["root"]}])
def test_root_that_says_no_periods_leaves_the_defaults(fields: dict[str, object]) -> None:
    for name, span in DEFAULT_EXPIRY.items():
        assert period_of(Root(unrecognized_fields=fields), name) == span


def test_verified_role_is_told_as_it_was_signed() -> None:
    above = delegator(*IDS, threshold=2)
    above.version = 9
    found = trusted_role(above, "targets", Root(version=4), "acme.web", signed(ONE, OTHER), b"body")
    assert (found.root_version, found.delegator, found.delegator_version, found.body) == (4, "targets", 9, b"body")
    facts = found.facts
    assert (facts.name, facts.version, facts.expires, facts.threshold) == ("acme.web", 3, EXPIRES, 2)
    assert (facts.signers, facts.period) == (tuple(IDS), DEFAULT_EXPIRY["targets"])


def test_delegation_keeps_what_was_signed_of_it() -> None:
    assert delegations_of(Targets()).roles == ()
    found = delegations_of(delegator(*IDS, threshold=2))
    assert [(each.name, each.patterns, each.threshold) for each in found.roles] == [
        ("acme.web", ("acme/web:*",), 2)
    ]
    assert found.roles[0].keyids == tuple(IDS)
    assert found.roles[0].terminating
    assert set(found.keys) == {*IDS, "twin"}
    assert found.keys[IDS[0]]["keyid"] == IDS[0]


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_keys_of_other_kinds_are_told_by_what_they_are(kind: str) -> None:
    one, other = (key(keyid, public, "ecdsa") for keyid, public in (("1", ECDSA), ("2", OTHER_ECDSA)))
    for each in (one, other):
        each.keytype = kind
    require_different("acme", [one, other])
    with pytest.raises(RefusedError, match="one key under two ids"):
        require_different("acme", [one, SSlibKey("3", kind, one.scheme, dict(one.keyval))])


@pytest.mark.parametrize("bits", [1, 4, 14])
def test_bins_are_read_as_they_were_signed(bits: int) -> None:
    bins = SuccinctRoles(["1"], 2, bits, "acme.g1")
    found = delegations_of(
        Targets(delegations=Delegations({}, succinct_roles=bins), unrecognized_fields={ROLE_FIELD: "acme"})
    ).bins
    assert found is not None
    assert (found.prefix, found.count, found.keyids, found.threshold) == ("acme.g1", 2**bits, ("1",), 2)
