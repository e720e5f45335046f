"""The commands ``trust push``, ``trust pull`` and ``trust login``."""

from __future__ import annotations

import os
import sys

import click

from trust.cli.bar import terminal
from trust.cli.images import parse_image
from trust.cli.options import Command
from trust.cli.published import report, word_of
from trust.cli.publishing import publisher
from trust.cli.session import PUBLISH_SECONDS, session
from trust.cli.verifying import refuse, warn_if_moved
from trust.errors import InputError
from trust.oci.credentials import Login
from trust.oci.errors import LoginWantedError
from trust.oci.login import store_login, try_login
from trust.places import home_directory
from trust.reference import parse_reference
from trust.sign import Order, read_image
from trust.sign import sign as sign_images
from trust.transfer import ENGINES, EngineName, find_engine, push_layout
from trust.verdict import Allowed, Denied, verdict_json

EXIT_DENIED = 1
_SECRET_MAX_BYTES = 64 * 1024


@click.command("push", cls=Command)
@click.argument("image", metavar="IMAGE")
@click.option("--as", "stands_for", metavar="IMAGE", help="The reference that an OCI layout is pushed to.")
@click.option("--engine", type=click.Choice(ENGINES), help="Which engine has the image.  [default: what is there]")
@click.option("--key", "keys", metavar="K", multiple=True, help="Sign with this key, not with every one at hand.")
def push(*, image: str, stands_for: str | None, engine: EngineName | None, keys: tuple[str, ...]) -> int:
    """Push IMAGE, local or an OCI layout (oci:DIR[:TAG] --as IMAGE), then sign the digest that was pushed."""
    run = session()
    typed = parse_image(image, stands_for)
    stanza, path = run.stanza_for(typed.reference)
    if typed.reference.tag is None:
        raise InputError(f"a push names a tag: got {typed.reference}")
    registry = run.registry(typed.reference.repository.host)
    if typed.layout is not None:
        digest = push_layout(
            typed.layout.open(),
            typed.layout.tag,
            registry=registry,
            reference=typed.reference,
            soon=lambda: run.deadline(PUBLISH_SECONDS),
        )
    else:
        local = find_engine(engine, plain_http=run.common.plain_http, environ=os.environ)
        digest = local.push(typed.reference)
    signed = read_image(digest, lambda wanted: typed.manifest(run, wanted))
    order = Order(path=path, tag=typed.reference.tag, image=signed, annotations={})
    published = sign_images(publisher(run, stanza, keys, dry_run=False), [order])
    images = [{"image": str(typed.reference), "digest": str(digest)}]
    word = f"pushed; {word_of(published, 'signed', 'was signed already:', dry_run=False)}"
    lines = [f"{word} {typed.reference} {digest}"]
    return report(run, "push", stanza, {"images": images}, lines, published, dry_run=False)


@click.command("pull", cls=Command)
@click.argument("image", metavar="IMAGE")
@click.option("--engine", type=click.Choice(ENGINES), help="Which engine pulls.  [default: what is there]")
def pull(*, image: str, engine: EngineName | None) -> int:
    """Pull the signed digest of IMAGE into docker or podman, and tag it there; a tag is never pulled."""
    run = session()
    verdict = run.verifier().verify(parse_reference(image))
    match verdict:
        case Allowed():
            warn_if_moved(run, verdict)
            local = find_engine(engine, plain_http=run.common.plain_http, environ=os.environ)
            local.pull(verdict, terminal=terminal(run.output))
            run.output.result("pull", verdict_json(verdict), [f"pulled {verdict.pinned} as {verdict.reference}"])
            return 0
        case Denied():
            return refuse(run, verdict)


@click.command("login", cls=Command)
@click.argument("host", metavar="HOST")
@click.option("--username", "-u", required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin; it is never an argument.")
def login(*, host: str, username: str, password_stdin: bool) -> int:
    """Try a registry's login there, and keep it where docker and podman keep theirs."""
    run = session()
    given = Login(user=username, secret=_secret(host, from_stdin=password_stdin))
    host = parse_reference(f"{host}/x").repository.host
    try:
        was_tried = try_login(
            host, given, http=run.http, plain_http=run.common.plain_http, deadline=run.deadline()
        )
    except LoginWantedError as err:
        run.output.error(str(err), err.hint, code=EXIT_DENIED)
        return EXIT_DENIED
    if not was_tried:
        run.output.warn(f"{host} asks nobody for a login: this one was not tried")
    where = store_login(host, given, environ=os.environ, home=home_directory())
    document = {"host": host, "stored_in": where, "tried": was_tried}
    run.output.result("login", document, [f"login for {host} is kept in {where}"])
    return 0


def _secret(host: str, *, from_stdin: bool) -> str:
    if from_stdin:
        given = sys.stdin.read(_SECRET_MAX_BYTES).rstrip("\r\n")
        if not given:  # an unset variable of a pipeline
            raise InputError("the password is empty: expected it on standard input")
        return given
    if not sys.stdin.isatty():
        raise InputError(
            "no password: there is no terminal to ask on", hint=f"trust login {host} --password-stdin"
        )
    secret: str = click.prompt("password", hide_input=True, err=True)
    return secret
