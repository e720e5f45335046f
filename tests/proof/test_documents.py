"""The catalogue of attacks and the threat model name tests: each is there, and no promise is without one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.bench.setting import CHECKOUT
from scripts.proof.catalogue import Entry, entries, missing
from tests.matrix.test_matrix import ATTACKS

NODE = re.compile(r"`((?:\w+/)+test_\w+\.py::test_\w+)`")
PROMISES = "## What is promised"
FEATURES = "## Each feature's promise"
SECTIONS = (PROMISES, FEATURES, "## What a theft gives", "## The parts, and what holds each")
THREAT_MODEL = (CHECKOUT / "docs/threat-model.md").read_text(encoding="utf-8")
ENTRIES = entries()


def test_every_test_that_the_catalogue_names_is_there() -> None:
    assert missing(node for entry in ENTRIES for _, shown in entry.tests for node in shown) == ()


def test_every_attack_of_the_matrix_is_in_the_catalogue_and_none_that_is_not_there() -> None:
    named = [name for entry in ENTRIES for name in entry.matrix]
    assert set(named) == set(ATTACKS)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_every_attack_has_a_gate_and_each_cve_its_own_form(entry: Entry) -> None:
    assert list(entry.cells)
    assert all(re.fullmatch(r"CVE-\d{4}-\d{4,}", cve) for cve in entry.cves)


def test_no_attack_stands_twice_in_the_catalogue() -> None:
    assert len({(entry.family, entry.name) for entry in ENTRIES}) == len(ENTRIES)


def test_misspelt_key_of_the_catalogue_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "catalogue.toml"
    path.write_text('[[wire]]\nname = "x"\nshims = ["shim/test_x.py::test_y"]\n')
    with pytest.raises(ValueError, match="shims"):
        entries(path)


def test_test_that_is_not_there_is_found_missing(tmp_path: Path) -> None:
    (tmp_path / "test_x.py").write_text("def test_there(): ...\n")
    nodes = ("test_x.py::test_there[1]", "test_x.py::test_gone", "test_y.py::test_there")
    assert missing(nodes, tmp_path) == nodes[1:]


def test_every_test_that_the_threat_model_names_is_there() -> None:
    nodes = NODE.findall(THREAT_MODEL)
    assert len(nodes) > 50
    assert missing(nodes) == ()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_row_of_the_threat_model_ends_with_the_test_that_holds_it(section: str) -> None:
    text = THREAT_MODEL.partition(f"\n{section}\n")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert rows
    assert [row for row in rows if not NODE.search(row.rstrip("| ").rpartition(" | ")[2])] == []


def test_every_document_that_the_readme_leads_to_has_its_promise_in_the_threat_model() -> None:
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    features = readme.partition("\nUse: ")[2].partition("\nInside: ")[0]
    wanted = re.findall(r"\(docs/([a-z-]+\.md)\)", features)
    assert wanted
    promised = THREAT_MODEL.partition(f"\n{FEATURES}\n")[2].partition("\n## ")[0]
    assert [name for name in wanted if f"]({name})" not in promised] == []
