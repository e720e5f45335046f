"""The proof that tests notice a broken product: it breaks copies, down to the processes that tests start."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.bench.setting import CHECKOUT, BenchError, Setting, own_environ
from scripts.proof.breakage import read, require_standing
from scripts.proof.mutants import LIST, prove

TEST = "tests/shim/test_service_start.py::test_policy_that_is_wrong_is_no_start"


def listed(folder: Path, *mutants: tuple[str, str, str, str]) -> Path:
    """Write a list of mutants of the gate: name, path, what is found, what stands there instead."""
    file = folder / "mutants.toml"
    file.write_text(
        "".join(
            f"[[gate]]\nname = '{name}'\npath = '{path}'\nfind = '''{find}'''\nreplace = '''{replace}'''\n"
            f"breaks = 'everything'\ntests = ['{TEST}']\n"
            for name, path, find, replace in mutants
        )
    )
    return file


def setting(folder: Path) -> Setting:
    return Setting(directory=folder, is_quick=False, environ=own_environ(os.environ))


def test_mutant_in_a_process_that_a_test_starts_is_noticed_and_a_harmless_one_survives(tmp_path: Path) -> None:
    main = "    code = run(program, sys.argv[1:])\n"
    before = (CHECKOUT / "registry_shim/app.py").read_bytes()
    file = listed(
        tmp_path,
        ("exits-with-0", "registry_shim/app.py", main, main + "    code = 0\n"),
        ("harmless", "registry_shim/app.py", main, main + "    code = int(code)\n"),
    )
    proof = prove(setting(tmp_path), file)
    assert [(row.value, row.floor) for row in proof.rows] == [(1, 2), (1, 2)]
    assert [line for line in proof.lines if "harmless" in line] == list(proof.lines)
    assert not proof.is_met
    assert (CHECKOUT / "registry_shim/app.py").read_bytes() == before


def test_each_edit_of_the_list_finds_its_one_place() -> None:
    mutants = read(LIST)
    assert len(mutants) > 200
    require_standing(mutants, CHECKOUT)


@pytest.mark.parametrize("find", ["what nobody ever wrote", "import"])
def test_edit_that_finds_no_place_or_several_proves_nothing(tmp_path: Path, find: str) -> None:
    file = listed(tmp_path, ("stale", "registry_shim/app.py", find, "pass"))
    with pytest.raises(BenchError, match="mutant stale: its edit finds"):
        prove(setting(tmp_path), file)
