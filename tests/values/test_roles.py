"""Edits of a role, as random histories: whatever is signed and revoked, the targets stay in step.

The model is what the publisher meant: which tag names which image. The table must follow it.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.simulators.images import (
    AB,
    AB_C,
    BC,
    EMPTY,
    IMAGES,
    PATHS,
    TAGS,
    A,
    B,
    C,
    attest,
    attestation_of,
    descendants,
    image_of,
    require_in_step,
    sign,
    signature,
    tags_of,
    through_json,
)
from trust.digest import Digest, parse_digest
from trust.errors import InputError
from trust.roles import Image, revoke_digest, revoke_tag
from trust.value import replace

WEB, BASE = "acme/web", "acme/db"
images, paths, tags = st.sampled_from(IMAGES), st.sampled_from(PATHS), st.sampled_from(TAGS)
NOTES: list[Mapping[str, str]] = [{}, {"commit": "1"}, {"commit": "2"}]


class Histories(RuleBasedStateMachine):
    """One publisher, any order of edits."""

    def __init__(self) -> None:
        super().__init__()
        self.table = EMPTY
        self.meant: dict[str, Digest] = {}

    @rule(path=paths, tag=tags | st.none(), image=images, notes=st.sampled_from(NOTES))
    def sign(self, path: str, tag: str | None, image: Image, notes: Mapping[str, str]) -> None:
        dead = {image.digest, *descendants(image)} & {parse_digest(text) for text in self.table.revoked}
        if dead:
            with pytest.raises(InputError, match="digest was revoked"):
                sign(self.table, path, tag, image, notes)
            return
        self.table = sign(self.table, path, tag, image, notes)
        assert sign(self.table, path, tag, image, notes, at=1) is self.table
        if tag is not None:
            self.meant[f"{path}:{tag}"] = image.digest

    @rule(path=paths, tag=tags)
    def revoke_tag(self, path: str, tag: str) -> None:
        table = revoke_tag(self.table, path=path, tag=tag)
        assert (table is self.table) == (f"{path}:{tag}" not in self.meant)
        assert revoke_tag(table, path=path, tag=tag) is table
        self.table = table
        self.meant.pop(f"{path}:{tag}", None)

    @rule(image=images)
    def revoke_digest(self, image: Image) -> None:
        before = {target.digest for target in self.table.targets.values()}
        table = revoke_digest(self.table, digest=image.digest, signature=signature(1))
        assert (table is self.table) == (image.digest not in before)
        assert revoke_digest(table, digest=image.digest, signature=signature(2)) is table
        self.table = table
        self.meant = {name: digest for name, digest in self.meant.items() if str(digest) not in table.revoked}

    @rule(path=paths, image=images, kind=st.sampled_from(["spdx", "slsa"]))
    def attest(self, path: str, image: Image, kind: str) -> None:
        said = str(attestation_of(path, image.digest, kind).digest)
        if f"{path}@{image.digest}" not in self.table.targets or said in self.table.revoked:
            with pytest.raises(InputError, match=r"not signed|was revoked"):
                attest(self.table, path, image.digest, kind)
            return
        self.table = attest(self.table, path, image.digest, kind)
        assert attest(self.table, path, image.digest, kind, at=1) is self.table

    @rule()
    def publish(self) -> None:
        """What the next publisher reads is the same, in the order of its paths."""
        read = through_json(self.table)
        assert read == self.table
        self.table = read

    @invariant()
    def targets_are_in_step(self) -> None:
        require_in_step(self.table)

    @invariant()
    def tags_are_what_was_meant(self) -> None:
        assert tags_of(self.table) == self.meant


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)


def test_signing_a_child_by_itself_keeps_the_index_it_is_in() -> None:
    table = sign(sign(EMPTY, WEB, "multi", AB), WEB, "alone", A)
    assert table.targets[f"{WEB}@{A.digest}"].inside == (AB.digest,)
    revoked = revoke_digest(table, digest=A.digest, signature=signature(1))
    assert tags_of(revoked) == {}, "an index with a revoked child is revoked"


def test_signing_an_index_leaves_what_was_said_of_its_child() -> None:
    alone = sign(EMPTY, WEB, "alone", A, {"commit": "1"})
    table = sign(alone, WEB, "multi", AB, {"commit": "2"}, at=1)
    child, before = table.targets[f"{WEB}@{A.digest}"], alone.targets[f"{WEB}@{A.digest}"]
    assert (child.annotations, child.signed_at, child.tags) == ({"commit": "1"}, before.signed_at, ("alone",))
    assert sign(table, WEB, "alone", A, {"commit": "1"}, at=2) is table


def test_repeated_signature_keeps_its_first_date() -> None:
    table = sign(EMPTY, WEB, "1", AB)
    assert sign(table, WEB, "1", AB, at=5) is table
    assert sign(table, WEB, "2", AB, at=5).targets[f"{WEB}:1"].signed_at == signature(0).at


def test_moved_tag_leaves_the_old_digest_signed_and_without_the_tag() -> None:
    table = sign(sign(EMPTY, WEB, "1", A), WEB, "1", B)
    assert table.targets[f"{WEB}@{A.digest}"].tags == ()
    assert table.targets[f"{WEB}@{B.digest}"].tags == ("1",)


def test_revoked_tag_takes_digests_that_nothing_refers_to_any_more() -> None:
    table = sign(sign(sign(EMPTY, WEB, "1", AB_C), WEB, "2", BC), BASE, "1", A)
    left = revoke_tag(table, path=WEB, tag="1").targets
    kept = {f"{WEB}:2", *(f"{WEB}@{image.digest}" for image in (BC, B, C))}
    assert {name for name in left if name.startswith(WEB)} == kept
    assert f"{BASE}@{A.digest}" in left


def test_revoked_child_takes_every_index_above_it_and_leaves_tombstones() -> None:
    table = sign(sign(EMPTY, WEB, "1", AB_C), WEB, "2", C)
    revoked = revoke_digest(table, digest=A.digest, signature=signature(3))
    assert tags_of(revoked) == {f"{WEB}:2": C.digest}
    assert {str(image.digest) for image in (A, AB, AB_C)} <= set(revoked.revoked)
    tombstone = revoked.revoked[str(AB_C.digest)]
    assert tombstone.paths == tuple(sorted([f"{WEB}:1", f"{WEB}@{AB_C.digest}"]))
    assert (tombstone.revoked_at, tombstone.revoked_by) == (signature(3).at, signature(3).by)


def test_image_that_stays_signed_elsewhere_is_not_revoked_with_an_index_it_was_in() -> None:
    table = sign(sign(EMPTY, WEB, "1", AB), BASE, "1", A)
    revoked = revoke_digest(table, digest=AB.digest, signature=signature(1))
    assert tags_of(revoked) == {f"{BASE}:1": A.digest}
    assert str(A.digest) not in revoked.revoked
    assert sign(revoked, BASE, "1", A) is revoked


def test_revoked_digest_is_never_signed_again() -> None:
    table = revoke_digest(sign(EMPTY, WEB, "1", AB), digest=A.digest, signature=signature(1))
    for image in (A, AB, AB_C, image_of("new", A)):
        with pytest.raises(InputError, match="digest was revoked on 2031-05-01T12:01:00Z"):
            sign(table, WEB, "2", image)


@pytest.mark.parametrize("tag", ["_trust", "_trust.1", "_trusted"])
def test_reserved_tag_is_never_signed(tag: str) -> None:
    with pytest.raises(InputError, match="reserved"):
        sign(EMPTY, WEB, tag, A)


def test_revoking_what_is_not_signed_changes_nothing() -> None:
    table = sign(EMPTY, WEB, "1", A)
    assert revoke_tag(table, path=WEB, tag="2") is table
    assert revoke_tag(table, path=BASE, tag="1") is table
    assert revoke_digest(table, digest=B.digest, signature=signature()) is table


def test_attestation_goes_with_the_last_that_names_its_subject() -> None:
    table = attest(sign(sign(EMPTY, WEB, "1", A), WEB, "2", A), WEB, A.digest, "spdx")
    kept = revoke_tag(table, path=WEB, tag="1")
    assert kept.targets[f"{WEB}@{A.digest}"].attestations == table.targets[f"{WEB}@{A.digest}"].attestations
    assert revoke_tag(kept, path=WEB, tag="2").targets == {}


def test_revoked_image_takes_its_attestations_and_leaves_their_tombstones() -> None:
    table = attest(sign(EMPTY, WEB, "1", A), WEB, A.digest, "spdx")
    revoked = revoke_digest(table, digest=A.digest, signature=signature(1))
    assert revoked.targets == {}
    assert set(revoked.revoked) == {str(A.digest), str(attestation_of(WEB, A.digest, "spdx").digest)}


def test_revoked_attestation_leaves_the_image_signed_without_it() -> None:
    table = attest(sign(EMPTY, WEB, "1", A), WEB, A.digest, "spdx")
    said = attestation_of(WEB, A.digest, "spdx").digest
    revoked = revoke_digest(table, digest=said, signature=signature(1))
    assert tags_of(revoked) == {f"{WEB}:1": A.digest}
    assert revoked.targets[f"{WEB}@{A.digest}"].attestations == {}
    with pytest.raises(InputError, match="digest was revoked"):
        attest(revoked, WEB, A.digest, "spdx")


def test_image_that_is_signed_again_keeps_its_attestations() -> None:
    table = attest(sign(EMPTY, WEB, "1", A), WEB, A.digest, "spdx")
    again = sign(table, WEB, "2", A, {"commit": "2"}, at=1)
    assert again.targets[f"{WEB}@{A.digest}"].attestations == table.targets[f"{WEB}@{A.digest}"].attestations


def test_image_that_is_in_an_index_on_two_ways_is_revoked_with_all_above_it() -> None:
    both = image_of("twice", AB, image_of("beside", A))
    revoked = revoke_digest(sign(EMPTY, WEB, "1", both), digest=A.digest, signature=signature(1))
    assert revoked.targets == {}
    assert {str(digest) for digest in (A.digest, AB.digest, both.digest)} <= set(revoked.revoked)


def test_tag_whose_digest_another_tool_left_out_is_revoked_and_moved_all_the_same() -> None:
    signed = sign(sign(EMPTY, WEB, "1", A), WEB, "2", C)
    bare = replace(
        signed, targets={name: each for name, each in signed.targets.items() if name != f"{WEB}@{A.digest}"}
    )
    assert tags_of(revoke_tag(bare, path=WEB, tag="1")) == {f"{WEB}:2": C.digest}
    moved = sign(bare, WEB, "1", C)
    assert tags_of(moved) == {f"{WEB}:1": C.digest, f"{WEB}:2": C.digest}
    require_in_step(moved)
