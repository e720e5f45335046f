"""What a new role may not go back behind: the policy's floor, the one content of a version, revocations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.metadata import Metadata, Role, Root, Snapshot, Targets, Timestamp

from tests.values.judgement import stanza
from tests.values.signed_roles import EXPIRES
from tests.values.test_chain import CHAIN
from trust.chain import TrustedChain
from trust.errors import RefusedError, StateError
from trust.floors import NOTHING, Floors, Known, Roots, require_sound, usable_bodies
from trust.roles import COLLECTION_FIELD, REVOKED_FIELD, ROLE_FIELD
from trust.value import replace

OLD, NEW = CryptoSigner.generate_ed25519(), CryptoSigner.generate_ed25519()
ONLINE = ("timestamp", "snapshot", "targets")
KINDS: dict[str, Any] = {"timestamp": Timestamp, "snapshot": Snapshot, "targets": Targets}


def signed(
    name: str, *, by: CryptoSigner = OLD, version: int = 7, fields: Mapping[str, object] | None = None
) -> Metadata[Any]:
    bound = {COLLECTION_FIELD: "id", ROLE_FIELD: name, **(fields or {})}
    metadata = Metadata(KINDS[name](version=version, expires=EXPIRES, unrecognized_fields=bound))
    metadata.sign(by)
    return metadata


def root(version: int, **signers: CryptoSigner) -> Metadata[Root]:
    """Return a root in which each role but those of ``signers`` has the old key."""
    by = {name: signers.get(name, OLD) for name in ("root", *ONLINE)}
    keys: dict[str, Key] = {each.public_key.keyid: each.public_key for each in by.values()}
    roles = {name: Role([each.public_key.keyid], 1) for name, each in by.items()}
    return Metadata(Root(version=version, expires=EXPIRES, keys=keys, roles=roles))


def roots(*several: Metadata[Root]) -> Roots:
    return Roots(bodies={each.signed.version: each.to_bytes() for each in several}, newest=several[-1])


def known(*, chain: TrustedChain = CHAIN, bodies: Mapping[str, bytes | None] | None = None) -> Known:
    """Return what was verified under root 7: each role in version 7, as it is signed unless ``bodies`` differ."""
    stored = {**{name: signed(name).to_bytes() for name in ONLINE}, **(bodies or {})}
    return replace(NOTHING, chain=chain, roots={7: root(7).to_bytes()}, body=stored.get)


def require(
    metadata: Metadata[Any], seen: Known, *, name: str = "targets", has_floor: bool = True, **floors: int
) -> None:
    checks = Floors(stanza=stanza(floors=floors), known=seen, roots=roots(root(7)), identity="id")
    checks.require(root(7).signed, name, metadata, metadata.to_bytes(), has_floor=has_floor)


def refused(metadata: Metadata[Any], seen: Known, **how: Any) -> str | None:
    with pytest.raises(RefusedError) as caught:
        require(metadata, seen, **how)
    return caught.value.reason


@pytest.mark.parametrize(("version", "is_taken"), [(4, False), (5, True), (6, True)])
def test_role_below_the_floor_of_the_policy_is_refused(version: int, *, is_taken: bool) -> None:
    metadata = signed("targets", version=version)
    require(metadata, NOTHING, snapshot=5)
    if is_taken:
        require(metadata, NOTHING, targets=5)
    else:
        assert refused(metadata, NOTHING, targets=5) == "rolled-back"
        assert refused(metadata, NOTHING, targets=5, has_floor=False) == "rolled-back"


@pytest.mark.parametrize("name", ONLINE)
def test_version_that_was_verified_has_one_content(name: str) -> None:
    other = signed(name, fields={"extra": 1})
    require(signed(name), known(), name=name)
    assert refused(other, known(), name=name) == "tampered"
    for version in (6, 8):
        require(signed(name, version=version, fields={"extra": 1}), known(), name=name)
    require(other, known(), name=name, has_floor=False)
    require(other, NOTHING, name=name)


def test_version_whose_stored_content_is_damaged_is_no_second_content() -> None:
    with pytest.raises(StateError, match="trusted state is damaged: role targets"):
        require(signed("targets", fields={"extra": 1}), known(bodies={"targets": b"{}"}))


@pytest.mark.parametrize("above", ["acme", "targets", "zz"])
def test_delegated_role_is_compared_with_what_is_stored_of_it(above: str) -> None:
    """It is none of root's: whether what is stored is sound is not for root to say."""
    below = replace(CHAIN, roles={**CHAIN.roles, "targets": replace(CHAIN.roles["targets"], delegator=above)})
    for body in (b"{}", signed("targets").to_bytes()):
        seen = known(chain=below, bodies={"targets": body})
        checks = Floors(stanza=stanza(), known=seen, roots=roots(root(7)), identity="id")
        with pytest.raises(RefusedError, match="has two contents"):
            checks._require_one_content("targets", 7, b"other")


def stones(**paths: str) -> dict[str, Any]:
    """Return tombstones of digests ``aaaa…``, ``bbbb…``; each of ``paths`` is a letter's, parted by blanks."""
    stone = {"at": "2031-01-01T00:00:00Z", "by": []}
    return {f"sha256:{letter * 64}": {**stone, "paths": said.split()} for letter, said in paths.items()}


