"""The shim's configuration: every error at once, nothing unknown, nothing that falls open."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from registry_shim.config import Config
from registry_shim.config_document import CONFIG_MAX_BYTES, config_of, parse_config
from trust.errors import InputError

LEAST: dict[str, Any] = {"listen": "127.0.0.1:0", "home": "/h", "upstream": [{"name": "registry.test"}]}


def parse(document: dict[str, Any]) -> Config:
    return parse_config(tomli_w.dumps(document), source="shim.toml")


def error(document: dict[str, Any]) -> str:
    with pytest.raises(InputError) as caught:
        parse(document)
    return str(caught.value)


def test_full_document_is_read_as_it_is_written() -> None:
    config = parse(
        {
            "listen": "[::1]:5443",
            "tls": {"certificate": "/c.pem", "key": "/k.pem"},
            "workers": 3,
            "home": "/h",
            "policy": "/p.toml",
            "default": "registry.test",
            "max_age": "5m",
            "operations": "127.0.0.1:5080",
            "page": False,
            "decisions": "/d.jsonl",
            "cache": {"directory": "/c", "size": "3MiB"},
            "limits": {"connections": 7, "head": "3s", "upstream": "4s", "grant": "5s"},
            "upstream": [
                {
                    "name": "registry.test",
                    "url": "http://127.0.0.1:5000",
                    "prefix": "reg",
                    "ca": "/ca.pem",
                    "auth": "own",
                    "redirects": ["*.storage.test", "storage.test"],
                }
            ],
        }
    )
    assert (str(config.listen), config.workers, str(config.operations)) == ("[::1]:5443", 3, "127.0.0.1:5080")
    assert (config.policy, config.default, config.page) == (Path("/p.toml"), "registry.test", False)
    assert (config.max_age.total_seconds(), config.cache_directory, config.cache_bytes) == (
        300,
        Path("/c"),
        3 << 20,
    )
    limits = config.limits
    assert (limits.connections, limits.head_seconds, limits.upstream_seconds, limits.grant_seconds) == (7, 3, 4, 5)
    (upstream,) = config.upstreams.values()
    assert (upstream.prefix, upstream.auth, upstream.ca) == ("reg", "own", Path("/ca.pem"))
    assert str(upstream.url) == "http://127.0.0.1:5000/"
    assert upstream.redirects == ("*.storage.test", "storage.test")


def test_least_document_has_the_strict_defaults() -> None:
    config = parse(LEAST)
    (upstream,) = config.upstreams.values()
    assert (upstream.auth, upstream.redirects, str(upstream.url)) == ("forward", (), "https://registry.test/")
    assert (config.default, config.tls, config.operations, config.policy) == (None, None, None, None)
    assert (config.workers, config.max_age.total_seconds(), config.limits.connections) == (1, 60, 64)
    assert config.cache_directory == Path("/h/cache")


def test_workers_read_the_same_from_the_document() -> None:
    config = parse(LEAST)
    assert config_of(config.document, source="shim.toml") == config


def test_every_error_is_reported_at_once() -> None:
    said = error(
        {
            "listen": "nowhere",
            "home": "relative",
            "workers": 0,
            "page": "yes",
            "polcy": "/p",
            "max_age": "soon",
            "tls": {"certificate": "/c"},
            "cache": {"size": "0GiB", "ttl": 1},
            "limits": {"connections": True, "head": 3},
            "upstream": [
                {"name": "registry.test", "url": "ftp://x"},
                {"name": "a/b", "auth": "none", "redirects": ["*"]},
                {"url": "https://x/path", "ca": "ca.pem"},
            ],
        }
    )
    for part in (
        "listen: expected HOST:PORT", "home: expected an absolute path", "workers: expected 1 to 64",
        "page: expected true or false", "unknown key 'polcy'", "max_age: duration", "tls: key is missing",
        "cache: size: expected a size", "unknown key 'ttl'", "connections: expected", "limits: head is not text",
        "upstream 1: url", "upstream 2: name", "upstream 2: auth: expected forward or own",
        "upstream 2: redirects: expected HOST", "upstream 3: name is missing", "upstream 3: url has a path",
        "upstream 3: ca: expected an absolute path",
    ):  # fmt: skip
        assert part in said, (part, said)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"upstream": []}, "no \\[\\[upstream\\]\\]"),
        ({"default": "other.test"}, "default: expected the name of an"),
        ({"upstream": [{"name": "a.test"}, {"name": "a.test"}]}, "'a.test' stands for two"),
        (
            {"upstream": [{"name": "a.test", "prefix": "x"}, {"name": "b.test", "prefix": "x"}]},
            "'x' stands for two",
        ),
        ({"upstream": [{"name": "a.test", "prefix": "x/y"}]}, "prefix: expected one word"),
        ({"upstream": [{"name": "index.docker.io"}]}, "name: expected a registry"),
        ({"listen": "127.0.0.1:65536"}, "listen: expected HOST:PORT"),
        ({"listen": "127.0.0.1:0\n"}, "listen: expected HOST:PORT"),
        ({"listen": "127.0.0.256:0"}, "listen: expected HOST:PORT"),
        ({"listen": "127.1:0"}, "listen: expected HOST:PORT"),
        ({"listen": "[:::1]:0"}, "listen: expected HOST:PORT"),
        ({"listen": "[127.0.0.1]:0"}, "listen: expected HOST:PORT"),
        ({"listen": "gate..test:0"}, "listen: expected HOST:PORT"),
        ({"listen": "-gate:0"}, "listen: expected HOST:PORT"),
        ({"listen": "g" * 64 + ".test:0"}, "listen: expected HOST:PORT"),
        ({"operations": "1.2.3.4.5:0"}, "operations: expected HOST:PORT"),
        ({"home": "/h\0"}, "home: expected an absolute path"),
    ],
)
def test_what_could_fall_open_is_refused(change: dict[str, Any], match: str) -> None:
    with pytest.raises(InputError, match=match):
        config_of({**LEAST, **change}, source="shim.toml")


def test_document_that_is_none_is_refused() -> None:
    for text in ("listen = ", "[" * 10_000, "#" * (CONFIG_MAX_BYTES + 1)):
        with pytest.raises(InputError):
            parse_config(text, source="shim.toml")


values = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**63), 2**63), st.text(max_size=8), st.floats(allow_nan=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
keys = st.sampled_from([
    "listen", "tls", "workers", "home", "policy", "default", "max_age", "operations", "page", "decisions", "cache",
    "limits", "upstream", "name", "url", "prefix", "ca", "auth", "redirects", "certificate", "key", "directory",
    "size", "connections", "head", "grant", "x",
])  # fmt: skip


readers = st.dictionaries(keys, values, max_size=4)


@given(document=st.dictionaries(keys, st.one_of(values, readers, st.lists(readers, max_size=2))))
def test_any_document_is_a_configuration_or_an_input_error(document: dict[str, Any]) -> None:
    try:
        config = config_of({**LEAST, **document}, source="shim.toml")
    except InputError:
        return
    assert config_of(config.document, source="shim.toml") == config
