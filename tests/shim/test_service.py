"""The shim as a service: outlives its workers, feels a change of policy, ends without breaking what runs."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from functools import partial
from pathlib import Path

from tests.shim.paused import Paused
from tests.simulators.shim import Shim, is_alive, policy_text, until
from tests.simulators.yard import Plot, Yard, yard
from trust.digest import sha256


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
