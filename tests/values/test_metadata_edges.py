"""Metadata as values, at the edges: what binds a role, and how long a role was signed for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from securesystemslib.signer import Key
from tuf.api.metadata import Delegations, Metadata, Root, Signed, SuccinctRoles, Targets

from tests.values.signed_roles import EXPIRES, IDS, ONE, OTHER, delegator, signed
from trust.canonical import signed_bytes
from trust.errors import InputError, RefusedError
from trust.metadata import (
    PERIOD_MAX_SECONDS,
    delegations_of,
    parse_metadata,
    period_of,
    require_binding,
    require_one_reading,
    signed_period,
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
        assert caught.value.reason == "tampered"


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"signed": {}, "signatures": []}', b'{"signed": 1, "signatures": {}}', b"\xff"]
)
def test_bytes_that_are_no_metadata_are_refused(body: bytes) -> None:
    with pytest.raises(RefusedError, match="role acme is not TUF metadata") as caught:
        parse_metadata(body, "acme")
    assert caught.value.reason == "tampered"


def unsupported(kind: str = "rsa") -> Key:
    """Return a key of another tool's, which the library holds and cannot try."""
    found = Key.from_dict("0123456789abcdef", {"keytype": "rsa", "scheme": "pgp+rsa-pkcsv1.5", "keyval": {}})
    found.keytype = kind
    return found


def test_root_that_readers_take_for_two_things_is_no_metadata() -> None:
    plain, wrong = Root(), Root()
    wrong.roles["timestamp"].threshold = True
    assert parse_metadata(Metadata(plain).to_bytes(), "root").signed == plain
    with pytest.raises(RefusedError, match="a version or a threshold is no number") as caught:
        parse_metadata(Metadata(wrong).to_bytes(), "root")
    assert caught.value.reason == "tampered"


def test_what_delegates_in_two_readings_is_read_and_not_understood() -> None:
    """The walk reads it first, to say of which role it is; what it delegates then counts for nothing."""
    wrong = delegator(*IDS)
    wrong.version = True
    read = parse_metadata(Metadata(wrong).to_bytes(), "targets").signed
    assert isinstance(read, Targets)
    with pytest.raises(RefusedError, match="a version or a threshold is no number") as caught:
        delegations_of(read)
    assert caught.value.reason == "tampered"


def test_key_that_nobody_here_can_try_is_told_by_its_kind_as_far_as_a_line_has_room() -> None:
    require_one_reading(delegator(*IDS))
    for length, shown in ((80, "x" * 80 + ", pgp+rsa-pkcsv1.5"), (82, "x" * 82 + ", pgp+rsa-pkcsv1.5"),
                          (83, "x" * 83 + ", pgp+rsa-pkcsv1."), (120, "x" * 100)):  # fmt: skip
        above = delegator(*IDS)
        assert above.delegations is not None
        above.delegations.keys["0123456789abcdef"] = unsupported("x" * length)
        with pytest.raises(InputError) as caught:
            require_one_reading(above)
        assert str(caught.value) == f"key 0123456789ab is of no kind that is supported: {shown[:100]}"
        assert len(shown) <= 100


def test_metadata_is_read_as_it_was_written_and_signed_over_the_same_bytes() -> None:
    metadata = signed(ONE)
    again = parse_metadata(metadata.to_bytes(), "acme")
    assert again.signed == metadata.signed
    assert signed_bytes(again) == signed_bytes(metadata)


@pytest.mark.parametrize(
    "fields",
    [
        {SIGNERS_FIELD: {}},
        {SIGNERS_FIELD: "ab"},
        {REVOKED_FIELD: {"x": {}}},
        {REVOKED_FIELD: 5},
        {REVOKED_FIELD: {f"sha256:{'a' * 64}": {}}},
    ],
)
def test_signed_field_that_is_malformed_is_refused(fields: dict[str, object]) -> None:
    assert table_of(Targets()).targets == {}
    with pytest.raises(RefusedError) as caught:
        table_of(Targets(unrecognized_fields=fields))
    assert caught.value.reason == "tampered"


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


@pytest.mark.parametrize("bits", [1, 4, 14])
def test_bins_are_read_as_they_were_signed(bits: int) -> None:
    bins = SuccinctRoles(["1"], 2, bits, "acme.g1")
    found = delegations_of(
        Targets(delegations=Delegations({}, succinct_roles=bins), unrecognized_fields={ROLE_FIELD: "acme"})
    ).bins
    assert found is not None
    assert (found.prefix, found.count, found.keyids, found.threshold) == ("acme.g1", 2**bits, ("1",), 2)
