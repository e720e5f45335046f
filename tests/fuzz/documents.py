"""The parsers of documents in JSON: manifests, metadata, changes that wait, configurations, snapshots, logs."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import orjson
from securesystemslib.formats import encode_canonical
from tuf.api.metadata import Root, Targets

from registry_shim.log_chain import Line, parse_line
from tests.fuzz.target import Target, file_text, require
from trust.attestation_document import parse_document as parse_attestation
from trust.canonical import canonical_bytes, metadata_bytes, signed_bytes
from trust.digest import Digest
from trust.errors import InputError, RefusedError
from trust.gates.docker import daemon_text, parse_daemon, with_insecure, without_insecure
from trust.manifest import OCI_MANIFEST, Descriptor, Index, Manifest, parse_manifest
from trust.metadata import delegations_of, identity_of, parse_metadata, period_of, require_binding, table_of
from trust.oci.referrers import subject_of
from trust.oci.repositories import declared_type
from trust.pending import Pending, parse_pending, pending_bytes
from trust.role_keys import require_distinct_keys
from trust.runtime.checkpoint_document import IMAGES_TYPE, UPPER_TYPE, Snapshot, document_bytes
from trust.runtime.checkpoint_document import parse_document as parse_snapshot
from trust.runtime.checkpoint_images import encoded, fields
from trust.runtime.checkpoint_pages import PAGES_TYPE
from trust.runtime.image import ImageConfig, parse_image_config
from trust.runtime.layer_record import parse_record
from trust.stores.artifact import Artifact, artifact_bytes, parse_artifact
from trust.strict_json import strict_json
from trust.targets import ATTESTATION_TYPES, parse_target, parse_tombstones, target_custom, tombstone_json
from trust.targets import Target as Signed

SUBJECT = Digest(algorithm="sha256", hex="5" * 64)


def _blob(kind: str, number: int) -> Descriptor:
    digest = Digest(algorithm="sha256", hex=f"{number}" * 64)
    return Descriptor(media_type=kind, digest=digest, size_bytes=4096 * number, platform=None, annotations={})


SNAPSHOT_MANIFEST = Manifest(
    media_type=OCI_MANIFEST,
    artifact_type=None,
    config=_blob("application/json", 9),
    layers=(_blob(IMAGES_TYPE, 1), _blob(UPPER_TYPE, 2), _blob(PAGES_TYPE, 3), _blob(PAGES_TYPE, 4)),
    annotations={},
)


def _json(untrusted: bytes) -> Any:
    return strict_json(untrusted, max_bytes=64 * 1024, what="it")


def _read_alike(untrusted: bytes, found: Any) -> None:
    require(orjson.loads(untrusted) == found, "two readers, one value")


def _is_strict(untrusted: bytes) -> bool | None:
    """Read with the library's reader and rules of its own, told by what comes out and not by what goes in."""
    odd: list[object] = []

    def seen(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        odd.extend(names if len(set(names)) < len(names) else ())
        return dict(pairs)

    try:
        value = json.loads(untrusted.decode("utf-8"), object_pairs_hook=seen, parse_float=odd.append)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, RecursionError):
        return False
    if untrusted.count(b"[") + untrusted.count(b"{") > 32 or len(untrusted) > 64 * 1024:
        return None
    return not odd and all(abs(one) < 2**63 for one in _integers(value))


def _integers(value: Any) -> list[int]:
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return [one for each in inner for one in _integers(each)]
    return [value] if isinstance(value, int) else []


def _canonical(untrusted: bytes) -> tuple[Any, bytes]:
    try:
        value = json.loads(untrusted)
    except (ValueError, RecursionError) as err:
        raise InputError("no JSON") from err
    return value, canonical_bytes(value)


def _canonical_alike(_untrusted: bytes, found: tuple[Any, bytes]) -> None:
    value, data = found
    require((encode_canonical(value) or "").encode() == data, "securesystemslib makes the same bytes")


def _manifest(untrusted: bytes) -> Manifest | Index:
    found = parse_manifest(untrusted)
    subject_of(untrusted)
    declared_type(untrusted, found.media_type)
    return found


def _unambiguous(untrusted: bytes, found: Manifest | Index) -> None:
    document = json.loads(untrusted)
    is_index = "manifests" in document
    require(is_index == isinstance(found, Index), "an index is one")
    require(not (is_index and {"layers", "config"} & set(document)), "image and index at once (CVE-2021-41190)")
    require(document.get("mediaType", found.media_type) == found.media_type, "it is of the type that it says")
    listed = document["manifests"] if is_index else document["layers"]
    read = found.manifests if isinstance(found, Index) else found.layers
    said = [(one["mediaType"], one["digest"], one["size"]) for one in listed]
    require([(one.media_type, str(one.digest), one.size_bytes) for one in read] == said, "as it says")


def _artifact(_untrusted: bytes, found: Artifact) -> None:
    require(parse_artifact(artifact_bytes(found)) == found, "it prints back as itself")


def _pending(untrusted: bytes, found: Pending) -> None:
    require(pending_bytes(found) == untrusted, "it prints back byte for byte")
    require(str(found.id).startswith("sha256:") and found.place and found.owners, "it can be named")
    try:
        found.contents()
    except RefusedError:
        return


def _metadata(untrusted: bytes) -> Any:
    found = parse_metadata(untrusted, "it")
    signed = found.signed
    again = parse_metadata(metadata_bytes(found), "it")
    require(signed_bytes(again) == signed_bytes(found), "what is written again is signed over the same bytes")
    if isinstance(signed, Targets):
        table_of(signed)
        for name in delegations_of(signed).names():
            period_of(signed, name)
    if isinstance(signed, Root):
        identity_of(signed)
        for name in ("root", "timestamp", "snapshot", "targets"):
            period_of(signed, name)
        require_distinct_keys(signed, found, "root")
    return found


