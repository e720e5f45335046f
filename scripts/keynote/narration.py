"""Tells the play on a terminal: who, what was typed, what came back, what the visitor saw, how it ended."""

import re
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from scripts.keynote.pages import is_attackers
from scripts.keynote.story import Act, Check, Outcome, Play, Ran, Said, Saw, Step, short

_WIDTH_MAX = 100
_NAME_WIDTH = 12
_LINES_MAX = 6  # of a command's output; the report has all of it
_SHORT_DIGEST = re.compile(r"sha256:[0-9a-f]{12}…")
_STYLES = {
    Outcome.PUBLISHED: "bold cyan",
    Outcome.DEFACED: "bold red",
    Outcome.HELD: "bold green",
    Outcome.CLONED: "bold cyan",
    Outcome.UNEXPECTED: "bold white on red",
}
_MARKS = {"✓": "green", "!": "red", "✗": "bold white on red"}


class Narration:
    """Speaks to ``console``; ``names`` (digest → name) says whose an image is, by a colour."""

    def __init__(self, console: Console, names: Mapping[str, str]) -> None:
        self._console = console
        self._console.width = min(self._console.width, _WIDTH_MAX) if console.is_terminal else _WIDTH_MAX
        self._last: Step | None = None
        self._names = {short(digest): name for digest, name in names.items()}

    def prologue(self, place: Mapping[str, str]) -> None:
        """Where this is, and what the images are called."""
        self._console.print()
        self._console.print(Text("The compromised update", style="bold"))
        self._console.print(Text("Docker's keynote on content trust of 2015, played again. Every part is real."))
        self._console.print()
        for key, value in place.items():
            self._row(key, Text(value, style="dim"))
        for digest, name in self._names.items():
            self._row(name, self._told(digest))

    def begin(self, act: Act) -> None:
        """An act begins."""
        self._console.print()
        self._console.rule(Text(act.title, style="bold"), align="left", style="dim", characters="─")
        self._console.print(Text(act.premise, style="italic"))
        self._last = None
        self._console.print()

    def tell(self, step: Step) -> None:
        """One step of it; what was promised closes a paragraph."""
        if isinstance(self._last, Check) and not isinstance(step, Check):
            self._console.print()
        self._last = step
        match step:
            case Said():
                self._row(step.who.value, self._told(short(step.text)))
            case Ran():
                self._row(step.who.value, self._command(step))
            case Saw():
                self._row(step.who.value, _page(step))
            case Check():
                self._row("", Text(f"{step.mark} {step.promise}", style=_MARKS[step.mark]))

    def end(self, act: Act) -> None:
        """The act is over."""
        self._console.print()
        self._row("", Text(act.outcome.value.upper(), style=_STYLES[act.outcome]))

    def epilogue(self, play: Play) -> None:
        """All is over."""
        self._console.print()
        self._console.rule(style="dim", characters="─")
        style = "bold green" if play.as_promised else _STYLES[Outcome.UNEXPECTED]
        self._console.print(Text.assemble((play.moral, style), (f" {play.seconds:.0f} seconds.", "dim")))
        self._console.print()

    def _row(self, name: str, content: Text) -> None:
        """``content`` beside ``name``, every further line below the first; no line ends in spaces."""
        for line in content.wrap(self._console, self._console.width - _NAME_WIDTH):
            line.rstrip()
            self._console.print(Text.assemble((f"{name:{_NAME_WIDTH}}", "dim"), line))
            name = ""

    def _command(self, ran: Ran) -> Text:
        text = Text.assemble(("$ ", "dim"), (short(ran.line), "bold"))
        lines = short(ran.output).splitlines()
        for line in lines[:_LINES_MAX]:
            text.append("\n").append(self._told(line))
        if len(lines) > _LINES_MAX:
            text.append("\n…", style="dim")
        if ran.exit_code:
            text.append(f"\nexit {ran.exit_code}", style="yellow")
        return text

    def _told(self, text: str) -> Text:
        """``text`` with each image's digest in the colour of whose it is."""
        told = Text(text)
        for match in _SHORT_DIGEST.finditer(text):
            name = self._names.get(match[0])
            if name is not None:
                told.stylize("red" if name == "attacker" else "cyan", *match.span())
        return told


def _page(saw: Saw) -> Text:
    style = "red" if is_attackers(saw.body) else "cyan"
    text = Text(f"GET {saw.url}  {saw.status or 'no answer'}", style="dim")
    words = "  ·  ".join(saw.excerpt) or saw.body.strip()
    return Text.assemble(text, ("\n▌ ", style), (words, "bold")) if words else text
