"""The living of random lives: how many, from which seed, and what a test says of them afterwards.

``TRUST_LIFE_HISTORIES`` has the search go on for longer; ``TRUST_LIFE_SEED`` has the same lives lived again.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

HISTORIES = int(os.environ.get("TRUST_LIFE_HISTORIES", "15"))
STEPS = 20


class Counted(RuleBasedStateMachine):
    """A life that is counted: ``lived`` of them so far, and ``asked`` verdicts in them."""

    lived = 0
    asked = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).lived += 1


def live(machine: type[Counted], record_property: Callable[[str, object], None]) -> None:
    """Live random lives of ``machine``, and record how many they were."""
    number = int(os.environ.get("TRUST_LIFE_SEED") or random.SystemRandom().randrange(2**32))
    sys.stdout.write(f"TRUST_LIFE_SEED={number}\n")
    record_property("seed", number)
    chosen = settings(
        max_examples=HISTORIES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(machine), settings=chosen)
    record_property("histories", machine.lived)
    record_property("verdicts", machine.asked)
