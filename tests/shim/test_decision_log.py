"""The decision log: it goes on after anything, and its check finds whatever was done to it since."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from registry_shim.cli_log import log as log_group
from registry_shim.decision_log import DecisionLog
from registry_shim.log_chain import GENESIS, Head, digest_of, line_bytes, parse_head, parse_line
from registry_shim.log_check import check_log
from registry_shim.status import Decided, decided_from
from registry_shim.terminal import run
from trust.errors import InputError, StateError


def _decided(number: int = 0, **changes: object) -> Decided:
    fields: dict[str, object] = {
        "at": 1_790_000_000.0 + number,
        "client": "192.0.2.7",
        "method": "GET",
        "image": f"registry.example.com/acme/web:{number}",
        "kind": "manifest",
        "outcome": "denied",
        "reason": "unsigned",
        "detail": "",
        "digest": "",
        "collection": "registry.example.com/acme/",
    }
    return decided_from(fields | changes)


def _written(path: Path, count: int = 5, *, start: int = 0) -> Path:
    log = DecisionLog(path)
    for number in range(start, start + count):
        log.append(_decided(number))
        log.flush()
    log.close()
    return path


def test_each_decision_is_one_line_bound_to_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "decisions.log"
    log = DecisionLog(path)
    for number in range(3):
        log.append(_decided(number))
    assert (path.read_bytes(), log.flush(), log.flush()) == (b"", 3, 0)
    lines = path.read_bytes().splitlines()
    documents = [json.loads(line) for line in lines]
    assert [document["seq"] for document in documents] == [1, 2, 3]
    assert [document["previous"] for document in documents] == [GENESIS, *map(digest_of, lines[:2])]
    assert decided_from(documents[1]) == _decided(1)
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
    path = _written(tmp_path / "log")
    _written(path, 2, start=5)
    report = check_log(path)
    assert (report.lines, report.head.seq, report.torn, report.broken) == (7, 7, 0, None)


def test_what_clients_send_stays_on_one_line_of_bounded_length(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = DecisionLog(path)
    names = ("image", "client", "method", "kind", "outcome", "reason", "detail", "digest", "collection")
    log.append(_decided(image='a\n{"seq":2}\r\u2028\x00\udcff'))
    log.append(_decided(0, **dict.fromkeys(names, "\U0001f433" * 10_000)))
    assert log.flush() == 2
    assert path.read_bytes().count(b"\n") == 2
    assert check_log(path).lines == 2
    log.close()
    _written(path, 1)
    assert check_log(path).head.seq == 3


@pytest.mark.parametrize(
    ("said", "instead"), [(b'"denied"', b'"served"'), (b"web:1", b"web:9"), (b"192.0.2.7", b"192.0.2.8")]
)
def test_decision_that_was_edited_into_another_is_found(tmp_path: Path, said: bytes, instead: bytes) -> None:
    path = _written(tmp_path / "log", 3)
    lines = path.read_bytes().splitlines(keepends=True)
    assert said in lines[1]
    lines[1] = lines[1].replace(said, instead)
    path.write_bytes(b"".join(lines))
    assert check_log(path).broken is not None


@given(st.data())
def test_any_change_before_the_end_is_found(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = _written(Path(folder) / "log", 6)
        before = path.read_bytes()
        lines = before.splitlines(keepends=True)
        at = data.draw(st.integers(0, len(lines) - 2), "line")
        match data.draw(st.sampled_from(["edit", "remove", "insert", "swap", "cut", "repeat", "blank"]), "move"):
            case "edit":
                place = data.draw(st.integers(0, len(lines[at]) - 1), "byte")
                new = data.draw(st.integers(0, 255).filter(lambda byte: byte != lines[at][place]), "value")
                lines[at] = lines[at][:place] + bytes([new]) + lines[at][place + 1 :]
            case "remove":
                del lines[at]
            case "insert":
                lines.insert(at, data.draw(st.binary(max_size=80)) + b"\n")
            case "swap":
                other = data.draw(st.integers(0, len(lines) - 1).filter(lambda index: index != at))
                lines[at], lines[other] = lines[other], lines[at]
            case "cut":
                lines[at] = lines[at][: data.draw(st.integers(0, len(lines[at]) - 1))]
            case "repeat":
                lines.insert(at, lines[at])
            case "blank":
                lines[at] = b"\n"
        path.write_bytes(b"".join(lines))
        assert check_log(path).broken is not None


@given(st.integers(0, 2_000), st.integers(0, 2_000))
def test_wherever_writing_was_cut_the_chain_goes_on_and_says_so(first: int, second: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = _written(Path(folder) / "log", 3)
        for cut in (first, second):
            whole = path.read_bytes()
            end = len(whole) - cut % len(whole.splitlines(keepends=True)[-1])
            path.write_bytes(whole[:end])
            assert check_log(path).broken is None
            _written(path, 2, start=10)
        report = check_log(path)
        lines = [line for line in map(parse_line, path.read_bytes().splitlines()) if line]
        assert report.broken is None
        assert [line.seq for line in lines] == list(range(1, report.head.seq + 1))
        assert report.torn == sum(line.torn is not None for line in lines)


def test_a_line_cannot_be_passed_off_as_torn(tmp_path: Path) -> None:
    path = _written(tmp_path / "log", 5)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2][:40], *lines[3:]]))
    broken = check_log(path).broken
    assert broken is not None
    assert "expected line 3 of the chain, got line 4" in str(broken) or "nothing torn" in str(broken)
    path.write_bytes(b"".join([*lines[:2], lines[2][:40], b"\n", *lines[3:]]))
    assert "expected nothing torn before line 4 of the chain, got a torn piece of 40 bytes" in str(
        check_log(path).broken
    )


def test_what_a_crash_left_is_told_byte_for_byte(tmp_path: Path) -> None:
    path = _written(tmp_path / "log", 2)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"seq":3,"pre\n{"seq')
    _written(path, 1)
    torn = json.loads(path.read_bytes().splitlines()[-1])["torn"]
    assert torn == {"bytes": 19, "sha256": digest_of(b'{"seq":3,"pre\n{"seq')}
    assert (check_log(path).torn, check_log(path).broken) == (1, None)


def test_a_line_that_lacks_its_newline_alone_is_not_lost(tmp_path: Path) -> None:
    path = _written(tmp_path / "log", 2)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    assert check_log(path).lines == 2
    _written(path, 1)
    report = check_log(path)
    assert (report.lines, report.torn, report.broken) == (3, 0, None)


def test_a_torn_piece_cannot_be_taken_out_or_changed(tmp_path: Path) -> None:
    path = _written(tmp_path / "log", 3)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    _written(path, 2, start=7)
    lines = path.read_bytes().splitlines(keepends=True)
    assert check_log(path).torn == 1
    for changed in ([*lines[:2], *lines[3:]], [*lines[:2], b"x" + lines[2][1:], *lines[3:]]):
        path.write_bytes(b"".join(changed))
        assert "a torn piece of" in str(check_log(path).broken)


def test_what_is_cut_from_a_file_that_is_being_written_is_found(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = DecisionLog(path)
    for number in range(4):
        log.append(_decided(number))
    log.flush()
    os.truncate(path, len(b"".join(path.read_bytes().splitlines(keepends=True)[:2])))
    log.append(_decided(4))
    log.close()
    assert "line 3: expected line 3 of the chain, got line 5" in str(check_log(path).broken)


def test_a_chain_written_anew_is_found_by_a_head_noted_elsewhere(tmp_path: Path) -> None:
    path = _written(tmp_path / "log", 4)
    noted = check_log(path).head
    path.unlink()
    _written(path, 3, start=100)
    assert "expected the noted line 4:" in str(check_log(path, noted=[noted]).broken)
    _written(path, 3, start=103)
    assert check_log(path).broken is None
    assert f"expected the noted line {noted}" in str(check_log(path, noted=[noted]).broken)
    with pytest.raises(InputError, match="head is malformed: expected SEQ:<64 lower-case hex>, got '4:ff'"):
        parse_head("4:ff")


def test_rotation_carries_the_chain_into_the_new_file(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    log = DecisionLog(path)
    log.append(_decided(0))
    log.reopen()  # nothing was moved: nothing changes
    log.append(_decided(1))
    log.flush()
    path.rename(old)
    log.append(_decided(2))
    log.reopen()
    log.close()
    _written(path, 2, start=3)  # a restart right behind the rotation, before any decision
    report = check_log(old, path)
    assert (report.lines, report.first_seq, report.head.seq, report.broken) == (6, 1, 6, None)
    later = check_log(path)
    assert (later.first_seq, later.lines, later.broken) == (4, 3, None)
    assert "line 1: expected line 7 of the chain, got line 1" in str(check_log(path, old).broken)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[1:]))
    assert "expected line 1 of the chain, got line 5" in str(check_log(path).broken)
    assert "expected line 4 of the chain, got line 5" in str(check_log(old, path).broken)


def test_a_strange_file_in_the_place_of_the_new_one_is_found(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    log = DecisionLog(path)
    log.append(_decided(0))
    log.flush()
    path.rename(old)
    _written(path, 1, start=50)
    log.reopen()
    log.append(_decided(1))
    log.close()
    assert check_log(old, path).broken is not None


_WRITER = """
import sys
from pathlib import Path
from registry_shim.decision_log import DecisionLog
from tests.shim.test_decision_log import _decided
log = DecisionLog(Path(sys.argv[1]))
number = 0
while True:
    for number in range(number, number + 50):
        log.append(_decided(number))
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
    _written(path, 1)
    assert check_log(path, noted=[before]).head.seq == before.seq + 1


