"""One move of an attacker, and what each gate must say to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tests.matrix.stage import Case
from trust.value import dataclass, field

GOOD = "gives good"  # what was signed comes through, whatever the registry says
# A pipeline wants to know that the registry's tag is another; who pulls or runs gets what was signed.
SIGNED_COMES = {"verify": "tag-moved", "shim": GOOD, "run": GOOD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """``move`` is made in a case that every gate has served; ``expected`` is each gate's answer to it.

    ``unprotected`` is the image that a client without a gate gets after the move: "good" where only the metadata
    is attacked (there it is out of date), None where it does not matter. ``world`` is what the collection has of
    keys; with ``is_delegated`` a role of its own signs its images. ``first`` is what its owner does before, and
    every gate knows of, answering ``known``. ``follows``: a part of the move is legitimate, and is taken over.
    ``lasts`` are the seconds until time itself gives the move its effect. ``is_signed_elsewhere``: the evil image
    is signed under another tag of the repository, and whoever asks for its digest may have it.
    """

    name: str
    move: Callable[[Case], object]
    expected: Mapping[str, str]
    unprotected: str | None = "evil"
    world: Mapping[str, Any] = field(default_factory=dict)
    is_delegated: bool = False
    first: Callable[[Case], object] | None = None
    known: str = GOOD
    follows: bool = False
    lasts: float = 0.0
    is_signed_elsewhere: bool = False


def attack(
    name: str, expected: str | Mapping[str, str], move: Callable[..., object], *arguments: object, **more: Any
) -> Attack:
    """Return the attack ``move(case, *arguments)``; ``expected`` is one answer of all gates, or one for each."""
    answers = dict.fromkeys(("verify", "shim", "run"), expected) if isinstance(expected, str) else expected
    return Attack(name=name, move=lambda case: move(case, *arguments), expected=answers, **more)
