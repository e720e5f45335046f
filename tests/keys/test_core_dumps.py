from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.simulators.command_line import plain_environment

ROOT = Path(__file__).parents[2]
CODE = """
import ctypes, resource
from keys.core_dumps import forbid_core_dumps
resource.setrlimit(resource.RLIMIT_CORE, (1000, resource.getrlimit(resource.RLIMIT_CORE)[1]))
forbid_core_dumps()
print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
"""


def test_process_that_holds_a_secret_leaves_no_core_dump() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0"]


IDENTITY = "import sys; from trust.cli.sealing import opener_of; opener_of(sys.argv[1])"
IMPORT = "import sys; from trust.start import main; sys.argv[1:] = ['key', 'import', 'web', sys.argv[1]]; main()"
RING = (
    "import sys; from pathlib import Path; from trust.cli.secrets import Keyring\n"
    "Keyring(Path()); open(sys.argv[1]).read()"
)


def opened_for_writing(fifo: Path, reader: subprocess.Popen[bytes]) -> int:
    """Return the writing end of ``fifo`` once ``reader`` has opened the other."""
    while reader.poll() is None:
        with suppress(OSError):  # nobody reads yet
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        time.sleep(0.01)
    raise AssertionError(f"it ended with {reader.returncode}, and read nothing")


@pytest.mark.parametrize(
    ("code", "key"),
    [
        (IDENTITY, x25519.X25519PrivateKey.generate()),
        (IMPORT, ed25519.Ed25519PrivateKey.generate()),
        (RING, ed25519.Ed25519PrivateKey.generate()),  # as ``sign --key envvar:K`` has it while it asks a registry
    ],
)
def test_process_leaves_no_core_dump_before_it_reads_a_key_that_has_no_passphrase(
    tmp_path: Path, code: str, key: x25519.X25519PrivateKey | ed25519.Ed25519PrivateKey
) -> None:
    fifo = tmp_path / "key.pem"
    os.mkfifo(fifo, 0o600)
    environment = {**plain_environment(), "TRUST_HOME": str(tmp_path / "home"), "TRUST_PASSPHRASE": "x"}
    allowed = f"import resource; resource.setrlimit(resource.RLIMIT_CORE, (1000, 1000)); {code}"
    process = subprocess.Popen([sys.executable, "-c", allowed, str(fifo)], cwd=ROOT, env=environment)
    end = opened_for_writing(fifo, process)
    try:
        limits = Path(f"/proc/{process.pid}/limits").read_text()
        os.write(end, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    finally:
        os.close(end)
        status = process.wait(60)
    found = re.search(r"Max core file size\s+(\d+)", limits)
    assert found is not None
    assert (found[1], status) == ("0", 0)
