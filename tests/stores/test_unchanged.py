"""What a consumer with nothing new costs: at most two requests and 1 KB, from every store there is."""

from __future__ import annotations

from urllib.parse import urlsplit

import obstore
from obstore.store import from_url

from scripts.bench.counting_proxy import counting_proxy
from tests.simulators.object_store import ObjectServer, environment
from tests.simulators.relay import Wire
from tests.simulators.world import World
from tests.stores.conftest import opened
from trust.oci.http import Http

REQUESTS_MAX, BYTES_MAX = 2, 1_000


def test_unchanged_object_store_costs_two_requests_and_less_than_a_kilobyte(
    world: World, object_server: ObjectServer, http: Http, place: str
) -> None:
    bucket = from_url(place, client_options={"allow_http": True})
    for path in world.directory.glob("*.json"):
        obstore.put(bucket, path.name, path.read_bytes())
    port = urlsplit(object_server.endpoint).port
    assert port is not None
    consumer = world.consumer()
    with counting_proxy(port) as proxy:
        here = {**object_server.environ(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
        with environment(here):
            consumer.allowed(store=opened(place, http))
            proxy.taken()
            consumer.allowed(store=opened(place, http))
            asked = proxy.taken()
            world.revoke("1.4")
            for path in world.directory.glob("*.json"):
                obstore.put(bucket, path.name, path.read_bytes())
            consumer.verify(store=opened(place, http))
            assert len(proxy.taken()) > REQUESTS_MAX, "a change is not looked past"
    assert len(asked) <= REQUESTS_MAX, asked
    assert sum(each.response_bytes for each in asked) <= BYTES_MAX, asked


def test_unchanged_directory_is_two_files_and_less_than_a_kilobyte(world: World) -> None:
    read: list[tuple[str, int]] = []

    def note(name: str, _max_bytes: int, data: bytes | None) -> bytes | None:
        read.append((name, len(data or b"")))
        return data

    consumer = world.consumer()
    consumer.allowed(store=Wire(honest=world.store, read=note))
    read.clear()
    consumer.allowed(store=Wire(honest=world.store, read=note))
    assert len(read) <= REQUESTS_MAX, read
    assert sum(size for _, size in read) <= BYTES_MAX, read
