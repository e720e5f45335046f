"""Attestations: a file is of the type it is said to be and of this image, and the policy finds what is signed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.simulators.images import AB, AB_C, EMPTY, A, B, attest, attestation_of, sign
from trust.attestation_document import DOCUMENT_MAX_BYTES, parse_document
from trust.attestations import attestations_of
from trust.digest import sha256
from trust.errors import InputError
from trust.targets import ATTESTATION_TYPES
from trust.value import replace

SUBJECT, OTHER = sha256(b"image"), sha256(b"another image")
WEB = "acme/web"
SPDX = {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "packages": []}
CYCLONEDX = {"bomFormat": "CycloneDX", "specVersion": "1.6", "vulnerabilities": [{"score": 9.8}]}
SARIF: dict[str, Any] = {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "scanner"}}, "results": []}]}
STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [
        {"name": "other", "digest": {"sha256": OTHER.hex}},
        {"name": "", "digest": {"sha256": SUBJECT.hex}},
    ],
    "predicateType": "https://slsa.dev/provenance/v1",
    "predicate": {},
}
SCAN = {**STATEMENT, "predicateType": "https://cosign.sigstore.dev/attestation/vuln/v1"}
GOOD = [("spdx", SPDX), ("cyclonedx", CYCLONEDX), ("slsa", STATEMENT), ("vuln", SCAN), ("vuln", SARIF)]


def spelled(document: object) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(("kind", "document"), GOOD)
def test_document_of_its_type_is_taken_as_it_is(kind: str, document: dict[str, Any]) -> None:
    parsed = parse_document(kind, spelled(document), SUBJECT)
    assert (parsed.kind, parsed.data) == (kind, spelled(document))
    assert parsed.media_type.startswith("application/")


@pytest.mark.parametrize(("kind", "document"), GOOD)
@pytest.mark.parametrize("said", ATTESTATION_TYPES)
def test_document_of_another_type_is_refused(kind: str, document: dict[str, Any], said: str) -> None:
    if said != kind:
        with pytest.raises(InputError, match=f"no {said} document"):
            parse_document(said, spelled(document), SUBJECT)


@pytest.mark.parametrize("document", [STATEMENT, SCAN])
def test_statement_about_another_image_is_refused(document: dict[str, Any]) -> None:
    kind = "slsa" if document is STATEMENT else "vuln"
    for subject in ([], None, [{"digest": {"sha256": OTHER.hex}}], [{"digest": {"sha512": SUBJECT.hex}}], ["x"]):
        with pytest.raises(InputError, match=f"expected subject {SUBJECT}"):
            parse_document(kind, spelled({**document, "subject": subject}), SUBJECT)


def test_envelope_is_refused_with_the_reason() -> None:
    envelope = {"payloadType": "application/vnd.in-toto+json", "payload": "e30=", "signatures": []}
    with pytest.raises(InputError, match="in an envelope"):
        parse_document("slsa", spelled(envelope), SUBJECT)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b'"spdx"', b"\xff\xfe", b"\xef\xbb\xbf" + spelled(SPDX), spelled(SPDX)[:-1],
        b'{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "SPDXID": "x"}',
        b'{"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "x": NaN}',
        b'{"x": ' + b"[" * 600 + b"]" * 600 + b"}", b" " * (DOCUMENT_MAX_BYTES + 1),
    ],
    ids=["empty", "list", "text", "utf-16", "bom", "cut", "twice", "nan", "deep", "large"],
)  # fmt: skip
def test_what_two_readers_could_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_document("spdx", data, SUBJECT)


ENTRY: dict[str, Any] = {"name": "", "digest": {"sha256": SUBJECT.hex}}
TWO_READINGS: list[tuple[str, dict[str, Any]]] = [
    ("spdx", {**SPDX, "SpdxId": "x"}),
    ("spdx", {**SPDX, "Packages": [{"name": "another"}]}),
    ("cyclonedx", {**CYCLONEDX, "BomFormat": "other"}),
    ("cyclonedx", {**CYCLONEDX, "COMPONENTS": []}),
    ("slsa", {**STATEMENT, "PredicateType": "https://example.com/nothing"}),
    ("slsa", {**STATEMENT, "Subject": [{"name": "x", "digest": {"sha256": OTHER.hex}}]}),
    ("slsa", {**STATEMENT, "\u017fubject": []}),  # Go folds a long s, too
    ("slsa", {**STATEMENT, "PayloadType": "application/vnd.in-toto+json", "Payload": "e30="}),
    ("slsa", {**STATEMENT, "subject": [{**ENTRY, "Digest": {"sha256": OTHER.hex}}]}),
    ("slsa", {**STATEMENT, "subject": [{"digest": {"sha256": SUBJECT.hex, "SHA256": OTHER.hex}}]}),
    ("slsa", {**STATEMENT, "subject": [ENTRY, {"Digest": {"sha256": OTHER.hex}}]}),
    ("vuln", {**SCAN, "Predicate": {}}),
    ("vuln", {**SARIF, "Runs": []}),
    ("vuln", {**SARIF, "_Type": "https://in-toto.io/Statement/v1"}),
    ("vuln", {**SARIF, "runs": [{**SARIF["runs"][0], "Results": []}]}),
]


@pytest.mark.parametrize(("kind", "document"), TWO_READINGS)
def test_field_in_other_letters_is_ambiguous(kind: str, document: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{kind} document is ambiguous: '.*' is .* to some readers"):
        parse_document(kind, spelled(document), SUBJECT)


def test_names_that_are_of_nobodys_specification_may_be_spelled_as_they_are() -> None:
    digests = {"sha256": SUBJECT.hex, "gitCommit": "0" * 40, "dirHash": "h1:"}
    entry = {**ENTRY, "digest": digests, "annotations": {"Name": "a", "name": "b"}}
    document = {**STATEMENT, "subject": [entry], "predicate": {"Subject": 1, "subject": 2}, "X": 1, "x": 2}
    assert parse_document("slsa", spelled(document), SUBJECT).kind == "slsa"


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(which=st.sampled_from(GOOD), data=st.data(), value=json_values)
def test_odd_field_is_refused_or_taken_and_never_a_crash(
    which: tuple[str, dict[str, Any]], data: st.DataObject, value: object
) -> None:
    kind, document = which
    field = data.draw(st.sampled_from(sorted(document)))
    try:
        parse_document(kind, spelled({**document, field: value}), SUBJECT)
    except InputError:
        return


def test_child_is_attested_by_the_indexes_it_is_in_and_no_index_by_its_child() -> None:
    table = attest(sign(EMPTY, WEB, "multi", AB_C), WEB, AB_C.digest, "slsa")
    table = attest(attest(table, WEB, AB.digest, "spdx"), WEB, A.digest, "vuln")
    said = {kind: (attestation_of(WEB, image.digest, kind).digest,) for image, kind in
            ((A, "vuln"), (AB, "spdx"), (AB_C, "slsa"))}  # fmt: skip

    def found(image: Any) -> dict[str, Any]:
        return dict(attestations_of(table.targets.get, WEB, image.digest))

    assert found(A) == said
    assert found(B) == {kind: said[kind] for kind in ("slsa", "spdx")}
    assert found(AB_C) == {"slsa": said["slsa"]}


def test_circle_of_signed_indexes_ends() -> None:
    table = sign(sign(EMPTY, WEB, "multi", AB), WEB, "1", A)
    targets = dict(table.targets)
    one, other = targets[f"{WEB}@{A.digest}"], targets[f"{WEB}@{AB.digest}"]
    targets[f"{WEB}@{AB.digest}"] = replace(other, inside=(one.digest,))
    assert attestations_of(targets.get, WEB, A.digest) == {}


def test_what_is_said_of_an_index_that_is_not_signed_any_more_is_said_of_nothing() -> None:
    table = attest(sign(EMPTY, WEB, "multi", AB), WEB, AB.digest, "slsa")
    targets = {name: target for name, target in table.targets.items() if name != f"{WEB}@{AB.digest}"}
    assert attestations_of(targets.get, WEB, A.digest) == {}


def test_type_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InputError, match="attestation type unknown"):
        parse_document("sbom", spelled(SPDX), SUBJECT)


ODD: list[tuple[str, dict[str, Any], str]] = [
    ("spdx", {**SPDX, "spdxVersion": 2.3}, "spdxVersion"),
    ("spdx", {**SPDX, "spdxVersion": "SPDX-3.0"}, "spdxVersion"),
    ("spdx", {**SPDX, "SPDXID": "SPDXRef-1"}, "SPDXID"),
    ("cyclonedx", {**CYCLONEDX, "bomFormat": "cyclonedx"}, "bomFormat"),
    ("cyclonedx", {**CYCLONEDX, "specVersion": 1.6}, "specVersion"),
    ("slsa", {**STATEMENT, "_type": "https://in-toto.io/Statement/v2"}, "_type"),
    ("slsa", {**STATEMENT, "predicateType": None}, "predicateType"),
    ("vuln", {**SARIF, "version": "2.0.0"}, "SARIF 2.1.0"),
    ("vuln", {**SARIF, "runs": []}, "SARIF 2.1.0 with runs"),
    ("vuln", {**SARIF, "runs": "many"}, "SARIF 2.1.0 with runs"),
    ("vuln", {**SARIF, "runs": [{"results": []}]}, "runs name their tool"),
    ("vuln", {**SARIF, "runs": [*SARIF["runs"], "x"]}, "runs name their tool"),
]


@pytest.mark.parametrize(("kind", "document", "message"), ODD)
def test_document_of_another_version_or_shape_is_refused(
    kind: str, document: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=f"no {kind} document of this image: expected .*{message}"):
        parse_document(kind, spelled(document), SUBJECT)
