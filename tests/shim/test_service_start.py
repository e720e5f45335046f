"""The shim starts whole or not at all: TLS, home, address, policy, log; and proves that it could."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from registry_shim.server import FLOOD_FACTOR
from tests.simulators.authority import Authority
from tests.simulators.shim import Shim, until
from tests.simulators.yard import Yard, yard


def failed(shim: Shim) -> tuple[int, str]:
    """Return how a shim ended that could not start."""
    shim.launch()
    assert shim.process is not None
    code = shim.process.wait(20)
    shim.process = None
    assert "Traceback" not in shim.said
    assert "serves on" not in shim.said
    return code, shim.said


def check(own: Yard) -> tuple[int, str]:
    """Return the exit code and the words of ``trust-shim check`` of a yard's shim."""
    own.shim.write_config()
    program = Path(sys.executable).with_name("trust-shim")
    command: list[Any] = [program, "check", "--config", own.shim.config_file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("broken", ["missing", "empty", "other key", "encrypted"])
def test_tls_that_was_asked_for_and_cannot_be_had_is_no_start(tmp_path: Path, broken: str) -> None:
    """Notary audit 15-9: it served without."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    if broken == "missing":
        key.unlink()
    elif broken == "empty":
        certificate.write_text("")
    elif broken == "other key":
        key = authority.issue("localhost")[1]
    else:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

        loaded = serialization.load_pem_private_key(key.read_bytes(), None)
        key.write_bytes(
            loaded.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
        )  # fmt: skip
    tls = {"certificate": str(certificate), "key": str(key)}
    with yard(tmp_path / "yard", starts=False, tls=tls) as own:
        code, said = failed(own.shim)
        assert code == 3
        assert said.startswith("error: ")


def test_tls_is_served_and_plain_http_is_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    tls = {"certificate": str(certificate), "key": str(key)}
    with yard(tmp_path / "yard", tls=tls, limits={"head": "1s"}) as own:
        plot = own.plot()
        context = ssl.create_default_context(cafile=str(authority.certificate))

        def get(target: str) -> tuple[int, bytes]:
            connection = http.client.HTTPSConnection("127.0.0.1", own.shim.port, context=context, timeout=20)
            connection.request("GET", target)
            response = connection.getresponse()
            body = response.read()
            connection.close()
            return response.status, body

        assert get(plot.at("1")) == (200, plot.picture.manifest)
        for _ in range(2):  # along with the fill, then from the cache
            assert get(plot.at(plot.picture.layer, "blobs")) == (200, plot.picture.blobs[-1])
        assert not own.shim.raw(b"GET /v2/ HTTP/1.1\r\nHost: shim\r\n\r\n").startswith(b"HTTP/")
        with socket.create_connection(("127.0.0.1", own.shim.port), timeout=10) as silent:
            assert silent.recv(1) == b"", "a handshake is not waited for longer than a head"


def test_tls_connection_is_counted_before_its_handshake(tmp_path: Path) -> None:
    """Three thousand that said nothing took a gigabyte."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("127.0.0.1")
    limits = {"head": "30s", "connections": 4}
    tls = {"certificate": str(certificate), "key": str(key)}
    with yard(tmp_path / "yard", tls=tls, limits=limits) as own, ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", own.shim.port), timeout=10))
            for _ in range(60)
        ]

        def open_ones() -> int:
            closed, _, _ = select.select(silent, [], [], 0)
            return len(silent) - len(closed)

        until(lambda: open_ones() == 4 * FLOOD_FACTOR, "the others are closed")


def test_second_shim_in_one_home_is_refused(own: Yard, tmp_path: Path) -> None:
    second = Shim(folder=tmp_path / "second", policy=own.shim.policy, upstreams=own.shim.upstreams,
                  settings={"home": str(own.shim.home)})  # fmt: skip
    code, said = failed(second)
    assert (code, "another shim works in" in said) == (3, True)


def test_address_that_is_taken_is_said(own: Yard, tmp_path: Path) -> None:
    second = Shim(folder=tmp_path / "second", policy=own.shim.policy, upstreams=own.shim.upstreams,
                  settings={"listen": own.shim.host})  # fmt: skip
    code, said = failed(second)
    assert (code, "cannot listen on" in said) == (2, True)


@pytest.mark.parametrize(
    ("policy", "match"), [("schema = 1\n[[collection]]\n", "name is missing"), ("schema = ", "not valid TOML")]
)
def test_policy_that_is_wrong_is_no_start(tmp_path: Path, policy: str, match: str) -> None:
    shim = Shim(folder=tmp_path, policy=policy, upstreams=[{"name": "registry.test"}])
    code, said = failed(shim)
    assert (code, match in said) == (2, True), said


def test_check_proves_a_set_up_and_serves_nothing(tmp_path: Path) -> None:
    with yard(tmp_path, starts=False) as own:
        code, said = check(own)
        assert code == 0, said
        assert "collection registry.test/acme/: verified" in said
        own.world.attacker.put("timestamp.json", b"{}")
        assert check(own)[0] == 1


def test_check_finds_a_decision_log_that_cannot_be_written(tmp_path: Path) -> None:
    log = tmp_path / "log/decisions.jsonl"
    with yard(tmp_path, starts=False, decisions=str(log)) as own:
        code, said = check(own)
        assert (code, f"error decisions: {log.parent} cannot be written" in said) == (1, True), said
        log.parent.mkdir()
        code, said = check(own)
        assert (code, f"ok decisions: {log}" in said, log.exists()) == (0, True, False), said
        log.symlink_to(tmp_path / "elsewhere")
        code, said = check(own)
        assert (code, f"error decisions: {log}: expected a regular file" in said) == (1, True), said


def test_worker_finds_no_secret_of_a_publisher(tmp_path: Path) -> None:
    with yard(tmp_path, starts=False) as own:
        own.shim.environment = {"TRUST_PASSPHRASE": "hunter2", "OTHER": "stays"}
        with own.shim:
            for worker in own.shim.workers:
                found = Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")
                assert b"OTHER=stays" in found
                assert not any(b"hunter2" in each for each in found)
            assert own.shim.workers


def test_check_warns_of_an_address_that_cannot_be_had_here(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        held = f"127.0.0.1:{holder.getsockname()[1]}"
        with yard(tmp_path, starts=False, listen="192.0.2.1:5443", operations=held) as own:
            code, said = check(own)
    assert code == 0, said
    assert "warning listen: cannot listen on 192.0.2.1:5443: Cannot assign requested address" in said
    assert f"warning operations: cannot listen on {held}: Address already in use" in said


def test_worker_whose_keeper_is_gone_before_it_spoke_ends_in_silence() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with theirs:
        command = [sys.executable, "-m", "registry_shim.worker", "--channel", str(theirs.fileno())]
        done = subprocess.run(command, pass_fds=[theirs.fileno()], capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
