"""A layout is pushed piece by piece: each once, however often it is named, and each in a time of its own."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.moving.places import EMPTY, door, soon
from tests.simulators.pushing import PATH
from tests.simulators.wire import Exchange, WireServer
from trust.deadline import Deadline, deadline_in
from trust.digest import Digest, parse_digest, sha256
from trust.errors import InputError, LimitError, TrustError
from trust.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from trust.oci.layout import Layout
from trust.reference import parse_reference
from trust.sign import read_image
from trust.transfer import push_layout


def nested(directory: Path, *, depth: int, width: int, empty_bytes: int = len(EMPTY)) -> Layout:
    """Return a layout of one image with ``depth`` indexes around it; each names the next ``width`` times."""
    layout = Layout.create(directory)
    layout.add_blob([EMPTY], sha256(EMPTY), len(EMPTY))

    def put(document: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps({"schemaVersion": 2, **document}).encode()
        layout.add_blob([data], sha256(data), len(data))
        return {"mediaType": document["mediaType"], "digest": str(sha256(data)), "size": len(data)}

    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(sha256(EMPTY)), "size": empty_bytes}
    top = put({"mediaType": OCI_MANIFEST, "config": empty, "layers": [empty]})
    for _ in range(depth):
        top = put({"mediaType": OCI_INDEX, "manifests": [top] * width})
    descriptor = Descriptor(
        media_type=top["mediaType"],
        digest=parse_digest(top["digest"]),
        size_bytes=top["size"],
        platform=None,
        annotations={},
    )
    layout.tag("1", descriptor)
    return layout


def takes_all(exchange: Exchange) -> None:
    """Answer as a registry does that has every blob."""
    if exchange.request.method == "PUT":
        exchange.answer(201, Docker_Content_Digest=str(sha256(exchange.request.body)))
    else:
        exchange.answer(200)


def test_layout_whose_indexes_name_one_image_a_thousand_times_is_pushed_once(tmp_path: Path) -> None:
    layout = nested(tmp_path, depth=4, width=8)
    with WireServer(script=takes_all) as server, door(server.host) as registry:
        reference = parse_reference(f"{server.host}/{PATH}:1")
        pushed = push_layout(layout, "1", registry=registry, reference=reference, soon=soon)
        asked = [(each.method, each.target) for each in server.requests]
    assert pushed == layout.resolve("1").digest
    assert len(asked) == len(set(asked)) == 6
    assert asked[0] == ("HEAD", f"/v2/{PATH}/blobs/{sha256(EMPTY)}")
    assert asked[-1] == ("PUT", f"/v2/{PATH}/manifests/1")


@pytest.mark.parametrize(
    ("depth", "empty_bytes", "error", "words"),
    [(5, len(EMPTY), LimitError, "nested too deeply"), (0, 3, InputError, "is not of 3 bytes")],
    ids=["nested too deeply", "blob of another size than its manifest says"],
)
def test_layout_that_cannot_be_sound_is_refused_before_anything_is_pushed(
    tmp_path: Path, depth: int, empty_bytes: int, error: type[TrustError], words: str
) -> None:
    layout = nested(tmp_path, depth=depth, width=1, empty_bytes=empty_bytes)
    with WireServer(script=takes_all) as server, door(server.host) as registry:
        reference = parse_reference(f"{server.host}/{PATH}:1")
        with pytest.raises(error, match=words):
            push_layout(layout, "1", registry=registry, reference=reference, soon=soon)
        assert not server.requests


def test_time_that_the_blobs_take_is_none_of_the_manifests(tmp_path: Path) -> None:
    """An honest registry at the end of a slow line: the uploads last longer than the deadline of a manifest."""
    passed = [0.0]

    def slow(exchange: Exchange) -> None:
        passed[0] += 1000.0 if exchange.request.method == "HEAD" else 20.0
        takes_all(exchange)

    def deadline() -> Deadline:
        return deadline_in(30, lambda: time.monotonic() + passed[0])

    layout = nested(tmp_path, depth=3, width=1)
    with WireServer(script=slow) as server, door(server.host) as registry:
        reference = parse_reference(f"{server.host}/{PATH}:1")
        push_layout(layout, "1", registry=registry, reference=reference, soon=deadline)
        assert [each.method for each in server.requests] == ["HEAD", "PUT", "PUT", "PUT", "PUT"]


def test_image_that_an_index_names_a_hundred_million_times_is_not_read_for_ever(tmp_path: Path) -> None:
    layout = nested(tmp_path, depth=4, width=100)
    fetched: list[Digest] = []

    def fetch(digest: Digest) -> bytes:
        fetched.append(digest)
        return layout.manifest(digest)

    with pytest.raises(LimitError, match="too many images"):
        read_image(layout.resolve("1").digest, fetch)
    assert len(fetched) < 5000
