"""The commands of the runtime: ``run``, ``ps``, ``logs``, ``stop``, ``rm``.

``run`` gives the container's own exit status; failures of ours are 125, with the contract's code in ``--json``.
"""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import click

from trust.cli.images import parse_image
from trust.cli.options import RUN_FAILED, Command, RunCommand
from trust.cli.render import table
from trust.cli.session import Session, session
from trust.cli.verifying import refuse, warn_if_moved
from trust.errors import RefusedError, TrustError
from trust.instant import format_utc
from trust.run import Ended, Host, Started, open_containers, open_engine
from trust.run import run as run_image
from trust.runtime.bundle import Caller
from trust.runtime.containers import SHORT_LENGTH, Listed
from trust.runtime.content import machine_platform, parse_platform
from trust.runtime.engine import ENGINES
from trust.runtime.image import parse_variable
from trust.runtime.options import RunOptions, parse_name, parse_network, parse_volume
from trust.runtime.source import LayoutSource, RegistrySource, Source
from trust.verdict import Allowed, Denied

IDENTITY_BYTES = 16
PULL_SECONDS = 3600.0
_RESOLVER = Path("/etc/resolv.conf")
_COPY_BYTES = 1 << 16


@click.command("run", cls=RunCommand, context_settings={"allow_interspersed_args": False})
@click.option("-d", "--detach", is_flag=True, help="Start it and return.")
@click.option("--name", metavar="N", help="A name instead of a random one.")
@click.option("--rm", "remove", is_flag=True, help="Leave nothing when it ends.")
@click.option("-i", "--interactive", is_flag=True, help="Let it read standard input.")
@click.option("--read-only", is_flag=True, help="Let it write nowhere but to its volumes.")
@click.option("--network", metavar="off|host", default="off", show_default=True)
@click.option(
    "-v", "--volume", "volumes", metavar="HOST:CTR[:ro]", multiple=True, help="Mount a part of the host."
)
@click.option("-e", "--env", "variables", metavar="K=V", multiple=True, help="A variable of its environment.")
@click.option(
    "--platform", "wanted", metavar="OS/ARCH", help="Which child of an index.  [default: this machine's]"
)
@click.option("--engine", metavar="|".join(ENGINES), help="What runs it.  [default: the first that is here]")
@click.option("--as", "stands_for", metavar="IMAGE", help="The reference that an OCI layout stands for.")
@click.argument("image", metavar="IMAGE")
@click.argument("command", metavar="[COMMAND]...", nargs=-1, type=click.UNPROCESSED)
def run(
    *,
    detach: bool,
    name: str | None,
    remove: bool,
    interactive: bool,
    read_only: bool,
    network: str,
    volumes: tuple[str, ...],
    variables: tuple[str, ...],
    wanted: str | None,
    engine: str | None,
    stands_for: str | None,
    image: str,
    command: tuple[str, ...],
) -> int:
    """Run IMAGE if it is allowed: the signed digest and never what the tag may have become."""
    this = session()
    try:
        options = RunOptions(
            command=command,
            name=parse_name(name) if name else None,
            is_detached=detach,
            is_removed_after=remove,
            interactive=interactive,
            is_read_only=read_only,
            network=parse_network(network),
            volumes=tuple(map(parse_volume, volumes)),
            environment=tuple(map(parse_variable, variables)),
        )
        return _run(this, image, stands_for, options, wanted=wanted, engine=engine)
    except TrustError as err:
        from trust.cli import exit_code_of  # noqa: PLC0415 - the package is whole by now

        reason = err.reason if isinstance(err, RefusedError) else None
        this.output.error(str(err), err.hint, code=exit_code_of(err), reason=reason)
        return RUN_FAILED


@click.command("ps", cls=Command)
def ps() -> None:
    """List the containers of this home."""
    this = session()
    found = open_containers(host_of(this, None)).all()
    documents = [
        {
            "id": each.container.identity,
            "name": each.container.name,
            "image": each.container.image,
            "digest": each.container.digest,
            "status": _status(each),
            "pid": each.pid,
            "exit_status": each.container.exit_status,
            "created": format_utc(each.container.created_at),
            "engine": each.container.engine,
        }
        for each in found
    ]
    rows = [
        (each.container.identity[:SHORT_LENGTH], each.container.name, _status(each), each.container.image)
        for each in found
    ]
    lines = table(rows, ("ID", "NAME", "STATUS", "IMAGE")) if rows else ["no containers"]
    this.output.result("ps", {"containers": documents}, lines)


