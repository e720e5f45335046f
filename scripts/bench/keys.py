"""Figure ``keys``: what a signature costs by where its key lives; no limit was promised.

Signatures a second in one process, opened once, each of a payload of 1 KiB; then ``trust sign`` of one more tag as
a whole process, unlocking included. Tokens are SoftHSM's: the figure is of the way to a token, not of a token. AWS
is moto's server on loopback: it is of the client.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keys.hsm import Hsm
from keys.signers import Sources, open_signer
from keys.store import KeyStore
from scripts.bench.collection import HOST
from scripts.bench.layout import write_layout
from scripts.bench.measure import Command, run, side_by_side
from scripts.bench.result import Row, timed
from scripts.bench.setting import PASSPHRASE, Setting
from tests.simulators.aws import Aws
from tests.simulators.token import PIN, Tokens, load_libraries, module

FIGURE = "keys"
_PAYLOAD = bytes(1024)
_FIRST_TAG = 100  # the warm-up's rounds are below zero


@dataclass(frozen=True, slots=True, kw_only=True)
class _Publisher:
    """One whose targets key is of the kind to be measured; its other keys are files."""

    directory: Path
    environ: Mapping[str, str]

    @property
    def store(self) -> KeyStore:
        """His keys."""
        return KeyStore(self.directory / ".local/share/trust/keys")

    def sign(self, setting: Setting) -> Command:
        """Return the command that signs one more tag in each round."""

        def argv(number: int) -> Sequence[str]:
            tag = f"{HOST}/acme/web:{number + _FIRST_TAG}"
            return (setting.trust, "sign", f"oci:{self.directory / 'layout'}:v0", "--as", tag)

        return Command(argv=argv, environ=self.environ)


def measure(setting: Setting) -> Sequence[Row]:
    """Return the rows of this figure.

    Raises:
        BenchError: something refused.
    """
    directory = setting.fresh(FIGURE)
    tokens = Tokens(directory / "machine")
    tokens.add("bench")
    load_libraries()
    with Aws() as aws, _environ({**aws.environment, **tokens.environment}):
        token = f"pkcs11:token=bench?module-path={module()}"
        kinds = {
            "file, ed25519": ("generate", "targets"),
            "file, ecdsa-p256": ("generate", "targets", "--type", "ecdsa-p256"),
            "SoftHSM, ecdsa-p256": ("generate", "targets", "--on", token.replace("?", ";object=p256?")),
            "SoftHSM, ed25519": (
                "generate",
                "targets",
                "--type",
                "ed25519",
                "--on",
                token.replace("?", ";object=ed?"),
            ),
            "AWS KMS (moto), ecdsa-p256": ("import", "targets", f"awskms:{aws.create_key()}"),
        }
        environ = {**setting.environ, **aws.environment, **tokens.environment}
        publishers = {
            kind: _publisher(setting, directory / f"{number}", words, environ)
            for number, (kind, words) in enumerate(kinds.items())
        }
        rates = {kind: _rate(publisher, seconds=_seconds(setting)) for kind, publisher in publishers.items()}
        commands = {f"trust sign: {kind}": publisher.sign(setting) for kind, publisher in publishers.items()}
        timings = side_by_side(commands, rounds=max(3, setting.rounds // 3))
    return (
        *(
            Row(figure=FIGURE, what=f"signatures: {kind}", value=round(rate), unit="/s")
            for kind, rate in rates.items()
        ),
        *(timed(FIGURE, name, timing) for name, timing in timings.items()),
    )


def _publisher(setting: Setting, directory: Path, key: Sequence[str], environ: Mapping[str, str]) -> _Publisher:
    directory.mkdir()
    own = {**environ, "HOME": str(directory), "TRUST_PASSPHRASE": PASSPHRASE, "TRUST_PIN": PIN}
    run(setting.trust, "key", *key, environ=own)
    names = ("--root-key", "root", "--targets-key", "targets", "--online-key", "online")
    metadata = f"file:{directory / 'metadata'}"
    run(setting.trust, "init", f"{HOST}/acme/", "--metadata", metadata, "--write-policy", *names, environ=own)
    write_layout(directory / "layout")
    return _Publisher(directory=directory, environ=own)


def _rate(publisher: _Publisher, *, seconds: float) -> float:
    hsm = Hsm(environ={}, pin=lambda _uri: PIN)
    sources = Sources(passphrase=lambda _name: PASSPHRASE, hsm=lambda: hsm)
    signer = open_signer("targets", store=publisher.store, sources=sources)
    signer.sign(_PAYLOAD)
    began, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < seconds:
        signer.sign(_PAYLOAD)
        count += 1
    return count / passed


def _seconds(setting: Setting) -> float:
    return 0.3 if setting.is_quick else 2.0


@contextmanager
def _environ(changes: Mapping[str, str]) -> Iterator[None]:
    """Let this process's own clients find their services meanwhile: they ask the environment."""
    before = dict(os.environ)
    os.environ.update(changes)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
