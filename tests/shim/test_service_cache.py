"""The cache of a running shim: bounded, cleared after a kill, and never believed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from tests.shim.paused import Paused
from tests.simulators.shim import until
from tests.simulators.upstream import descriptor, picture
from tests.simulators.yard import Yard, yard
from trust.digest import sha256
from trust.manifest import OCI_MANIFEST
from trust.roles import Image


def test_leftovers_of_a_killed_shim_are_cleared(own: Yard) -> None:
    with Paused(own.plot()):
        incoming = own.shim.home / "cache/incoming"
        assert list(incoming.iterdir())
        for worker in own.shim.workers:
            os.kill(worker, signal.SIGSTOP)  # they must not tidy up
        os.kill(own.shim.process_id, signal.SIGKILL)
        for worker in own.shim.workers:
            os.kill(worker, signal.SIGKILL)
        own.shim.stop(number=signal.SIGKILL)
        own.shim.start()
        assert not list(incoming.iterdir())


def test_blob_without_room_in_the_cache_is_served_from_memory(tmp_path: Path) -> None:
    with yard(tmp_path, cache={"size": "1MiB"}) as own:
        plot = own.plot()
        plot.through("1")
        for _ in range(2):
            reply = plot.through(plot.picture.layer, "blobs")
            assert (reply.status, reply.body) == (200, plot.picture.blobs[-1])
        assert plot.asked().count(f"GET {plot.at(plot.picture.layer, 'blobs')}") == 2, "it was not kept"
        huge = json.loads(picture(b"layer").manifest)
        huge["layers"][0] = {**descriptor("application/vnd.oci.image.layer.v1.tar", b"huge"), "size": 2**40}
        manifest = json.dumps(huge).encode()
        own.registry.manifests[plot.path, str(sha256(manifest))] = manifest
        own.registry.blobs[plot.path, str(sha256(b"huge"))] = b"huge"
        image = Image(digest=sha256(manifest), size_bytes=len(manifest), media_type=OCI_MANIFEST, children=())
        own.sign(plot.path, "huge", image=image)
        assert plot.through("huge").status == 200
        reply = plot.through(sha256(b"huge"), "blobs")
        assert (reply.status, reply.reason) == (503, "limit-reached")
        assert "no room" in reply.error["message"]


def test_cache_stays_within_its_bound(tmp_path: Path) -> None:
    with yard(tmp_path, plots=8, cache={"size": "3MiB"}) as own:
        for _ in range(8):
            plot = own.plot()
            assert plot.through("1").status == 200
            assert plot.through(plot.picture.layer, "blobs").body == plot.picture.blobs[-1]

        def size_bytes() -> int:
            files = (own.shim.home / "cache").glob("sha256/*/*")
            return sum(file.stat().st_size for file in files if file.exists())

        until(lambda: size_bytes() <= 3 * 1024**2, "the cache is swept")


def test_manifest_that_was_changed_in_the_cache_is_fetched_anew(own: Yard) -> None:
    plot = own.plot()
    plot.through("1")
    digest = plot.picture.digest
    file = own.shim.home / "cache/sha256" / digest.hex[:2] / digest.hex
    until(file.exists, "it is kept")
    file.write_bytes(plot.stranger.manifest)
    own.shim.stop()
    own.shim.start()
    assert plot.through("1").body == plot.picture.manifest
    assert plot.through(digest).body == plot.picture.manifest


def test_damaged_content_of_the_cache_is_fetched_anew(own: Yard) -> None:
    """A disk that lost its tail."""
    plot = own.plot()
    plot.through("1")
    assert plot.through(plot.picture.layer, "blobs").status == 200
    for digest in (plot.picture.layer, plot.picture.digest):
        file = own.shim.home / "cache/sha256" / digest.hex[:2] / digest.hex
        until(file.exists, "it is kept")
        os.truncate(file, 10)
    own.shim.stop()
    own.shim.start()
    assert plot.through("1").body == plot.picture.manifest
    assert plot.through(plot.picture.layer, "blobs").body == plot.picture.blobs[-1]
