"""Figure ``run-cached``: ``trust run --rm`` of an image that is here already, as a whole process.

It verifies with a refresh over HTTP, asks the registry where its tag is, and then starts the engine. Beside it the
same engine is run directly on the bundle that ``trust run`` made: its configuration to the letter, but for a root
that is a plain copy of the unpacked image, so that the engine alone pays for no overlay. What is above the engine
is ours. A small image and a large one: what a start costs above the engine is the same for both, but for the tree
that the tier ``directory`` reads once more.

Beside them, for root, podman and docker run the same image as they do it, in rounds of the same run: theirs is a
whole start too, without a verification.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from scripts.bench.collection import BuiltCollection, build_pushed
from scripts.bench.container_engines import docker, dockerd, podman
from scripts.bench.layout import layer_of
from scripts.bench.measure import WARM_UP, Command, fixed, run, side_by_side
from scripts.bench.result import Row, ratio, timed
from scripts.bench.server import docker_registry
from scripts.bench.setting import Setting, component, launcher

FIGURE = "run-cached"
ABOVE_ENGINE_MAX_MS = 150.0
OVER_PODMAN_MAX = 0.5
ENGINES = ("runc", "crun")
_NEEDED = ENGINES[0]
_PODMAN, _DOCKER = "podman", "docker"
_COMMAND = ("/bin/busybox", "true")
_BUSYBOX = {"bin/busybox": "busybox"}
_IMAGES = {"busybox": _BUSYBOX, "caddy": {**_BUSYBOX, "usr/bin/caddy": "caddy"}}
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An OCI bundle in ``directory`` for the engine ``program``, whose own state is in ``state``."""

    program: str
    directory: Path
    state: Path


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something could not be started, or refused.
    """
    rows: list[Row] = []
    for image, programs in _IMAGES.items():
        with ExitStack() as stack:
            port = stack.enter_context(docker_registry(setting, f"{FIGURE}.{image}.registry"))
            files = {path: Path(component(name)) for path, name in programs.items()}
            layer = layer_of(files, directories=("bin", "etc", "usr", "usr/bin"))
            built = build_pushed(setting, f"{FIGURE}.{image}", host=f"127.0.0.1:{port}", layers=[layer])
            for engine in ENGINES:
                program = launcher(setting, engine, is_needed=engine == _NEEDED)
                if program is not None:
                    what = f"{image}, {len(layer) / _MIB:.0f} MiB"
                    peers = _peers(setting, built, stack, program) if engine == _NEEDED else {}
                    rows.extend(_compared(setting, built, peers, engine=engine, program=program, what=what))
    return rows


def _peers(setting: Setting, built: BuiltCollection, stack: ExitStack, program: str) -> Mapping[str, Command]:
    """Return what podman and docker would be told, by their names; an ordinary user has no docker of his own."""
    if os.geteuid() != 0:
        return {}
    name = built.directory.name
    address = stack.enter_context(dockerd(setting, f"{name}.docker"))
    return {
        _PODMAN: stack.enter_context(podman(setting, f"{name}.podman", built.image, _COMMAND, engine=program)),
        _DOCKER: docker(setting, address, built.image, _COMMAND),
    }


def _compared(
    setting: Setting,
    built: BuiltCollection,
    peers: Mapping[str, Command],
    *,
    engine: str,
    program: str,
    what: str,
) -> Sequence[Row]:
    bundle = _kept_bundle(setting, built, engine=engine, program=program)
    ours, alone = f"trust run --rm ({engine}), {what}", f"{engine} run, {what}"
    words = ("run", "--engine", engine, "--rm", built.image, *_COMMAND)
    timings = side_by_side(
        {
            ours: fixed(setting.trust, *words, environ=built.environ),
            alone: Command(argv=lambda number: _argv(bundle, number), environ=built.environ),
            **{f"{peer} run --rm ({engine}), {what}": command for peer, command in peers.items()},
        },
        rounds=setting.rounds,
    )
    above = timings[ours].median_ms - timings[alone].median_ms
    return (
        *(timed(FIGURE, name, timing) for name, timing in timings.items()),
        Row(
            figure=FIGURE,
            what=f"trust run above {engine}, {what}",
            value=above,
            unit="ms",
            limit=ABOVE_ENGINE_MAX_MS,
        ),
        *(
            ratio(
                FIGURE,
                f"trust run over {peer} run, {what}",
                timings[ours].over(timings[f"{peer} run --rm ({engine}), {what}"]),
                limit=OVER_PODMAN_MAX if peer == _PODMAN else None,
            )
            for peer in peers
        ),
    )


def _argv(bundle: Bundle, number: int) -> Sequence[str]:
    identity = f"direct-{bundle.directory.name}-{number + WARM_UP}"
    return (bundle.program, "--root", str(bundle.state), "run", "--bundle", str(bundle.directory), identity)


def _kept_bundle(setting: Setting, built: BuiltCollection, *, engine: str, program: str) -> Bundle:
    """Return the bundle of a container that ``trust run`` made and kept, with a root of its own."""
    name = f"kept-{engine}"
    words = ("run", "--engine", engine, "--name", name, built.image, *_COMMAND)
    run(setting.trust, *words, environ=built.environ)
    made = (built.home / "containers/names" / name).resolve()
    made = built.home / "containers" / made.name
    [tree] = built.home.glob("rootfs/*/*/rootfs")
    directory = setting.fresh(f"{built.directory.name}.{engine}")
    shutil.copytree(tree, directory / "rootfs", symlinks=True)
    config = json.loads((made / "config.json").read_text("utf-8"))
    config["root"]["path"] = str(directory / "rootfs")
    (directory / "config.json").write_text(json.dumps(config), "utf-8")
    return Bundle(program=program, directory=directory, state=setting.fresh(f"{directory.name}.state"))
