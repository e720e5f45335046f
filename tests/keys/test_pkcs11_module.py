"""Where a token's library is looked for, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from keys.errors import KeyInputError, TokenUnavailableError
from keys.pkcs11_module import module_path
from keys.pkcs11_uri import Pkcs11Uri

URI = Pkcs11Uri(token="T")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Give the root of a machine on which p11-kit knows the module ``card``."""
    library(tmp_path, "usr/lib/x86_64-linux-gnu/pkcs11/card.so")
    (tmp_path / "etc/pkcs11/modules").mkdir(parents=True)
    (tmp_path / "etc/pkcs11/modules/card.module").write_text("# a card\nmodule: card.so\n")
    return tmp_path


def library(root: Path, name: str) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).touch()
    return root / name


def test_the_uri_decides_then_the_environment_then_the_machine(machine: Path) -> None:
    card = machine / "usr/lib/x86_64-linux-gnu/pkcs11/card.so"
    own, named = library(machine, "own.so"), library(machine, "named.so")
    environ = {"TRUST_PKCS11_MODULE": str(own)}
    assert module_path(Pkcs11Uri(token="T", module_path=str(named)), environ=environ, root=machine) == named
    assert module_path(Pkcs11Uri(token="T", module_name="card"), environ=environ, root=machine).samefile(card)
    assert module_path(URI, environ=environ, root=machine) == own
    assert module_path(URI, environ={}, root=machine).samefile(card)


def test_proxy_of_p11_kit_stands_for_several_modules(machine: Path) -> None:
    (machine / "etc/pkcs11/modules/other.module").write_text("module: card.so\n")
    with pytest.raises(TokenUnavailableError, match="expected one, 2 are configured"):
        module_path(URI, environ={}, root=machine)
    proxy = library(machine, "usr/lib/x86_64-linux-gnu/p11-kit-proxy.so")
    assert module_path(URI, environ={}, root=machine).samefile(proxy)


def test_missing_modules_are_named(machine: Path, tmp_path: Path) -> None:
    with pytest.raises(TokenUnavailableError, match=r"no PKCS#11 module /nowhere\.so"):
        module_path(Pkcs11Uri(token="T", module_path="/nowhere.so"), environ={})
    with pytest.raises(KeyInputError, match="expected an absolute path"):
        module_path(Pkcs11Uri(token="T", module_path="card.so"), environ={})
    with pytest.raises(TokenUnavailableError, match="no PKCS#11 module chip"):
        module_path(Pkcs11Uri(token="T", module_name="chip"), environ={}, root=machine)
    with pytest.raises(TokenUnavailableError, match="expected one, 0 are configured"):
        module_path(URI, environ={}, root=tmp_path / "empty")
