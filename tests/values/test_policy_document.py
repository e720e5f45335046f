"""The policy's spelling: every error at once, no key that is not known, nothing that falls open."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from trust.digest import Digest, sha256
from trust.errors import InputError
from trust.judge import match_or_verdict
from trust.policy import Policy, Rewrite
from trust.policy_document import POLICY_MAX_BYTES, join_policies, parse_policy
from trust.reference import Collection, parse_reference
from trust.verdict import Denied, Reason

PIN = str(sha256(b"root"))
KEYID = "ab" * 32
HEAD = "schema = 1\n"
STANZA = f'[[collection]]\nname = "registry.test/acme/"\nroot = "{PIN}"\nmetadata = "registry:"\n'


def parse(text: str) -> Policy:
    return parse_policy(text, source="policy.toml")


def test_full_document_is_read_as_it_is_written() -> None:
    text = f"""
schema = 1
deny = {{ digests = ["{PIN}"], keys = ["{KEYID}"] }}

[[collection]]
name = "registry.test/acme/"
root = "{PIN}"
metadata = "registry:"
publish = "file:/srv/metadata"
registries = ["mirror.test", "mirror.test:5000"]
rewrite = {{ from = "hub/acme/", to = "acme/" }}
roles = ["targets"]
attestations = ["spdx", "slsa"]
digests = "current"
fresh = "deny"
mode = "audit"
max_age = "60s"
floors = {{ root = 1, timestamp = 120 }}

[[pinned]]
image = "registry.test/pause@{PIN}"
until = "2031-01-01T00:00:00Z"
"""
    policy = parse(text)
    (stanza,) = policy.stanzas
    assert stanza.collection == Collection(host="registry.test", path="acme/")
    assert (stanza.root, stanza.metadata, stanza.publish) == (sha256(b"root"), "registry:", "file:/srv/metadata")
    assert stanza.registries == ("mirror.test", "mirror.test:5000")
    assert stanza.rewrites == (Rewrite(source="hub/acme/", to="acme/"),)
    assert (stanza.roles, stanza.digests, stanza.fresh, stanza.mode) == (("targets",), "current", "deny", "audit")
    assert stanza.attestations == ("spdx", "slsa")
    assert (stanza.max_age, stanza.floors) == (timedelta(seconds=60), {"root": 1, "timestamp": 120})
    assert policy.denied_digests == {sha256(b"root")}
    assert policy.denied_keys == {KEYID}
    (pin,) = policy.pinned
    assert str(pin.reference) == f"registry.test/pause@{PIN}"
    assert pin.until == datetime(2031, 1, 1, tzinfo=timezone.utc)


def test_stanza_of_what_must_be_said_has_the_strict_defaults() -> None:
    (stanza,) = parse(HEAD + STANZA).stanzas
    assert (stanza.roles, stanza.digests, stanza.fresh, stanza.mode) == ((), "signed", "allow", "enforce")
    assert (stanza.max_age, stanza.floors, stanza.registries, stanza.rewrites) == (timedelta(0), {}, (), ())
    assert stanza.publish is None


def _joined(*stanzas: str) -> Policy:
    return join_policies([("policy.toml", parse(HEAD + "".join(stanzas)))])


A = STANZA + 'registries = ["mirror.test"]\n'
B = A.replace("registry.test", "other.test")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (A, B),
        (A, STANZA.replace("registry.test", "mirror.test")),
        (A + 'rewrite = { from = "hub/", to = "" }\n', B + 'rewrite = { from = "hub/acme/", to = "acme/" }\n'),
        (A, B.replace("acme/", "beta/") + 'rewrite = { from = "acme/", to = "beta/" }\n'),
    ],
)
def test_two_collections_that_speak_for_the_same_images_of_a_mirror_are_refused(one: str, other: str) -> None:
    for stanzas in ((one, other), (other, one)):
        with pytest.raises(InputError, match=r"both speak for the same images at mirror\.test"):
            _joined(*stanzas)


def test_collections_that_a_mirror_keeps_apart_are_told_apart_and_the_rest_is_denied() -> None:
    policy = _joined(
        A + 'rewrite = { from = "one/acme/", to = "acme/" }\n',
        B + 'rewrite = { from = "two/acme/", to = "acme/" }\n',
    )
    for path, host in (("one/", "registry.test"), ("two/", "other.test")):
        match = policy.match(parse_reference(f"mirror.test/{path}acme/web:1"))
        assert match is not None
        assert match.stanza.collection.host == host
    reference = parse_reference("mirror.test/acme/web:1")
    verdict = match_or_verdict(policy, reference, datetime(2031, 1, 1, tzinfo=timezone.utc))
    assert isinstance(verdict, Denied)
    assert verdict.reason is Reason.NO_POLICY
    assert "registry.test/acme/ and other.test/acme/ cover mirror.test/acme/web alike" in verdict.detail


def test_longer_of_two_collections_at_a_mirror_decides() -> None:
    policy = _joined(A, B.replace("acme/", "acme/team/"))
    match = policy.match(parse_reference("mirror.test/acme/team/web:1"))
    assert match is not None
    assert match.stanza.collection.host == "other.test"


def test_empty_policy_allows_nothing() -> None:
    assert parse(HEAD) == Policy()


def test_every_error_is_reported_at_once() -> None:
    text = f"""
