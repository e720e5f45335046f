"""What is written, as text: each client's own grammar reads back what was meant."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.errors import InputError
from trust.gates.containerd import config_text, containerd_files
from trust.gates.docker import (
    daemon_text,
    docker_advice,
    docker_files,
    parse_daemon,
    with_insecure,
    without_insecure,
)
from trust.gates.gate import MARK, checked_plan, gated_name, parse_gate, parse_upstream, path_prefix, upstreams_of
from trust.gates.podman import podman_files
from trust.policy_document import parse_policy
from trust.reference import parse_reference

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CA = b"-----BEGIN CERTIFICATE-----\n"
LABEL = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
HOSTS = st.builds(
    lambda labels, port: ".".join(labels) + (f":{port}" if port else ""),
    st.lists(LABEL, min_size=2, max_size=4),
    st.none() | st.integers(1, 65535),
)
LISTS = st.lists(st.sampled_from(["a:1", "b:2", "c"]), unique=True)
DAEMONS = st.dictionaries(st.sampled_from(["debug", "log-level", "labels"]), st.booleans() | st.text(max_size=5))


@pytest.mark.parametrize(
    ("text", "url", "host"),
    [
        ("https://gate.example.com", "https://gate.example.com", "gate.example.com"),
        ("https://Gate.example.com:443/", "https://gate.example.com", "gate.example.com"),
        ("https://gate.example.com:5001", "https://gate.example.com:5001", "gate.example.com:5001"),
        ("http://127.0.0.1:5001", "http://127.0.0.1:5001", "127.0.0.1:5001"),
        ("http://localhost:5001", "http://localhost:5001", "localhost:5001"),
    ],
)
def test_gate_is_its_address_and_the_host_in_image_names(text: str, url: str, host: str) -> None:
    gate = parse_gate(text)
    assert (gate.url, gate.host, gate.is_plain) == (url, host, text.startswith("http:"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://gate.example.com", "https alone"),
        ("https://gate.example.com/v2/", "no path"),
        ("gate.example.com", "malformed"),
        ("https://user@gate.example.com", "malformed"),
        ('https://gate"\n.example.com', "malformed"),
    ],
)
def test_gate_that_is_none_is_bad_input(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_gate(text)


@pytest.mark.parametrize(
    "text", ["", "nginx", "registry.example.com/acme", 'a.b"\n', "[::1]:5000", "*.example.com", "a.b:port", "a..b"]
)
def test_upstream_that_is_no_host_is_bad_input(text: str) -> None:
    with pytest.raises(InputError):
        parse_upstream(text)


@given(st.lists(HOSTS, min_size=1, max_size=5, unique=True))
def test_no_two_upstreams_share_a_path_prefix_and_each_names_images(hosts: list[str]) -> None:
    gate = parse_gate("https://gate.test")
    assert len({path_prefix(parse_upstream(host)) for host in hosts}) == len(hosts)
    for host in hosts:
        assert parse_reference(f"{gated_name(gate, host)}/acme/web:1").repository.host == "gate.test"


@given(st.lists(HOSTS, min_size=1, max_size=4, unique=True), st.booleans())
def test_podman_reads_one_location_without_a_mirror_for_each_upstream(hosts: list[str], is_plain: bool) -> None:  # noqa: FBT001 - hypothesis
    gate = parse_gate("http://127.0.0.1:9" if is_plain else "https://gate.test")
    drop_in, *others = podman_files(checked_plan("podman", gate, hosts, None))
    document = tomllib.loads(drop_in.data.decode())
    insecure: dict[str, Any] = {"insecure": True} if is_plain else {}
    assert document == {
        "registry": [{"prefix": host, "location": gated_name(gate, host), **insecure} for host in hosts]
    }
    assert drop_in.data.startswith(MARK.encode())
    assert others == []


@given(st.lists(HOSTS, min_size=1, max_size=4, unique=True), st.sampled_from([None, CA]))
def test_containerd_reads_the_gate_as_server_and_as_host_and_nobody_else(
    hosts: list[str], ca: bytes | None
) -> None:
    gate = parse_gate("https://gate.test")
    files = containerd_files(checked_plan("containerd", gate, hosts, ca))
    texts = {file.path: file.data.decode() for file in files if file.path.endswith("hosts.toml")}
    assert set(texts) == {f"etc/containerd/certs.d/{name}/hosts.toml" for name in (*hosts, "_default")}
    known = {"ca": "../_default/trust-gate.crt"} if ca else {}
    for text in texts.values():
        assert tomllib.loads(text) == {
            "server": "https://gate.test",
            "capabilities": ["push"],
            "host": {"https://gate.test": {"capabilities": ["pull", "resolve"], **known}},
            **known,
        }
    assert len(files) == len(texts) + (ca is not None)


@pytest.mark.parametrize(
    ("version", "plugin"), [(2, "io.containerd.grpc.v1.cri"), (3, "io.containerd.cri.v1.images")]
)
def test_config_of_containerd_names_the_directory(version: int, plugin: str) -> None:
    document = tomllib.loads(config_text(version=version))
    assert document["plugins"][plugin]["registry"]["config_path"] == "/etc/containerd/certs.d"


def test_docker_is_told_how_images_are_named_and_that_egress_is_open() -> None:
    gate = parse_gate("https://gate.example.com")
    plan = checked_plan("docker", gate, ["registry.example.com:5000"], CA)
    assert [file.path for file in docker_files(plan)] == ["etc/docker/certs.d/gate.example.com/trust-gate.crt"]
    said = "\n".join(docker_advice(plan))
    assert "gate.example.com/registry.example.com_5000/…" in said
    assert "block egress to registry.example.com:5000" in said


@given(DAEMONS, LISTS, st.sampled_from(["a:1", "d:4"]))
def test_daemon_keeps_every_key_of_others_there_and_back(
    daemon: dict[str, Any], listed: list[str], host: str
) -> None:
    document = {**daemon, "insecure-registries": listed} if listed else daemon
    merged = with_insecure(document, host)
    assert host in merged["insecure-registries"]
    assert {key: merged[key] for key in daemon} == daemon
    assert with_insecure(merged, host) == merged
    assert parse_daemon(daemon_text(merged), source="daemon.json") == merged
    if host not in listed:
        assert without_insecure(merged, host) == document


@pytest.mark.parametrize("text", ["[]", "{", '{"insecure-registries": "a"}', '{"registry-mirrors": [1]}'])
def test_daemon_that_is_no_object_is_bad_input(text: str) -> None:
    with pytest.raises(InputError, match=r"daemon\.json"):
        parse_daemon(text, source="daemon.json")
    assert json.loads(daemon_text({})) == {}


@pytest.mark.parametrize(
    ("hosts", "ca", "said"),
    [([], None, "nothing to stand before"), (["gate.test"], None, "its own upstream"), (["a.b"], b"x", "no PEM")],
)
def test_plan_that_protects_nothing_is_bad_input(hosts: list[str], ca: bytes | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        checked_plan("podman", parse_gate("https://gate.test"), hosts, ca)


def test_upstreams_are_every_host_of_the_policy() -> None:
    digest = f"sha256:{'a' * 64}"
    policy = parse_policy(
        f'schema = 1\n[[collection]]\nname = "b.test/acme/"\nroot = "{digest}"\nmetadata = "registry:"\n'
        f'registries = ["mirror.test:5000"]\n[[pinned]]\nimage = "a.test/pause@{digest}"\n'
        'until = "2030-01-01T00:00:00Z"\n',
        source="policy.toml",
    )
    assert upstreams_of(policy) == ("a.test", "b.test", "mirror.test:5000")
