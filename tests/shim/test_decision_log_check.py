"""The check of a decision log finds whatever was done to it since, and says where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_shim.cli_log import log as log_group
from registry_shim.decision_log import DecisionLog
from registry_shim.log_chain import parse_head
from registry_shim.log_check import check_log
from registry_shim.terminal import run
from tests.shim.decisions import decided, written
from trust.errors import InputError


@pytest.mark.parametrize(
    ("said", "instead"), [(b'"denied"', b'"served"'), (b"web:1", b"web:9"), (b"192.0.2.7", b"192.0.2.8")]
)
def test_decision_that_was_edited_into_another_is_found(tmp_path: Path, said: bytes, instead: bytes) -> None:
    path = written(tmp_path / "log", 3)
    lines = path.read_bytes().splitlines(keepends=True)
    assert said in lines[1]
    lines[1] = lines[1].replace(said, instead)
    path.write_bytes(b"".join(lines))
    assert check_log(path).broken is not None


@given(st.data())
def test_any_change_before_the_end_is_found(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder) / "log", 6)
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


def test_a_line_cannot_be_passed_off_as_torn(tmp_path: Path) -> None:
    path = written(tmp_path / "log", 5)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2][:40], *lines[3:]]))
    broken = check_log(path).broken
    assert broken is not None
    assert "expected line 3 of the chain, got line 4" in str(broken) or "nothing torn" in str(broken)
    path.write_bytes(b"".join([*lines[:2], lines[2][:40], b"\n", *lines[3:]]))
    assert "expected nothing torn before line 4 of the chain, got a torn piece of 40 bytes" in str(
        check_log(path).broken
    )


def test_a_torn_piece_cannot_be_taken_out_or_changed(tmp_path: Path) -> None:
    path = written(tmp_path / "log", 3)
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    written(path, 2, start=7)
    lines = path.read_bytes().splitlines(keepends=True)
    assert check_log(path).torn == 1
    for changed in ([*lines[:2], *lines[3:]], [*lines[:2], b"x" + lines[2][1:], *lines[3:]]):
        path.write_bytes(b"".join(changed))
        assert "a torn piece of" in str(check_log(path).broken)


def test_what_is_cut_from_a_file_that_is_being_written_is_found(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = DecisionLog(path)
    for number in range(4):
        log.append(decided(number))
    log.flush()
    os.truncate(path, len(b"".join(path.read_bytes().splitlines(keepends=True)[:2])))
    log.append(decided(4))
    log.close()
    assert "line 3: expected line 3 of the chain, got line 5" in str(check_log(path).broken)


def test_a_chain_written_anew_is_found_by_a_head_noted_elsewhere(tmp_path: Path) -> None:
    path = written(tmp_path / "log", 4)
    noted = check_log(path).head
    path.unlink()
    written(path, 3, start=100)
    assert "expected the noted line 4:" in str(check_log(path, noted=[noted]).broken)
    written(path, 3, start=103)
    assert check_log(path).broken is None
    assert f"expected the noted line {noted}" in str(check_log(path, noted=[noted]).broken)
    with pytest.raises(InputError, match="head is malformed: expected SEQ:<64 lower-case hex>, got '4:ff'"):
        parse_head("4:ff")


def test_a_strange_file_in_the_place_of_the_new_one_is_found(tmp_path: Path) -> None:
    path, old = tmp_path / "log", tmp_path / "log.1"
    log = DecisionLog(path)
    log.append(decided(0))
    log.flush()
    path.rename(old)
    written(path, 1, start=50)
    log.reopen()
    log.append(decided(1))
    log.close()
    assert check_log(old, path).broken is not None


def test_the_command_says_whole_or_where_it_is_broken(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "log", 3)
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
    path, pipe = written(tmp_path / "log", 2), tmp_path / "pipe"
    os.mkfifo(pipe)
    for piece, torn in ((b"", 0), (b'{"se', 1)):
        whole = path.read_bytes() + piece
        writer = threading.Thread(target=pipe.write_bytes, args=(whole,))
        writer.start()
        report = check_log(pipe)
        writer.join()
        assert (report.lines, report.torn, report.broken) == (2, torn, None)


def test_a_check_holds_no_more_than_a_line(tmp_path: Path) -> None:
    path = written(tmp_path / "log", 2)
    with path.open("ab") as stream:
        stream.truncate(400_000_000)  # a line without an end; no room on the disk is taken
    program = (
        "import resource, sys; from pathlib import Path; from registry_shim.log_check import check_log;"
        "resource.setrlimit(resource.RLIMIT_AS, (300_000_000,) * 2); print(check_log(Path(sys.argv[1])).torn)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, cwd=root, check=True)
    assert done.stdout == b"1\n"
