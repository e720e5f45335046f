"""Whoever can write to the store, or hands over a file, against those who sign what waits."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.simulators.attacker import strangers
from tests.simulators.team import Member, team, waiting
from tests.simulators.world import Consumer, World, manifest_bytes, soon
from trust.approve import approve
from trust.canonical import canonical_bytes, signed_bytes
from trust.carry import carried, exported
from trust.delegate import NewRole, add
from trust.digest import sha256
from trust.errors import ConflictError, InputError, RefusedError, StaleError, TrustError
from trust.pending import Pending, PendingRole, parse_pending, pending_bytes
from trust.proposal import Waiting
from trust.publish import Publisher
from trust.revoke import Revocation, revoke
from trust.roles import REVOKED_FIELD
from trust.value import replace
from trust.verdict import Reason

NEW = "registry.test/acme/web:2.0"
Edit = Callable[[Any], object]


def test_signature_that_was_stripped_is_missing_and_nothing_is_published(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    ann, bob, eve = people
    waits = _signed(ann)
    _tamper(world, lambda role: role.metadata.signatures.clear())
    done = bob.approve(waits.change.id)
    assert done.waits is not None
    assert done.waits.roles[0].signed == (bob.keys[0].public_key.keyid,)
    assert consumer.refusal(NEW).reason is Reason.UNSIGNED
    eve.approve(waits.change.id)
    consumer.allowed(NEW)


def test_content_that_was_changed_has_another_id_and_keeps_no_signature(
    world: World, people: list[Member]
) -> None:
    ann, bob, _ = people
    waits = _signed(ann)
    evil = sha256(manifest_bytes("evil"))

    def edit(role: PendingRole) -> None:
        role.metadata.signed.targets["acme/web:2.0"].hashes["sha256"] = evil.hex

    _tamper(world, edit)
    with pytest.raises(InputError, match="no change with this id waits"):
        bob.approve(waits.change.id)
    (shown,) = bob.pending()
    assert shown.waiting is not None
    assert shown.waiting.roles[0].signed == ()
    assert any(f"acme/web:2.0 is new: {evil}" in line for line in shown.differences[0].words)


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
    _signed(ann)
    change = _tamper(world, lambda role: edit(role.metadata.signed), signer=ann)
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
    bob.approve(_signed(ann).change.id)
    both = [
        Revocation(path="acme/web", tag=None, digest=sha256(manifest_bytes(f"acme/web:{tag}")))
        for tag in ("1.4", "2.0")
    ]
    waits = ann.do(lambda publisher: revoke(publisher, both)).waits
    assert waits is not None
    bob.approve(waits.change.id)
    assert consumer.denied().reason is Reason.REVOKED
    ann.sign("3.0")
    change = _tamper(
        world, lambda role: role.metadata.signed.unrecognized_fields[REVOKED_FIELD].popitem(), signer=ann
    )
    before = waiting(world)
    with pytest.raises(RefusedError, match="takes back the revocation"):
        bob.approve(change.id)
    assert waiting(world) == before


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
        change = _tamper(world, lambda role: edit(role.metadata.signed), place="root")  # noqa: B023 - called at once
        with pytest.raises(RefusedError):
            bob.approve(change.id)
        world.store.set_pending("root", data, replaces=waiting(world)["root"], deadline=soon())


def test_key_under_the_id_of_another_is_refused(world: World) -> None:
    ann, bob, _ = team(world, "root")
    ann.renew("root")
    trusted, thief = world.keys["targets"][0].public_key, strangers()[0].public_key

    def edit(role: PendingRole) -> None:
        role.metadata.signed.keys[trusted.keyid].keyval = dict(thief.keyval)

    change = _tamper(world, edit, place="root")
    with pytest.raises(RefusedError, match="is not the key of this id"):
        bob.approve(change.id)


def test_key_that_a_root_brings_in_is_shown_with_its_whole_id(world: World) -> None:
    ann, bob, _ = team(world, "root")
    ann.renew("root")
    stranger = strangers()[0].public_key
    change = _tamper(world, lambda role: role.metadata.signed.add_key(stranger, "targets"), place="root")
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


def test_bytes_of_which_a_change_has_its_id_are_laid_beside_it_in_vain(
    world: World, people: list[Member], consumer: Consumer
) -> None:
    ann, bob, _ = people
    change = _signed(ann).change
    known = b"[" + b",".join(signed_bytes(role.metadata) for role in change.roles) + b"]"
    assert sha256(known) == change.id
    for place in ("aaa", "bbb"):
        world.store.set_pending(place, known, replaces=None, deadline=soon())
    decoys = [each for each in bob.pending() if each.problem]
    assert len({each.id for each in decoys}) == 2
    assert bob.approve(change.id).changed
    consumer.allowed(NEW)
    for each in decoys:
        bob.reject(each.id)
    assert not waiting(world)


def test_change_that_was_published_and_is_put_back_does_nothing(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    ann, bob, eve = people
    waits = _signed(ann)
    data = waiting(world)["targets"]
    bob.approve(waits.change.id)
    files = world.attacker.files()
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    assert not eve.approve(waits.change.id).changed
    assert waiting(world) == {}
    world.sign("5.0")
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    with pytest.raises(StaleError):
        eve.approve(waits.change.id)
    assert eve.settle().published == ()
    assert world.attacker.files().items() >= {k: v for k, v in files.items() if k != "timestamp.json"}.items()
    consumer.allowed(NEW)


def test_change_of_another_collection_is_refused(world: World, people: list[Member]) -> None:
    other = World(world.folder / "other", keys_each=3, threshold=2, keys=world.keys)
    stranger = team(other)[0]
    stranger.sign("2.0")
    (data,) = waiting(other).values()
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    with pytest.raises(RefusedError, match="of another collection"):
        people[1].approve(parse_pending(data).id)


def test_signature_of_a_key_that_does_not_sign_the_role_counts_for_nothing(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    ann, bob, _ = people
    waits = _signed(ann)

    def edit(role: PendingRole) -> None:
        for key in strangers(3):
            role.metadata.sign(key, append=True)

    _tamper(world, edit)
    assert bob.settle().published == ()
    (shown,) = bob.pending()
    assert shown.waiting is not None
    assert shown.waiting.roles[0].count == 1
    bob.approve(waits.change.id)
    consumer.allowed(NEW)
    body = json.loads((world.directory / world.attacker.file_of("targets")).read_bytes())
    assert len(body["signatures"]) == 2


def test_signer_without_a_network_signs_what_is_in_the_file_and_it_counts_at_home(
    world: World, consumer: Consumer
) -> None:
    ann, bob, _ = team(world, online=False)
    waits = _signed(ann)
    file = ann.do(lambda publisher: exported(publisher, str(waits.change.id)))
    returned = _sign_offline(bob, file)
    daemon = Member(world=world, name="daemon", keys=world.keys["snapshot"])
    brought = carried(returned, url="stick").change
    assert daemon.approve(waits.change.id, brought=brought).waits is None
    assert daemon.shown == []
    consumer.allowed(NEW)


def test_file_with_a_forged_base_is_signed_by_nobody(world: World) -> None:
    ann, bob, _ = team(world, online=False)
    waits = _signed(ann)
    file = json.loads(ann.do(lambda publisher: exported(publisher, str(waits.change.id))))
    names = [name for name in file["metadata"] if name.endswith((".root.json", ".targets.json"))]
    assert {"1.root.json", "2.targets.json"} <= set(names)
    for name in names:
        forged = json.loads(json.dumps(file))
        body = b64decode(forged["metadata"][name]).replace(b'"version":', b'"version": ')
        forged["metadata"][name] = b64encode(body.replace(b"acme/web", b"acme/wab") + b" ").decode()
        with pytest.raises(TrustError):
            _sign_offline(bob, json.dumps(forged).encode())
    assert bob.shown == []


def test_file_of_an_older_state_than_was_published_from_here_is_refused(world: World) -> None:
    ann, bob, _ = team(world)
    waits = _signed(ann)
    file = ann.do(lambda publisher: exported(publisher, str(waits.change.id)))
    bob.approve(waits.change.id)
    with pytest.raises(RefusedError, match="is older than what was published from here"):
        _sign_offline(bob, file)


def test_signatures_that_were_brought_are_checked_before_they_count(world: World, people: list[Member]) -> None:
    ann, bob, _ = people
    waits = _signed(ann)
    brought = parse_pending(waiting(world)["targets"])
    brought.roles[0].metadata.signatures.clear()
    for key in strangers(2):
        brought.roles[0].metadata.sign(key, append=True)
    done = bob.approve(waits.change.id, brought=brought)
    assert not done.changed
    assert done.waits is not None
    assert done.waits.roles[0].count == 1


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"{}", b'{"schema":1,"schema":1}', b'{"schema":1,"collection":"x","roles":[]}',
        b'{"schema":1,"collection":"x","roles":[{"name":"../../x","delegator":"root","base":null,"metadata":{}}]}',
        b'{"schema":1,"collection":"x","roles":[{"name":"targets","delegator":"root","base":null,"metadata":{}}]}',
        b'{"schema":2,"collection":"x","roles":[]}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_rubbish_is_no_change(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_pending(data)
    with pytest.raises(InputError):
        carried(data, url="file")


def test_publisher_who_dies_after_the_timestamp_leaves_a_change_that_is_merely_done(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    ann, bob, eve = people
    waits = _signed(ann)
    data = waiting(world)["targets"]
    bob.approve(waits.change.id)
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    assert [each.problem for each in eve.pending()] == ["it is published"]
    assert [each.changed for each in eve.settle().published] == [False]
    assert waiting(world) == {}
    consumer.allowed(NEW)


def test_publisher_who_dies_before_the_timestamp_leaves_a_file_that_the_next_one_adopts(
    world: World, consumer: Consumer, people: list[Member]
) -> None:
    ann, bob, eve = people
    waits = _signed(ann)
    data, timestamp = waiting(world)["targets"], (world.directory / "timestamp.json").read_bytes()
    bob.approve(waits.change.id)
    (world.directory / "timestamp.json").write_bytes(timestamp)
    world.store.set_pending("targets", data, replaces=None, deadline=soon())
    left = (world.directory / "3.targets.json").read_bytes()
    assert eve.approve(waits.change.id).waits is None
    assert (world.directory / "3.targets.json").read_bytes() == left
    consumer.allowed(NEW)


def test_file_of_another_content_under_the_number_of_a_change_makes_it_stale(
    world: World, people: list[Member]
) -> None:
    ann, bob, _ = people
    waits = _signed(ann)
    (world.directory / "3.targets.json").write_bytes((world.directory / "2.targets.json").read_bytes())
    with pytest.raises(StaleError, match="the number 3 of targets is taken"):
        bob.approve(waits.change.id)
    merged = ann.sign("3.0").waits
    assert merged is not None
    assert bob.approve(merged.change.id).waits is None


def test_another_content_in_the_place_of_a_change_is_a_conflict_and_gets_nothing(
    world: World, people: list[Member]
) -> None:
    ann, bob, _ = people
    waits = _signed(ann)
    bob.meanwhile = lambda: _tamper(world, lambda role: setattr(role.metadata.signed, "version", 9))
    with pytest.raises(ConflictError, match="waits no longer"):
        bob.approve(waits.change.id)
    (left,) = waiting(world).values()
    assert bob.keys[0].public_key.keyid not in parse_pending(left).roles[0].metadata.signatures


def _signed(member: Member) -> Waiting:
    waits = member.sign("2.0").waits
    assert waits is not None
    return waits


def _tamper(
    world: World, edit: Callable[[PendingRole], object], *, place: str = "targets", signer: Member | None = None
) -> Pending:
    """Change what waits, as whoever can write to the store does; ``signer`` signs it, where he takes part."""
    data = waiting(world)[place]
    pending = parse_pending(data)
    for role in pending.roles:
        edit(role)
        if signer is not None:
            role.metadata.signatures.clear()
            role.metadata.sign(signer.keys[0], append=True)
    world.store.set_pending(place, pending_bytes(pending), replaces=data, deadline=soon())
    return parse_pending(pending_bytes(pending))


def _sign_offline(member: Member, file: bytes) -> bytes:
    """Return the file after ``member`` has signed it; he has no store."""
    store = carried(file, url="stick")

    def journey(publisher: Publisher) -> object:
        aside = replace(publisher, store=store, stage=True)
        return approve(aside, str(store.change.id), consent=member.consent)

    member.do(journey)
    return store.text()
