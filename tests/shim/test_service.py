"""The shim as a service: starts only whole, outlives its workers, ends without breaking what runs."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pytest

from registry_shim.server import FLOOD_FACTOR
from tests.simulators.authority import Authority
from tests.simulators.shim import Shim, is_alive, policy_text, until
from tests.simulators.upstream import descriptor, picture
from tests.simulators.wire import Exchange, answer
from tests.simulators.yard import Plot, Yard, yard
from trust.digest import sha256
from trust.manifest import OCI_MANIFEST
from trust.roles import Image

if TYPE_CHECKING:
    from typing_extensions import Self


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Yard]:
    """Give a yard of this test's, whose shim has two workers."""
    with yard(tmp_path, workers=2) as made:
        until(lambda: len(made.shim.workers) == 2, "both workers run")
        yield made


class Paused:
    """A download of the last layer whose upstream stops in the middle until it is let go on; a context manager."""

    def __init__(self, plot: Plot) -> None:
        self.plot = plot
        self._go_on = threading.Event()
        self.blob = plot.picture.blobs[-1]
        self._connection = http.client.HTTPConnection("127.0.0.1", plot.yard.shim.port, timeout=30)

    def __enter__(self) -> Self:
        assert self.plot.through("1").status == 200
        address = self.plot.at(self.plot.picture.layer, "blobs")
        self.plot.yard.registry.rules[address] = self._script
        self._connection.request("GET", address)
        self._response = self._connection.getresponse()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._go_on.set()
        self._response.close()
        self._connection.close()

    def rest(self) -> bytes:
        """Let it go on, and return the whole of it."""
        self._go_on.set()
        return self._response.read()

    def _script(self, exchange: Exchange) -> None:
        exchange.send(answer(200, Content_Length=str(len(self.blob))) + self.blob[:400_000])
        self._go_on.wait(30)
        exchange.send(self.blob[400_000:])


def serves(plot: Plot) -> bool:
    try:
        return plot.through("1").status == 200
    except OSError:
        return False


def test_restart_keeps_the_closure(own: Yard) -> None:
    """A client may hold the manifest and come back for a layer."""
    plot = own.plot()
    layer = plot.at(plot.picture.layer, "blobs")
    assert own.shim.ask(layer).status == 403
    assert plot.through("1").status == 200
    own.shim.stop()
    own.shim.start()
    reply = own.shim.ask(layer)
    assert (reply.status, reply.body) == (200, plot.picture.blobs[-1])


def test_all_workers_serve_and_share_closure_and_cache(own: Yard) -> None:
    plot = own.plot()
    assert plot.through("1").status == 200
    for _ in range(20):
        reply = plot.through(plot.picture.layer, "blobs")
        assert (reply.status, reply.body) == (200, plot.picture.blobs[-1])
    assert plot.asked().count(f"GET {plot.at(plot.picture.layer, 'blobs')}") <= 2


def test_killed_worker_is_replaced(own: Yard) -> None:
    plot = own.plot()
    before = own.shim.workers
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(set(own.shim.workers) | set(before)) == 3, "another worker runs")
    until(lambda: serves(plot), "it serves")
    os.kill(before[1], signal.SIGKILL)
    until(lambda: len(own.shim.workers) == 2 and not set(own.shim.workers) & set(before), "both are new")
    until(lambda: serves(plot), "it serves")


def test_killed_keeper_ends_its_workers_even_in_a_download(own: Yard) -> None:
    """A gate whose metadata nobody refreshes must not go on."""
    with Paused(own.plot()) as paused:
        workers = own.shim.workers
        os.kill(own.shim.process_id, signal.SIGKILL)

        def is_refused() -> bool:
            try:
                with socket.create_connection(("127.0.0.1", own.shim.port), timeout=1):
                    return False
            except ConnectionRefusedError:
                return True

        until(is_refused, "nobody listens")
        assert paused.rest() == paused.blob
        until(lambda: not any(is_alive(worker) for worker in workers), "the workers are gone")
        own.shim.stop(number=signal.SIGKILL)
        own.shim.start()
        assert serves(paused.plot)


