"""Each attack through each gate: what came through it before, what comes without it, and why it is refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from tests.matrix import (
    addresses,
    archives,
    content,
    delegates,
    roots,
    shapes,
    signatures,
    staleness,
    substitution,
)
from tests.matrix.attack import GOOD
from tests.matrix.gates import GATES, Gate
from tests.matrix.stage import Case, stage
from tests.simulators.shim import until

FELT_WITHIN_SECONDS = 15.0  # max_age is one second; the machine may be busy
FAMILIES = (signatures, delegates, staleness, substitution, roots, shapes, content, addresses, archives)
ATTACKS = {attack.name: attack for family in FAMILIES for attack in family.attacks()}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Case]]:
    """Give a case for each attack, behind one shim that serves them all."""
    with stage(tmp_path_factory.mktemp("matrix")) as made:
        cases = {
            name: made.case(is_delegated=attack.is_delegated, **attack.world) for name, attack in ATTACKS.items()
        }
        with made.open():
            yield cases


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_is_answered_by_every_gate_as_it_must(
    opened: dict[str, Case], name: str, record_property: Callable[[str, object], None]
) -> None:
    attack, case = ATTACKS[name], opened[name]
    for gate in GATES:
        require(gate, case, GOOD)
    if attack.first is not None:
        with case.offstage():
            attack.first(case)
        for gate in GATES:
            require(gate, case, attack.known)
            until(lambda gate=gate: case.is_known_in(gate.home(case)), f"{gate.name} knows")  # type: ignore[misc]
    before = {gate.name: case.rows(gate.home(case)) for gate in GATES}
    with case.offstage():
        attack.move(case)
    if attack.unprotected is not None:
        assert case.unprotected().body == getattr(case.pictures, attack.unprotected).manifest
    time.sleep(attack.lasts)
    for gate in GATES:
        expected = attack.expected[gate.name]
        require(gate, case, expected)
        refused = case.pictures.old if attack.unprotected == "old" else case.pictures.evil
        may_be_had = attack.is_signed_elsewhere and gate.name == "shim"
        assert may_be_had or not gate.holds(case, refused), f"{gate.name} let through what it refused"
        require(gate, case, expected)
        if not expected.startswith("gives") and not attack.follows:
            assert case.rows(gate.home(case)) == before[gate.name], f"{gate.name}: what is trusted has changed"
        record_property(f"answer of {gate.name}", expected)


def require(gate: Gate, case: Case, expected: str) -> None:
    """Require that a gate comes to that answer: a shim asks once in a while whether there is something new."""
    said: list[str] = []

    def agrees() -> bool:
        said.append(str(gate.ask(case)))
        return said[-1] == expected

    until(agrees, f"{gate.name} answers: {expected}", seconds=FELT_WITHIN_SECONDS)
    assert "gives evil" not in said, f"{gate.name} gave it meanwhile"
