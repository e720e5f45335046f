"""Whoever changes what waits so that a signer is shown less than he would sign: nobody signs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.attacks.thief import target_of
from tests.pending.tampering import sent, tamper
from tests.simulators.attacker import strangers
from tests.simulators.team import Member, team, waiting
from tests.simulators.world import Consumer, World, manifest_bytes, soon
from trust.canonical import canonical_bytes
from trust.delegate import NewRole, add
from trust.digest import sha256
from trust.errors import RefusedError
from trust.pending import PendingRole
from trust.revoke import Revocation, revoke
from trust.roles import REVOKED_FIELD
from trust.verdict import Reason

Edit = Callable[[Any], object]


@pytest.mark.parametrize(
    ("said", "edit"),
    [
        ("a signed field that is not known here", lambda signed: signed.unrecognized_fields.update({"x-more": 1})),
        (
            "a signed field that is not known here",
            lambda signed: signed.targets["acme/web:2.0"].unrecognized_fields["custom"].update({"x-more": 1}),
        ),
        (
            "a signed field that is not known here",
            lambda signed: signed.targets["acme/web:2.0"].unrecognized_fields.update({"x-more": 1}),
        ),
        ("expires too late", lambda signed: setattr(signed, "expires", signed.expires + timedelta(days=1))),
        ("jumps from version", lambda signed: setattr(signed, "version", 2**31)),
        ("jumps from version", lambda signed: setattr(signed, "version", 2)),
        ("a signed field", lambda signed: signed.unrecognized_fields.update({"x-collection": "0" * 32})),
        ("a signed field", lambda signed: signed.unrecognized_fields.update({"x-role": "acme.web"})),
        ("a signed field", lambda signed: signed.unrecognized_fields.update({"x-base": 1})),
        (
            "is another digest",
            lambda signed: setattr(
                signed.targets[f"acme/web@{sha256(manifest_bytes('acme/web:2.0'))}"],
                "hashes",
                {"sha256": sha256(b"evil").hex},
            ),
        ),
    ],
)  # fmt: skip
def test_change_of_which_one_field_is_not_shown_is_signed_by_nobody(
    world: World, consumer: Consumer, people: list[Member], said: str, edit: Edit
) -> None:
    ann, bob, _ = people
    sent(ann)
    change = tamper(world, lambda role: edit(role.metadata.signed), signer=ann)
    before, rows = waiting(world), consumer.rows()
    with pytest.raises(RefusedError, match=said) as caught:
        bob.approve(change.id)
    assert caught.value.reason == "tampered"
    assert bob.shown == []
    assert waiting(world) == before
    assert consumer.rows() == rows


def test_change_that_takes_back_a_revocation_is_signed_by_nobody(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    ann, bob, _ = people
    bob.approve(sent(ann).change.id)
    both = [
        Revocation(path="acme/web", tag=None, digest=sha256(manifest_bytes(f"acme/web:{tag}")))
        for tag in ("1.4", "2.0")
    ]
    waits = ann.do(lambda publisher: revoke(publisher, both)).waits
    assert waits is not None
    bob.approve(waits.change.id)
    assert consumer.denied().reason is Reason.REVOKED
    ann.sign("3.0")
    change = tamper(
        world, lambda role: role.metadata.signed.unrecognized_fields[REVOKED_FIELD].popitem(), signer=ann
    )
    before = waiting(world)
    with pytest.raises(RefusedError, match="takes back the revocation"):
        bob.approve(change.id)
    assert waiting(world) == before


def test_change_that_signs_anew_what_was_revoked_is_signed_by_nobody(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    """In the differences it would be a new tag, of a digest like any other."""
    ann, bob, _ = people
    revoked = manifest_bytes("acme/web:1.4")
    world.revoke(digest=sha256(revoked))
    sent(ann)

    def edit(role: PendingRole) -> None:
        targets = role.metadata.signed.targets
        for path in ("acme/web:1.4", f"acme/web@{sha256(revoked)}"):
            targets[path] = target_of(revoked)

    change = tamper(world, edit, signer=ann)
    before = waiting(world)
    with pytest.raises(RefusedError, match="whose digest was revoked"):
        bob.approve(change.id)
    assert bob.shown == []
    assert waiting(world) == before
    assert consumer.denied().reason is Reason.REVOKED


@pytest.mark.parametrize(
    ("said", "edit"),
    [
        ("a signed field that is not known here", lambda root: setattr(root, "consistent_snapshot", None)),
        ("which is not written down", lambda root: root.keys.pop(root.roles["targets"].keyids[0])),
        ("which is not written down", lambda root: root.roles["targets"].keyids.append("0" * 64)),
    ],
    ids=["a field less", "a key less", "a key id more"],
)
def test_root_that_cannot_be_compared_is_told_of_and_ends_nothing(
    world: World, consumer: Consumer, said: str, edit: Edit
) -> None:
    """Whoever can write to the store lays it there, without a key; a watch, too, looks at it."""
    ann, bob, _ = team(world, "root")
    ann.renew("root")
    tamper(world, lambda role: edit(role.metadata.signed), place="root")
    (shown,) = bob.pending()
    assert said in (shown.problem or "")
    assert not bob.settle().published
    with pytest.raises(RefusedError, match=said):
        bob.approve(shown.id)
    consumer.allowed()
    bob.reject(shown.id)
    assert not waiting(world)


def test_root_with_a_field_that_nobody_reads_is_signed_by_nobody(world: World) -> None:
    ann, bob, _ = team(world, "root")
    ann.renew("root")
    for edit in (
        lambda root: root.unrecognized_fields.update({"x-more": 1}),
        lambda root: root.roles["targets"].unrecognized_fields.update({"x-more": 1}),
        lambda root: next(iter(root.keys.values())).unrecognized_fields.update({"x-more": 1}),
        lambda root: setattr(root.roles["targets"], "threshold", 9),
        lambda root: setattr(root, "consistent_snapshot", False),
    ):
        data = waiting(world)["root"]
        change = tamper(world, lambda role: edit(role.metadata.signed), place="root")  # noqa: B023 - called at once
        with pytest.raises(RefusedError):
            bob.approve(change.id)
        world.store.set_pending("root", data, replaces=waiting(world)["root"], deadline=soon())


def test_key_under_the_id_of_another_is_refused(world: World) -> None:
    ann, bob, _ = team(world, "root")
    ann.renew("root")
    trusted, thief = world.keys["targets"][0].public_key, strangers()[0].public_key

    def edit(role: PendingRole) -> None:
        role.metadata.signed.keys[trusted.keyid].keyval = dict(thief.keyval)

    change = tamper(world, edit, place="root")
    with pytest.raises(RefusedError, match="is not the key of this id"):
        bob.approve(change.id)


def test_key_that_a_root_brings_in_is_shown_with_its_whole_id(world: World) -> None:
    ann, bob, _ = team(world, "root")
    ann.renew("root")
    stranger = strangers()[0].public_key
    change = tamper(world, lambda role: role.metadata.signed.add_key(stranger, "targets"), place="root")
    (shown,) = bob.pending()
    assert shown.id == change.id
    assert f"role targets gets key {stranger.keyid} ({stranger.keyid})" in shown.differences[0].words
    assert "role targets needs 2 of 4 keys, not 2 of 3" not in shown.differences[0].words


@pytest.mark.parametrize(
    "key",
    [
        {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": "zz"}},
        {"keytype": "rsa", "scheme": "pgp+rsa-pkcsv1.5", "keyval": {"public": "x"}},
    ],
    ids=["no hex", "of another tool"],
)
def test_change_with_a_key_that_cannot_be_tried_is_told_of_and_ends_nothing(
    world: World, people: list[Member], key: dict[str, Any]
) -> None:
    """Whoever can write to the store lays it there; a watch, too, looks at it."""
    ann, bob, _ = people
    role = NewRole(name="evil", patterns=("acme/evil:*",), keys=(strangers()[0].public_key,))
    ann.do(lambda publisher: add(publisher, [role]))
    data, keyid = waiting(world)["targets"], sha256(canonical_bytes(key)).hex
    document = json.loads(data)
    for each in document["roles"]:
        delegations = each["metadata"]["signed"].get("delegations")
        each["metadata"]["signatures"] = [{"keyid": keyid, "sig": "00"}] if each["name"] == "evil" else []
        if delegations:
            delegations["keys"][keyid] = key
            delegations["roles"][0]["keyids"] = sorted([*delegations["roles"][0]["keyids"], keyid])
    world.store.set_pending("targets", canonical_bytes(document), replaces=data, deadline=soon())
    before = world.attacker.files()
    (shown,) = bob.pending()
    assert shown.problem is not None or key["keytype"] == "ed25519"
    assert not bob.settle().published
    assert world.attacker.files() == before
    bob.reject(shown.id)
    assert not waiting(world)


def test_root_in_which_true_stands_for_one_is_no_change(world: World) -> None:
    """They are alike to Python, and nobody would be shown the difference."""
    ann, bob, _ = team(world, "root")
    ann.renew("root")
    data = waiting(world)["root"]
    document = json.loads(data)
    document["roles"][0]["metadata"]["signed"]["roles"]["timestamp"]["threshold"] = True
    world.store.set_pending("root", canonical_bytes(document), replaces=data, deadline=soon())
    (shown,) = bob.pending()
    assert "a threshold is no number" in (shown.problem or "")
