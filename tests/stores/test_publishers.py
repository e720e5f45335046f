"""Many publishers at once, killed and stopped at random: what was acknowledged is there, on whatever excludes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.bench.publishers import crowded
from scripts.bench.setting import own_environ
from tests.simulators.object_store import ObjectServer

PUBLISHERS, SIGNATURES = 8, 60


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_no_acknowledged_signature_is_lost(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    environ = own_environ(os.environ)
    url = f"file:{tmp_path / 'metadata'}"
    if kind == "s3":
        url = request.getfixturevalue("place")
        server: ObjectServer = request.getfixturevalue("object_server")
        environ |= server.environ()
    outcome = crowded(tmp_path / "crowd", url, environ, publishers=PUBLISHERS, signatures=SIGNATURES)
    assert outcome.acknowledged == SIGNATURES
    assert (outcome.missed_at_the_end, outcome.missed_after_the_next) == (0, 0)
    assert outcome.kills > 0
    assert outcome.stalls > 0
