"""The decision log as it is written: it goes on after anything, and says what is missing."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry_shim.decision_log import DecisionLog
from registry_shim.log_chain import GENESIS, Head, digest_of, line_bytes, parse_head, parse_line
from registry_shim.log_check import check_log
from registry_shim.status import decided_from
from tests.shim.decisions import decided, written
from trust.errors import StateError


def test_each_decision_is_one_line_bound_to_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "decisions.log"
    log = DecisionLog(path)
    for number in range(3):
        log.append(decided(number))
    assert (path.read_bytes(), log.flush(), log.flush()) == (b"", 3, 0)
    lines = path.read_bytes().splitlines()
    documents = [json.loads(line) for line in lines]
    assert [document["seq"] for document in documents] == [1, 2, 3]
    assert [document["previous"] for document in documents] == [GENESIS, *map(digest_of, lines[:2])]
    assert decided_from(documents[1]) == decided(1)
    assert list(documents[0])[:3] == ["seq", "previous", "at"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert log.head == Head(seq=3, digest=digest_of(lines[2])) == parse_head(str(log.head))
    report = check_log(path, noted=[log.head])
    assert (report.lines, report.first_at, report.last_at, report.broken) == (
        3,
        1_790_000_000,
        1_790_000_002,
        None,
    )
    log.close()


def test_after_a_restart_the_chain_goes_on(tmp_path: Path) -> None:
    path = written(tmp_path / "log")
    written(path, 2, start=5)
    report = check_log(path)
    assert (report.lines, report.head.seq, report.torn, report.broken) == (7, 7, 0, None)


def test_what_clients_send_stays_on_one_line_of_bounded_length(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = DecisionLog(path)
    names = ("image", "client", "method", "kind", "outcome", "reason", "detail", "digest", "collection")
    log.append(decided(image='a\n{"seq":2}\r\u2028\x00\udcff'))
    log.append(decided(0, **dict.fromkeys(names, "\U0001f433" * 10_000)))
    assert log.flush() == 2
    assert path.read_bytes().count(b"\n") == 2
    assert check_log(path).lines == 2
    log.close()
    written(path, 1)
    assert check_log(path).head.seq == 3


@given(st.integers(0, 2_000), st.integers(0, 2_000))
def test_wherever_writing_was_cut_the_chain_goes_on_and_says_so(first: int, second: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "log", 3)
        for cut in (first, second):
            whole = path.read_bytes()
            end = len(whole) - cut % len(whole.splitlines(keepends=True)[-1])
            path.write_bytes(whole[:end])
            assert check_log(path).broken is None
            written(path, 2, start=10)
        report = check_log(path)
        lines = [line for line in map(parse_line, path.read_bytes().splitlines()) if line]
        assert report.broken is None
        assert [line.seq for line in lines] == list(range(1, report.head.seq + 1))
        assert report.torn == sum(line.torn is not None for line in lines)


def test_what_a_crash_left_is_told_byte_for_byte(tmp_path: Path) -> None:
    path = written(tmp_path / "log", 2)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq":3,"pre\n{"seq')
    written(path, 1)
    torn = json.loads(path.read_bytes().splitlines()[-1])["torn"]
    assert torn == {"bytes": 19, "sha256": digest_of(b'{"seq":3,"pre\n{"seq')}
    assert (check_log(path).torn, check_log(path).broken) == (1, None)


def test_a_line_that_lacks_its_newline_alone_is_not_lost(tmp_path: Path) -> None:
    path = written(tmp_path / "log", 2)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert check_log(path).lines == 2
    written(path, 1)
    report = check_log(path)
    assert (report.lines, report.torn, report.broken) == (3, 0, None)


def test_rotation_carries_the_chain_into_the_new_file(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    log = DecisionLog(path)
    log.append(decided(0))
    log.reopen()  # nothing was moved: nothing changes
    log.append(decided(1))
    log.flush()
    path.rename(old)
    log.append(decided(2))
    log.reopen()
    log.close()
    written(path, 2, start=3)  # a restart right behind the rotation, before any decision
    report = check_log(old, path)
    assert (report.lines, report.first_seq, report.head.seq, report.broken) == (6, 1, 6, None)
    later = check_log(path)
    assert (later.first_seq, later.lines, later.broken) == (4, 3, None)
    assert "line 1: expected line 7 of the chain, got line 1" in str(check_log(path, old).broken)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))
    assert "expected line 1 of the chain, got line 5" in str(check_log(path).broken)
    assert "expected line 4 of the chain, got line 5" in str(check_log(old, path).broken)


_WRITER = """
import sys
from pathlib import Path
from registry_shim.decision_log import DecisionLog
from tests.shim.decisions import decided
log = DecisionLog(Path(sys.argv[1]))
number = 0
while True:
    for number in range(number, number + 50):
        log.append(decided(number))
    log.flush()
    print(flush=True)
