"""The commands ``trust verify`` and ``trust resolve``."""

from __future__ import annotations

import click

from trust.cli.images import TypedImage, parse_image
from trust.cli.options import Command
from trust.cli.render import verdict_line
from trust.cli.session import Session, session
from trust.errors import TrustError, UnreachableError
from trust.instant import format_utc
from trust.reference import parse_reference
from trust.verdict import Allowed, Denied, Reason, Verdict, exit_code, verdict_json
from trust.verify import compare_tag


@click.command("verify", cls=Command)
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--offline", is_flag=True, help="Ask nobody: judge by the trusted state alone.")
@click.option("--as", "stands_for", metavar="IMAGE", help="The reference that an OCI layout stands for.")
def verify(images: tuple[str, ...], stands_for: str | None, *, offline: bool) -> int:
    """Say of each IMAGE whether it is what its publisher wants it to be now.

    Exit code: 0 allowed, 1 denied, 3 could not decide; the worst of several in the order 1, 3, 0.
    """
    run = session()
    typed = [parse_image(image, stands_for) for image in images]
    verdicts = [
        _compared(run, image, run.verifier(offline=offline).verify(image.reference), offline=offline)
        for image in typed
    ]
    _report(run, verdicts)
    return exit_code(verdicts)


@click.command("resolve", cls=Command)
@click.argument("image", metavar="IMAGE")
@click.option("--offline", is_flag=True, help="Ask nobody: judge by the trusted state alone.")
def resolve(image: str, *, offline: bool) -> int:
    """Print HOST/PATH@DIGEST of the signed digest of IMAGE, and nothing else, if it is allowed."""
    run = session()
    reference = parse_reference(image)
    verdict = run.verifier(offline=offline).verify(reference)
    match verdict:
        case Allowed():
            for notice in verdict.notices:
                run.output.note(notice)
            if not offline:
                warn_if_moved(run, verdict)
            run.output.result("resolve", verdict_json(verdict), [str(verdict.pinned)])
            return 0
        case Denied():
            return refuse(run, verdict)


def refuse(run: Session, denied: Denied) -> int:
    """Report a refusal as the error it is to a command that wanted the image; return its exit code."""
    code = exit_code([denied])
    message = f"{denied.reference} {denied.reason.value}: {denied.detail}"
    run.output.error(message, denied.hint, code=code, reason=denied.reason.value)
    return code


def warn_if_moved(run: Session, allowed: Allowed) -> None:
    """Warn where the registry's own tag is elsewhere: its bytes are not used, but somebody moved it."""
    if allowed.reference.tag is None or allowed.reference.digest is not None:
        return
    repository = allowed.reference.repository
    try:
        digest = run.registry(repository.host).tag_digest(
            repository.path, allowed.reference.tag, deadline=run.deadline()
        )
    except TrustError:
        return  # the signed digest does not depend on what the registry says
    verdict = compare_tag(allowed, digest)
    if isinstance(verdict, Denied):
        run.output.warn(f"{verdict.reason.value}: {verdict.detail}; the signed digest is used")


def _compared(run: Session, image: TypedImage, verdict: Verdict, *, offline: bool) -> Verdict:
    """Return ``verdict`` after a look at where the registry's tag, or the layout, points."""
    if not isinstance(verdict, Allowed) or (offline and image.layout is None):
        return verdict
    if image.layout is None and verdict.reference.digest is not None:
        return verdict
    try:
        found = image.digest_now(run)
    except UnreachableError as err:
        return Denied(reference=verdict.reference, reason=Reason.UNREACHABLE, detail=str(err), hint=err.hint)
    return compare_tag(verdict, found)


def _report(run: Session, verdicts: list[Verdict]) -> None:
    run.output.result(
        "verify",
        {"verdicts": [verdict_json(verdict) for verdict in verdicts]},
        [verdict_line(verdict, run.now) for verdict in verdicts],
    )
    for verdict in verdicts:
        match verdict:
            case Allowed():
                for notice in verdict.notices:
                    run.output.note(notice)
                if run.common.verbose:
                    signers = ", ".join(verdict.signers)
                    run.output.note(
                        f"role {verdict.role} by {signers}; valid until {format_utc(verdict.valid_until)}"
                    )
                    for kind, digests in verdict.attestations.items():
                        run.output.note(f"attested: {kind} {' '.join(map(str, digests))}")
            case Denied(hint=str(hint)) if not run.common.json:
                run.output.hint(hint)
            case Denied():
                pass
