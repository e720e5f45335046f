"""The proof that tests notice small changes: what is changed, what is left alone, what a judgement is worth."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.bench.setting import CHECKOUT, BenchError, Setting, own_environ
from scripts.proof.survivors import prove
from scripts.proof.variants import variants

SOURCE = '''
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    pass
LIMIT: "int | None" = 3

class Door:
    @property
    def is_open(self, key: int | None = None) -> bool | int:
        """Is 1 < 2."""
        if self.keys[0] != key:
            raise ValueError(f"wrong key: got {key + 1}", 2)
        require(key)
        return key in self.keys
'''
PATH = "trust/places.py"


def test_each_place_that_can_be_changed_is_changed_once_and_no_two_changes_mean_the_same() -> None:
    found = variants("door.py", SOURCE)
    assert [(each.place, each.line, each.becomes) for each in found] == [
        ("", 'LIMIT: "int | None" = 3', 'LIMIT: "int | None" = 4'),
        ("", 'LIMIT: "int | None" = 3', 'LIMIT: "int | None" = 2'),
        ("Door.is_open", "@property", ""),
        ("Door.is_open", "if self.keys[0] != key:", "if self.keys[ 1] != key:"),
        ("Door.is_open", "if self.keys[0] != key:", "if self.keys[ -1] != key:"),
        ("Door.is_open", "if self.keys[0] != key:", "if self.keys[0] == key:"),
        ("Door.is_open", "if self.keys[0] != key:", "if self.keys[0] < key:"),
        ("Door.is_open", "if self.keys[0] != key:", "if self.keys[0] > key:"),
        ("Door.is_open", "require(key)", "pass"),
        ("Door.is_open", "return key in self.keys", "return key not in self.keys"),
    ]
    assert all(each.text != SOURCE for each in found)


def proof_lines(folder: Path, tests: str, judged: str = "") -> tuple[dict[str, float], tuple[str, ...], bool]:
    """Return the figures, the lines and whether they are met, of one small module."""
    table = folder / "survivors.toml"
    table.write_text(f"[[modules]]\npath = '{PATH}'\ntests = [{tests}]\n{judged}")
    proof = prove(Setting(directory=folder, is_quick=False, environ=own_environ(os.environ)), table)
    return {row.what: row.value for row in proof.rows}, proof.lines, proof.is_met


def test_survivor_that_nobody_judged_fails_the_proof(tmp_path: Path) -> None:
    before = (CHECKOUT / PATH).read_bytes()
    figures, lines, is_met = proof_lines(tmp_path, "'tests/values/test_digest.py'")
    tried = figures["variants that a tool made, tried"]
    assert figures["survivors that nobody judged"] == tried > 3
    assert sum(line.startswith("survived, not judged: ") for line in lines) == tried
    assert not is_met
    assert (CHECKOUT / PATH).read_bytes() == before


def test_judgement_holds_for_the_line_that_it_was_made_of_and_for_no_other(tmp_path: Path) -> None:
    every = variants(PATH, (CHECKOUT / PATH).read_text(encoding="utf-8"))
    judged = "".join(
        f"[[judged]]\npath = '{PATH}'\nplace = '{each.place}'\nline = '''{each.line}'''\n"
        f"becomes = ['''{each.becomes}''']\nwhy = 'x'\n"
        for each in every
    )
    stale = f"[[judged]]\npath = '{PATH}'\nplace = 'gone'\nline = 'a'\nbecomes = ['b']\nwhy = 'x'\n"
    figures, lines, is_met = proof_lines(tmp_path, "'tests/values/test_digest.py'", judged + stale)
    assert figures["survivors that nobody judged"] == 0
    assert figures["judgements of a line that is no more"] == 1
    assert [line for line in lines if "gone" in line] == [f"judged, and is no more: {PATH} gone: a => b"]
    assert not is_met


def test_tests_that_fail_without_a_change_prove_nothing(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="tests fail though nothing was broken"):
        proof_lines(tmp_path, "'tests/values/test_nothing_of_the_kind.py'")
