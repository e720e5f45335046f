"""The parsers of files that somebody writes: policies, configurations, lists of roles, credentials, logs."""

from __future__ import annotations

import atexit
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry_shim.config import Config
from registry_shim.config_document import parse_config
from registry_shim.log_check import LogReport, check_log
from tests.fuzz.target import Target, file_text, require
from tests.simulators.accounts import credential_of
from trust.cli.delegation_file import Entry, read_delegation_file
from trust.cli.signing import read_digest_file
from trust.errors import InputError
from trust.gates.files import Machine
from trust.gates.podman_check import _policy
from trust.gates.record import read_record, record_name
from trust.oci.credentials import Credentials
from trust.policy import Policy
from trust.policy_document import parse_policy
from trust.runtime.checkpoint_images import records

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_STANZA = {
    "name", "root", "metadata", "publish", "registries", "rewrite", "roles", "attestations", "digests", "fresh",
    "mode", "max_age", "floors",
}  # fmt: skip
_folders: list[Path] = []


def _folder() -> Path:
    """Return a directory of this process, which it removes when it ends."""
    if not _folders:
        _folders.append(Path(tempfile.mkdtemp(prefix="trust-fuzz-")))
        atexit.register(shutil.rmtree, _folders[0], ignore_errors=True)
    return _folders[0]


def _in_file(read: Callable[[Path], Any], name: str) -> Callable[[bytes], Any]:
    def parse(untrusted: bytes) -> Any:
        path = _folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(untrusted)
        return read(path)

    return parse


def _toml(untrusted: bytes) -> bool | None:
    """Refuse what the library cannot read; of the rest only the schema has an opinion."""
    try:
        tomllib.loads(file_text(untrusted))
    except (ValueError, RecursionError):
        return False
    return None


def _policy_as_written(untrusted: bytes, found: Policy) -> None:
    document = tomllib.loads(file_text(untrusted))
    require(document["schema"] == 1 and set(document) <= {"schema", "deny", "collection", "pinned"}, "known keys")
    written = document.get("collection", [])
    require(all(set(table) <= _STANZA for table in written), "known keys")
    roots = [(table["root"], table.get("mode", "enforce"), table.get("fresh", "allow")) for table in written]
    read = [(str(one.root), one.mode, one.fresh) for one in found.stanzas]
    require(roots == read, "every stanza is read as it is written")
    require(len(document.get("pinned", [])) == len(found.pinned), "every pin is read")
    denied = document.get("deny", {})
    require({str(one) for one in found.denied_digests} == set(denied.get("digests", [])), "every digest is denied")
    require(set(found.denied_keys) == set(denied.get("keys", [])), "every key is denied")


def _config_as_written(untrusted: bytes, found: Config) -> None:
    document = tomllib.loads(file_text(untrusted))
    require({table["name"] for table in document["upstream"]} == set(found.upstreams), "every upstream is read")
    require((found.tls is not None) == ("tls" in document), "TLS that was asked for is not left out")


def _roles_as_written(untrusted: bytes, found: list[Entry]) -> None:
    document = tomllib.loads(untrusted.decode())
    written = [(table["name"], tuple(table["paths"]), table.get("threshold", 1)) for table in document["role"]]
    require([(one.name, one.paths, one.threshold) for one in found] == written, "every role is read as written")


def _credentials(path: Path) -> Any:
    found = Credentials(environ={"REGISTRY_AUTH_FILE": str(path)}, home=path.parent)
    config = path.read_bytes()
    if b"credHelpers" in config or b"credsStore" in config:
        raise InputError("no program is started here")
    return credential_of(found, "docker.io", "library/web"), credential_of(
        found, "registry.example.com", "acme/web"
    )


def _gate_record(path: Path) -> Any:
    return read_record(Machine(path.parents[len(Path(_RECORD).parts) - 1]), "podman")


def _podman_policy(path: Path) -> Any:
    return _policy(Machine(path.parent), path.name)


def _unbroken(untrusted: bytes, found: LogReport) -> None:
    if found.broken is None:
        lines = sum(1 for line in untrusted.split(b"\n") if line.startswith(b"{"))
        require(found.lines <= lines and found.head.seq == found.first_seq + max(0, found.lines - 1), "no gap")


def _digest_said(untrusted: bytes, found: Any) -> None:
    text = untrusted.decode().strip()
    said = json.loads(text)["containerimage.digest"] if text.startswith("{") else text
    require(said == str(found), "the digest is that of the file")


_RECORD = record_name("podman")
FILES = (
    Target(
        name="policy", parse=lambda data: parse_policy(file_text(data), source="it"), refuses=(InputError,),
        judge=_policy_as_written, opinion=_toml,
    ),
    Target(
        name="shim_config", parse=lambda data: parse_config(file_text(data), source="it"), refuses=(InputError,),
        judge=_config_as_written, opinion=_toml,
    ),
    Target(
        name="roles_file", parse=_in_file(read_delegation_file, "roles.toml"), refuses=(InputError,),
        judge=_roles_as_written, opinion=_toml, share=2,
    ),
    Target(
        name="credentials", parse=_in_file(_credentials, "config.json"), refuses=(InputError,), form="json",
        share=2,
    ),
    Target(
        name="digest_file", parse=_in_file(lambda path: read_digest_file(str(path)), "digest"),
        refuses=(InputError,), judge=_digest_said, form="json", share=2,
    ),
    Target(
        name="gate_record", parse=_in_file(_gate_record, f"machine/{_RECORD}"), refuses=(InputError,), form="json",
        share=1,
    ),
    Target(
        name="podman_policy", parse=_in_file(_podman_policy, "policy.json"), refuses=(InputError,), form="json",
        share=1,
    ),
    Target(
        name="decision_log", parse=_in_file(check_log, "decisions.jsonl"), refuses=(InputError,), judge=_unbroken,
        share=2,
    ),
    Target(
        name="criu_image", parse=_in_file(lambda path: list(records(path)), "files.img"), refuses=(InputError,),
        form="bytes", share=2,
    ),
)  # fmt: skip
