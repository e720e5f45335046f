"""URIs of keys on tokens: what is accepted prints back, and no PIN comes in or out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import KeyInputError
from keys.pkcs11_uri import Pkcs11Uri, parse_pkcs11_uri

TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
PATHS = TEXTS.filter(lambda text: not text.startswith(("|", "file:")) and ":" not in text.partition("/")[0])
URIS = st.builds(
    Pkcs11Uri,
    token=TEXTS,
    serial=st.none() | TEXTS,
    manufacturer=st.none() | TEXTS,
    model=st.none() | TEXTS,
    object=st.none() | TEXTS,
    id=st.none() | st.binary(min_size=1, max_size=8),
    module_path=st.none() | TEXTS,
    pin_source=st.none() | PATHS,
)


@given(URIS)
def test_uri_prints_back(uri: Pkcs11Uri) -> None:
    assert parse_pkcs11_uri(str(uri)) == uri
    assert str(parse_pkcs11_uri(str(uri))) == str(uri)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        uri = parse_pkcs11_uri(f"pkcs11:{text}")
    except KeyInputError:
        return
    assert parse_pkcs11_uri(str(uri)) == uri


def test_examples_of_rfc_7512_are_read() -> None:
    uri = parse_pkcs11_uri(
        "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;object=my-certificate;id=%69%95%3E"
    )
    assert (uri.token, uri.id) == ("The Software PKCS#11 Softtoken", b"\x69\x95\x3e")
    uri = parse_pkcs11_uri("pkcs11:object=my-sign-key?pin-source=file:/etc/token_pin&module-name=mypkcs11")
    assert (uri.pin_source, uri.module_name) == ("/etc/token_pin", "mypkcs11")


def test_uri_as_p11tool_prints_it_is_read() -> None:
    device = "model=SoftHSM%20v2;manufacturer=SoftHSM%20project;serial=9a1b;token=T"
    printed = f"pkcs11:{device};id=%01;object=root;type=private"
    uri = parse_pkcs11_uri(printed)
    assert (uri.model, uri.serial, uri.token, uri.id, uri.object) == ("SoftHSM v2", "9a1b", "T", b"\x01", "root")
    with pytest.raises(KeyInputError, match="got type"):
        parse_pkcs11_uri("pkcs11:token=T;type=cert")


@pytest.mark.parametrize("place", ["pkcs11:token=T?pin-value={}", "pkcs11:pin-value={};token=T"])
def test_pin_in_the_uri_is_refused_and_not_repeated(place: str) -> None:
    with pytest.raises(KeyInputError, match="a secret is never an argument") as caught:
        parse_pkcs11_uri(place.format("s3cret"))
    assert "s3cret" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pkcs11:", "names nothing"),
        ("pkcs11:token=", "empty"),
        ("pkcs11:token=a%2", "stray '%'"),
        ("pkcs11:token=%FF", "not UTF-8"),
        ("pkcs11:token=%00", "control"),
        ("pkcs11:token=a;token=b", "said twice"),
        ("pkcs11:library-version=3", "got library-version"),
        ("pkcs11:module-path=/x", "got module-path"),
        ("pkcs11:token=T?module-path=/x&module-name=x", "got both"),
        ("pkcs11:token=T?pin-source=|/bin/sh", "got a program"),
        ("pkcs11:token=T?pin-source=https://example.com", "another kind of URI"),
        ("PKCS11:token=T", "not the URI"),
        ("pkcs11:" + "a" * 3000, "not the URI"),
    ],
)
def test_other_uris_are_refused(text: str, said: str) -> None:
    with pytest.raises(KeyInputError, match=said.replace("|", r"\|")):
        parse_pkcs11_uri(text)
