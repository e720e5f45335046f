"""The spelling of addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trust.errors import InputError
from trust.oci.network import Address
from trust.oci.url import join_url, parse_url

BASE = parse_url("https://registry.example.com/v2/acme/web/blobs/uploads/?x=1")

canonical = st.builds(
    lambda scheme, host, port, target: f"{scheme}://{host}{port}{target}",
    st.sampled_from(["http", "https"]),
    st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True)
    | st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.integers(1, 65535).filter(lambda port: port not in {80, 443}).map(lambda port: f":{port}") | st.just(""),
    st.from_regex(r"/[!-\"$-~]{0,40}", fullmatch=True),
)


@given(canonical)
def test_accepted_address_prints_back_byte_for_byte(text: str) -> None:
    assert str(parse_url(text)) == text


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_bad_input(text: str) -> None:
    for location in (text, f"https://{text}", f"/{text}"):
        try:
            url = join_url(BASE, location)
        except InputError:
            continue
        assert url.scheme in {"http", "https"}
        assert parse_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "registry.example.com",
        "ftp://registry.example.com/",
        "https:registry.example.com",
        "https://",
        "https://user@registry.example.com/",
        "https://registry.example.com:0/",
        "https://registry.example.com:65536/",
        "https://registry.example.com:٣/",
        "https://registry.example.com:/",
        "https://registry.example.com/a b",
        "https://registry.example.com/a\r\nX-Evil: 1",
        "https://registry.example.com/\x00",
        "https://registry.example.com\\@evil.example.com/",
        "https://régistry.example.com/",
        "https://registry.example.com%2f/",
        "https://./",
        "https://../v2/",
        "https://..:443/",
        "https://[fe80::1%25eth0]/",
        "https://[3:1]/",
        "https://[::::1]/",
        "https://" + "a" * 20_000,
    ],
)
def test_near_miss_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_url(text)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("HTTPS://Registry.Example.COM/A", "https://registry.example.com/A"),
        ("https://registry.example.com", "https://registry.example.com/"),
        ("https://registry.example.com?a=1", "https://registry.example.com/?a=1"),
        ("https://registry.example.com:443/", "https://registry.example.com/"),
        ("http://registry.example.com:80/x#y", "http://registry.example.com/x"),
    ],
)
def test_other_spellings_have_one_form(text: str, printed: str) -> None:
    assert str(parse_url(text)) == printed


@pytest.mark.parametrize(
    ("location", "joined"),
    [
        ("/v2/x", "https://registry.example.com/v2/x"),
        ("?n=5", "https://registry.example.com/v2/acme/web/blobs/uploads/?n=5"),
        ("abc?_state=1", "https://registry.example.com/v2/acme/web/blobs/uploads/abc?_state=1"),
        ("//cdn.example.com/x", "https://cdn.example.com/x"),
        ("https://cdn.example.com/x", "https://cdn.example.com/x"),
        ("HTTP://cdn.example.com/x", "http://cdn.example.com/x"),
    ],
)
def test_location_is_read_where_it_was_sent(location: str, joined: str) -> None:
    assert str(join_url(BASE, location)) == joined


@pytest.mark.parametrize("ip", ["8.8.8.8", "10.0.0.1", "192.168.1.1", "2001:db8::1", "::ffff:8.8.8.8", "fc00::1"])
def test_other_machines_are_not_local(ip: str) -> None:
    assert not Address(ip=ip, port=443).is_local


@pytest.mark.parametrize("ip", ["127.0.0.1", "fe80::1%eth0", "::", "::1", "169.254.1.1", "not an address", ""])
def test_this_machine_its_link_and_what_cannot_be_judged_are_local(ip: str) -> None:
    assert Address(ip=ip, port=443).is_local