"""


def _writer(path: Path) -> subprocess.Popen[bytes]:
    root = Path(__file__).parents[2]
    return subprocess.Popen([sys.executable, "-c", _WRITER, path], stdout=subprocess.PIPE, cwd=root)


def test_a_kill_in_the_middle_of_writing_loses_no_written_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for _ in range(4):
        with _writer(path) as child:
            assert child.stdout is not None
            acknowledged = 50 * sum(1 for _ in zip(range(20), child.stdout, strict=False))
            child.send_signal(signal.SIGKILL)
        report = check_log(path)
        assert report.broken is None
        assert report.lines >= acknowledged
    before = check_log(path).head
    written(path, 1)
    assert check_log(path, noted=[before]).head.seq == before.seq + 1


def test_a_full_disk_loses_decisions_and_the_log_says_how_many(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = DecisionLog(path)
    log.append(decided(0))
    log.flush()
    line = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (line * 2 + 100, hard))
        for number in range(1, 4):
            log.append(decided(number))
        with pytest.raises(StateError, match="2 of 3 decisions were lost: File too large"):
            log.flush()
        log.append(decided(4))
        with pytest.raises(StateError, match="1 of 1 decisions were lost"):
            log.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (log.lost_total, log.head.seq) == (3, 2)
    assert check_log(path).tail_bytes > 0
    log.append(decided(5))
    assert log.flush() == 1
    log.close()
    report = check_log(path)
    assert (report.lines, report.lost, report.torn, report.tail_bytes, report.broken) == (3, 3, 1, 0, None)


@given(st.integers(0, 1_600), st.integers(0, 900))
@example(len(line_bytes(decided(0), after=Head())), 0)
def test_wherever_the_disk_was_full_the_chain_goes_on(first: int, second: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        log = DecisionLog(path)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            for room in (first, second):
                resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + room, hard))
                for number in range(4):
                    log.append(decided(number))
                try:
                    log.flush()
                except StateError:
                    assert log.lost_total
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        log.append(decided(9))
        log.close()
        report = check_log(path)
        assert report.broken is None
        assert (report.lines + report.lost, report.lost, report.tail_bytes) == (9, log.lost_total, 0)


def test_a_log_has_one_writer_and_is_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = DecisionLog(path)
    with pytest.raises(StateError, match="another process writes it"):
        DecisionLog(path)
    log.close()
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "notes").write_text("not a log\n")
    for name, said in (
        ("link", "cannot be opened"),
        ("none/log", "cannot be opened"),
        ("pipe", "expected a regular file"),
        ("notes", "got a file without any line of one"),
    ):
        with pytest.raises(StateError, match=said):
            DecisionLog(tmp_path / name)
    assert (tmp_path / "notes").read_text() == "not a log\n"


def test_zeros_of_a_power_cut_are_a_torn_piece(tmp_path: Path) -> None:
    path = written(tmp_path / "log", 2)
    with path.open("ab") as stream:
        stream.write(bytes(1_000_000))
    written(path, 1)
    report = check_log(path)
    assert (report.lines, report.torn, report.broken) == (3, 1, None)