def test_revocation_that_was_seen_does_not_go() -> None:
    before = stones(a="acme/web:1 acme/web:2", b="acme/web:3")
    seen = known(bodies={"targets": signed("targets", fields={REVOKED_FIELD: before}).to_bytes()})

    def later(said: object, name: str = "targets") -> Metadata[Any]:
        return signed(name, version=8, fields={REVOKED_FIELD: said})

    kept: list[dict[str, Any]] = [
        before,
        stones(b="acme/web:3", a="acme/web:2 acme/web:1"),
        before | stones(a="acme/web:0 acme/web:1 acme/web:2"),
        before | stones(c=""),
    ]
    for said in kept:
        require(later(said), seen)
    left: list[dict[str, Any]] = [
        {},
        stones(a="acme/web:1 acme/web:2"),
        stones(b="acme/web:3"),
        stones(a="acme/web:1 acme/web:2", c="acme/web:3"),
        before | stones(a="acme/web:1"),
        before | stones(a="acme/web:1 acme/web:3"),
        before | stones(b=""),
    ]
    for gone in left:
        assert refused(later(gone), seen) == "rolled-back"
        require(later(gone), seen, has_floor=False)
    assert refused(signed("targets", version=8), seen) == "rolled-back"
    require(later({}), known())
    require(later({}), known(bodies={"targets": None}))
    for name in ("snapshot", "timestamp"):
        other = signed(name, fields={REVOKED_FIELD: before}).to_bytes()
        require(later({}, name), known(bodies={name: other}), name=name)


@pytest.mark.parametrize("malformed", [[], ["a"], {"a": {}}, {f"sha256:{'a' * 64}": {}}, 5])
def test_revocations_that_cannot_be_read_are_refused_and_those_that_are_stored_are_damage(malformed: Any) -> None:
    fields = {REVOKED_FIELD: malformed}
    seen = known(bodies={"targets": signed("targets").to_bytes()})
    assert refused(signed("targets", version=8, fields=fields), seen) == "tampered"
    for body in (signed("targets", fields=fields).to_bytes(), b"no metadata"):
        with pytest.raises(StateError, match="trusted state is damaged: role targets"):
            require(signed("targets", version=8), known(bodies={"targets": body}))


def test_role_that_is_bound_elsewhere_or_signed_by_too_few_is_refused_with_a_floor_or_without() -> None:
    for has_floor in (True, False):
        assert (
            refused(signed("targets", fields={ROLE_FIELD: "snapshot"}), NOTHING, has_floor=has_floor) == "tampered"
        )
        assert refused(signed("targets", by=NEW), NOTHING, has_floor=has_floor) == "below-threshold"
        doubled = root(7).signed
        twin = OLD.public_key.to_dict()
        twin["keyval"]["public"] = twin["keyval"]["public"].upper()
        doubled.keys["twin"] = type(OLD.public_key).from_dict("twin", twin)
        doubled.roles["targets"].keyids.append("twin")
        checks = Floors(stanza=stanza(), known=NOTHING, roots=roots(root(7)), identity="id")
        with pytest.raises(RefusedError, match="one key under two ids"):
            checks.require(doubled, "targets", signed("targets"), b"", has_floor=has_floor)


@pytest.mark.parametrize("changed", ["timestamp", "snapshot"])
def test_bodies_whose_online_keys_a_newer_root_changed_are_no_floors(changed: str) -> None:
    old, new = root(7), root(8, **{changed: NEW})
    assert set(usable_bodies(known(), roots(old))) == set(ONLINE)
    assert set(usable_bodies(known(), roots(old, root(8)))) == set(ONLINE)
    assert set(usable_bodies(known(), roots(old, new))) == {"targets"}
    back = {name: signed(name, by=NEW if name == changed else OLD).to_bytes() for name in ONLINE}
    seen = replace(known(bodies=back), roots={7: root(7, **{changed: NEW}).to_bytes()})
    assert set(usable_bodies(seen, roots(root(7, **{changed: NEW}), root(8)))) == {"targets"}
    assert set(usable_bodies(known(), roots(old, root(8, targets=NEW)))) == set(ONLINE)
    assert usable_bodies(replace(known(), chain=None), roots(old)) == {}
    assert set(usable_bodies(known(bodies={"targets": None}), roots(old))) == {"timestamp", "snapshot"}


@pytest.mark.parametrize("name", ["timestamp", "snapshot"])
@pytest.mark.parametrize("body", [None, b"", b"{}", signed("targets").to_bytes()])
def test_floor_that_is_not_what_was_stored_is_damage(name: str, body: bytes | None) -> None:
    with pytest.raises(StateError, match=f"trusted state is damaged: role {name}"):
        usable_bodies(known(bodies={name: body}), roots(root(7)))


def test_stored_role_without_its_root_or_signed_by_another_key_is_damage() -> None:
    require_sound(known(), roots(root(7)), "targets")
    with pytest.raises(StateError, match="it has no root"):
        require_sound(known(), roots(root(8)), "targets")
    with pytest.raises(StateError, match="it has no root"):
        require_sound(replace(known(), chain=None), roots(root(7)), "targets")
    with pytest.raises(StateError, match="trusted state is damaged: role targets"):
        require_sound(known(bodies={"targets": signed("targets", by=NEW).to_bytes()}), roots(root(7)), "targets")


def test_what_is_known_of_a_role_is_of_the_chain() -> None:
    assert known().role("targets") == CHAIN.roles["targets"]
    assert known().under("below", "one") == CHAIN.roles["below"]
    assert (NOTHING.role("targets"), NOTHING.under("below", "one")) == (None, None)
