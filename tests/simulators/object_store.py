"""A real S3 server (SeaweedFS), found on ``PATH``, on free loopback ports."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3

BUCKET = "trust-tests"
OWNER = ("owner", "owner-secret")
READER = ("reader", "reader-secret")
_STARTS_IN_SECONDS = 60.0
_ATTEMPTS = 3  # the ports are chosen here and taken there: somebody else may be between
_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc",
          "s3.port", "s3.port.grpc")  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectServer:
    """A running server with the bucket ``BUCKET``; ``OWNER`` may do everything, ``READER`` only read and list."""

    endpoint: str
    process_id: int

    def environ(self, who: tuple[str, str] = OWNER) -> dict[str, str]:
        """Return what a program finds in its environment to be ``who`` here."""
        return {
            "AWS_ACCESS_KEY_ID": who[0],
            "AWS_SECRET_ACCESS_KEY": who[1],
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
        }


@contextmanager
def seaweedfs(directory: Path) -> Iterator[ObjectServer]:
    """Run a server below ``directory`` meanwhile."""
    beside = Path(sys.executable).parent  # it comes as a package of Python's; a benchmark has no PATH of ours
    program = shutil.which("weed", path=f"{beside}:{os.environ['PATH']}")
    assert program is not None, "there is no weed: scripts/setup --for test brings it"
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "s3.json"
    owner, reader = _identity(OWNER, "Admin", "Read", "Write", "List"), _identity(READER, "Read", "List")
    config.write_text(json.dumps({"identities": [owner, reader]}))
    process, port = _started(program, directory, config)
    try:
        server = ObjectServer(endpoint=f"http://127.0.0.1:{port}", process_id=process.pid)
        _make_bucket(server)
        yield server
    finally:
        process.kill()
        process.wait()


def _started(program: str, directory: Path, config: Path) -> tuple[subprocess.Popen[bytes], int]:
    log_file = directory / "weed.log"
    for attempt in range(_ATTEMPTS):
        ports = _free_ports(len(_PORTS))
        data = directory / f"data-{attempt}"
        data.mkdir()
        argv = [
            program, "server", f"-dir={data}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3",
            "-master.volumeSizeLimitMB=64", f"-s3.config={config}", "-s3.port.iceberg=0", "-s3.port.lance=0",
            "-volume.max=100", "-volume.minFreeSpace=1MiB", f"-filer.localSocket={data / 'filer.sock'}",
            *(f"-{name}={port}" for name, port in zip(_PORTS, ports, strict=True)),
        ]  # fmt: skip
        with log_file.open("wb") as log:
            process = subprocess.Popen(argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=data)
        port = ports[_PORTS.index("s3.port")]
        if _answers(process, port):
            return process, port
        process.kill()
        process.wait()
    raise AssertionError(f"weed did not start: {log_file.read_text(errors='replace')[-2000:]}")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    until = time.monotonic() + _STARTS_IN_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.05)
    return False


def _make_bucket(server: ObjectServer) -> None:
    """Make the bucket, and wait until an object can be stored: volumes come up after the port does."""
    client = boto3.client(
        "s3", endpoint_url=server.endpoint, region_name="us-east-1",
        aws_access_key_id=OWNER[0], aws_secret_access_key=OWNER[1],
    )  # fmt: skip
    try:
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="started", Body=b"1")
    finally:
        client.close()


def _identity(who: tuple[str, str], *actions: str) -> dict[str, object]:
    credentials = {"accessKey": who[0], "secretKey": who[1]}
    return {"name": who[0], "credentials": [credentials], "actions": list(actions)}


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(each.getsockname()[1]) for each in sockets]


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Have ``values`` and nothing else of AWS in this process' environment meanwhile: obstore reads it there."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("AWS_")}
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ.update(kept)
