"""Keys in a KMS: AWS by moto's server, Vault by a stand-in for its transit API; both over their real clients."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.simulators.aws import Aws
from tests.simulators.command_line import CHECKOUT, CommandLine, write_layout
from tests.simulators.vault import Vault


class CloudUser(CommandLine):
    """A user with the credentials of a cloud in his environment."""

    def __init__(self, user: CommandLine) -> None:
        super().__init__(user.folder, user.zygote)
        self.more: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What every command of this user finds."""
        return {**super().environment, **self.more}


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    """Give a KMS."""
    with Aws() as aws:
        yield aws


@pytest.fixture
def vault() -> Iterator[Vault]:
    """Give a Vault with the key ``root``."""
    with Vault() as vault:
        vault.keys["root"] = [Ed25519PrivateKey.generate()]
        yield vault


@pytest.fixture
def user(founder: CommandLine, tmp_path: Path) -> CloudUser:
    """Give a user who has nothing yet."""
    (tmp_path / "user-tmp").mkdir()
    user = CloudUser(CommandLine(tmp_path, founder.zygote))
    write_layout(user.layout)
    return user


@pytest.mark.parametrize("spec", ["ECC_NIST_P256", "ECC_NIST_P384"])
def test_key_in_aws_signs_images(user: CloudUser, aws: Aws, spec: str) -> None:
    user.more = aws.environment
    user.expect(0, "key", "import", "images", f"awskms:{aws.create_key(spec)}")
    user.expect(0, *user.init("--targets-key", "images"))
    user.expect(0, *user.sign("1.4"))
    user.more = {}
    user.expect(0, *user.verify("1.4"))
    assert "AWS KMS: " in user.expect(3, *user.sign("2.0"))


def test_alias_in_aws_that_was_moved_to_another_key_is_noticed(user: CloudUser, aws: Aws) -> None:
    user.more = aws.environment
    aws.name_key("alias/images", aws.create_key())
    user.expect(0, "key", "import", "images", "awskms:alias/images")
    user.expect(0, *user.init("--targets-key", "images"))
    aws.name_key("alias/images", aws.create_key())
    before = sorted(path.name for path in user.metadata.iterdir())
    assert "signed with another key than" in user.expect(3, *user.sign("1.4"))
    assert sorted(path.name for path in user.metadata.iterdir()) == before


def test_key_in_aws_that_is_of_no_use_is_refused(user: CloudUser, aws: Aws) -> None:
    user.more = aws.environment
    assert "rsassa-pss-sha256" in user.expect(2, "key", "import", "k", f"awskms:{aws.create_key('RSA_2048')}")
    assert "AWS KMS: " in user.expect(3, "key", "import", "k", "awskms:alias/nowhere")


def test_key_in_vault_signs_the_root(user: CloudUser, vault: Vault) -> None:
    user.more = vault.environment
    user.expect(0, "key", "import", "root", "hv:root/1")
    user.expect(0, *user.init("--root-key", "root"))
    user.expect(0, *user.sign("1.4"))
    user.expect(0, *user.verify("1.4"))


def test_vault_that_refuses_or_has_another_key_signs_nothing(user: CloudUser, vault: Vault) -> None:
    user.more = vault.environment
    user.expect(0, "key", "import", "root", "hv:root/1")
    assert "Vault: " in user.expect(3, "key", "import", "other", "hv:nowhere/1")
    vault.keys["root"] = [Ed25519PrivateKey.generate()]
    assert "signed with another key than" in user.expect(3, *user.init("--root-key", "root"))
    vault.keys["root"].append(Ed25519PrivateKey.generate())
    assert "newest version of this key is hv:root/2" in user.expect(2, "key", "import", "old", "hv:root/1")
    user.more["VAULT_TOKEN"] = "wrong"
    said = user.expect(3, *user.init("--root-key", "root"))
    assert "could not sign root: Vault: permission denied" in said
    assert "hint: check its address, your credentials and their rights" in said
    assert "wrong" not in said


def test_clients_that_the_program_hid_are_found_again(user: CloudUser, aws: Aws, vault: Vault) -> None:
    user.more = {**aws.environment, **vault.environment}
    for name, uri in (("a", f"awskms:{aws.create_key()}"), ("v", "hv:root/1")):
        # A process of its own, in which nobody has imported them before.
        command = [sys.executable, "-m", "trust", "key", "import", name, uri]
        done = subprocess.run(
            command, cwd=CHECKOUT, env=user.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done


@pytest.mark.parametrize(
    ("uri", "extra"),
    [
        ("gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1", "gcp"),
        ("azurekms://team.vault.azure.net/keys/root/0123456789abcdef", "azure"),
    ],
)
def test_missing_extra_is_named(user: CloudUser, uri: str, extra: str) -> None:
    said = user.expect(3, "key", "import", "k", uri)
    assert f"hint: pip install 'content-trust[{extra}]'" in said


@pytest.mark.parametrize(
    "uri", ["awskms:a b", "awskms:?", "gcpkms:k", "azurekms:k", "hv:root", "hv:../x/1", "hv:root/latest"]
)
def test_malformed_uri_is_refused(user: CloudUser, uri: str) -> None:
    user.expect(2, "key", "import", "k", uri)
