"""A change that is carried to a signer as a file, and whoever has the file on its way."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

import pytest

from tests.pending.tampering import sent
from tests.simulators.attacker import strangers
from tests.simulators.team import Member, team, waiting
from tests.simulators.world import Consumer, World
from trust.approve import approve
from trust.carry import carried, exported
from trust.errors import InputError, RefusedError, TrustError
from trust.pending import parse_pending
from trust.publish import Publisher
from trust.value import replace

NEW = "registry.test/acme/web:2.0"


def test_signer_without_a_network_signs_what_is_in_the_file_and_it_counts_at_home(
    world: World, consumer: Consumer
) -> None:
    ann, bob, _ = team(world, online=False)
    waits = sent(ann)
    file = ann.do(lambda publisher: exported(publisher, str(waits.change.id)))
    returned = _sign_offline(bob, file)
    daemon = Member(world=world, name="daemon", keys=world.keys["snapshot"])
    brought = carried(returned, url="stick").change
    assert daemon.approve(waits.change.id, brought=brought).waits is None
    assert daemon.shown == []
    consumer.allowed(NEW)


def test_file_with_a_forged_base_is_signed_by_nobody(world: World) -> None:
    ann, bob, _ = team(world, online=False)
    waits = sent(ann)
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
    waits = sent(ann)
    file = ann.do(lambda publisher: exported(publisher, str(waits.change.id)))
    bob.approve(waits.change.id)
    with pytest.raises(RefusedError, match="is older than what was published from here"):
        _sign_offline(bob, file)


def test_signatures_that_were_brought_are_checked_before_they_count(world: World, people: list[Member]) -> None:
    ann, bob, _ = people
    waits = sent(ann)
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


def _sign_offline(member: Member, file: bytes) -> bytes:
    """Return the file after ``member`` has signed it; he has no store."""
    store = carried(file, url="stick")

    def journey(publisher: Publisher) -> object:
        aside = replace(publisher, store=store, stage=True)
        return approve(aside, str(store.change.id), consent=member.consent)

    member.do(journey)
    return store.text()
