"""Metadata as values: what two could read differently is refused."""

from __future__ import annotations

from typing import Any

import pytest
from tuf.api.metadata import Delegations, Root, SuccinctRoles, Targets

from tests.simulators.world import World
from tests.values.signed_roles import EXPIRES, role, targets
from trust.delegations import BINS_MAX
from trust.errors import RefusedError
from trust.metadata import delegations_of, identity_of
from trust.roles import COLLECTION_FIELD, ROLE_FIELD


@pytest.mark.parametrize("value", [None, 5, ["id"]])
def test_first_root_that_binds_no_collection_is_refused(world: World, value: object) -> None:
    root: Root = world.attacker.current("root").signed
    assert identity_of(root) == root.unrecognized_fields[COLLECTION_FIELD]
    root.unrecognized_fields[COLLECTION_FIELD] = value
    with pytest.raises(RefusedError, match="the pinned root has no") as caught:
        identity_of(root)
    assert caught.value.reason == "tampered"


def test_delegation_by_hash_prefixes_is_refused() -> None:
    """Our walk knows patterns and bins: what it passed over, another reader would find."""
    with pytest.raises(RefusedError, match="by hash prefixes"):
        delegations_of(targets(role("acme.web", ["1"], path_hash_prefixes=["ab"])))


@pytest.mark.parametrize(
    ("roles", "what"),
    [
        ([{"name": 3}], "the name of a role"),
        ([{"keyids": "1"}], "key ids"),
        ([{"keyids": [1]}], "key ids"),
        ([{"paths": "acme"}], "paths"),
        ({"keyids": "1"}, "key ids"),
    ],
)
def test_delegation_of_other_types_than_text_is_refused(roles: Any, what: str) -> None:
    """python-tuf takes them, and a text for a list of its letters."""
    if isinstance(roles, list):
        plain = {"name": "acme.web", "keyids": ["1"], "threshold": 1, "terminating": True, "paths": ["acme/web:*"]}
        said: dict[str, Any] = {"roles": [plain | changes for changes in roles]}
    else:
        plain = {"keyids": ["1"], "threshold": 1, "bit_length": 3, "name_prefix": "acme.g1"}
        said = {"succinct_roles": plain | roles}
    delegations = Delegations.from_dict({"keys": {}, **said})
    signed = Targets(version=1, expires=EXPIRES, delegations=delegations, unrecognized_fields={ROLE_FIELD: "acme"})
    with pytest.raises(RefusedError, match=f"{what} is malformed"):
        delegations_of(signed)


def test_more_bins_than_are_understood_are_refused() -> None:
    for bits, is_understood in ((14, True), (15, False)):
        bins = SuccinctRoles(["1"], 1, bits, "acme.g1")
        said = Targets(delegations=Delegations({}, succinct_roles=bins), unrecognized_fields={ROLE_FIELD: "acme"})
        if is_understood:
            found = delegations_of(said).bins
            assert found is not None
            assert found.count == BINS_MAX
        else:
            with pytest.raises(RefusedError, match="too many bins"):
                delegations_of(said)
