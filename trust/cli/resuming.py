"""The commands that resume containers: ``restore`` and ``clone``."""

from __future__ import annotations

import os
from functools import partial

import click

from trust.checkpoint import open_machine
from trust.cli.host import host_of
from trust.cli.options import Command
from trust.cli.phases import Phases
from trust.cli.running import IDENTITY_BYTES, PULL_SECONDS
from trust.cli.sealing import opener_of
from trust.cli.session import Session, session
from trust.cli.verifying import refuse
from trust.clone import clone as make_clone
from trust.digest import parse_digest
from trust.reference import Reference, parse_reference
from trust.restore import Asked, read_snapshot
from trust.restore import restore as resume
from trust.run import Started
from trust.runtime.containers import SHORT_LENGTH
from trust.runtime.host import open_containers
from trust.runtime.limits import parse_limits
from trust.runtime.options import parse_name, parse_volume
from trust.runtime.source import RegistrySource
from trust.runtime.tier import Tier, parse_tier
from trust.verdict import Allowed, Denied

EXIT_OK = 0


@click.command("restore", cls=Command)
@click.argument("image", metavar="IMAGE")
@click.option("--name", metavar="N", help="A name instead of a random one.")
@click.option("-d", "--detach", is_flag=True, help="Return when it runs; there is no other way.")
@click.option("--volume", "volumes", metavar="HOST:CTR[:ro]", multiple=True, help="What a volume of it is here.")
@click.option("--memory", metavar="SIZE", help="At most so much memory, as 256m, whatever it had.")
@click.option("--pids", metavar="N", help="At most so many processes and threads, likewise.")
@click.option("--cpus", metavar="N", help="At most so many processors' time, likewise.")
@click.option(
    "--integrity",
    metavar="TIER",
    help=f"How it is held to its image, whatever it had: {', '.join(each.value for each in Tier)}.",
)
@click.option("--identity", metavar="FILE", help="The X25519 private key that opens what is encrypted.")
def restore(
    image: str,
    *,
    name: str | None,
    detach: bool,  # noqa: ARG001
    volumes: tuple[str, ...],
    memory: str | None,
    pids: str | None,
    cpus: str | None,
    integrity: str | None,
    identity: str | None,
) -> int:
    """Verify the checkpoint IMAGE and the image it is of, then let its container go on here."""
    this = session()
    host = host_of(this, None)
    asked = Asked(
        identity=os.urandom(IDENTITY_BYTES).hex(),
        name=parse_name(name) if name else None,
        volumes=tuple(map(parse_volume, volumes)),
        limits=parse_limits(memory=memory, pids=pids, cpus=cpus),
        integrity=parse_tier(integrity) if integrity else None,
    )
    opener = opener_of(identity) if identity else None
    phases = Phases()
    allowed = _allowed(this, parse_reference(image))
    if isinstance(allowed, int):
        return allowed
    source = _source(this, allowed.reference)
    snapshot, seal = read_snapshot(allowed, source=source, deadline=this.deadline(), opener=opener)
    machine = open_machine(snapshot.facts.engine, host)
    base = _allowed(this, snapshot.ran.image.at(snapshot.ran.digest))
    if isinstance(base, int):
        return base
    phases.ended("verdicts")
    started = resume(
        snapshot,
        base,
        asked,
        machine,
        host=host,
        source=source,
        base_source=_source(this, base.reference),
        now=this.now,
        deadline=this.deadline(PULL_SECONDS),
        vet=partial(this.verifier().vet, base),
        phase=phases.ended,
        seal=seal,
    )
    if asked.integrity is not None and asked.integrity is not snapshot.ran.integrity:
        this.output.warn(
            f"integrity is {asked.integrity.value}, as asked for: it was {snapshot.ran.integrity.value}"
        )
    _say_started(this, "restore", started, phases, of=str(allowed.pinned))
    return EXIT_OK


@click.command("clone", cls=Command)
@click.argument("container", metavar="NAME")
@click.argument("new", metavar="NEW")
def clone(container: str, new: str) -> int:
    """Make NEW, a second copy of the running container NAME, from this moment on beside it."""
    this = session()
    host = host_of(this, None)
    found = open_containers(host).find(container)
    machine = open_machine(found.engine, host)
    name = parse_name(new)
    base = _allowed(this, parse_reference(found.image).at(parse_digest(found.digest)))
    if isinstance(base, int):
        return base
    phases = Phases()
    started = make_clone(
        found,
        base,
        machine,
        host=host,
        name=name,
        identity=os.urandom(IDENTITY_BYTES).hex(),
        source=_source(this, base.reference),
        now=this.now,
        deadline=this.deadline(PULL_SECONDS),
        vet=partial(this.verifier().vet, base),
        phase=phases.ended,
    )
    this.output.warn(
        f"{new} has every secret and the random state of {found.name}: keys, tokens and session identifiers exist"
        " twice, and both may draw the same random numbers"
    )
    _say_started(this, "clone", started, phases, of=found.name)
    return EXIT_OK


def _allowed(this: Session, reference: Reference) -> Allowed | int:
    """Return the verdict that allows ``reference``, or the exit code of its refusal, which was reported."""
    match this.verifier().verify(reference):
        case Allowed() as verdict:
            for notice in verdict.notices:
                this.output.note(notice)
            return verdict
        case Denied() as verdict:
            return refuse(this, verdict)


def _source(this: Session, reference: Reference) -> RegistrySource:
    repository = reference.repository
    return RegistrySource(registry=this.registry(repository.host), path=repository.path)


def _say_started(this: Session, command: str, started: Started, phases: Phases, *, of: str) -> None:
    one = started.container
    document = {
        "id": one.identity, "name": one.name, "image": one.image, "digest": one.digest, "of": of,
        "milliseconds": phases.milliseconds,
    }  # fmt: skip
    this.output.result(command, document, [one.identity[:SHORT_LENGTH]])
