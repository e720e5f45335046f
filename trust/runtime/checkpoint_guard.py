"""Owns the promise that a frozen container runs on, however the process ends that has frozen it.

1. A guard, a shell that does nothing but wait, stands beside it meanwhile. A pipe to it is held by whoever freezes
   and by the engine's commands that it has started: when all of them have died without a word, it thaws.
2. Where the guard has been killed with them, a note in the staging directory says what stands still: the next
   command of ours that finds it abandoned thaws. So it removes the yardstick of a restore that was killed.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from trust.errors import TrustError
from trust.runtime.checkpoint_staging import DIRECTORY, swept
from trust.runtime.disk import read_document, remove_tree, write_document
from trust.runtime.engine import ask, engine_environment, engine_program

_VERBS = {
    "frozen": ["resume"],
    "doomed": ["delete", "--force"],
}  # a note's name, and what is owed to its container
_WAIT = 'read -r word || exec "$@"'


@contextmanager
def guarded(thaw: Sequence[str], environment: Mapping[str, str]) -> Iterator[int]:
    """Give a descriptor: should all that hold it die before this ends, the command ``thaw`` is run.

    Raises:
        OSError: no guard can be started.
    """
    waiting, held = os.pipe2(os.O_CLOEXEC)
    try:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", _WAIT, "sh", *thaw],
            stdin=waiting,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(environment),
            start_new_session=True,
        )
    except OSError:
        os.close(held)
        raise
    finally:
        os.close(waiting)
    try:
        yield held
    finally:
        with suppress(BrokenPipeError):  # somebody has killed it
            os.write(held, b"done\n")
        os.close(held)
        guard.wait()


def note(place: Path, state: Literal["frozen", "doomed"], *, engine: str, identity: str) -> None:
    """Have it said in a staging directory which container stands still for it, or was made for it alone."""
    write_document(place / f"{state}.json", {"engine": engine, "identity": identity})


def thaw_abandoned(home: Path, environ: Mapping[str, str]) -> None:
    """Have no container standing still for somebody who has died, and nothing of theirs left.

    What fails is left to the next: it must not keep a command from its work.
    """
    with suppress(OSError, TrustError), swept(home / DIRECTORY) as abandoned:
        for place in abandoned:
            with suppress(OSError, TrustError):
                _thaw(place, home, environ)
                remove_tree(place)


def _thaw(place: Path, home: Path, environ: Mapping[str, str]) -> None:
    for state, words in _VERBS.items():
        said = read_document(place / f"{state}.json")
        if said is None:
            continue
        name, program = engine_program(str(said["engine"]), search_path=environ.get("PATH", ""))
        command = [str(program), "--root", str(home / "engines" / name), *words, str(said["identity"])]
        with suppress(TrustError):  # it runs already, or is gone
            ask(command, engine_environment(environ), what=f"{name} {words[0]}")
