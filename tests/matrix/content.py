"""Attacks by the registry itself: other content than was signed, in every place where it may lie.

Where a cache would hide the lie, ``next`` is signed first, which no gate has yet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from tests.matrix.attack import SIGNED_COMES, Attack, attack
from tests.matrix.stage import Case
from tests.simulators.upstream import descriptor
from tests.simulators.wire import Exchange
from tests.simulators.world import index_bytes
from trust.digest import sha256
from trust.manifest import MANIFEST_MAX_BYTES, OCI_INDEX, OCI_MANIFEST
from trust.roles import Image
from trust.sign import Order, sign

Script = Callable[[Exchange], None]


def attacks() -> Iterator[Attack]:
    """Give them all; ``trust verify`` asks what the tag is, and reads no content."""
    yield attack("tag that was moved", SIGNED_COMES, Case.lure)
    yield attack("tag that was moved to an index of the attacker's", SIGNED_COMES, _forge_index, unprotected=None)
    yield attack("tag that was deleted", {**SIGNED_COMES, "verify": "tag-moved"}, _delete_tag, unprotected=None)
    manifests: dict[str, tuple[str, Callable[[Case], Script]]] = {
        "other bytes under the signed digest": ("tampered", _evil_manifest),
        "manifest sent as another type": ("ambiguous", _as_an_index),
        "manifest without an end": ("limit-reached", _huge),
    }
    for name, (reason, lie) in manifests.items():
        expected = {"verify": "gives next", "shim": reason, "run": reason}
        if reason == "ambiguous":
            expected["run"] = "gives next"  # it reads what was signed, and never what the registry calls it
        yield attack(name, expected, _lie_about_manifest, lie, unprotected=None, follows=True)
    both = {"verify": "gives another", "shim": "ambiguous", "run": "ambiguous"}
    yield attack("signed manifest with two readings", both, _ambiguous, unprotected=None, follows=True)
    blobs: dict[str, Callable[[bytes], Script]] = {
        "layer with other bytes": lambda data: _answer(bytes(reversed(data))),
        "layer that is cut short": lambda data: _answer(data[:-1], Content_Length=str(len(data))),
        "layer with more behind it": lambda data: _answer(data + b"more"),
    }
    for name, script in blobs.items():
        reason = "unreachable" if "cut short" in name else "tampered"
        expected = {"verify": "gives next", "shim": reason, "run": reason}
        yield attack(name, expected, _lie_about_layer, script, unprotected=None, follows=True)


def _answer(body: bytes, **headers: str) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.answer(200, body, **headers)
        exchange.end()

    return script


def _sign_next(case: Case) -> None:
    case.sign("1", case.pictures.next)


def _lie_about_manifest(case: Case, lie: Callable[[Case], Script]) -> None:
    _sign_next(case)
    case.stage.registry.rules[case.at(case.pictures.next.digest)] = lie(case)
    assert case.unprotected(case.pictures.next.digest).body != case.pictures.next.manifest or lie is _as_an_index


def _evil_manifest(case: Case) -> Script:
    said = {"Docker_Content_Digest": str(case.pictures.next.digest)}
    return _answer(case.pictures.evil.manifest, Content_Type=OCI_MANIFEST, **said)


def _as_an_index(case: Case) -> Script:
    return _answer(case.pictures.next.manifest, Content_Type=OCI_INDEX)


def _huge(_case: Case) -> Script:
    return _answer(b" " * (MANIFEST_MAX_BYTES + 1), Content_Type=OCI_MANIFEST)


def _lie_about_layer(case: Case, lie: Callable[[bytes], Script]) -> None:
    _sign_next(case)
    layer = case.pictures.next.blobs[-1]
    case.stage.registry.rules[case.at(sha256(layer), "blobs")] = lie(layer)


def _forge_index(case: Case) -> None:
    evil = case.pictures.evil
    case.stage.registry.push(case.path, "1", evil, index=index_bytes(evil.manifest))


def _delete_tag(case: Case) -> None:
    del case.stage.registry.manifests[case.path, "1"]


def _ambiguous(case: Case) -> None:
    """CVE-2021-41190: an image for one reader and an index for another, signed by who did not look."""
    document = json.loads(case.pictures.next.manifest)
    document["manifests"] = [descriptor(OCI_MANIFEST, case.pictures.evil.manifest)]
    data = json.dumps(document).encode()
    case.push(case.pictures.next)
    for last in ("1", str(sha256(data))):
        case.stage.registry.manifests[case.path, last] = data
    image = Image(digest=sha256(data), size_bytes=len(data), media_type=OCI_MANIFEST, children=())
    order = Order(path=case.path, tag="1", image=image, annotations={})
    case.world.publish(lambda publisher: sign(publisher, [order]))