def test_stop_lets_a_running_download_end(own: Yard) -> None:
    with (
        Paused(own.plot()) as paused,
        socket.create_connection(("127.0.0.1", own.shim.port), timeout=20) as idle,
        socket.create_connection(("127.0.0.1", own.shim.port), timeout=20) as silent,
    ):
        idle.sendall(b"GET /v2/ HTTP/1.1\r\nHost: shim\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        started = time.monotonic()
        os.kill(own.shim.process_id, signal.SIGTERM)
        assert (idle.recv(1), silent.recv(1)) == (b"", b""), "who only keeps a connection is not waited for"
        assert time.monotonic() - started < 5
        assert paused.rest() == paused.blob
    own.shim.stop()


def test_reload_lets_a_running_download_end(own: Yard) -> None:
    with Paused(own.plot()) as paused:
        before = set(own.shim.workers)
        os.kill(own.shim.process_id, signal.SIGHUP)
        until(lambda: len(set(own.shim.workers) - before) == 2, "new workers run")
        until(lambda: serves(paused.plot), "they serve")
        assert paused.rest() == paused.blob
        until(lambda: not before & set(own.shim.workers), "the old workers are gone")


def test_second_policy_change_is_felt_while_an_old_worker_still_sends(own: Yard) -> None:
    """Whoever holds a download open must not hold up the next deny list."""
    with Paused(own.plot()) as paused:
        shim, plot = own.shim, paused.plot
        before = set(shim.workers)
        shim.write_policy(policy_text(own.stanza, deny={"digests": [str(sha256(b"other"))]}))
        until(lambda: len(set(shim.workers) - before) == 2, "new workers run")
        assert before & set(shim.workers), "beside the old one that still sends"
        shim.write_policy(policy_text(own.stanza, deny={"digests": [str(plot.picture.digest)]}))
        until(lambda: plot.through("1").status == 403, "the second change is felt", seconds=10)
        assert paused.rest() == paused.blob


def test_reload_loses_no_request_of_new_connections(own: Yard) -> None:
    plot = own.plot()
    assert serves(plot)
    lost: list[str] = []
    is_over = threading.Event()

    def ask_on() -> None:
        while not is_over.is_set():
            if not serves(plot):
                lost.append("a request")

    clients = [threading.Thread(target=ask_on) for _ in range(3)]
    for client in clients:
        client.start()
    for _ in range(4):
        before = set(own.shim.workers)
        os.kill(own.shim.process_id, signal.SIGHUP)
        until(partial(_all_new, own.shim, before), "new workers alone run")
    is_over.set()
    for client in clients:
        client.join()
    assert lost == []


def _all_new(shim: Shim, before: set[int]) -> bool:
    return len(shim.workers) == 2 and not before & set(shim.workers)


def test_file_that_joins_a_directory_of_policies_is_felt(tmp_path: Path) -> None:
    with yard(tmp_path, starts=False) as own:
        plot, shim = own.plot(), own.shim
        directory = shim.folder / "policy.d"
        directory.mkdir()
        shim.policy_file.rename(directory / "10-acme.toml")
        with shim:
            assert serves(plot)
            denial = f'schema = 1\ndeny = {{ digests = ["{plot.picture.digest}"] }}\n'
            (directory / "99-denied.toml").write_text(denial)
            until(lambda: plot.through("1").status == 403, "the new file is felt", seconds=10)


def test_worker_ignores_the_signals_of_a_terminal(own: Yard) -> None:
    for worker in own.shim.workers:
        os.kill(worker, signal.SIGINT)
        os.kill(worker, signal.SIGTERM)
    assert serves(own.plot())
    own.shim.stop()


def failed(shim: Shim) -> tuple[int, str]:
    """Return how a shim ended that could not start."""
    shim.launch()
    assert shim.process is not None
    code = shim.process.wait(20)
    shim.process = None
    assert "Traceback" not in shim.said
    assert "serves on" not in shim.said
    return code, shim.said


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
        own.shim.write_config()
        program = Path(sys.executable).with_name("trust-shim")
        command: list[Any] = [program, "check", "--config", own.shim.config_file]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "collection registry.test/acme/: verified" in done.stdout
        own.world.attacker.put("timestamp.json", b"{}")
        assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 1


def test_check_finds_a_decision_log_that_cannot_be_written(tmp_path: Path) -> None:
    log = tmp_path / "log/decisions.jsonl"
    with yard(tmp_path, starts=False, decisions=str(log)) as own:
        own.shim.write_config()
        program = Path(sys.executable).with_name("trust-shim")

        def check() -> tuple[int, str]:
            command: list[Any] = [program, "check", "--config", own.shim.config_file]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            return done.returncode, done.stdout

        code, said = check()
        assert (code, f"error decisions: {log.parent} cannot be written" in said) == (1, True), said
        log.parent.mkdir()
        code, said = check()
        assert (code, f"ok decisions: {log}" in said, log.exists()) == (0, True, False), said
        log.symlink_to(tmp_path / "elsewhere")
        code, said = check()
        assert (code, f"error decisions: {log}: expected a regular file" in said) == (1, True), said


def test_leftovers_of_a_killed_shim_are_cleared(own: Yard) -> None:
    with Paused(own.plot()):
        incoming = own.shim.home / "cache/incoming"
        assert list(incoming.iterdir())
        for worker in own.shim.workers:
            os.kill(worker, signal.SIGSTOP)  # they must not tidy up
        os.kill(own.shim.process_id, signal.SIGKILL)
        for worker in own.shim.workers:
            os.kill(worker, signal.SIGKILL)
        own.shim.stop(number=signal.SIGKILL)
        own.shim.start()
        assert not list(incoming.iterdir())


def test_blob_without_room_in_the_cache_is_served_from_memory(tmp_path: Path) -> None:
    with yard(tmp_path, cache={"size": "1MiB"}) as own:
        plot = own.plot()
        plot.through("1")
        for _ in range(2):
            reply = plot.through(plot.picture.layer, "blobs")
            assert (reply.status, reply.body) == (200, plot.picture.blobs[-1])
        assert plot.asked().count(f"GET {plot.at(plot.picture.layer, 'blobs')}") == 2, "it was not kept"
        huge = json.loads(picture(b"layer").manifest)
        huge["layers"][0] = {**descriptor("application/vnd.oci.image.layer.v1.tar", b"huge"), "size": 2**40}
        manifest = json.dumps(huge).encode()
        own.registry.manifests[plot.path, str(sha256(manifest))] = manifest
        own.registry.blobs[plot.path, str(sha256(b"huge"))] = b"huge"
        image = Image(digest=sha256(manifest), size_bytes=len(manifest), media_type=OCI_MANIFEST, children=())
        own.sign(plot.path, "huge", image=image)
        assert plot.through("huge").status == 200
        reply = plot.through(sha256(b"huge"), "blobs")
        assert (reply.status, reply.reason) == (503, "limit-reached")
        assert "no room" in reply.error["message"]


def test_cache_stays_within_its_bound(tmp_path: Path) -> None:
    with yard(tmp_path, plots=8, cache={"size": "3MiB"}) as own:
        for _ in range(8):
            plot = own.plot()
            assert plot.through("1").status == 200
            assert plot.through(plot.picture.layer, "blobs").body == plot.picture.blobs[-1]

        def size_bytes() -> int:
            files = (own.shim.home / "cache").glob("sha256/*/*")
            return sum(file.stat().st_size for file in files if file.exists())

        until(lambda: size_bytes() <= 3 * 1024**2, "the cache is swept")


def test_manifest_that_was_changed_in_the_cache_is_fetched_anew(own: Yard) -> None:
    plot = own.plot()
    plot.through("1")
    digest = plot.picture.digest
    file = own.shim.home / "cache/sha256" / digest.hex[:2] / digest.hex
    until(file.exists, "it is kept")
    file.write_bytes(plot.stranger.manifest)
    own.shim.stop()
    own.shim.start()
    assert plot.through("1").body == plot.picture.manifest
    assert plot.through(digest).body == plot.picture.manifest


def test_damaged_content_of_the_cache_is_fetched_anew(own: Yard) -> None:
    """A disk that lost its tail."""
    plot = own.plot()
    plot.through("1")
    assert plot.through(plot.picture.layer, "blobs").status == 200
    for digest in (plot.picture.layer, plot.picture.digest):
        file = own.shim.home / "cache/sha256" / digest.hex[:2] / digest.hex
        until(file.exists, "it is kept")
        os.truncate(file, 10)
    own.shim.stop()
    own.shim.start()
    assert plot.through("1").body == plot.picture.manifest
    assert plot.through(plot.picture.layer, "blobs").body == plot.picture.blobs[-1]
