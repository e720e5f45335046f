"""The values of the play: who did what, what a command said, what the visitor saw, what was asserted. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from html.parser import HTMLParser
from typing import Any

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class Who(str, Enum):
    """The cast, as each is called on the page and on the terminal."""

    PUBLISHER = "publisher"
    ATTACKER = "attacker"
    PLAIN_HOST = "plain host"
    HOST = "host"
    VISITOR = "visitor"
    REGISTRY = "registry"


class Outcome(str, Enum):
    """How an act ended; the word is the one that is shown."""

    PUBLISHED = "published"
    DEFACED = "defaced"
    HELD = "held"
    CLONED = "cloned"
    UNEXPECTED = "not as promised"


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One plain sentence about what somebody did."""

    who: Who
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command line as it was run, all that it printed (both streams, in order), its exit code, its duration."""

    who: Who
    line: str
    output: str
    exit_code: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Saw:
    """An answer to a GET of ``url``; ``status`` 0 means that nobody answered. ``body`` is HTML, at most 64 KiB."""

    who: Who
    url: str
    status: int
    body: str

    @property
    def excerpt(self) -> tuple[str, ...]:
        """The headings and paragraphs of the page, as text."""
        reader = _Text()
        reader.feed(self.body)
        return tuple(reader.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Something that was promised, and whether it was so when looked at from outside.

    ``harm``: what was promised is the damage that an attack does where nothing stops it.
    """

    promise: str
    kept: bool
    harm: bool

    @property
    def mark(self) -> str:
        """What stands before the promise."""
        return "✗" if not self.kept else "!" if self.harm else "✓"


Step = Said | Ran | Saw | Check


@dataclass(slots=True, kw_only=True)
class Act:
    """One act while it is played: each step is kept and passed on to ``tell`` at once."""

    title: str
    premise: str
    ends: Outcome
    tell: Callable[[Step], None]
    steps: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """Keep ``step`` and tell it."""
        self.steps.append(step)
        self.tell(step)

    def said(self, who: Who, text: str) -> None:
        """Somebody did ``text``."""
        self.add(Said(who=who, text=text))

    def check(self, promise: str, *, kept: bool) -> None:
        """``promise`` was looked at from outside."""
        self.add(Check(promise=promise, kept=kept, harm=self.ends is Outcome.DEFACED))

    @property
    def checks(self) -> tuple[Check, ...]:
        """What was promised in this act."""
        return tuple(step for step in self.steps if isinstance(step, Check))

    @property
    def outcome(self) -> Outcome:
        """``ends`` if each promise was kept, and there was one."""
        return self.ends if self.checks and all(check.kept for check in self.checks) else Outcome.UNEXPECTED


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """The whole of it: the acts in order, where it was played, how long it took."""

    acts: Sequence[Act]
    names: Mapping[str, str]  # digest of a manifest → what it is: "v1", "attacker"
    place: Mapping[str, str]  # part → its address
    seconds: float

    @property
    def as_promised(self) -> bool:
        """Whether every promise of every act was kept."""
        return all(act.outcome is not Outcome.UNEXPECTED for act in self.acts)

    @property
    def moral(self) -> str:
        """What it came to."""
        if self.as_promised:
            return "Without trust the shop was defaced. With trust it never was."
        return "Not as promised: an attack succeeded, or something failed."


def short(text: str) -> str:
    """``text`` with each digest cut to its first 12 hex digits, for a reader."""
    return DIGEST.sub(lambda match: match[0][:19] + "…", text)


def play_json(play: Play) -> dict[str, Any]:
    """The play as one JSON document, schema 1."""
    return {
        "schema": 1,
        "demo": "compromised-update",
        "as_promised": play.as_promised,
        "seconds": round(play.seconds, 1),
        "place": dict(play.place),
        "images": {name: digest for digest, name in play.names.items()},
        "acts": [
            {
                "title": act.title,
                "premise": act.premise,
                "outcome": act.outcome.value,
                "steps": [_step_json(step) for step in act.steps],
            }
            for act in play.acts
        ],
    }


def _step_json(step: Step) -> dict[str, Any]:
    match step:
        case Said():
            return {"who": step.who.value, "did": step.text}
        case Ran():
            return {
                "who": step.who.value,
                "command": step.line,
                "output": step.output,
                "exit_code": step.exit_code,
                "seconds": round(step.seconds, 2),
            }
        case Saw():
            return {
                "who": step.who.value,
                "url": step.url,
                "status": step.status,
                "saw": list(step.excerpt),
                "body": step.body,
            }
        case Check():
            return {"promise": step.promise, "kept": step.kept}


class _Text(HTMLParser):
    """Collects the text of headings and paragraphs; a body without either is one line."""

    _BLOCKS = frozenset({"h1", "h2", "p", "li"})

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._inside = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - its interface
        """Begin a line at each block."""
        if tag in self._BLOCKS:
            self._inside += 1
            self.lines.append("")

    def handle_endtag(self, tag: str) -> None:
        """End the line."""
        if tag in self._BLOCKS and self._inside:
            self._inside -= 1

    def handle_data(self, data: str) -> None:
        """Add to the line that is open."""
        if self._inside:
            self.lines[-1] = " ".join((self.lines[-1] + data).split())
