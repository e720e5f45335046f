"""Keys that come from elsewhere than a file of ours: the environment of a CI job, OpenSSL, Notary."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from keys.encrypted_file import PrivateKey, generate_private_key
from keys.errors import WrongPassphraseError
from keys.foreign_key import read_foreign_key
from tests.keys.test_foreign_key import NOTARY
from tests.simulators.command_line import CHECKOUT, NAME, PASSPHRASE, CommandLine, write_layout


class Job(CommandLine):
    """A job of a CI system, whose secrets are in its environment."""

    def __init__(self, user: CommandLine) -> None:
        super().__init__(user.folder, user.zygote)
        self.secrets: dict[str, str] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What every command of this job finds."""
        return {**super().environment, **self.secrets}


@pytest.fixture
def job(founder: CommandLine, tmp_path: Path) -> Job:
    """Give a job that has no file yet but the image it built."""
    (tmp_path / "user-tmp").mkdir()
    job = Job(CommandLine(tmp_path, founder.zygote))
    write_layout(job.layout)
    return job


def pem(key: PrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")


@pytest.mark.parametrize("key_type", ["ed25519", "ecdsa-p256", "ecdsa-p384"])
def test_job_signs_with_a_key_from_its_environment(job: Job, key_type: str) -> None:
    job.secrets["IMAGES_KEY"] = pem(generate_private_key(key_type, random=os.urandom))  # type: ignore[arg-type]
    job.expect(0, *job.init("--targets-key", "envvar:IMAGES_KEY"))
    job.expect(0, *job.sign("1.4"), "--key", "envvar:IMAGES_KEY")
    job.expect(0, "key", "import", "images", "envvar:IMAGES_KEY")
    stored = (job.home / "keys/images.key").read_text()
    assert stored.startswith("URI: envvar:IMAGES_KEY\n-----BEGIN PUBLIC KEY-----\n")
    job.expect(0, *job.sign("2.0"))
    job.expect(0, *job.verify("2.0"))
    job.secrets["IMAGES_KEY"] = pem(generate_private_key("ed25519", random=os.urandom))
    assert "is noted here" in job.expect(3, *job.sign("3.0"))
    del job.secrets["IMAGES_KEY"]
    assert "variable IMAGES_KEY is not set" in job.expect(2, *job.sign("3.0"))


def test_encrypted_key_of_the_environment_has_a_passphrase(job: Job) -> None:
    job.expect(0, "key", "generate", "images")
    job.secrets["K"] = job.expect(0, "key", "export", "images", "--private").rstrip()
    said = json.loads(job.expect(0, "key", "import", "alias", "envvar:K", "--json"))
    assert said["uri"] == "envvar:K"
    job.secrets["TRUST_PASSPHRASE_K"] = "wrong"
    assert "does not open it" in job.expect(2, "key", "import", "other", "envvar:K")


def test_key_named_file_is_encrypted_under_what_the_file_of_the_passphrase_holds(job: Job) -> None:
    secret = job.folder / "passphrase"
    secret.write_text("from the file\n")
    job.secrets["TRUST_PASSPHRASE_FILE"] = str(secret)
    job.expect(0, "key", "generate", "file")
    exported = job.expect(0, "key", "export", "file", "--private").encode()
    assert read_foreign_key(exported, "from the file", where="f")
    with pytest.raises(WrongPassphraseError):
        read_foreign_key(exported, str(secret), where="f")
    job.secrets["FILE"] = exported.decode()
    job.expect(0, "key", "import", "alias", "envvar:FILE")
    del job.secrets["TRUST_PASSPHRASE_FILE"]
    job.secrets["TRUST_PASSPHRASE"] = "from the file"
    job.expect(0, "key", "import", "another", "envvar:FILE")


def test_identity_in_a_file_named_file_opens_with_what_the_file_of_the_passphrase_holds(job: Job) -> None:
    (job.folder / "passphrase").write_text("from the file\n")
    identity = job.folder / "file.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "x25519", "-aes256", "-pass", "pass:from the file", "-out", identity],
        check=True,
    )
    identity.chmod(0o600)
    environment = {**job.environment, "TRUST_PASSPHRASE_FILE": str(job.folder / "passphrase")}
    code = f"from trust.cli.sealing import opener_of; opener_of({str(identity)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, env=environment, check=True, timeout=60)


def test_full_disk_leaves_no_half_of_a_name(job: Job) -> None:
    job.secrets["K"] = pem(generate_private_key("ed25519", random=os.urandom))
    done = job.run("key", "import", "images", "envvar:K", file_bytes=0)
    assert (done.code, done.said[:20]) == (3, "error: cannot write "), done
    assert list((job.home / "keys").glob("*.key")) == []
    job.expect(0, "key", "import", "images", "envvar:K")


def test_bad_variables_are_refused_in_one_line(job: Job) -> None:
    for name, value in (
        ("EMPTY", ""),
        ("NOISE", "secret noise"),
        ("CUT", pem(generate_private_key("ed25519", random=os.urandom))[:60]),
    ):
        job.secrets[name] = value
        said = job.expect(2, "key", "import", "k", f"envvar:{name}")
        assert said.startswith(f"error: variable {name}")
        assert "secret noise" not in said
    assert "expected the name of a variable" in job.expect(2, "key", "import", "k", "envvar:A-B")


def test_keys_of_openssl_and_notary_are_imported(job: Job) -> None:
    sec1 = subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"], capture_output=True, check=True
    ).stdout
    assert sec1.startswith(b"-----BEGIN EC PRIVATE KEY-----")
    (job.folder / "ec.pem").write_bytes(sec1)
    job.expect(0, "key", "import", "openssl", str(job.folder / "ec.pem"))
    (job.folder / "old.key").write_bytes(NOTARY)
    job.secrets["TRUST_PASSPHRASE_OLD_IMPORT"] = "password1"
    assert "note: Notary used it as root" in job.expect(0, "key", "import", "old", str(job.folder / "old.key"))
    listed = json.loads(job.expect(0, "key", "list", "--json"))["keys"]
    assert [(key["name"], key["uri"]) for key in listed] == [("old", "file:old"), ("openssl", "file:openssl")]
    assert "no file" in job.expect(2, "key", "import", "k", str(job.folder / "none.pem"))
    assert "Is a directory" in job.expect(3, "key", "import", "k", str(job.folder))


KEYRING = {"TRUST_KEYRING": "1", "PYTHON_KEYRING_BACKEND": "tests.simulators.keyring_backend.FileKeyring"}


def test_passphrase_comes_from_the_desktops_keyring(user: CommandLine, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf.json"
    environment = {**user.environment, **KEYRING, "KEYRING_SHELF": str(shelf), "PYTHONPATH": str(CHECKOUT)}
    for name in [name for name in environment if name.startswith("TRUST_PASSPHRASE")]:
        del environment[name]

    def sign() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "trust", "renew", NAME], env=environment, cwd=CHECKOUT, capture_output=True,
            text=True, stdin=subprocess.DEVNULL, check=False, timeout=60,
        )  # fmt: skip

    shelf.write_text("{}")
    done = sign()
    assert (done.returncode, "no passphrase for key" in done.stderr) == (2, True)
    shelf.write_text("locked")
    done = sign()
    assert done.returncode == 2
    assert "error: the keyring gave no passphrase" in done.stderr
    names = [path.stem for path in (Path(environment["TRUST_HOME"]) / "keys").glob("*.key")]
    shelf.write_text(json.dumps({f"content-trust/{name}": PASSPHRASE for name in names}))
    done = sign()
    assert done.returncode == 0, done.stderr
