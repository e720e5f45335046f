"""Figure ``unchanged``: what a consumer with nothing new asks of a directory, an object store and a static host.

The metadata is the same; SeaweedFS and Caddy, real servers, show it through a counting proxy. Bytes are those of
answers with their headers; of a directory, those of the files.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from urllib.parse import urlsplit

import obstore
from obstore.store import from_url

from scripts.bench.counting_proxy import CountingProxy, counting_proxy
from scripts.bench.publisher import store_of
from scripts.bench.result import Row
from scripts.bench.server import serving
from scripts.bench.setting import BenchError, Setting, component
from scripts.ports import free_port
from tests.simulators.object_store import BUCKET, environment, seaweedfs
from tests.simulators.relay import Wire
from tests.simulators.world import World
from trust.oci.http import Http
from trust.stores.interface import Store
from trust.value import replace

FIGURE = "unchanged"
REQUESTS_MAX = 2
BYTES_MAX = 1_000


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something could not be started.
    """
    world = World(setting.fresh(f"{FIGURE}.world"))
    world.sign()
    return (*_of_files(world), *_of_objects(setting, world), *_of_static(setting, world))


def _of_files(world: World) -> list[Row]:
    read: list[int] = []

    def note(_name: str, _max_bytes: int, data: bytes | None) -> bytes | None:
        read.append(len(data or b""))
        return data

    consumer, store = world.consumer("of-files"), Wire(honest=world.store, read=note)
    consumer.allowed(store=store)
    read.clear()
    consumer.allowed(store=store)
    return _rows("file:", len(read), sum(read))


def _of_objects(setting: Setting, world: World) -> list[Row]:
    with seaweedfs(setting.fresh(f"{FIGURE}.seaweedfs")) as server:
        port = urlsplit(server.endpoint).port or 0
        url = f"s3://{BUCKET}/acme"
        with counting_proxy(port) as proxy:
            own = {**server.environ(), "AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.port}"}
            with environment(own), Http(environ={}) as http:
                bucket = from_url(url, client_options={"allow_http": True})
                for path in world.directory.glob("*.json"):
                    obstore.put(bucket, path.name, path.read_bytes())
                return _counted("s3:", world, proxy, url, http)


def _of_static(setting: Setting, world: World) -> list[Row]:
    port, directory = free_port(), setting.fresh(f"{FIGURE}.caddy")
    argv = (component("caddy"), "file-server", "--root", str(world.directory), "--listen", f"127.0.0.1:{port}")
    environ = {**os.environ, "XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
    with (
        serving(*argv, port=port, log=directory / "log", environ=environ),
        counting_proxy(port) as proxy,
        Http(environ={}) as http,
    ):
        return _counted("https:", world, proxy, f"http://127.0.0.1:{proxy.port}", http)


def _counted(name: str, world: World, proxy: CountingProxy, url: str, http: Http) -> list[Row]:
    stanza = replace(world.stanza, metadata=url)
    consumer = world.consumer(f"of-{name.strip(':')}")

    def store() -> Store:
        return store_of(stanza, http)

    consumer.allowed(store=store())
    if len(proxy.taken()) <= REQUESTS_MAX:
        raise BenchError(f"the proxy did not see how {name} was read for the first time")
    consumer.allowed(store=store())
    asked = proxy.taken()
    return _rows(name, len(asked), sum(each.response_bytes for each in asked))


def _rows(name: str, requests: int, size: int) -> list[Row]:
    return [
        Row(figure=FIGURE, what=f"{name} requests", value=requests, unit="requests", limit=REQUESTS_MAX),
        Row(figure=FIGURE, what=f"{name} answers", value=size, unit="bytes", limit=BYTES_MAX),
    ]
