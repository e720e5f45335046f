"""Goes every way back of docs/recovery.md for real, and says what each has cost; exit status 0 if all came out."""

import argparse
import io
import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # started as a file: it needs no set-up but .venv

from rich.console import Console
from rich.table import Table

from scripts.drills.keys_lost import lost_online_key, lost_root_key, lost_root_keys
from scripts.drills.keys_stolen import stolen_online_key, stolen_targets_key
from scripts.drills.machine import DrillError
from scripts.drills.places_lost import lost_consumer_state, lost_store, lost_store_in_registry
from scripts.drills.yard import Cost, Yard
from scripts.keynote.lab import Lab, NotReadyError, find_lab

DRILLS: dict[str, Callable[[Yard], None]] = {
    "online key lost": lost_online_key,
    "targets key stolen": stolen_targets_key,
    "online key stolen, versions counted up": stolen_online_key,
    "root keys lost below the threshold": lost_root_key,
    "root keys lost at the threshold": lost_root_keys,
    "store lost (file)": lost_store,
    "store lost (registry)": lost_store_in_registry,
    "consumer's state lost": lost_consumer_state,
}
_LEAVE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a drill: ``broken`` is None where it came out as promised."""

    name: str
    cost: Cost
    broken: str | None


def main() -> int:
    """Go through the drills; return the exit status."""
    parser = argparse.ArgumentParser(prog="drill", description="Every way back of docs/recovery.md, for real.")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of the table")
    parser.add_argument("--only", metavar="WORDS", help="the drills with these words in their names alone")
    arguments = parser.parse_args()
    for number in _LEAVE:
        signal.signal(number, _leave)
    console = Console(file=io.StringIO()) if arguments.json else Console(highlight=False)
    names = [name for name in DRILLS if arguments.only is None or arguments.only in name]
    if not names:
        parser.error(f"no drill has these words in its name: {arguments.only}")
    try:
        lab = find_lab()
        outcomes = [_outcome(name, lab, console) for name in names]
    except NotReadyError as err:
        print(f"error: {err}\nhint: {err.hint}", file=sys.stderr)
        return 3
    console.print(_table(outcomes))
    if arguments.json:
        print(json.dumps({"schema": 1, "drills": [_document(each) for each in outcomes]}, ensure_ascii=False))
    return 0 if all(each.broken is None for each in outcomes) else 1


def _outcome(name: str, lab: Lab, console: Console) -> Outcome:
    console.print(f"[bold]{name}[/bold]: {(DRILLS[name].__doc__ or '').strip()}")
    with tempfile.TemporaryDirectory(prefix="drill-") as folder:
        yard = Yard(folder=Path(folder), lab=lab)
        broken = None
        try:
            DRILLS[name](yard)
        except (DrillError, OSError, ValueError, subprocess.SubprocessError) as err:
            broken = f"{type(err).__name__}: {err}"
        if yard.cost is None:  # it broke on the way
            yard.is_mended()
    cost = yard.cost or Cost(commands=(), files=None, seconds=0.0, consumers=())
    for command in (*cost.commands, *(f"consumer: {each}" for each in cost.consumers)):
        console.print(f"  {command.replace(folder, '…')}", markup=False)
    if broken is not None:
        console.print(f"  broken: {broken}", style="red", markup=False)
    return Outcome(name=name, cost=cost, broken=broken)


def _table(outcomes: list[Outcome]) -> Table:
    table = Table("drill", "outcome", "commands", "files", "seconds", "consumers")
    for each in outcomes:
        cost = each.cost
        table.add_row(
            each.name, "as promised" if each.broken is None else "broken", str(len(cost.commands)),
            "-" if cost.files is None else str(cost.files), f"{cost.seconds:.1f}",
            "nothing" if not cost.consumers else str(len(cost.consumers)),
        )  # fmt: skip
    return table


def _document(each: Outcome) -> dict[str, Any]:
    return {
        "drill": each.name,
        "as_promised": each.broken is None,
        "broken": each.broken,
        "commands": list(each.cost.commands),
        "files": each.cost.files,
        "seconds": round(each.cost.seconds, 2),
        "consumers": list(each.cost.consumers),
    }


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave in order: what was started is ended on the way out, which a second signal must not cut short."""
    for each in _LEAVE:
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
