"""Targets and tombstones: what is signed reads back as what was meant, and nothing else is read at all."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.digest import Digest, sha256
from trust.errors import InputError
from trust.reference import parse_reference
from trust.targets import (
    Attests,
    Target,
    Tombstone,
    digest_path,
    lookup_path,
    parse_target,
    parse_tombstones,
    repository_of,
    tag_path,
    taken_back,
    target_custom,
    tombstone_json,
)

digests = st.binary(min_size=32, max_size=32).map(lambda raw: Digest(algorithm="sha256", hex=raw.hex()))
moments = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001
    lambda naive: naive.replace(microsecond=0, tzinfo=timezone.utc)
)
words = st.text(st.characters(codec="utf-8"), max_size=12)
lists = st.lists(words, max_size=3).map(tuple)
targets = st.builds(
    Target,
    digest=digests,
    size_bytes=st.integers(0, 2**62),
    media_type=words,
    signed_at=moments,
    signed_by=lists,
    tags=lists,
    inside=st.lists(digests, max_size=3).map(tuple),
    annotations=st.dictionaries(words, words, max_size=3),
    attestations=st.dictionaries(words, st.lists(digests, max_size=2).map(tuple), max_size=2),
    attests=st.none() | st.builds(Attests, subject=digests, type=words),
)
tombstones = st.builds(Tombstone, revoked_at=moments, revoked_by=lists, paths=lists)


@given(target=targets)
def test_target_reads_back(target: Target) -> None:
    custom = json.loads(json.dumps(target_custom(target)))
    found = parse_target(hashes={"sha256": target.digest.hex}, size_bytes=target.size_bytes, custom=custom)
    assert found == target
    assert target_custom(found) == custom


@given(target=targets)
def test_target_reads_back_whose_signers_its_role_numbers(target: Target) -> None:
    by = sorted(set(target.signed_by))
    custom = json.loads(json.dumps(target_custom(target, {keyid: number for number, keyid in enumerate(by)})))
    found = parse_target(
        hashes={"sha256": target.digest.hex}, size_bytes=target.size_bytes, custom=custom, signers=by
    )
    assert found == target


@pytest.mark.parametrize("number", [-1, 1, 2**70, 0.0, None])
def test_number_of_no_signer_is_refused(number: object) -> None:
    with pytest.raises(InputError, match="lacks or misspells"):
        parse_target(hashes={"sha256": "0" * 64}, size_bytes=1, custom={**GOOD, "by": [number]}, signers=["k"])


@given(revoked=st.dictionaries(digests.map(str), tombstones, max_size=4))
def test_tombstones_read_back(revoked: dict[str, Tombstone]) -> None:
    value = json.loads(json.dumps({digest: tombstone_json(entry) for digest, entry in revoked.items()}))
    assert parse_tombstones(value) == revoked


def test_what_targets_have_in_common_is_in_memory_once() -> None:
    """A gate holds all targets of all collections; each field that is its own again costs a hundred bytes."""
    text = '{"type": "application/vnd.oci.image.manifest.v1+json", "signed": 1767225600, "by": ["%s"]}'
    one, other = (
        parse_target(hashes={"sha256": digit * 64}, size_bytes=1, custom=json.loads(text % ("k" * 64)))
        for digit in "ab"
    )
    assert one != other
    assert one.media_type is other.media_type
    assert one.signed_by[0] is other.signed_by[0]
    assert one.annotations is other.annotations
    assert one.digest.algorithm is other.digest.algorithm


def test_empty_fields_are_not_written() -> None:
    bare = Target(
        digest=sha256(b""), size_bytes=0, media_type="t", signed_at=datetime(2031, 5, 1, tzinfo=timezone.utc),
        signed_by=(), annotations={},
    )  # fmt: skip
    assert target_custom(bare) == {"type": "t", "signed": 1935360000, "by": []}


GOOD: dict[str, Any] = {"type": "t", "signed": 1935360000, "by": ["a"]}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(
    field=st.sampled_from(["type", "signed", "by", "tags", "in", "annotations", "attestations", "attests"]),
    value=json_values,
)
def test_odd_field_is_refused_or_read_and_never_a_crash(field: str, value: Any) -> None:
    try:
        found = parse_target(hashes={"sha256": "0" * 64}, size_bytes=1, custom={**GOOD, field: value})
    except InputError:
        return
    assert parse_target(hashes={"sha256": "0" * 64}, size_bytes=1, custom=target_custom(found)) == found


@given(value=json_values)
def test_odd_revocations_are_refused_or_read_and_never_a_crash(value: Any) -> None:
    for entry in (value, {str(sha256(b"")): value}, {"sha256:x": value}):
        try:
            found = parse_tombstones(entry)
        except InputError:
            continue
        assert set(map(type, found.values())) <= {Tombstone}


@pytest.mark.parametrize("value", [[], "", (), None, 0, [["a", "b"]], [[str(sha256(b"")), {}]]])
def test_revocations_are_an_object(value: object) -> None:
    with pytest.raises(InputError, match="no object"):
        parse_tombstones(value)


@pytest.mark.parametrize("field", ["signed", "by"])
def test_target_without_a_field_is_refused(field: str) -> None:
    custom = {key: value for key, value in GOOD.items() if key != field}
    with pytest.raises(InputError, match="lacks or misspells"):
        parse_target(hashes={"sha256": "0" * 64}, size_bytes=1, custom=custom)


@pytest.mark.parametrize(
    "hashes", [{}, {"sha512": "0" * 128}, {"sha256": ""}, {"sha256": "A" * 64}, {"sha256": "../x"}]
)
def test_target_without_a_sha256_is_refused(hashes: dict[str, str]) -> None:
    with pytest.raises(InputError):
        parse_target(hashes=hashes, size_bytes=1, custom=GOOD)


DIGEST = sha256(b"manifest")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("registry.test/acme/web", "acme/web:latest"),
        ("registry.test/acme/web:1.4", "acme/web:1.4"),
        (f"registry.test/acme/web@{DIGEST}", f"acme/web@{DIGEST}"),
        (f"registry.test/acme/web:1.4@{DIGEST}", f"acme/web@{DIGEST}"),
    ],
)
def test_one_path_answers_a_reference_and_a_digest_beats_the_tag(text: str, path: str) -> None:
    assert lookup_path("acme/web", parse_reference(text)) == path


@given(tag=st.from_regex(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,20}\Z"))
def test_repository_of_a_target_is_what_its_path_was_made_of(tag: str) -> None:
    for path in ("web", "acme/web", "acme/a.b-c/d_e"):
        assert repository_of(tag_path(path, tag)) == path
        assert repository_of(digest_path(path, DIGEST)) == path


def test_path_of_a_tag_is_never_the_path_of_a_digest() -> None:
    assert tag_path("acme/web", "1.4") == "acme/web:1.4"
    assert digest_path("acme/web", DIGEST) == f"acme/web@{DIGEST}"


def test_usual_signer_of_a_role_is_left_out_and_every_other_is_numbered() -> None:
    for by, spelled in (("a",), None), (("b",), [1]), (("a", "b"), [0, 1]):
        one = parse_target(hashes={"sha256": "0" * 64}, size_bytes=1, custom={**GOOD, "by": list(by)})
        custom = target_custom(one, {"a": 0, "b": 1})
        assert custom.get("by") == spelled
        assert parse_target(hashes={"sha256": "0" * 64}, size_bytes=1, custom=custom, signers=["a", "b"]) == one


@pytest.mark.parametrize(
    ("before", "after", "gone"),
    [
        ({}, {}, None),
        ({}, {"a": "1"}, None),
        ({"a": "1 2"}, {"a": "2 1"}, None),
        ({"a": "1"}, {"a": "0 1 2"}, None),
        ({"a": ""}, {"a": "1"}, None),
        ({"a": ""}, {"a": ""}, None),
        ({"a": ""}, {}, "a"),
        ({"a": "1", "b": "1"}, {"a": "1"}, "b"),
        ({"b": "1", "a": "1"}, {}, "a"),
        ({"a": "1 2"}, {"a": "1"}, "a"),
        ({"a": "1 2"}, {"a": "2 3"}, "a"),
        ({"a": "1"}, {"a": "0"}, "a"),
        ({"a": "1", "b": "1 2"}, {"a": "1 2", "b": "1"}, "b"),
    ],
)
def test_revocation_is_taken_back_by_each_path_that_goes(
    before: dict[str, str], after: dict[str, str], gone: str | None
) -> None:
    def stones(paths: dict[str, str]) -> dict[str, Tombstone]:
        at = datetime(2031, 5, 1, tzinfo=timezone.utc)
        return {
            text: Tombstone(revoked_at=at, revoked_by=(), paths=tuple(each.split()))
            for text, each in paths.items()
        }

    assert taken_back(stones(before), stones(after)) == gone
