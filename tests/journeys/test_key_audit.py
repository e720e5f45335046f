"""``trust key audit``: where each key lives, what it signs, and what one theft would be enough for."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keys.encrypted_file import generate_private_key
from tests.simulators.command_line import NAME, CommandLine, write_layout
from tests.simulators.token import Tokens, TokenUser


@pytest.fixture
def careful(founder: CommandLine, tmp_path: Path) -> TokenUser:
    """Give a user whose root key is on a token, and his other keys in files."""
    tokens = Tokens(tmp_path / "machine")
    tokens.add("T")
    (tmp_path / "user-tmp").mkdir()
    user = TokenUser(CommandLine(tmp_path, founder.zygote), tokens)
    write_layout(user.layout)
    user.expect(0, "key", "generate", "root", "--on", user.uri("root"))
    return user


def audit(user: CommandLine, code: int) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(user.expect(code, "key", "audit", "--json"))
    assert document["code"] == code
    return document


def wrong(document: dict[str, Any]) -> list[str]:
    return [finding["what"] for finding in document["findings"] if finding["level"] == "error"]


def test_root_on_a_token_is_as_it_should_be(careful: TokenUser) -> None:
    said = careful.expect(
        0, *careful.init("--root-key", "root", "--targets-key", "images", "--online-key", "online")
    )
    assert "warning:" not in said
    document = audit(careful, 0)
    assert wrong(document) == []
    found = {key["name"]: key for key in document["keys"]}
    assert {name: key["place"] for name, key in found.items()} == {
        "root": "token T",
        "images": f"files in {careful.home}/keys",
        "online": f"files in {careful.home}/keys",
    }
    assert [each["role"] for each in found["online"]["roles"]] == ["snapshot", "timestamp"]
    assert [each["since_root"] for each in found["root"]["roles"]] == [1]
    assert found["root"]["since"].startswith("20")
    assert "token T" in careful.expect(0, "key", "audit")


def test_root_beside_the_online_key_is_wrong_and_init_warns_of_it(careful: TokenUser) -> None:
    said = careful.expect(0, *careful.init())
    assert f"warning: root and online keys of {NAME} live in the same place: files in" in said
    assert wrong(audit(careful, 1)) == [
        f"root and online keys of {NAME} live in the same place: files in {careful.home}/keys"
    ]


def test_threshold_that_needs_two_places_is_as_it_should_be(careful: TokenUser) -> None:
    careful.expect(0, "key", "generate", "second")
    roots = [word for name in ("root", "second") for word in ("--root-key", name)]
    careful.expect(0, *careful.init(*roots, "--root-threshold", "2"))
    assert wrong(audit(careful, 0)) == []


def test_one_key_for_root_and_timestamp_is_wrong_wherever_it_lives(careful: TokenUser) -> None:
    careful.expect(0, *careful.init("--root-key", "root", "--online-key", "root"))
    assert [line.rpartition(" ")[0] for line in wrong(audit(careful, 1))] == [
        f"root and an online role of {NAME} are signed by one key"
    ]


def test_root_that_is_on_a_token_and_in_a_file_too_is_wrong(careful: TokenUser) -> None:
    key = generate_private_key("ecdsa-p256", random=os.urandom)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    careful.tokens.put("T", "copied", pem)
    (careful.folder / "root.pem").write_bytes(pem)
    careful.expect(0, "key", "import", "copied", careful.uri("copied"))
    careful.expect(0, "key", "import", "zcopy", str(careful.folder / "root.pem"))
    assert "warning: root and online keys" in careful.expect(0, *careful.init("--root-key", "copied"))
    found = [key["place"] for key in audit(careful, 1)["keys"] if key["name"] in {"copied", "zcopy"}]
    assert found == ["token T", f"files in {careful.home}/keys"]


def test_key_of_two_collections_is_wrong(careful: TokenUser) -> None:
    careful.expect(0, *careful.init("--root-key", "root", "--targets-key", "images"))
    other = TokenUser(CommandLine(careful.folder / "other", careful.zygote), careful.tokens)
    (other.folder / "user-tmp").mkdir(parents=True)
    (other.home / "keys").mkdir(parents=True, mode=0o700)
    (other.home / "keys/root.key").write_bytes((careful.home / "keys/root.key").read_bytes())
    (other.home / "keys/root.key").chmod(0o600)
    metadata = f"file:{other.folder}/metadata"
    other.expect(0, "init", "registry.test/other/", "--metadata", metadata, "--root-key", "root", "--write-policy")
    pin = json.loads(other.expect(0, "inspect", "registry.test/other/", "--json"))["root"]
    careful.expect(0, "policy", "add", "registry.test/other/", "--root", pin, "--metadata", metadata)
    before = audit(careful, 0)
    assert any("was never verified here" in finding["what"] for finding in before["findings"])
    careful.expect(0, "inspect", "registry.test/other/")
    document = audit(careful, 1)
    assert wrong(document) == [f"key root signs for 2 collections: {NAME}, registry.test/other/"]
    assert [key["place"] for key in document["keys"] if key["name"] is None] == ["elsewhere"] * 2


def test_expired_role_and_damaged_key_are_wrong(careful: TokenUser) -> None:
    careful.expect(0, *careful.init("--root-key", "root", "--expires", "timestamp=1s"))
    (careful.home / "keys/noise.key").write_bytes(b"URI: pkcs11:\n")
    (careful.home / "keys/noise.key").chmod(0o600)
    document = audit(careful, 1)
    until = time.monotonic() + 20
    while not any(line.startswith("timestamp of") and " expired on " in line for line in wrong(document)):
        assert time.monotonic() < until, wrong(document)
        document = audit(careful, 1)
    assert any("noise.key: a damaged key alias" in line for line in wrong(document))


def test_without_anything_there_is_nothing_to_say(founder: CommandLine, tmp_path: Path) -> None:
    nobody = CommandLine(tmp_path, founder.zygote)
    assert "no keys are known here" in nobody.expect(0, "key", "audit")
    assert not nobody.home.exists()