def _bound(_untrusted: bytes, found: Any) -> None:
    said = found.signed.unrecognized_fields
    try:
        require_binding(found.signed, "targets", "it")
    except RefusedError:
        return
    require((said["x-collection"], said["x-role"]) == ("it", "targets"), "a role is where it belongs")


def _signed(untrusted: bytes) -> tuple[Signed, dict[str, Any], list[str]]:
    """Read what TUF leaves to us of a target and of tombstones, as a verified file has them."""
    document = _json(untrusted)
    if not isinstance(document, dict) or not isinstance(document.get("signers"), list):
        raise InputError("no such document")
    revoked = parse_tombstones(document.get("revoked", {}))
    found = parse_target(
        hashes=document.get("hashes", {}), size_bytes=7, custom=document.get("custom", {}),
        signers=document["signers"],
    )  # fmt: skip
    return found, revoked, document["signers"]


def _signed_again(_untrusted: bytes, found: tuple[Signed, dict[str, Any], list[str]]) -> None:
    target, revoked, _ = found
    again = parse_target(hashes={"sha256": target.digest.hex}, size_bytes=7, custom=target_custom(target))
    require(again == target, "a target prints back as itself")
    written = {digest: tombstone_json(one) for digest, one in revoked.items()}
    require(parse_tombstones(written) == revoked, "tombstones print back as themselves")


def _attestation(untrusted: bytes) -> Any:
    kind = ATTESTATION_TYPES[untrusted[0] % 4] if untrusted else "spdx"
    return parse_attestation(kind, untrusted[1:], SUBJECT)


def _attested(untrusted: bytes, found: Any) -> None:
    document = json.loads(untrusted[1:])
    if "predicateType" in found.annotations or found.media_type.endswith("in-toto+json"):
        require(SUBJECT.hex in json.dumps(document["subject"]), "it speaks of this image")


def _config(_untrusted: bytes, found: ImageConfig) -> None:
    directory = found.working_directory
    require(directory.startswith("/") and ".." not in directory.split("/"), "a directory in the container")
    require(1 <= found.stop_signal <= 64, "a signal that Linux has")
    words = (*found.entrypoint, *found.command, *(part for pair in found.environment for part in pair))
    require(not any("\0" in word for word in words), "words that a program can be given")
    "".join(words).encode("utf-8")


def _snapshot(_untrusted: bytes, found: Snapshot) -> None:
    require(parse_snapshot(document_bytes(found), SNAPSHOT_MANIFEST) == found, "it prints back as itself")


def _fields(_untrusted: bytes, found: dict[int, list[int | bytes]]) -> None:
    again = b"".join(encoded(number, value) for number, values in found.items() for value in values)
    require(fields(again, "it") == found, "fields print back as themselves")


def _line(untrusted: bytes) -> Line:
    found = parse_line(untrusted)
    if found is None:
        raise InputError("no line")
    return found


def _logged(untrusted: bytes, found: Line) -> None:
    document = json.loads(untrusted)
    require((document["seq"], document["previous"]) == (found.seq, found.previous), "as the line says")
    if found.at is not None:
        datetime.fromtimestamp(found.at).astimezone()


def _daemon(untrusted: bytes) -> dict[str, Any]:
    return parse_daemon(file_text(untrusted), source="it")


def _daemon_kept(_untrusted: bytes, found: dict[str, Any]) -> None:
    with_one = with_insecure(found, "127.0.0.1:5")
    daemon_text(with_one)
    if "127.0.0.1:5" not in found.get("insecure-registries", []):
        left = without_insecure(with_one, "127.0.0.1:5")
        require(
            left == {k: v for k, v in found.items() if k != "insecure-registries" or v}, "no other key changes"
        )


DOCUMENTS = (
    Target(name="json", parse=_json, refuses=(InputError,), judge=_read_alike, opinion=_is_strict, form="json"),
    Target(name="canonical", parse=_canonical, refuses=(InputError,), judge=_canonical_alike, form="json"),
    Target(name="manifest", parse=_manifest, refuses=(InputError,), judge=_unambiguous, form="json"),
    Target(name="artifact", parse=parse_artifact, refuses=(InputError,), judge=_artifact, form="json"),
    Target(name="pending", parse=parse_pending, refuses=(InputError,), judge=_pending, form="json", share=5),
    Target(name="metadata", parse=_metadata, refuses=(RefusedError,), judge=_bound, form="json", share=5),
    Target(name="signed_target", parse=_signed, refuses=(InputError,), judge=_signed_again, form="json"),
    Target(name="attestation", parse=_attestation, refuses=(InputError,), judge=_attested, form="json"),
    Target(name="image_config", parse=parse_image_config, refuses=(InputError,), judge=_config, form="json"),
    Target(
        name="snapshot", parse=lambda data: parse_snapshot(data, SNAPSHOT_MANIFEST), refuses=(InputError,),
        judge=_snapshot, form="json",
    ),
    Target(
        name="criu_fields", parse=lambda data: fields(data, "it"), refuses=(InputError,), judge=_fields,
        form="bytes",
    ),
    Target(name="log_line", parse=_line, refuses=(InputError,), judge=_logged, form="json"),
    Target(
        name="layer_record", parse=parse_record, refuses=(ValueError, TypeError), form="json", share=5
    ),
    Target(name="daemon_json", parse=_daemon, refuses=(InputError,), judge=_daemon_kept, form="json"),
)  # fmt: skip
