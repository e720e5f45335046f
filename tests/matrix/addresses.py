"""Attacks by what is asked for and where answers lead: names nobody signed, other addresses, local denial."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from tests.matrix.attack import Attack, attack
from tests.matrix.stage import Case
from tests.simulators.upstream import Picture
from tests.simulators.wire import Exchange
from trust.digest import sha256

Script = Callable[[Exchange], None]
RESERVED = ("_trust", "_trust.1", "_trust.probe")
ENDLESS_BYTES = 64 * 1024**2


def attacks() -> Iterator[Attack]:
    """Give them all."""
    yield attack("tag that nobody signed", "unsigned", _ask_for_tag, "evil")
    yield attack("digest that nobody signed", "unsigned", _ask_for_digest)
    yield attack("image of another repository by its digest", "unsigned", _ask_for_anothers, follows=True)
    for tag in RESERVED:
        yield attack(f"runnable image under the reserved tag {tag}", "unsigned", _ask_for_tag, tag)
    yield attack("signed image whose digest is denied here", "revoked", _deny_digest, unprotected="good")
    yield attack("signed image whose key is denied here", "wrong-signer", _deny_key, unprotected="good")
    places: dict[str, Callable[[Case], str]] = {
        "a file": lambda _case: "file:///etc/passwd",
        "itself": lambda case: case.at(_next_layer(case), "blobs"),
        "the link's own addresses": lambda _case: "http://169.254.169.254/latest/meta-data/",
    }
    for what, place in places.items():
        expected = {"verify": "gives next", "shim": "unreachable", "run": "unreachable"}
        yield attack(f"layer that leads to {what}", expected, _lead, place, unprotected=None, follows=True)
    yield attack(
        "layer without an end", {"verify": "gives next", "shim": "tampered", "run": "tampered"}, _endless,
        unprotected=None, follows=True,
    )  # fmt: skip
    yield attack(
        "layer that its descriptor's urls have alone",
        {"verify": "gives another", "shim": "unknown", "run": "unreachable"}, _elsewhere,
        unprotected=None, follows=True,
    )  # fmt: skip


def _ask_for_tag(case: Case, tag: str) -> None:
    case.wanted = tag
    case.push(case.pictures.evil, tag)


def _ask_for_digest(case: Case) -> None:
    case.wanted = str(case.pictures.evil.digest)
    case.push(case.pictures.evil, None)


def _ask_for_anothers(case: Case) -> None:
    other = f"{case.path.removesuffix('web')}other"
    case.world.sign("1", path=other, manifest=case.pictures.evil.manifest)
    _ask_for_digest(case)


def _deny_digest(case: Case) -> None:
    case.stage.deny(digests=[case.pictures.good.digest])


def _deny_key(case: Case) -> None:
    case.stage.deny(keys=[key.public_key.keyid for key in case.world.keys["targets"]])


def _next_layer(case: Case) -> object:
    return sha256(case.pictures.next.blobs[-1])


def _lead(case: Case, place: Callable[[Case], str]) -> None:
    case.sign("1", case.pictures.next)
    location = place(case)

    def script(exchange: Exchange) -> None:
        exchange.answer(307, Location=location)

    case.stage.registry.rules[case.at(_next_layer(case), "blobs")] = script


def _endless(case: Case) -> None:
    case.sign("1", case.pictures.next)

    def script(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(ENDLESS_BYTES // 2**20):
            exchange.send(b"100000\r\n" + bytes(2**20) + b"\r\n")
        exchange.end()

    case.stage.registry.rules[case.at(_next_layer(case), "blobs")] = script


def _elsewhere(case: Case) -> None:
    """A foreign layer: the registry lacks it, and whoever follows the address in the manifest would get it."""
    document = json.loads(case.pictures.next.manifest)
    layer = case.pictures.next.blobs[-1]
    document["layers"][-1]["urls"] = [f"{case.stage.server.url}/elsewhere"]
    picture = Picture(manifest=json.dumps(document).encode(), blobs=case.pictures.next.blobs)
    case.sign("1", picture)
    del case.stage.registry.blobs[case.path, str(sha256(layer))]

    def script(exchange: Exchange) -> None:
        exchange.answer(200, layer)

    case.stage.registry.rules["/elsewhere"] = script
