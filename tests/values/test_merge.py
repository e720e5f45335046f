"""Two publishers change one collection at the same time: the merge keeps both changes, and the targets in step.

The model is what each of them meant: a tag that one changed is as he left it, one that both changed as the first
has it, and what either revoked is gone, with every index that contains it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.simulators.images import (
    AB,
    BY_DIGEST,
    EMPTY,
    IMAGES,
    PATHS,
    TAGS,
    A,
    B,
    attest,
    attestation_of,
    descendants,
    require_in_step,
    sign,
    signature,
    tags_of,
    through_json,
)
from trust.digest import Digest, parse_digest
from trust.errors import InputError
from trust.merge import merge
from trust.roles import revoke_digest, revoke_tag
from trust.targets import Table

WEB, DB = PATHS
Edit = tuple[Any, ...]
KINDS = ("spdx", "slsa")

edits = st.one_of(
    st.tuples(st.just("sign"), st.sampled_from(PATHS), st.sampled_from(TAGS) | st.none(), st.sampled_from(IMAGES)),
    st.tuples(st.just("untag"), st.sampled_from(PATHS), st.sampled_from(TAGS)),
    st.tuples(st.just("revoke"), st.sampled_from(IMAGES)),
    st.tuples(st.just("attest"), st.sampled_from(PATHS), st.sampled_from(IMAGES), st.sampled_from(KINDS)),
    st.tuples(st.just("deny"), st.sampled_from(PATHS), st.sampled_from(IMAGES), st.sampled_from(KINDS)),
)
histories = st.lists(edits, max_size=6)


def edited(table: Table, history: Sequence[Edit], *, at: int) -> Table:
    """Return ``table`` after what one publisher did; what he may not do changes nothing."""
    for kind, *what in history:
        match kind, what:
            case "sign", [path, tag, image]:
                try:
                    table = sign(table, path, tag, image, {"by": str(at)}, at=at)
                except InputError:
                    continue
            case "untag", [path, tag]:
                table = revoke_tag(table, path=path, tag=tag)
            case "revoke", [image]:
                table = revoke_digest(table, digest=image.digest, signature=signature(at))
            case "attest", [path, image, kind]:
                try:
                    table = attest(table, path, image.digest, kind, at=at)
                except InputError:
                    continue
            case "deny", [path, image, kind]:
                said = attestation_of(path, image.digest, kind)
                table = revoke_digest(table, digest=said.digest, signature=signature(at))
    return table


def meant(ours: Table, base: Table, theirs: Table) -> dict[str, Digest]:
    """Return what each tag is when both were heard."""
    dead = {parse_digest(text) for text in {**ours.revoked, **theirs.revoked}}
    found = {}
    for name in tags_of(ours).keys() | tags_of(theirs).keys():
        is_ours = ours.targets.get(name) != base.targets.get(name)
        target = (ours if is_ours else theirs).targets.get(name)
        if target is not None and not dead & {target.digest, *descendants(BY_DIGEST[target.digest])}:
            found[name] = target.digest
    return found


@settings(max_examples=200)
@given(before=histories, ours=histories, theirs=histories)
def test_merged_change_keeps_what_both_meant(before: list[Edit], ours: list[Edit], theirs: list[Edit]) -> None:
    base = edited(EMPTY, before, at=0)
    here, there = edited(base, ours, at=1), edited(base, theirs, at=2)
    merged = merge(here, base=base, theirs=there)
    require_in_step(merged)
    assert tags_of(merged) == meant(here, base, there)
    assert merged.revoked.keys() >= here.revoked.keys() | there.revoked.keys()
    assert through_json(merged) == merged


@settings(max_examples=100)
@given(before=histories, theirs=histories)
def test_change_of_one_alone_is_that_change(before: list[Edit], theirs: list[Edit]) -> None:
    base = edited(EMPTY, before, at=0)
    there = edited(base, theirs, at=2)
    assert merge(base, base=base, theirs=there) == there
    assert merge(there, base=base, theirs=base) == there


def test_index_that_one_signed_goes_with_the_child_that_the_other_revoked() -> None:
    base = sign(EMPTY, WEB, "child", A)
    signed, revoked = sign(base, WEB, "multi", AB), revoke_digest(base, digest=A.digest, signature=signature(1))
    for here, there in ((signed, revoked), (revoked, signed)):
        merged = merge(here, base=base, theirs=there)
        assert merged.targets == {}
        assert set(merged.revoked) == {str(image.digest) for image in (A, B, AB)}
        assert f"{WEB}:multi" in merged.revoked[str(AB.digest)].paths
        assert f"{WEB}:child" in merged.revoked[str(A.digest)].paths


def test_annotations_of_a_digest_are_those_of_the_one_who_changed_them() -> None:
    base = sign(EMPTY, WEB, "1", A)
    theirs = sign(base, WEB, "1", A, {"commit": "2"}, at=1)
    merged = merge(sign(base, DB, "1", B), base=base, theirs=theirs)
    assert merged.targets[f"{WEB}@{A.digest}"] == theirs.targets[f"{WEB}@{A.digest}"]
    assert merged.targets[f"{WEB}:1"] == theirs.targets[f"{WEB}:1"]


def test_attestation_that_one_signed_stays_with_the_tag_that_the_other_added() -> None:
    base = sign(EMPTY, WEB, "1", A)
    attested, tagged = attest(base, WEB, A.digest, "spdx", at=1), sign(base, WEB, "2", A, at=2)
    said = attestation_of(WEB, A.digest, "spdx").digest
    for here, there in ((attested, tagged), (tagged, attested)):
        holder = merge(here, base=base, theirs=there).targets[f"{WEB}@{A.digest}"]
        assert holder.tags == ("1", "2")
        assert holder.attestations == {"spdx": (said,)}


def test_attestations_of_two_are_both_kept() -> None:
    base = sign(EMPTY, WEB, "1", A)
    one, other = attest(base, WEB, A.digest, "spdx", at=1), attest(base, WEB, A.digest, "slsa", at=2)
    merged = merge(one, base=base, theirs=other)
    assert set(merged.targets[f"{WEB}@{A.digest}"].attestations) == {"spdx", "slsa"}


def test_attestation_that_was_revoked_does_not_come_back() -> None:
    base = attest(sign(EMPTY, WEB, "1", A), WEB, A.digest, "spdx")
    said = attestation_of(WEB, A.digest, "spdx").digest
    revoked, tagged = revoke_digest(base, digest=said, signature=signature(1)), sign(base, WEB, "2", A, at=2)
    for here, there in ((revoked, tagged), (tagged, revoked)):
        merged = merge(here, base=base, theirs=there)
        assert merged.targets[f"{WEB}@{A.digest}"].attestations == {}
        assert f"{WEB}@{said}" not in merged.targets


def test_attestation_that_one_tagged_outlives_the_image_that_the_other_revoked() -> None:
    base = attest(sign(EMPTY, WEB, "1", A), WEB, A.digest, "spdx")
    said = attestation_of(WEB, A.digest, "spdx")
    tagged, revoked = sign(base, WEB, "sbom", said, at=1), revoke_tag(base, path=WEB, tag="1")
    for here, there in ((tagged, revoked), (revoked, tagged)):
        merged = merge(here, base=base, theirs=there)
        assert tags_of(merged) == {f"{WEB}:sbom": said.digest}
        left = merged.targets[f"{WEB}@{said.digest}"]
        assert (left.tags, left.attests) == (("sbom",), None)


def test_attestation_goes_with_the_image_that_the_other_took_back() -> None:
    base = sign(EMPTY, WEB, "1", A)
    attested, revoked = attest(base, WEB, A.digest, "spdx", at=1), revoke_tag(base, path=WEB, tag="1")
    for here, there in ((attested, revoked), (revoked, attested)):
        merged = merge(here, base=base, theirs=there)
        assert f"{WEB}:1" not in merged.targets
        require_in_step(merged)
