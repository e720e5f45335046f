"""Rules that name nothing: each would be obeyed by nobody, and say so to nobody."""

from __future__ import annotations

import pytest

from trust.digest import sha256
from trust.errors import InputError
from trust.policy_document import parse_policy

STANZA = (
    f'schema = 1\n[[collection]]\nname = "registry.test/acme/"\nroot = "{sha256(b"")}"\nmetadata = "registry:"\n'
)


@pytest.mark.parametrize("key", ["", "AB" * 32, "ab" * 31, "targets", "sha256:" + "ab" * 32])
def test_denied_key_that_is_no_key_id_is_refused(key: str) -> None:
    with pytest.raises(InputError, match="deny: keys"):
        parse_policy(f'schema = 1\ndeny = {{ keys = ["{key}"] }}', source="policy.toml")


@pytest.mark.parametrize("role", ["timestmp", "Root", "", "acme/team", "../x"])
def test_floor_of_a_role_that_cannot_be_is_refused(role: str) -> None:
    with pytest.raises(InputError, match="floors"):
        parse_policy(f'{STANZA}floors = {{ "{role}" = 5 }}', source="policy.toml")


@pytest.mark.parametrize("host", ["", "mirror.test/hub", "https://mirror.test", "mirror test"])
def test_registry_that_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InputError, match="registries"):
        parse_policy(f'{STANZA}registries = ["{host}"]', source="policy.toml")


@pytest.mark.parametrize(
    ("source", "to"), [("hub/acme", "acme/"), ("hub/acme/", "acme"), ("/hub/", "a/"), ("a", "b")]
)
def test_rewrite_that_is_not_between_slashes_is_refused(source: str, to: str) -> None:
    """``hub/acme`` to ``acme/`` would have ``hub/acmeweb`` stand for ``acme/web``."""
    with pytest.raises(InputError, match="rewrite"):
        parse_policy(f'{STANZA}rewrite = {{ from = "{source}", to = "{to}" }}', source="policy.toml")


@pytest.mark.parametrize("schema", ["true", "1.0"])
def test_schema_is_the_number_one(schema: str) -> None:
    with pytest.raises(InputError, match="schema"):
        parse_policy(f"schema = {schema}", source="policy.toml")
