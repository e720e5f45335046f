"""One publisher of the figure ``publishers``: signs tags one by one until its share is done, as its own process.

Started with a file that says who it is. A tag counts as signed when it stands in the file of acknowledgements,
which is synced after each: whoever is killed before that signs the same tag again, and finds it there or not.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.signer import CryptoSigner, Signer

from trust.deadline import deadline_in
from trust.digest import parse_digest, sha256
from trust.errors import ConflictError, UnavailableError
from trust.manifest import OCI_MANIFEST
from trust.oci.credentials import Credentials
from trust.oci.http import Http
from trust.oci.registry import Registry
from trust.policy import Stanza
from trust.publish import Publisher
from trust.reference import parse_collection
from trust.roles import Image
from trust.sign import Order, sign
from trust.state import TrustedState
from trust.stores import open_store
from trust.stores.interface import Store

PUBLISH_SECONDS = 120.0
PATH = "acme/web"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Who a publisher is: where his state lies, what he signs with and how often, what stops him."""

    name: str
    count: int
    directory: str
    collection: str
    root: str
    metadata: str
    keys: tuple[str, ...]  # private keys in PEM: of a collection that lives as long as a scratch directory

    @property
    def acknowledged(self) -> Path:
        """The tags that were signed, one a line."""
        return Path(self.directory, "acknowledged")

    @property
    def stanza(self) -> Stanza:
        """The collection."""
        root = parse_digest(self.root)
        return Stanza(collection=parse_collection(self.collection), root=root, metadata=self.metadata)

    def write(self, path: Path) -> None:
        """Have this job in ``path``."""
        path.write_text(json.dumps(asdict(self)), "utf-8")

    def done(self) -> list[str]:
        """Return the tags that are acknowledged; a line that a kill cut short is none."""
        if not self.acknowledged.exists():
            return []
        return [line for line in self.acknowledged.read_text("utf-8").split("\n")[:-1] if line]


def read_job(path: Path) -> Job:
    """Return the job that ``path`` holds."""
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return Job(**{**document, "keys": tuple(document["keys"])})


def store_of(stanza: Stanza, http: Http) -> Store:
    """Return the store of ``stanza``, its credentials from the environment."""
    credentials = Credentials(environ={}, home=Path("/nonexistent"))
    return open_store(
        stanza.metadata,
        stanza.collection,
        registry=lambda host: Registry(host, http=http, credentials=credentials),
        http=lambda: http,
        environ=os.environ,
        pause=time.sleep,
    )


def publisher_of(stanza: Stanza, state: TrustedState, store: Store, signers: Mapping[str, Signer]) -> Publisher:
    """Return a publisher of this moment who has ``signers``."""
    return Publisher(
        stanza=stanza,
        state=state,
        store=store,
        keyring=lambda keyids: {keyid: signers[keyid] for keyid in keyids if keyid in signers},
        now=datetime.now(timezone.utc),
        deadline=deadline_in(PUBLISH_SECONDS, time.monotonic),
        pause=lambda seconds: time.sleep(seconds * (0.5 + random.random())),  # noqa: S311 - to fall out of step
    )


def signers_of(keys: tuple[str, ...]) -> dict[str, Signer]:
    """Return the signers of the private ``keys``."""
    loaded = [load_pem_private_key(key.encode(), None) for key in keys]
    signers = [CryptoSigner(key) for key in loaded]
    return {signer.public_key.keyid: signer for signer in signers}


def order_of(tag: str) -> Order:
    """Return what is signed as ``tag``: an image of its name."""
    image = Image(digest=sha256(tag.encode()), size_bytes=len(tag), media_type=OCI_MANIFEST)
    return Order(path=PATH, tag=tag, image=image, annotations={})


def main() -> None:
    """Sign what is left of the share."""
    job = read_job(Path(sys.argv[1]))
    signers = signers_of(job.keys)
    with Http(environ={}) as http, closing(TrustedState(Path(job.directory, "home"))) as state:
        store = store_of(job.stanza, http)
        done = set(job.done())
        for tag in (f"{job.name}-{number}" for number in range(job.count)):
            while tag not in done:
                with suppress(ConflictError, UnavailableError):  # nothing was acknowledged: once more
                    sign(publisher_of(job.stanza, state, store, signers), [order_of(tag)])
                    _acknowledge(job, tag)
                    done.add(tag)


def _acknowledge(job: Job, tag: str) -> None:
    with job.acknowledged.open("a", encoding="utf-8") as file:
        file.write(f"{tag}\n")
        file.flush()
        os.fsync(file.fileno())


if __name__ == "__main__":
    main()
