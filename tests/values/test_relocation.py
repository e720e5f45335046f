"""What a collection is called elsewhere: whatever is printed for consumers leads them to what was signed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.cli.stanzas import stanza_text
from trust.digest import sha256
from trust.errors import InputError
from trust.policy import Stanza
from trust.policy_document import parse_policy
from trust.reference import Repository, parse_collection, parse_reference
from trust.relocation import relocate
from trust.stores import metadata_place

words = st.sampled_from(["acme", "web", "hub", "a", "team"])
paths = st.lists(words, min_size=1, max_size=4).map("/".join)


def stanza_of(path: str) -> Stanza:
    return Stanza(collection=parse_collection(f"registry.test/{path}"), root=sha256(b"root"), metadata="registry:")


@given(
    signed=paths, cut=st.integers(0, 4), there=paths, host=st.sampled_from(["registry.test", "mirror.test:5000"])
)
def test_printed_stanza_leads_to_the_signed_path(signed: str, cut: int, there: str, host: str) -> None:
    parts = signed.split("/")
    collection = "".join(f"{part}/" for part in parts[:cut]) if cut < len(parts) else signed
    served = Repository(host=host, path=f"{there}/{parts[-1]}")
    place = relocate(stanza_of(collection), signed, served)
    printed = stanza_text(place.consumer_stanza(place.metadata_url))
    (read,) = parse_policy(f"schema = 1\n{printed}", source="printed").stanzas
    assert read.path_of(parse_reference(f"{served}:1")) == signed
    repository, tag = metadata_place(read.metadata.removeprefix("registry:"), read.collection)
    assert (repository.host, tag) == (host, "_trust")
    assert (repository.path == served.path) is not read.collection.is_namespace


@given(path=paths, host=st.sampled_from(["registry.test", "mirror.test"]))
def test_path_that_stays_needs_no_rewrite(path: str, host: str) -> None:
    assert relocate(stanza_of(path), path, Repository(host=host, path=path)).rewrite is None


@pytest.mark.parametrize("there", ["acme/website", "web/acme", "acme"])
def test_last_part_has_to_stay(there: str) -> None:
    with pytest.raises(InputError, match="a copy keeps its name"):
        relocate(stanza_of("acme/"), "acme/web", Repository(host="mirror.test", path=there))


def test_old_host_is_not_led_astray_by_a_rewrite_of_everything() -> None:
    place = relocate(stanza_of("acme/"), "acme/web", Repository(host="mirror.test", path="web"))
    stanza = place.consumer_stanza(place.metadata_url)
    assert stanza.path_of(parse_reference("mirror.test/web:1")) == "acme/web"
    assert stanza.path_of(parse_reference("registry.test/acme/web:1")) is None