@click.command("logs", cls=Command)
@click.argument("container", metavar="NAME")
def logs(container: str) -> None:
    """Print what a detached container wrote: its output on stdout, its errors on stderr."""
    this = session()
    containers = open_containers(host_of(this, None))
    found = containers.logs(containers.find(container))
    if this.common.json:
        texts = {
            "stdout": found.stdout.read_text(errors="replace"),
            "stderr": found.stderr.read_text(errors="replace"),
        }
        this.output.result("logs", texts, [])
        return
    for path, stream in ((found.stdout, sys.stdout.buffer), (found.stderr, sys.stderr.buffer)):
        with path.open("rb") as log:
            while chunk := log.read(_COPY_BYTES):
                stream.write(chunk)
        stream.flush()


@click.command("stop", cls=Command)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--time", "-t", "seconds", type=click.FloatRange(0), default=10.0, show_default=True)
def stop(names: tuple[str, ...], seconds: float) -> None:
    """Stop containers: asked first, killed after the time."""
    this = session()
    containers = open_containers(host_of(this, None))
    changed = {name: containers.stop(containers.find(name), timeout_seconds=seconds) for name in names}
    lines = [f"{'stopped' if ran else 'was not running'} {name}" for name, ran in changed.items()]
    documents = [{"name": name, "changed": ran} for name, ran in changed.items()]
    this.output.result("stop", {"containers": documents}, lines)


@click.command("rm", cls=Command)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--force", "-f", is_flag=True, help="Kill it first if it runs.")
def rm(names: tuple[str, ...], *, force: bool) -> None:
    """Remove containers, and everything that was theirs."""
    this = session()
    containers = open_containers(host_of(this, None))
    for name in names:
        containers.remove(containers.find(name), force=force)
    documents = [{"name": name, "changed": True} for name in names]
    this.output.result("rm", {"containers": documents}, [f"removed {name}" for name in names])


def _run(
    this: Session,
    image: str,
    stands_for: str | None,
    options: RunOptions,
    *,
    wanted: str | None,
    engine: str | None,
) -> int:
    typed = parse_image(image, stands_for)
    host = host_of(this, wanted)
    chosen = open_engine(engine, host)
    verdict = this.verifier().verify(typed.reference)
    match verdict:
        case Denied():
            refuse(this, verdict)
            return RUN_FAILED
        case Allowed():
            for notice in verdict.notices:
                this.output.note(notice)
    source: Source
    if typed.layout is not None:
        source = LayoutSource(layout=typed.layout.open())
    else:
        repository = verdict.reference.repository
        source = RegistrySource(registry=this.registry(repository.host), path=repository.path)
        warn_if_moved(this, verdict)
    outcome = run_image(
        verdict,
        identity=os.urandom(IDENTITY_BYTES).hex(),
        options=options,
        host=host,
        engine=chosen,
        source=source,
        now=this.now,
        deadline=this.deadline(PULL_SECONDS),
        denied=this.policy.denied_digests,
    )
    match outcome:
        case Ended():
            return outcome.exit_status
        case Started():
            found = outcome.container
            document = {"id": found.identity, "name": found.name, "image": found.image, "digest": found.digest}
            this.output.result("run", document, [found.identity[:SHORT_LENGTH]])
            return 0


def host_of(this: Session, wanted: str | None) -> Host:
    """Return this machine and its user; ``wanted`` is a platform other than the machine's own."""
    return Host(
        home=this.home,
        caller=Caller(uid=os.geteuid(), gid=os.getegid()),
        platform=parse_platform(wanted) if wanted else machine_platform(platform.machine()),
        environ=os.environ,
        resolver=_RESOLVER.read_bytes() if _RESOLVER.exists() else b"",
    )


def _status(listed: Listed) -> str:
    if listed.pid is not None:
        return "running"
    status = listed.container.exit_status
    return "exited" if status is None else f"exited ({status})"