def test_a_full_disk_loses_decisions_and_the_log_says_how_many(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = DecisionLog(path)
    log.append(_decided(0))
    log.flush()
    line = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (line * 2 + 100, hard))
        for number in range(1, 4):
            log.append(_decided(number))
        with pytest.raises(StateError, match="2 of 3 decisions were lost: File too large"):
            log.flush()
        log.append(_decided(4))
        with pytest.raises(StateError, match="1 of 1 decisions were lost"):
            log.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert (log.lost_total, log.head.seq) == (3, 2)
    assert check_log(path).tail_bytes > 0
    log.append(_decided(5))
    assert log.flush() == 1
    log.close()
    report = check_log(path)
    assert (report.lines, report.lost, report.torn, report.tail_bytes, report.broken) == (3, 3, 1, 0, None)


@given(st.integers(0, 1_600), st.integers(0, 900))
@example(len(line_bytes(_decided(0), after=Head())), 0)
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
                    log.append(_decided(number))
                try:
                    log.flush()
                except StateError:
                    assert log.lost_total
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        log.append(_decided(9))
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
    path = _written(tmp_path / "log", 2)
    with path.open("ab") as stream:
        stream.write(bytes(1_000_000))
    _written(path, 1)
    report = check_log(path)
    assert (report.lines, report.torn, report.broken) == (3, 1, None)


