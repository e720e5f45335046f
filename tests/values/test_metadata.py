"""Metadata as values: one key is one key however it is spelled, and what two could read differently is refused."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from securesystemslib.signer import CryptoSigner, Key, SSlibKey
from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, SuccinctRoles, Targets

from tests.simulators.world import World
from trust.delegations import BINS_MAX
from trust.errors import RefusedError
from trust.metadata import delegations_of, identity_of, require_different, role_keys, without_keys
from trust.roles import COLLECTION_FIELD, ROLE_FIELD

EXPIRES = datetime(2031, 5, 1, tzinfo=timezone.utc)
ECDSA = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
OTHER = (
    ec.generate_private_key(ec.SECP256R1())
    .public_key()
    .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    .decode()
)


def key(keyid: str, public: str, kind: str = "ecdsa") -> SSlibKey:
    return SSlibKey(keyid, kind, {"ecdsa": "ecdsa-sha2-nistp256", "ed25519": "ed25519"}[kind], {"public": public})


def targets(*roles: DelegatedRole, keys: list[Key] | None = None) -> Targets:
    found = {each.keyid: each for each in keys or []}
    return Targets(version=1, expires=EXPIRES, delegations=Delegations(found, {role.name: role for role in roles}))


def role(name: str, keyids: list[str], **how: Any) -> DelegatedRole:
    return DelegatedRole(name, keyids, 1, terminating=True, **how)


@pytest.mark.parametrize(
    ("kind", "one", "same", "other"),
    [
        ("ed25519", "ab" * 32, "AB" * 32, "cd" * 32),
        ("ecdsa", ECDSA, ECDSA.replace("\n", "\r\n"), OTHER),
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


@pytest.mark.parametrize("value", [None, 5, ["id"]])
def test_first_root_that_binds_no_collection_is_refused(world: World, value: object) -> None:
    root: Root = world.attacker.current("root").signed
    assert identity_of(root) == root.unrecognized_fields[COLLECTION_FIELD]
    root.unrecognized_fields[COLLECTION_FIELD] = value
    with pytest.raises(RefusedError, match="the pinned root has no") as caught:
        identity_of(root)
    assert caught.value.reason == "tampered"


def test_role_that_is_not_delegated_has_no_keys() -> None:
    above = targets(role("acme.web", ["1"], paths=["acme/web:*"]))
    assert role_keys(above, "acme.web").keyids == ["1"]
    with pytest.raises(RefusedError, match=r"role acme\.api is not delegated") as caught:
        role_keys(above, "acme.api")
    assert caught.value.reason == "tampered"


def test_delegation_by_hash_prefixes_is_refused() -> None:
    """Our walk knows patterns and bins: what it passed over, another reader would find."""
    with pytest.raises(RefusedError, match="by hash prefixes"):
        delegations_of(targets(role("acme.web", ["1"], path_hash_prefixes=["ab"])))


@pytest.mark.parametrize(
    ("roles", "what"),
    [
        ([{"name": 3}], "the name of a role"),
        ([{"keyids": "1"}], "key ids"),
        ([{"keyids": [1]}], "key ids"),
        ([{"paths": "acme"}], "paths"),
        ({"keyids": "1"}, "key ids"),
    ],
)
def test_delegation_of_other_types_than_text_is_refused(roles: Any, what: str) -> None:
    """python-tuf takes them, and a text for a list of its letters."""
    if isinstance(roles, list):
        plain = {"name": "acme.web", "keyids": ["1"], "threshold": 1, "terminating": True, "paths": ["acme/web:*"]}
        said: dict[str, Any] = {"roles": [plain | changes for changes in roles]}
    else:
        plain = {"keyids": ["1"], "threshold": 1, "bit_length": 3, "name_prefix": "acme.g1"}
        said = {"succinct_roles": plain | roles}
    delegations = Delegations.from_dict({"keys": {}, **said})
    signed = Targets(version=1, expires=EXPIRES, delegations=delegations, unrecognized_fields={ROLE_FIELD: "acme"})
    with pytest.raises(RefusedError, match=f"{what} is malformed"):
        delegations_of(signed)


def test_more_bins_than_are_understood_are_refused() -> None:
    for bits, is_understood in ((14, True), (15, False)):
        bins = SuccinctRoles(["1"], 1, bits, "acme.g1")
        said = Targets(delegations=Delegations({}, succinct_roles=bins), unrecognized_fields={ROLE_FIELD: "acme"})
        if is_understood:
            found = delegations_of(said).bins
            assert found is not None
            assert found.count == BINS_MAX
        else:
            with pytest.raises(RefusedError, match="too many bins"):
                delegations_of(said)
