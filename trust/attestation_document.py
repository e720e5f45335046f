"""Owns the question whether a file is the attestation it is said to be. Pure: bytes and a digest in.

    spdx        SPDX 2: ``spdxVersion``, ``SPDXID``
    cyclonedx   CycloneDX: ``bomFormat``, ``specVersion``
    slsa        an in-toto statement whose predicate is SLSA provenance, and whose subject is the image
    vuln        an in-toto statement of a vulnerability scan whose subject is the image, or SARIF 2.1

The file is read strictly (no key twice or in other letters, UTF-8, bounded depth), and only for its type's own
marks: what it says is its author's. That it speaks of this image is what the collection signs; a statement that
names its subject has to name this one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from trust.digest import Digest
from trust.errors import InputError
from trust.strict_json import fields, one_spelling, strict_json
from trust.targets import ATTESTATION_TYPES
from trust.value import dataclass

DOCUMENT_MAX_BYTES = 64 * 1024 * 1024  # an SBOM of a whole distribution has some 20 MiB
DEPTH_MAX = 500  # brackets inside texts count as well

_STATEMENTS = ("https://in-toto.io/Statement/v0.1", "https://in-toto.io/Statement/v1")
_SLSA = "https://slsa.dev/provenance/"
_SCANS = ("https://cosign.sigstore.dev/attestation/vuln/", "https://in-toto.io/attestation/vulns")
_PREDICATE = "in-toto.io/predicate-type"  # the annotation that other tools look for

# What each object has by its specification: whoever passes over case would find one of these under another name.
_OF_SPDX = fields(
    "SPDXID", "annotations", "comment", "creationInfo", "dataLicense", "documentDescribes", "documentNamespace",
    "externalDocumentRefs", "files", "hasExtractedLicensingInfos", "name", "packages", "relationships",
    "revieweds", "snippets", "spdxVersion",
)  # fmt: skip
_OF_CYCLONEDX = fields(
    "$schema", "bomFormat", "specVersion", "serialNumber", "version", "metadata", "components", "services",
    "externalReferences", "dependencies", "compositions", "vulnerabilities", "annotations", "formulation",
    "declarations", "definitions", "properties", "signature",
)  # fmt: skip
_ENVELOPE = ("payloadType", "payload", "signatures")  # DSSE: a statement that is one as well is read as either
_STATEMENT = ("_type", "subject", "predicateType", "predicate", *_ENVELOPE)
_OF_STATEMENT = fields(*_STATEMENT)
_OF_SUBJECT = fields("name", "uri", "digest", "content", "downloadLocation", "mediaType", "annotations")
_OF_DIGESTS = fields("sha256", "sha512")
_OF_SARIF = fields("$schema", "version", "runs", "inlineExternalProperties", "properties", *_STATEMENT)
_OF_RUN = fields("tool", "invocations", "artifacts", "results", "taxonomies", "properties")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """An attestation that is what it is said to be: its bytes, its media type, and annotations for other tools."""

    kind: str
    data: bytes
    media_type: str
    annotations: Mapping[str, str]


def parse_document(kind: str, untrusted_bytes: bytes, subject: Digest) -> Document:
    """Return the attestation of type ``kind`` that the bytes are, of the image ``subject``.

    Raises:
        InputError: they are none, or speak of another image.
    """
    if kind not in ATTESTATION_TYPES:
        raise InputError(f"attestation type unknown: expected {', '.join(ATTESTATION_TYPES)}, got {kind!r}")
    document = strict_json(
        untrusted_bytes,
        max_bytes=DOCUMENT_MAX_BYTES,
        what=f"{kind} document",
        allow_floats=True,
        max_depth=DEPTH_MAX,
    )
    if not isinstance(document, dict):
        raise InputError(f"{kind} document is malformed: expected a JSON object")
    media_type, annotations = _READERS[kind](document, subject)
    return Document(kind=kind, data=untrusted_bytes, media_type=media_type, annotations=annotations)


def _spdx(document: dict[str, Any], _subject: Digest) -> tuple[str, dict[str, str]]:
    one_spelling(document, _OF_SPDX, what="spdx document")
    version = document.get("spdxVersion")
    if not isinstance(version, str) or not version.startswith("SPDX-2."):
        raise _not_such("spdx", "spdxVersion SPDX-2.x", version)
    if document.get("SPDXID") != "SPDXRef-DOCUMENT":
        raise _not_such("spdx", "SPDXID SPDXRef-DOCUMENT", document.get("SPDXID"))
    return "application/spdx+json", {}


def _cyclonedx(document: dict[str, Any], _subject: Digest) -> tuple[str, dict[str, str]]:
    one_spelling(document, _OF_CYCLONEDX, what="cyclonedx document")
    if document.get("bomFormat") != "CycloneDX":
        raise _not_such("cyclonedx", "bomFormat CycloneDX", document.get("bomFormat"))
    version = document.get("specVersion")
    if not isinstance(version, str) or not version.startswith("1."):
        raise _not_such("cyclonedx", "specVersion 1.x", version)
    return "application/vnd.cyclonedx+json", {}


def _slsa(document: dict[str, Any], subject: Digest) -> tuple[str, dict[str, str]]:
    return _statement("slsa", (_SLSA,), document, subject)


def _vuln(document: dict[str, Any], subject: Digest) -> tuple[str, dict[str, str]]:
    if "_type" in document:
        return _statement("vuln", _SCANS, document, subject)
    runs = one_spelling(document, _OF_SARIF, what="vuln document").get("runs")
    if document.get("version") != "2.1.0" or not isinstance(runs, list) or not runs:
        raise _not_such("vuln", "an in-toto statement, or SARIF 2.1.0 with runs", document.get("version"))
    if not all(isinstance(each, dict) and isinstance(each.get("tool"), dict) for each in runs):
        raise _not_such("vuln", "SARIF whose runs name their tool", "runs without one")
    for each in runs:
        one_spelling(each, _OF_RUN, what="vuln document")
    return "application/sarif+json", {}


def _statement(
    kind: str, predicates: tuple[str, ...], document: dict[str, Any], subject: Digest
) -> tuple[str, dict[str, str]]:
    one_spelling(document, _OF_STATEMENT, what=f"{kind} document")
    if "payloadType" in document:
        raise InputError(
            f"{kind} document is in an envelope: expected the in-toto statement itself",
            hint="its payload, decoded: the collection signs it here, the envelope's signatures are not read",
        )
    if document.get("_type") not in _STATEMENTS:
        raise _not_such(kind, "_type https://in-toto.io/Statement/v1", document.get("_type"))
    predicate = document.get("predicateType")
    if not isinstance(predicate, str) or not predicate.startswith(predicates):
        raise _not_such(kind, f"predicateType {predicates[0]}…", predicate)
    found = [each.get(subject.algorithm) for each in _subjects(kind, document.get("subject"))]
    if subject.hex not in found:
        other = next((text for text in found if isinstance(text, str)), "none")
        raise _not_such(kind, f"subject {subject}", f"{subject.algorithm}:{other}" if found else "none")
    return "application/vnd.in-toto+json", {_PREDICATE: predicate}


def _subjects(kind: str, named: object) -> list[dict[str, Any]]:
    """Return the digests of each subject that a statement names, by their algorithm."""
    digests = [
        one_spelling(each, _OF_SUBJECT, what=f"{kind} document").get("digest")
        for each in (named if isinstance(named, list) else [])
        if isinstance(each, dict)
    ]
    return [one_spelling(each, _OF_DIGESTS, what=f"{kind} document") for each in digests if isinstance(each, dict)]


_READERS: Mapping[str, Callable[[dict[str, Any], Digest], tuple[str, dict[str, str]]]] = {
    "spdx": _spdx,
    "cyclonedx": _cyclonedx,
    "slsa": _slsa,
    "vuln": _vuln,
}


def _not_such(kind: str, expected: str, got: object) -> InputError:
    return InputError(f"file is no {kind} document of this image: expected {expected}, got {str(got)[:120]!r}")
