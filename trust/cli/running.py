"""The command ``trust run``: the container's own exit status; a failure of ours is 125.

With ``--json`` a failure has the contract's code beside it.
"""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Literal

import click

from trust.cli.bar import bar
from trust.cli.following import Pace, following_of
from trust.cli.host import host_of
from trust.cli.images import parse_image
from trust.cli.options import RUN_FAILED, RunCommand
from trust.cli.session import Session, session
from trust.cli.verifying import refuse, warn_if_moved
from trust.errors import TrustError
from trust.instant import parse_duration
from trust.run import Ended, Started
from trust.run import run as run_image
from trust.runtime.bounded_log import MINIMUM_BYTES
from trust.runtime.containers import SHORT_LENGTH
from trust.runtime.engine import ENGINES
from trust.runtime.health import HealthCheck, parse_retries, shell_check
from trust.runtime.host import open_engine
from trust.runtime.image import parse_variable
from trust.runtime.limits import Limits, parse_cpus, parse_memory, parse_pids, parse_size
from trust.runtime.options import RunOptions, parse_name, parse_network, parse_tmpfs, parse_volume
from trust.runtime.ports import parse_port
from trust.runtime.restart import parse_restart
from trust.runtime.source import LayoutSource, RegistrySource, Source
from trust.runtime.tier import DEFAULT_TIER, DIRECTORY_WARNING, Tier, parse_tier
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
@click.option("--userns", is_flag=True, help="Let its root be nobody on the host, where root starts it.")
@click.option("--tmpfs", metavar="CTR[:SIZE]", multiple=True, help="An empty directory in memory.")
@click.option("--memory", metavar="SIZE", help="At most so much memory, as 256m.")
@click.option("--pids", metavar="N", help="At most so many processes and threads.")
@click.option("--cpus", metavar="N", help="At most so many processors' time, as 0.5.")
@click.option(
    "-p",
    "--publish",
    "ports",
    metavar="[IP:]HOST:CTR",
    multiple=True,
    help="A port of the host that leads to one of it.",
)
@click.option("--restart", metavar="no|on-failure[:N]|always", default="no", show_default=True)
@click.option("--health-cmd", metavar="CMD", help="Ask a shell in it; none: not even what the image says.")
@click.option("--health-interval", metavar="TIME", default="30s", show_default=True)
@click.option("--health-timeout", metavar="TIME", default="30s", show_default=True)
@click.option("--health-retries", metavar="N", default="3", show_default=True)
@click.option("--log-max-size", metavar="SIZE", default="10m", show_default=True, help="Of each of its logs.")
@click.option("--update", is_flag=True, help="Follow the tag: run what it is signed to be, as it changes.")
@click.option("--update-every", metavar="TIME", default="5m", show_default=True)
@click.option(
    "--update-trial",
    metavar="TIME",
    default="10s",
    show_default=True,
    help="Without a health check, how long a new version must stay up before it takes over.",
)
@click.option("--network", metavar="off|private|host", default="off", show_default=True)
@click.option(
    "-v", "--volume", "volumes", metavar="HOST:CTR[:ro]", multiple=True, help="Mount a part of the host."
)
@click.option("-e", "--env", "variables", metavar="K=V", multiple=True, help="A variable of its environment.")
@click.option(
    "--platform", "wanted", metavar="OS/ARCH", help="Which child of an index.  [default: this machine's]"
)
@click.option("--engine", metavar="|".join(ENGINES), help="What runs it.  [default: the first that is here]")
@click.option(
    "--integrity",
    metavar="TIER",
    help="How it is held to what was verified: dm-verity, sealed, fuse-verity or directory.  [default: directory]",
)
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
    userns: bool,
    tmpfs: tuple[str, ...],
    memory: str | None,
    pids: str | None,
    cpus: str | None,
    ports: tuple[str, ...],
    restart: str,
    health_cmd: str | None,
    health_interval: str,
    health_timeout: str,
    health_retries: str,
    log_max_size: str,
    update: bool,
    update_every: str,
    update_trial: str,
    network: str,
    volumes: tuple[str, ...],
    variables: tuple[str, ...],
    wanted: str | None,
    engine: str | None,
    integrity: str | None,
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
            has_own_ids=userns,
            network=parse_network(network),
            volumes=tuple(map(parse_volume, volumes)),
            tmpfs=tuple(map(parse_tmpfs, tmpfs)),
            environment=tuple(map(parse_variable, variables)),
            limits=Limits(
                memory_bytes=parse_memory(memory) if memory else None,
                pids=parse_pids(pids) if pids else None,
                cpus=parse_cpus(cpus) if cpus else None,
            ),
            integrity=parse_tier(integrity) if integrity else DEFAULT_TIER,
            ports=tuple(map(parse_port, ports)),
            restart=parse_restart(restart),
            health=_health(health_cmd, health_interval, health_timeout, health_retries),
            log_max_bytes=parse_size(log_max_size, what="size of a log", minimum=MINIMUM_BYTES),
        )
        if integrity and options.integrity is Tier.DIRECTORY:
            this.output.warn(DIRECTORY_WARNING)
        pace = Pace(every=parse_duration(update_every), trial=parse_duration(update_trial)) if update else None
        return _run(this, image, stands_for, options, pace=pace, wanted=wanted, engine=engine)
    except TrustError as err:
        this.output.error(str(err), err.hint, code=err.exit_code, reason=err.reason)
        return RUN_FAILED


def _health(
    command: str | None, interval: str, timeout: str, retries: str
) -> HealthCheck | Literal["image", "none"]:
    if command is None or command == "none":
        return "image" if command is None else "none"
    return HealthCheck(
        command=shell_check(command),
        interval_seconds=parse_duration(interval).total_seconds(),
        timeout_seconds=parse_duration(timeout).total_seconds(),
        retries=parse_retries(retries),
    )


def _run(
    this: Session,
    image: str,
    stands_for: str | None,
    options: RunOptions,
    *,
    pace: Pace | None,
    wanted: str | None,
    engine: str | None,
) -> int:
    typed = parse_image(image, stands_for)
    host = host_of(this, wanted)
    chosen = open_engine(engine, host)
    following = following_of(this, typed, options, pace, host) if pace else None
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
        vet=partial(this.verifier().vet, verdict),
        following=following,
        progress=lambda: bar(this.output, time.monotonic),
    )
    match outcome:
        case Ended():
            return outcome.exit_status
        case Started():
            found = outcome.container
            document = {"id": found.identity, "name": found.name, "image": found.image, "digest": found.digest}
            this.output.result("run", document, [found.identity[:SHORT_LENGTH]])
            return 0