schema = 2
colour = "red"
deny = {{ digests = ["latest"], what = 1 }}

[[collection]]
name = "registry.test/Acme/"
root = "sha512:{"0" * 128}"
metadata = 5
digests = "all"
fresh = true
max_age = "soon"
floors = {{ root = 0 }}
rewrite = {{ from = "a/" }}
roles = "targets"
root_pin = "x"

[[pinned]]
image = "registry.test/pause:3"
until = "tomorrow"
"""
    with pytest.raises(InputError) as caught:
        parse(text)
    message = str(caught.value)
    for fragment in (
        "top level: schema: expected 1, got 2", "top level: unknown key 'colour'", "deny: digests: digest has no",
        "deny: unknown key 'what'", "collection 1: name: repository name has upper case",
        "collection 1: root: a root pin is sha256", "collection 1: metadata is not text",
        "collection 1: digests: expected signed or current, got 'all'", "collection 1: fresh is not text",
        "collection 1: max_age: duration is malformed", "collection 1: floors: expected versions",
        "collection 1: rewrite: expected { from", "collection 1: roles is not a list of texts",
        "collection 1: unknown key 'root_pin'", "pinned 1: until: time is malformed",
    ):  # fmt: skip
        assert fragment in message, fragment
    assert "policy.toml" in message


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("digest = 'signed'", "unknown key 'digest'"),
        ("Roles = ['targets']", "unknown key 'Roles'"),
        ("mode = 'Enforce'", "expected enforce or audit"),
        ("fresh = 'denied'", "expected allow or deny"),
        ("max_age = 60", "max_age is not text"),
        ("max_age = '-1s'", "duration is malformed"),
        ("registries = 'mirror.test'", "registries is not a list"),
        ("registries = ['a', 1]", "registries is not a list"),
        ("floors = { root = -1 }", "versions above zero"),
        ("floors = { root = 1.5 }", "versions above zero"),
        ("floors = { root = true }", "versions above zero"),
        ("floors = { root = '1' }", "versions above zero"),
        ("floors = [1]", "versions above zero"),
        ("rewrite = 'a'", "rewrite: expected"),
        ("rewrite = { from = 'a/', to = 'b/', extra = 'c' }", "rewrite: expected"),
        ("rewrite = { from = 1, to = 'b/' }", "rewrite: expected"),
        ("publish = 1", "publish is not text"),
    ],
)
def test_misspelt_rule_is_refused_and_never_passed_over(line: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(HEAD + STANZA + line)


@pytest.mark.parametrize("key", ["name", "root", "metadata"])
def test_stanza_without_a_key_that_it_needs_is_refused(key: str) -> None:
    text = "\n".join(line for line in STANZA.splitlines() if not line.startswith(key))
    with pytest.raises(InputError, match=f"collection 1: {key} is missing"):
        parse(HEAD + text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "schema: expected 1, got None"),
        ("schema = '1'", "schema: expected 1"),
        ("schema = 1\nschema = 1", "not valid TOML"),
        (f"schema = {2**63}", "more than 64 bits"),
        (f"schema = 1\ndeny = {{ digests = [{-(2**63) - 1}] }}", "more than 64 bits"),
        (STANZA.replace('"registry:"', r'"file:/srv/\u0000"'), "a text has a NUL"),
        ("not toml", "not valid TOML"),
        ("schema = 1\nx = " + "[" * 5000 + "]" * 5000, "not valid TOML"),
        ("schema = 1\ncollection = 1", "expected .*collection.* tables"),
        ("schema = 1\n[collection]\nname = 'x'", "expected .*collection.* tables"),
        ("schema = 1\ndeny = 1", "deny: expected a table"),
        ("schema = 1\n[[deny]]\ndigests = []", "deny: expected a table"),
        ("schema = 1\n[[pinned]]\nimage = 'registry.test/a:1'\nuntil = '2031-01-01T00:00:00Z'", "has no digest"),
        (f"schema = 1\n[[pinned]]\nimage = 'registry.test/a@{PIN}'", "until is missing"),
        ("schema = 1\n# " + "x" * POLICY_MAX_BYTES, "too large"),
    ],
)
def test_other_document_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(text)


values = st.one_of(
    st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False), st.text(max_size=8), st.just(PIN),
    st.just("registry.test/acme/"), st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.sampled_from(["from", "to", "root"]), st.integers(0, 3) | st.text(max_size=3), max_size=2),
    st.datetimes(),
)  # fmt: skip
keys = st.sampled_from(["name", "root", "metadata", "publish", "registries", "rewrite", "roles", "digests",
                        "fresh", "mode", "max_age", "floors", "other"])  # fmt: skip


@given(
    document=st.fixed_dictionaries(
        {"schema": st.just(1) | values, "collection": st.lists(st.dictionaries(keys, values))}
    )
    | st.fixed_dictionaries({"schema": st.just(1), "deny": values, "pinned": values})
    | st.fixed_dictionaries(
        {
            "schema": st.just(1),
            "deny": st.fixed_dictionaries({"digests": values, "keys": values}),
            "pinned": st.lists(st.fixed_dictionaries({"image": values, "until": values}), max_size=2),
        }
    )
)
def test_no_document_is_more_than_refused(document: dict[str, Any]) -> None:
    with suppress(InputError):
        assert isinstance(parse(tomli_w.dumps(document)), Policy)


def test_collection_that_stands_twice_is_refused() -> None:
    one, other = parse(HEAD + STANZA), parse(HEAD + STANZA.replace("registry:", "file:/elsewhere"))
    with pytest.raises(InputError, match=r"stands twice in the policy: in a\.toml and b\.toml"):
        join_policies([("a.toml", one), ("b.toml", other)])
    twice = parse(HEAD + STANZA + STANZA)
    with pytest.raises(InputError, match="stands twice"):
        join_policies([("a.toml", twice)])


def test_joined_policies_deny_what_any_of_them_denies() -> None:
    digests = [sha256(b"1"), sha256(b"2")]
    parts = [(str(number), parse(f'schema = 1\ndeny = {{ digests = ["{digest}"] }}')) for number, digest in
             enumerate(digests)]  # fmt: skip
    joined = join_policies([*parts, ("c", parse(HEAD + STANZA))])
    assert joined.denied_digests == set(digests)
    assert len(joined.stanzas) == 1
    assert join_policies([]) == Policy()
    assert isinstance(next(iter(joined.denied_digests)), Digest)
