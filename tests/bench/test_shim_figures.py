"""The shim's figures as a test: many clients at once for a few seconds, and no wrong answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.bench.load import answered, loaded, question
from scripts.bench.processes import cpu_seconds, resident_bytes, tree
from scripts.bench.setting import BenchError
from tests.simulators.wire import Exchange, WireServer, answer

CHECKOUT = Path(__file__).parents[2]


def test_64_clients_at_once_get_what_is_signed_and_no_byte_of_what_is_not() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.bench", "--quick", "--json", "shim-pulls"],
        cwd=CHECKOUT, env=dict(os.environ), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    document = json.loads(done.stdout or "{}")
    assert done.returncode == 0, f"{done.stderr}{done.stdout}"
    values = {row["what"]: row["value"] for row in document["rows"]}
    assert values["wrong answers"] == 0
    assert values["64 clients for 8 s, answers"] > 640
    assert {kind.partition(":")[0] for kind in values if ": " in kind} == {
        "signed", "signed, its tag moved", "unsigned", "of another repository",
    }  # fmt: skip


def test_every_answer_is_counted_and_only_while_it_is_like_the_first() -> None:
    lengths = iter([5, 5, 5, 6])

    def script(exchange: Exchange) -> None:
        exchange.send(answer(200, b"x" * next(lengths)))

    with WireServer(script=script) as server:
        asked = question(server.port, "/")
        assert answered(asked, connections=2).answers == 2
        with pytest.raises(BenchError, match="not like the first"):
            answered(asked, connections=1)


@pytest.mark.parametrize("data", [answer(404, b""), answer(403, b"denied")])
def test_answer_that_is_no_success_is_not_measured(data: bytes) -> None:
    with (
        WireServer(script=lambda exchange: exchange.send(data)) as server,
        pytest.raises(BenchError, match="expected an answer of 200"),
    ):
        question(server.port, "/")


def test_load_goes_on_for_its_time_and_tells_its_rate() -> None:
    with WireServer(script=lambda exchange: exchange.send(answer(200, b"ok"))) as server:
        load = loaded(question(server.port, "/"), seconds=0.3, connections=4)
    assert load.answers > 4
    assert 0.2 < load.seconds < 5
    assert load.rate == load.answers / load.seconds


def test_cost_of_a_process_includes_those_below_it() -> None:
    spinning = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True)\ninput()"
    command = ["sh", "-c", '"$@"; true', "sh", sys.executable, "-c", spinning]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(tree(process.pid)) == 2
        assert cpu_seconds(process.pid) >= 0.2
        assert resident_bytes(process.pid) > 1 << 20
        process.communicate(b"\n")
