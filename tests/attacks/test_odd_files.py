"""What stands in the store where a file should: nothing that is opened may hold the verifier."""

from __future__ import annotations

import os
import threading

import pytest

from tests.simulators.world import Consumer, World
from trust.verdict import Denied, Reason


def test_pipe_in_the_store_does_not_hold_the_verifier(world: World, consumer: Consumer) -> None:
    path = world.attacker.directory / "timestamp.json"
    path.unlink()
    os.mkfifo(path)
    verdicts: list[Denied] = []
    thread = threading.Thread(target=lambda: verdicts.append(consumer.refusal()), daemon=True)
    thread.start()
    thread.join(timeout=5)
    if thread.is_alive():
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # lets the thread go
        thread.join()
        pytest.fail("opening a pipe for reading waits for a writer, for ever")
    assert verdicts[0].reason is Reason.UNREACHABLE
