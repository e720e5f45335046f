"""Owns what is left where something of ours was killed: found by its name, and cleaned away.

A container's directory is made before anything else of it and removed after everything else; all that is of it
(control groups, the engine's state) bears its identity. So a leftover is one of these:

    a directory that begins with a dot        it was being removed
    one without a record, or with a mark      it was being made, and not started; or its run was to remove it
    one to which its own name does not lead   it was on trial, or has been replaced
    an engine's state without a directory

Mounts and networks need no cleaning: they are in namespaces that end with their processes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from trust.errors import InputError, UnavailableError
from trust.runtime.cgroup import Controllers
from trust.runtime.course import read_course
from trust.runtime.disk import read_document, remove_tree
from trust.runtime.engine import Engine
from trust.runtime.locks import RECORD, locked, not_starting
from trust.runtime.names import bearers, clear_names, release

IDENTITY_LENGTH = 32
MAKING = "making"  # it is being made; whoever makes it holds its lock meanwhile
EPHEMERAL = "ephemeral"  # its run, which holds its lock, removes it at its end


def sweep(directory: Path, engine_named: Callable[[str], Engine]) -> None:
    """Have no leftovers of the containers in ``directory``; what somebody works on is none.

    Raises:
        OSError: something cannot be removed.
    """
    if not directory.is_dir():
        return
    clear_names(directory)
    named = bearers(directory)
    for path in tuple(directory.iterdir()):
        is_removed, is_one = path.name.startswith("."), len(path.name) == IDENTITY_LENGTH
        if is_removed or (is_one and path.name not in named):
            with suppress(InputError, FileNotFoundError, NotADirectoryError), locked(path, wait=False) as is_there:
                if is_there and is_removed:
                    remove_tree(path)
                elif is_there and path.name not in bearers(directory):
                    _discard_nameless(path, engine_named)
    _sweep_marked(directory, engine_named)
    for state in tuple(directory.parent.glob("engines/*/*")):
        if len(state.name) == IDENTITY_LENGTH and not (directory / state.name).exists():
            with suppress(InputError, UnavailableError):
                engine_named(state.parent.name).delete(state.name)
                Controllers().remove(state.name)


def discard(directory: Path, engine: Engine, name: str) -> None:
    """Have nothing left of a container whose lock the caller holds; a name that is another's by now stays so.

    Raises:
        OSError: something of it cannot be removed.
    """
    doomed = directory.with_name(f".{directory.name}")
    with not_starting(directory):
        engine.delete(directory.name)
        Controllers().remove(directory.name)
        release(directory.parent, name, directory.name)
        with suppress(FileNotFoundError):
            directory.rename(doomed)
    remove_tree(doomed)


def _sweep_marked(directory: Path, engine_named: Callable[[str], Engine]) -> None:
    for mark in (MAKING, EPHEMERAL):
        for path in tuple(directory.glob(f"*/{mark}")):
            with suppress(InputError, FileNotFoundError), locked(path.parent, wait=False) as is_there:
                if is_there:
                    _discard_unfinished(path, engine_named)


def _discard_unfinished(mark: Path, engine_named: Callable[[str], Engine]) -> None:
    """Remove what was not started, or has ended and was to be removed then; what runs is nobody's leftover."""
    directory = mark.parent
    document = read_document(directory / RECORD)
    if document is None:
        return
    engine = engine_named(str(document.get("engine")))
    was_started = directory.name in engine.running([directory.name])
    if mark.name == MAKING:
        was_started = was_started or read_course(directory) is not None
    if not was_started:
        discard(directory, engine, str(document.get("name")))
    elif mark.name == MAKING:
        mark.unlink()


def _discard_nameless(directory: Path, engine_named: Callable[[str], Engine]) -> None:
    """Remove what nobody can call by its name, killed if it runs; without a record, nothing was started."""
    document = read_document(directory / RECORD)
    if document is None:
        remove_tree(directory)
    else:
        with suppress(UnavailableError):
            discard(directory, engine_named(str(document.get("engine"))), str(document.get("name")))
