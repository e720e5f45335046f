"""The command ``trust doctor``: is what stands between this machine and unverified images as it should be?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from trust.checkup import clock_finding, collection_finding, home_findings, policy_findings, probe_finding
from trust.cli.gate import root_option, runtime_option
from trust.cli.options import Command
from trust.cli.render import finding_lines
from trust.cli.session import Session, session
from trust.errors import InputError, TrustError
from trust.finding import Finding, error, exit_code_of, fine, unknown, warning
from trust.gates.check import installed_findings
from trust.gates.files import Machine
from trust.gates.gate import RUNTIMES, Gate, RuntimeName, parse_gate
from trust.gates.record import Record, read_record
from trust.oci.http import Http
from trust.policy import Stanza
from trust.reference import Reference, parse_collection, parse_reference

_ANSWER_MAX_BYTES = 64 * 1024
_OK, _UNAUTHORIZED = 200, 401
_PROBED = ("registry:", "s3:", "gs:", "az:")  # stores that promise what their servers may not keep


@click.command("doctor", cls=Command)
@click.option("--live", is_flag=True, help="Try it: the real clients pull, and a registry's tag is moved.")
@runtime_option(required=False)
@click.option("--gate", "url", metavar="URL", help="The shim that should be installed.  [default: what is]")
@click.option(
    "--unsigned", metavar="IMAGE", help="An image of an upstream that nobody signed: it must be refused."
)
@click.option("--collection", "names", metavar="COLLECTION", multiple=True, help="Not every one in the policy.")
@root_option
def doctor(
    *, live: bool, runtime: RuntimeName | None, url: str | None, unsigned: str | None, names: tuple[str, ...],
    root: Path,
) -> int:  # fmt: skip
    """Examine policy, home, clock, metadata, and the files of trust gate install.

    Exit code 1 if an error was found, 3 if something could not be found out.
    """
    run, machine = session(), Machine(root.absolute())
    if unsigned is not None and not live:
        raise InputError("an unsigned image is only tried with --live")
    gate, image = parse_gate(url) if url else None, parse_reference(unsigned) if unsigned else None
    findings = [*_basis(run, names, live=live), *_gates(run, machine, runtime, gate)]
    if live:
        findings += _trials(machine, runtime, image)
    code = exit_code_of(findings)
    document = {"findings": [finding.document for finding in findings], "code": code}
    run.output.result("doctor", document, finding_lines(findings))
    return code


def _basis(run: Session, names: tuple[str, ...], *, live: bool) -> Iterator[Finding]:
    """Yield what is found about policy, home, clock and collections."""
    try:
        stanzas = _stanzas(run, names)
        paths = run.policy_files()
        files = ", ".join(map(str, paths))
    except InputError as err:
        yield error(str(err), err.hint)
        stanzas, files = [], ""
    else:
        found = (
            fine(f"policy {files}: {len(stanzas)} collections") if files else warning("no policy: all is denied")
        )
        yield found
        yield from policy_findings(paths)
    yield from home_findings(run.home)
    try:
        yield clock_finding(stanzas, run.state, now=run.now)
    except TrustError as err:
        yield unknown(str(err), err.hint)
        return
    for stanza in stanzas:
        yield from _collection(run, stanza, live=live)


def _collection(run: Session, stanza: Stanza, *, live: bool) -> Iterator[Finding]:
    try:
        store = run.store(stanza)
        yield collection_finding(stanza, run.state, store, now=run.now, deadline=run.deadline())
        if live and (stanza.publish or stanza.metadata).startswith(_PROBED):
            yield probe_finding(stanza, run.store(stanza, publish=True), deadline=run.deadline())
    except TrustError as err:
        yield unknown(f"collection {stanza.collection}: {err}", err.hint)


def _stanzas(run: Session, names: tuple[str, ...]) -> list[Stanza]:
    stanzas = {str(stanza.collection): stanza for stanza in run.policy.stanzas}
    wanted = [str(parse_collection(name)) for name in names] or list(stanzas)
    for name in wanted:
        if name not in stanzas:
            raise InputError(f"collection {name} is not in the policy", hint="trust policy add knows it")
    return [stanzas[name] for name in wanted]


def _gates(run: Session, machine: Machine, runtime: RuntimeName | None, wanted: Gate | None) -> Iterator[Finding]:
    """Yield what is found about the installed files, and whether the gate that they name answers."""
    gates: dict[str, tuple[Gate, str | None]] = {wanted.url: (wanted, None)} if wanted else {}
    for record, finding in _records(machine, runtime):
        if finding is not None:
            yield finding
        if record is None:
            continue
        if wanted is not None and record.gate != wanted:
            what = f"{record.runtime}: the installed files lead to {record.gate.url}, not to {wanted.url}"
            yield error(what, f"trust gate install --runtime {record.runtime} --gate {wanted.url}")
        yield from installed_findings(record, machine, os.environ)
        ca = str(machine.path(record.ca)) if record.ca else None
        gates[record.gate.url] = (record.gate, ca)
    for gate, ca in gates.values():
        yield _answer(run, gate, ca)


def _records(machine: Machine, runtime: RuntimeName | None) -> list[tuple[Record | None, Finding | None]]:
    """Return each installation with what is wrong with its record; without any, that there is none."""
    wanted = (runtime,) if runtime else RUNTIMES
    found = [_record(machine, name, is_wanted=runtime is not None) for name in wanted]
    there = [entry for entry in found if entry != (None, None)]
    return there or [(None, warning("no gate is installed: this machine's clients pull from anywhere"))]


def _record(machine: Machine, name: RuntimeName, *, is_wanted: bool) -> tuple[Record | None, Finding | None]:
    try:
        record = read_record(machine, name)
    except InputError as err:
        return None, error(str(err), err.hint)
    except TrustError as err:
        return None, unknown(str(err), err.hint)
    if record is None and is_wanted:
        return None, error(f"{name}: no gate is installed", f"trust gate install --runtime {name} --gate URL")
    return record, None


def _answer(run: Session, gate: Gate, ca: str | None) -> Finding:
    environ = {**os.environ, "SSL_CERT_FILE": ca} if ca else os.environ
    try:
        with Http(environ=environ) as http:
            answer = http.request(
                "GET", f"{gate.url}/v2/", max_bytes=_ANSWER_MAX_BYTES, deadline=run.deadline(), follow=False
            )
    except TrustError as err:
        return error(
            f"the gate {gate.url} does not answer: {err}", "nothing can be pulled meanwhile; start the shim"
        )
    if answer.status not in {_OK, _UNAUTHORIZED}:
        return error(f"the gate {gate.url} is no registry: it answers /v2/ with {answer.status}")
    return fine(f"the gate {gate.url} answers")


def _trials(machine: Machine, runtime: RuntimeName | None, image: Reference | None) -> Iterator[Finding]:
    from trust.gates.trial import Trial, trial_findings  # noqa: PLC0415 - starts processes; only --live does

    for record, _ in _records(machine, runtime):
        if record is not None:
            yield from trial_findings(Trial(record=record, machine=machine, environ=os.environ, unsigned=image))
