"""Owns the yardstick: a container with this machine's own confinement, frozen to be compared with a snapshot.

It is the container that is to be resumed in all but its content: the same configuration, a root of its own with
one program of 130 bytes that waits for ever, empty places for volumes. It is killed as soon as it is frozen.
"""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

from trust.errors import InputError
from trust.runtime.bundle import Bundle
from trust.runtime.checkpoint_engine import MovingEngine, remove_cgroups
from trust.runtime.checkpoint_walls import Walls, read_walls
from trust.runtime.criu import SETTINGS, dump_settings
from trust.runtime.engine import Streams
from trust.runtime.overlay import WritableRoot
from trust.value import replace

_PROGRAM = "wait"
_BASE, _HEADERS_BYTES = 0x400000, 64 + 56
# System calls that wait for ever, in a loop: pause(2); ppoll(2) of nothing where there is no pause.
_MACHINES = {
    "amd64": (62, bytes.fromhex("b822000000 0f05 ebf7")),
    "arm64": (183, struct.pack("<7I", 0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800928, 0xD4000001,
                               0x17FFFFFA)),
}  # fmt: skip


def yardstick(bundle: Bundle, engine: MovingEngine, *, identity: str, directory: Path) -> Walls:
    """Return the walls of a container that is what ``bundle`` says, made in ``directory``, which is the bundle's.

    Raises:
        InputError: no such program can be made for the architecture. UnavailableError: the engine failed.
    """
    root, images, work = directory / "root", directory / "images", directory / "work"
    for each in (root, images, work):
        each.mkdir(mode=0o700)
    root.chmod(0o755)
    program = root / _PROGRAM
    program.write_bytes(waiting_program(bundle.architecture))
    program.chmod(0o755)
    volumes = tuple(
        replace(volume, source=_empty(directory / f"volume-{place}", is_directory=volume.source.is_dir()))
        for place, volume in enumerate(bundle.volumes)
    )
    measure = replace(
        bundle,
        identity=identity,
        directory=directory,
        root=root,
        arguments=(f"/{_PROGRAM}",),
        working_directory="/",
        volumes=volumes,
    )
    (directory / SETTINGS).write_text(dump_settings({}))
    nothing = Streams(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        engine.start(measure, WritableRoot(path=root, overlay=None), nothing)
        engine.dump(identity, images=images, work=work)
    finally:
        engine.delete(identity)
        remove_cgroups(identity)
    return read_walls(images)


def waiting_program(architecture: str) -> bytes:
    """Return an ELF program that waits for ever.

    Raises:
        InputError: there is none for the architecture.
    """
    if architecture not in _MACHINES:
        raise InputError(f"containers for {architecture} cannot be moved: expected {' or '.join(_MACHINES)}")
    machine, code = _MACHINES[architecture]
    size = _HEADERS_BYTES + len(code)
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 2, machine, 1, _BASE + _HEADERS_BYTES, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return head + segment + code


def _empty(path: Path, *, is_directory: bool) -> Path:
    if is_directory:
        path.mkdir(mode=0o755)
    else:
        path.touch(mode=0o644)
    return path
