"""The network between our commands and an S3 store fails at every request, in every way, once or for good.

After each fault: no signature that was acknowledged is lost, a consumer is told the truth or nothing, and the next
command works without anybody's help. ``TRUST_FAULTS=all`` tries every request, at a real server (SeaweedFS);
otherwise one for each fault, at a small one in memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.faults.places import EVERYWHERE, Record, even_faults, odd_faults, record, requests
from tests.simulators.command_line import NAME, CommandLine, Zygote
from tests.simulators.faulty import FAULTS, HARMLESS, FaultyWire
from tests.simulators.memory_s3 import MemoryS3
from tests.simulators.object_store import BUCKET, OWNER, seaweedfs
from tests.simulators.wire import WireServer
from tests.stores.test_command_line import CloudUser

CODES = {0, 1, 3}


@dataclass(frozen=True, kw_only=True)
class Cloud:
    """A publisher whose metadata lives behind the wire."""

    wire: FaultyWire
    publisher: CloudUser
    to_sign: int = 0  # requests
    to_verify: int = 0

    def consumer(self, folder: Path) -> CommandLine:
        """Return somebody who has the policy and the images, and no state."""
        consumer = CloudUser(folder, self.publisher.zygote, self.publisher.url, self.publisher.cloud)
        (folder / "user-tmp").mkdir(parents=True)
        shutil.copy(self.publisher.folder / "policy.toml", folder)
        consumer.layout = self.publisher.layout
        return consumer

    def sign(self, tag: str, image: str) -> int | None:
        """Return how it ended to sign an image of the layout as ``tag``."""
        layout = self.publisher.layout
        done = self.publisher.run("sign", f"oci:{layout}:{image}", "--as", f"{NAME}web:{tag}")
        assert "Traceback" not in done.said, done
        return done.code

    def is_signed(self, consumer: CommandLine, tag: str, image: str) -> bool:
        """Tell whether an undisturbed consumer is told that ``tag`` is that image."""
        return consumer.run("verify", f"oci:{consumer.layout}:{image}", "--as", f"{NAME}web:{tag}").code == 0


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    with ExitStack() as stack:
        if EVERYWHERE:
            host = stack.enter_context(seaweedfs(folder / "server")).endpoint.removeprefix("http://")
        else:
            host = stack.enter_context(WireServer(script=MemoryS3())).host
        wire = FaultyWire(host=host)
        server = stack.enter_context(WireServer(script=wire.script))
        environ = {
            "AWS_ACCESS_KEY_ID": OWNER[0], "AWS_SECRET_ACCESS_KEY": OWNER[1], "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": server.url,
        }  # fmt: skip
        zygote = Zygote()
        stack.callback(zygote.close)
        (folder / "publisher").mkdir()
        publisher = CloudUser(folder / "publisher", zygote, f"s3://{BUCKET}/faults", environ)
        publisher.found()
        cloud = Cloud(wire=wire, publisher=publisher)
        wire.set(None)
        assert cloud.sign("rehearsal", "2.0") == 0
        to_sign = wire.count
        wire.set(None)
        assert cloud.is_signed(cloud.consumer(folder / "rehearsal"), "1.4", "1.4")
        assert min(to_sign, wire.count) > 4
        yield replace(cloud, to_sign=to_sign, to_verify=wire.count)


@even_faults
def test_publisher_to_a_bucket_loses_nothing_that_was_acknowledged(
    cloud: Cloud, tmp_path: Path, fault: str, record_property: Record
) -> None:
    points, broken = requests(cloud.to_sign, fault), []
    for at, lasts in points:
        tag, consumer = f"{fault}-{at}-{lasts}", cloud.consumer(tmp_path / f"{at}-{lasts}")
        cloud.wire.set(FAULTS[fault], at, also_later=lasts == "on")
        code = cloud.sign(tag, "2.0")
        assert cloud.wire.count > at, "the fault was not met"
        cloud.wire.set(None)
        is_right = code in ({0} if fault in HARMLESS else CODES)
        is_kept = code != 0 or cloud.is_signed(consumer, tag, "2.0")
        others = cloud.is_signed(consumer, "1.4", "1.4")
        goes_on = cloud.sign(tag, "3.0") == 0 and cloud.is_signed(consumer, tag, "3.0")
        if not (is_right and is_kept and others and goes_on):
            broken.append((at, lasts, code, is_kept, others, goes_on))
    record(record_property, len(points), broken)


@odd_faults
def test_consumer_of_a_bucket_is_told_the_truth_or_nothing(
    cloud: Cloud, tmp_path: Path, fault: str, record_property: Record
) -> None:
    points, broken = requests(cloud.to_verify, fault), []
    for at, lasts in points:
        consumer = cloud.consumer(tmp_path / f"{at}-{lasts}")
        cloud.wire.set(FAULTS[fault], at, also_later=lasts == "on")
        tells_truth = cloud.is_signed(consumer, "1.4", "1.4") or fault not in HARMLESS
        assert cloud.wire.count > at, "the fault was not met"
        lies = cloud.is_signed(consumer, "1.4", "2.0")
        cloud.wire.set(None)
        if lies or not tells_truth or not cloud.is_signed(consumer, "1.4", "1.4"):
            broken.append((at, lasts, lies))
    record(record_property, len(points), broken)
