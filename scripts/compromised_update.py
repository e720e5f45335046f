"""The compromised update: an attacker moves a tag, on a machine without trust and on one with it, and tries on.

Every part is real and on this machine's loopback. Exit status: 0 everything was as promised; 1 an attack
succeeded, or something else was not as promised; 2 usage; 3 the play could not be given: a part is missing, say.
"""

import argparse
import io
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))  # started as a file, so that it needs no set-up but .venv

from rich.console import Console  # noqa: E402 - what is imported stands behind the path it is imported by

from scripts.keynote.acts import play  # noqa: E402
from scripts.keynote.frozen import NEED_ROOT, can_freeze  # noqa: E402
from scripts.keynote.lab import NotReadyError, find_lab  # noqa: E402
from scripts.keynote.narration import Narration  # noqa: E402
from scripts.keynote.report import report_html  # noqa: E402
from scripts.keynote.stage import Stage, set_stage  # noqa: E402
from scripts.keynote.story import Play, play_json  # noqa: E402

_LEAVE = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Give the play; return the exit status."""
    parser = argparse.ArgumentParser(prog="demo", description="The compromised update, replayed for real.")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of the story")
    parser.add_argument("--report", metavar="FILE.html", type=Path, help="also write the story as one web page")
    arguments = parser.parse_args()
    for number in _LEAVE:
        signal.signal(number, _leave)
    console = Console(file=io.StringIO()) if arguments.json else Console(highlight=False)
    started = time.monotonic()
    try:
        with set_stage(find_lab()) as stage:
            given = _give(stage, console, started)
        if arguments.report:
            arguments.report.write_text(report_html(given), "utf-8")
    except NotReadyError as err:
        print(f"error: {err}\nhint: {err.hint}", file=sys.stderr)
        return 3
    except (OSError, subprocess.SubprocessError) as err:
        print(f"error: the play stopped: {err}", file=sys.stderr)
        return 3
    if arguments.json:
        print(json.dumps(play_json(given), ensure_ascii=False))
    elif arguments.report:
        console.print(f"report: {arguments.report}")
    return 0 if given.as_promised else 1


def _give(stage: Stage, console: Console, started: float) -> Play:
    names = stage.images.names()
    place = {
        "registry": stage.registry.host,
        "plain host": stage.plain_machine.door.url,
        "host": stage.trust_machine.door.url,
    }
    narration = Narration(console, names)
    narration.prologue(place)
    if not can_freeze(stage.lab):
        console.print(NEED_ROOT)
    acts = []
    for act in play(stage, narration.begin, narration.tell):
        narration.end(act)
        acts.append(act)
    given = Play(acts=acts, names=names, place=place, seconds=time.monotonic() - started)
    narration.epilogue(given)
    return given


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    """Leave in order: what was started is ended on the way out, which a second signal must not cut short."""
    for each in _LEAVE:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
