"""A publisher whose root key is on a token, and what he is told when the token does not play along."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulators.command_line import CHECKOUT, CommandLine, write_layout
from tests.simulators.token import PIN, Tokens, TokenUser


@pytest.fixture
def user(founder: CommandLine, tmp_path: Path) -> TokenUser:
    """Give a user with the token T and no key yet."""
    tokens = Tokens(tmp_path / "machine")
    tokens.add("T")
    (tmp_path / "user-tmp").mkdir()
    user = TokenUser(CommandLine(tmp_path, founder.zygote), tokens)
    write_layout(user.layout)
    return user


def generate(user: TokenUser, name: str, *more: str) -> str:
    """Make a key on the token; return its key id."""
    said = user.expect(0, "key", "generate", name, "--on", user.uri(name), "--json", *more)
    return str(json.loads(said)["keyid"])


def test_root_on_a_token_signs_the_root_and_nothing_else_needs_it(user: TokenUser) -> None:
    keyid = generate(user, "root", "--type", "ecdsa-p384")
    assert "pkcs11:token=T;object=root;id=%" in user.expect(0, "key", "list")
    user.expect(0, *user.init("--root-key", "root"))
    root = json.loads((user.metadata / "1.root.json").read_text())
    assert [signature["keyid"] for signature in root["signatures"]] == [keyid]
    user.tokens.unplug()
    user.expect(0, *user.sign("1.4"))
    user.expect(0, *user.verify("1.4"))


@pytest.mark.parametrize("key_type", ["ecdsa-p256", "ed25519"])
def test_targets_key_on_a_token_signs_images(user: TokenUser, key_type: str) -> None:
    generate(user, "images", "--type", key_type)
    user.expect(0, *user.init("--targets-key", "images"))
    user.expect(0, *user.sign("1.4"), "--key", "images")
    user.expect(0, *user.sign("2.0"), "--key", user.uri("images"))
    user.expect(0, *user.verify("1.4"))
    user.expect(0, *user.verify("2.0"))


def test_pin_comes_from_a_file_that_the_uri_names(user: TokenUser) -> None:
    generate(user, "root")
    del user.more["TRUST_PIN"]
    file = user.folder / "pin"
    file.write_text(f"{PIN}\n")
    user.expect(0, "key", "import", "again", f"{user.uri('root')}&pin-source={file}")
    said = user.expect(2, "key", "import", "other", user.uri("root"))
    assert "no PIN for token T" in said
    file.unlink()
    assert "cannot be read" in user.expect(2, *user.init("--root-key", "again"))


@pytest.mark.parametrize("name", ["wrong", "gone", "module"])
def test_a_token_that_does_not_play_along_publishes_nothing(user: TokenUser, name: str) -> None:
    generate(user, "images")
    user.expect(0, *user.init("--targets-key", "images"))
    before = {path.name: path.read_bytes() for path in user.metadata.iterdir()}
    if name == "wrong":
        user.more["TRUST_PIN"] = "0000"
        code, expected = 2, "error: token T refused the PIN"
    elif name == "gone":
        user.tokens.unplug()
        code, expected = 3, "error: token T is not there"
    else:
        file = user.home / "keys/images.key"
        file.write_text(file.read_text().replace("libsofthsm2", "libnowhere"))
        code, expected = 3, "error: no PKCS#11 module"
    said = user.expect(code, *user.sign("1.4"))
    assert said.startswith(expected)
    assert said.count("\n") == 2, said  # the line, and a hint
    assert "0000" not in said
    assert {path.name: path.read_bytes() for path in user.metadata.iterdir()} == before


def test_name_is_removed_and_the_key_stays(user: TokenUser) -> None:
    keyid = generate(user, "root")
    assert "its key is still at pkcs11:" in user.expect(0, "key", "remove", "root", "--yes")
    assert json.loads(user.expect(0, "key", "import", "root", user.uri("root"), "--json"))["keyid"] == keyid


def test_naming_a_key_again_changes_nothing_and_asks_for_no_pin(user: TokenUser) -> None:
    generate(user, "root")
    user.expect(0, "key", "import", "again", user.uri("root"))
    del user.more["TRUST_PIN"]
    assert json.loads(user.expect(0, "key", "import", "again", user.uri("root"), "--json"))["changed"] is False
    assert "exists already" in user.expect(2, "key", "import", "again", user.uri("other"))


def test_two_at_once_make_two_keys_and_one_name_and_the_name_is_of_one_of_them(user: TokenUser) -> None:
    command = [sys.executable, "-m", "trust", "key", "generate", "root", "--on", user.uri("root")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    both = [subprocess.Popen(command, cwd=CHECKOUT, env=user.environment, text=True, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    said = [process.communicate()[0] for process in both]
    assert sorted(process.returncode for process in both) in ([0, 2], [0, 3]), said
    assert all("Traceback" not in text for text in said)
    user.expect(0, *user.init("--root-key", "root"))


def test_taken_names_cost_no_key_on_the_token(user: TokenUser) -> None:
    user.expect(0, "key", "generate", "root")
    assert "exists already" in user.expect(2, "key", "generate", "root", "--on", user.uri("root"))
    assert "has no private key root" in user.expect(2, "key", "import", "other", user.uri("root"))


def test_full_disk_makes_neither_key_nor_name(user: TokenUser) -> None:
    done = user.run("key", "generate", "root", "--on", user.uri("root"), file_bytes=0)
    assert (done.code, done.said[:15]) == (3, "error: token T "), done
    assert list((user.home / "keys").glob("*.key")) == []  # what SoftHSM makes of its own files is its business


def test_name_that_cannot_be_stored_is_said_to_be_of_a_key_that_is_there(user: TokenUser) -> None:
    user.home.mkdir()
    (user.home / "keys").touch()
    said = user.expect(3, "key", "generate", "root", "--on", user.uri("root"))
    assert "Not a directory" in said
    (user.home / "keys").unlink()
    assert "has no private key root" in user.expect(2, "key", "import", "root", user.uri("root"))


def test_an_alias_cut_short_by_a_kill_is_whole_or_not_there(user: TokenUser) -> None:
    generate(user, "root")
    user.expect(0, "key", "remove", "root", "--yes")
    for call in ("linkat", "fsync", "write"):
        for number in range(1, 4):
            inject = f"inject={call}:signal=KILL:when={number}"
            user.traced(
                ["-f", "-e", f"trace={call}", "-e", inject], "key", "import", f"k{number}{call}", user.uri("root")
            )
    names = [path.stem for path in (user.home / "keys").glob("*.key")]
    listed = json.loads(user.expect(0, "key", "list", "--json"))["keys"]
    assert [key["name"] for key in listed] == sorted(names)


def test_signing_with_a_file_imports_no_library_of_tokens_and_clouds(founder: CommandLine, tmp_path: Path) -> None:
    user = founder.copy(tmp_path)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "trust", *user.sign("3.0")],
        cwd=CHECKOUT, env=user.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "securesystemslib.signer" in imported
    # The packages themselves are listed, since securesystemslib tries each: what they are made of is not.
    dear = ("asn1crypto", "boto3.", "botocore", "hvac.", "pkcs11.", "requests")
    assert [name for name in imported if name.startswith(dear)] == []
