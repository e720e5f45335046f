"""The real clients, as ``trust gate install`` sets them up, get what is signed from the real shim, and no more.

The registry is real too; who asks it is seen by an origin before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.simulators.authority import Authority
from tests.simulators.node import Node
from tests.simulators.published import METADATA, Published
from tests.simulators.pullers import Done, Puller, puller
from tests.simulators.shim import Shim, until
from tests.simulators.wire import WireServer

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("only_the_shim_comes")]

CLIENTS = ("podman", "skopeo", "ctr", "docker")
SIGNED = "/v2/acme/web/manifests/single"
Distrusted = Callable[[Published, Shim, str], AbstractContextManager[str]]
FAR_SECONDS = 2 * 366 * 24 * 3600.0


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest, node: Node, shim: Shim, origin: WireServer) -> Iterator[Puller]:
    with puller(request.param, node, f"http://{shim.host}", origin.host) as client:
        yield client


def require_refused(client: Puller, done: Done, reason: str) -> None:
    """Require a refusal that shows why; containerd shows the status line alone."""
    assert done.returncode != 0
    said = f"403 Forbidden: {reason}" if client.name == "ctr" else f"denied: {reason}: "
    assert said in done.stderr


def test_client_gets_what_is_signed_and_is_refused_what_is_not(
    client: Puller, published: Published, origin: WireServer
) -> None:
    web = f"{origin.host}/acme/web"
    signed = {"single": published.single, "multi": published.multi, "moved": published.moved}
    for tag, digest in signed.items():
        for image in (f"{web}:{tag}", f"{web}@{digest}"):
            done = client.pull(image)
            assert done.returncode == 0, f"{image}: {done.stderr}"
            assert str(digest) in client.held(image)
    for image in (f"{web}:unsigned", f"{web}@{published.unsigned}"):
        require_refused(client, client.pull(image), "unsigned")
        assert str(published.unsigned) not in client.held(image)


@contextmanager
def expired(_published: Published, shim: Shim, _edition: str) -> Iterator[str]:
    shim.set_clock(FAR_SECONDS)
    try:
        yield "expired"
    finally:
        shim.set_clock(0)


@contextmanager
def rolled_back(published: Published, shim: Shim, edition: str) -> Iterator[str]:
    link = published.registry.link_of_tag(*METADATA)
    before = link.read_bytes()
    published.sign_more(edition)
    after = link.read_bytes()
    until(lambda: shim.ask(f"/v2/acme/web/manifests/{edition}").status == 200, "the new edition is known")
    link.write_bytes(before)
    try:
        yield "rolled-back"
    finally:
        link.write_bytes(after)


@pytest.mark.parametrize("distrusted", [expired, rolled_back])
def test_client_gets_nothing_of_a_collection_that_is_distrusted_until_it_is_trusted_again(
    distrusted: Distrusted, client: Puller, published: Published, shim: Shim, origin: WireServer
) -> None:
    web = f"{origin.host}/acme/web"
    with distrusted(published, shim, client.name) as reason:
        until(lambda: shim.ask(SIGNED).status == 403, f"the collection is {reason}")
        for image in (f"{web}:single", f"{web}@{published.single}", f"{web}:multi"):
            require_refused(client, client.pull(image), reason)
            assert "sha256:" not in client.held(image)
    until(lambda: shim.ask(SIGNED).status == 200, "it is trusted again")
    assert client.pull(f"{web}:single").returncode == 0


def test_clients_follow_one_transfer_in_tls_and_each_has_every_byte(
    node: Node, published: Published, origin: WireServer, tmp_path: Path
) -> None:
    """A blob on its way in is read by all who follow it; encrypting takes another way than sending it plainly."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    with Shim(
        folder=tmp_path / "shim",
        policy=published.policy(origin.host),
        upstreams=[{"name": origin.host, "url": origin.url}],
        settings={"tls": {"certificate": str(certificate), "key": str(key)}},
    ) as shim:
        ca = authority.certificate.read_bytes()
        gate = f"https://{shim.host}"
        with (
            puller("skopeo", node, gate, origin.host, ca) as skopeo,
            puller("podman", node, gate, origin.host, ca) as podman,
            ThreadPoolExecutor(2) as both,
        ):
            image = f"{origin.host}/acme/web:single"
            for done in both.map(lambda client: client.pull(image), (skopeo, podman)):
                assert done.returncode == 0, done.stderr
            assert str(published.single) in podman.held(image)
            require_refused(podman, podman.pull(f"{origin.host}/acme/web:unsigned"), "unsigned")
