"""Every parser of what comes from outside answers every input: those kept, and some that Hypothesis makes of them.

``scripts/prove inputs`` goes on from here, guided by coverage. What it finds is kept in ``seeds/`` and tried here
for ever.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutated
from tests.fuzz.target import SEEDS, Target, WrongAcceptError
from tests.fuzz.targets import BY_NAME, TARGETS
from trust.errors import InputError

EXAMPLES = int(os.environ.get("TRUST_FUZZ_EXAMPLES", "150"))
Record = Callable[[str, object], None]
each_target = pytest.mark.parametrize("target", TARGETS, ids=list(BY_NAME))


@each_target
def test_kept_input_is_answered(target: Target, record_property: Record) -> None:
    kept = target.seeds()
    taken = [target.answers(untrusted) for untrusted in kept]
    assert any(taken), "at least one seed is taken, or nothing behind it is tried"
    record_property("inputs", len(kept))


@each_target
def test_input_made_of_a_kept_one_is_answered(target: Target, record_property: Record) -> None:
    kept = target.seeds()

    @settings(max_examples=EXAMPLES)
    @given(seed=st.sampled_from(kept), number=st.integers(0, 2**32), untrusted=st.none() | st.binary(max_size=200))
    def attempt(seed: bytes, number: int, untrusted: bytes | None) -> None:
        changed = mutated(seed, target.form, random.Random(number))  # noqa: S311 - no secret
        target.answers(changed if untrusted is None else untrusted)

    attempt()
    record_property("inputs", EXAMPLES)


def test_seeds_are_of_targets() -> None:
    assert {path.name for path in SEEDS.iterdir()} == set(BY_NAME)


def test_crash_wrong_accept_and_second_opinion_are_told_apart() -> None:
    """What judges the parsers is itself seen to judge."""

    def parse(untrusted: bytes) -> int:
        if untrusted == b"refused":
            raise InputError("no number")
        return int(untrusted)

    def judge(_untrusted: bytes, found: int) -> None:
        if found < 0:
            raise WrongAcceptError("negative")

    target = Target(
        name="it", parse=parse, refuses=(InputError,), judge=judge, opinion=lambda data: len(data) < 3 or None
    )
    assert target.answers(b"1")
    for untrusted, error in ((b"x", ValueError), (b"-1", WrongAcceptError), (b"refused", None)):
        if error is None:
            assert not target.answers(untrusted)
        else:
            with pytest.raises(error):
                target.answers(untrusted)
    refusing = Target(name="it", parse=parse, refuses=(InputError,), opinion=lambda _data: True)
    with pytest.raises(WrongAcceptError, match="second reader"):
        refusing.answers(b"refused")
