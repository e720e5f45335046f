"""What a role signed comes back to the role above when it ends: nothing that was revoked, and everything else."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
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
    C,
    descendants,
    require_in_step,
    sign,
    signature,
    tags_of,
)
from trust.division import reunited
from trust.merge import merge
from trust.roles import Image, revoke_digest
from trust.targets import Table

WEB, DB = PATHS

images = st.dictionaries(st.sampled_from(TAGS), st.sampled_from(IMAGES))


def signed(path: str, tags: Iterable[tuple[str, Image]]) -> Table:
    table = EMPTY
    for tag, image in tags:
        table = sign(table, path, tag, image)
    return table


def revoked(table: Table, *dead: Image) -> Table:
    for image in dead:
        table = revoke_digest(table, digest=image.digest, signature=signature(9))
    return table


def revoked_above(below: Table, *dead: Image) -> Table:
    """Return the role above ``below``, in which ``dead`` was revoked of it, and nothing else is."""
    return Table(targets={}, revoked=revoked(below, *dead).revoked)


def test_what_was_revoked_from_above_stays_so_when_the_role_ends() -> None:
    below = signed(WEB, [("1", A), ("2", C)])
    table = reunited(revoked_above(below, A), below)
    assert tags_of(table) == {f"{WEB}:2": C.digest}
    assert table.revoked[str(A.digest)].paths == (f"{WEB}:1", f"{WEB}@{A.digest}")
    require_in_step(table)


def test_index_goes_with_its_child_that_was_revoked_from_above() -> None:
    below = signed(WEB, [("multi", AB)])
    table = reunited(revoked_above(signed(WEB, [("child", A)]), A), below)
    assert table.targets == {}
    assert f"{WEB}:multi" in table.revoked[str(AB.digest)].paths
    assert f"{WEB}:child" in table.revoked[str(A.digest)].paths


def test_what_the_role_below_revoked_ends_nothing_that_is_signed_above() -> None:
    """A thief's tombstone names what it likes; two publishers who are first at once would drop that image."""
    above, below = signed(WEB, [("1", A)]), revoked(signed(DB, [("1", A), ("2", B)]), A, B)
    table = reunited(above, below)
    assert set(table.revoked) == {str(B.digest)}
    assert merge(table, base=table, theirs=sign(table, WEB, "3", C)).targets.keys() >= above.targets.keys()


def test_both_revoked_one_digest_and_every_path_of_it_stays_revoked() -> None:
    above, below = revoked(signed(WEB, [("1", A)]), A), revoked(signed(DB, [("1", A)]), A)
    (stone,) = reunited(above, below).revoked.values()
    assert stone.paths == (f"{DB}:1", f"{DB}@{A.digest}", f"{WEB}:1", f"{WEB}@{A.digest}")


@given(above=images, below=images, dead=st.sets(st.sampled_from(sorted(BY_DIGEST))))
def test_reunion_signs_what_both_signed_and_nothing_that_was_revoked(
    above: dict[str, Image], below: dict[str, Image], dead: set[object]
) -> None:
    gone = [image for image in IMAGES if image.digest in dead]
    mine, theirs = revoked(signed(WEB, above.items()), *gone), signed(DB, below.items())
    table = reunited(mine, theirs)
    require_in_step(table)
    forbidden = set(map(str, mine.revoked))
    kept = {
        f"{DB}:{tag}": image.digest
        for tag, image in below.items()
        if not forbidden & {str(image.digest), *map(str, descendants(image))}
    }
    assert tags_of(table) == tags_of(mine) | kept