def test_the_command_says_whole_or_where_it_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = _written(tmp_path / "log", 3)
    head = str(check_log(path).head)
    assert run(log_group, ["check", str(path), "--noted", head]) == 0
    assert capsys.readouterr().out == (
        f"whole: 3 lines, 2026-09-21T14:13:20Z to 2026-09-21T14:13:22Z\nhead {head}\n"
    )
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[2])
    assert run(log_group, ["check", str(path)]) == 1
    said = capsys.readouterr()
    assert "whole up to the break: 1 lines" in said.out
    assert said.err == (
        f"error: the chain is broken: {path} line 2: expected line 2 of the chain, got line 3\n"
        "hint: keep the files as they are, and ask who wrote to them\n"
    )
    for arguments in (["--json", "check", str(path)], ["check", "--json", str(path)]):
        assert run(log_group, arguments) == 1
        document = json.loads(capsys.readouterr().out)
        assert (document["schema"], document["verdict"], document["lines"]) == (1, "broken", 1)
        assert document["broken"]["line"] == 2


def test_the_command_tells_the_unreadable_and_malformed_from_the_broken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        (["check", str(tmp_path / "none")], "cannot be read: No such file or directory"),
        (["check", str(tmp_path)], "cannot be read: Is a directory"),
        (["check"], "Missing argument 'FILE...'."),
        (["check", str(tmp_path), "--noted", "x"], "head is malformed"),
        (["chek"], "No such command 'chek'."),
    ):
        assert run(log_group, arguments) == 2
        out, err = capsys.readouterr()
        assert (out, err.startswith("error: "), said in err) == ("", True, True), err
        assert run(log_group, [*arguments, "--json"]) == 2
        assert json.loads(capsys.readouterr().out)["error"]["code"] == 2
    (tmp_path / "picture").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert run(log_group, ["check", str(tmp_path / "picture")]) == 1
    assert "expected a line of a decision log" in capsys.readouterr().err
    (tmp_path / "empty").touch()
    assert run(log_group, ["check", str(tmp_path / "empty")]) == 0


def test_a_log_is_checked_as_it_comes_out_of_a_pipe(tmp_path: Path) -> None:
    path, pipe = _written(tmp_path / "log", 2), tmp_path / "pipe"
    os.mkfifo(pipe)
    for piece, torn in ((b"", 0), (b'{"se', 1)):
        whole = path.read_bytes() + piece
        writer = threading.Thread(target=pipe.write_bytes, args=(whole,))
        writer.start()
        report = check_log(pipe)
        writer.join()
        assert (report.lines, report.torn, report.broken) == (2, torn, None)


def test_a_check_holds_no_more_than_a_line(tmp_path: Path) -> None:
    path = _written(tmp_path / "log", 2)
    with path.open("ab") as stream:
        stream.truncate(400_000_000)  # a line without an end; no room on the disk is taken
    program = (
        "import resource, sys; from pathlib import Path; from registry_shim.log_check import check_log;"
        "resource.setrlimit(resource.RLIMIT_AS, (300_000_000,) * 2); print(check_log(Path(sys.argv[1])).torn)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, cwd=root, check=True)
    assert done.stdout == b"1\n"
