"""``trust`` behind the shim verifies for itself what the shim hands out; ``trust doctor`` examines a real one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulators.command_line import Zygote
from tests.simulators.node import Node
from tests.simulators.published import Published, trust
from tests.simulators.shim import Shim, ask
from tests.simulators.wire import WireServer
from trust.digest import sha256
from trust.gates.containerd import config_text

Trust = Callable[..., str]


@pytest.fixture
def consumer(tmp_path: Path, shim: Shim, published: Published, zygote: Zygote) -> Trust:
    """Give the commands of a consumer who knows the registry by the shim's address alone."""
    (tmp_path / "policy.toml").write_text(published.policy(shim.host))
    containers = tmp_path / ".config/containers"
    containers.mkdir(parents=True)
    (containers / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    storage = tmp_path / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{tmp_path}/s"\nrunroot = "{tmp_path}/r"\n')

    def run(*arguments: str, code: int = 0) -> str:
        return trust(zygote, tmp_path, *arguments, code=code, CONTAINERS_STORAGE_CONF=str(storage))

    return run


@pytest.mark.usefixtures("only_the_shim_comes")
def test_consumer_behind_the_shim_verifies_for_himself(consumer: Trust, shim: Shim, published: Published) -> None:
    web = f"{shim.host}/acme/web"
    signed = {"single": published.single, "multi": published.multi, "moved": published.moved}
    for tag, digest in signed.items():
        assert "tag-moved" not in consumer("verify", f"{web}:{tag}")
        assert consumer("resolve", f"{web}:{tag}").strip() == f"{web}@{digest}"
        consumer("verify", f"{web}@{digest}")
    for image in (f"{web}:unsigned", f"{web}@{published.unsigned}"):
        assert "unsigned" in consumer("verify", image, code=1).replace(image, "")


@pytest.mark.root
@pytest.mark.usefixtures("only_the_shim_comes")
def test_consumer_behind_the_shim_runs_and_pulls_what_is_signed(
    consumer: Trust, shim: Shim, published: Published
) -> None:
    web = f"{shim.host}/acme/web"
    assert "it runs" in consumer("run", "--rm", f"{web}:single", "/bin/busybox", "echo", "it runs")
    consumer("run", "--rm", f"{web}:unsigned", "/bin/busybox", "true", code=125)
    pulled = json.loads(consumer("pull", "--engine", "podman", "--json", f"{web}:moved").splitlines()[0])
    assert str(published.moved) in json.dumps(pulled)
    consumer("pull", "--engine", "podman", f"{web}:unsigned", code=1)


def test_unsigned_content_is_refused_through_blobs_too(shim: Shim, published: Published) -> None:
    port = int(published.registry.host.partition(":")[2])
    accept = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = ask(port, f"/v2/acme/web/manifests/{published.unsigned}", Accept=accept).body
    document = json.loads(manifest)
    parts = [document["config"]["digest"], *(layer["digest"] for layer in document["layers"])]
    contents = {digest: ask(port, f"/v2/acme/web/blobs/{digest}").body for digest in parts}
    for digest, content in {str(published.unsigned): manifest, **contents}.items():
        assert str(sha256(content)) == digest, "the registry has it, for whoever asks"
        for method in ("GET", "HEAD"):
            refused = shim.ask(f"/v2/acme/web/blobs/{digest}", method)
            assert refused.status == 403
            assert content not in refused.body
    signed = shim.ask(f"/v2/acme/web/blobs/{published.single}")
    assert (signed.status, json.loads(signed.body)["schemaVersion"]) == (200, 2)


@pytest.fixture
def operator(tmp_path: Path, origin: WireServer, published: Published, zygote: Zygote) -> Trust:
    """Give the commands of a node's operator: his metadata has a place of its own."""
    at_the_registry = f'metadata = "registry://{published.registry.host}/acme/trust-metadata:_trust"'
    policy = published.policy(origin.host).replace('metadata = "registry:"', at_the_registry)
    (tmp_path / "policy.toml").write_text(policy)
    return lambda *arguments: trust(zygote, tmp_path, *arguments)


@pytest.mark.root
@pytest.mark.usefixtures("only_the_shim_comes")
@pytest.mark.parametrize("runtime", ["podman", "containerd"])
def test_doctor_has_the_real_clients_refused_by_the_real_shim(
    runtime: str, operator: Trust, node: Node, shim: Shim, origin: WireServer
) -> None:
    node.write("etc/containerd/config.toml", config_text(version=2))
    gate = ("--runtime", runtime, "--gate", f"http://{shim.host}", f"--root={node.root}")
    operator("gate", "install", *gate)
    unsigned = f"{origin.host}/acme/web:unsigned"
    said = operator("doctor", "--live", "--json", *gate, "--unsigned", unsigned)
    levels = {finding["what"]: finding["level"] for finding in json.loads(said.splitlines()[0])["findings"]}
    assert "error" not in levels.values()
    for client in ("podman", "skopeo") if runtime == "podman" else ("ctr",):
        for beginning in (f"{client}: asked for 127.0.0.1", f"{client}: {unsigned} was refused"):
            assert [level for what, level in levels.items() if what.startswith(beginning)] == ["ok"]
        why = "403 Forbidden: unsigned" if client == "ctr" else "denied: unsigned: "
        assert any(what.startswith(client) and why in what for what in levels)
