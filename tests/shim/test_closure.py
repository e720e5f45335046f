"""The closure: which manifest of which repository names a blob; on disk, and shared by several processes."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from registry_shim.closure import Closure, Part
from tests.simulators.command_line import CHECKOUT
from tests.simulators.upstream import picture
from tests.simulators.world import index_bytes
from trust.digest import sha256
from trust.errors import StateError
from trust.manifest import parse_manifest
from trust.reference import Repository

WEB = Repository(host="registry.test", path="acme/web")
DB = Repository(host="registry.test", path="acme/db")
IMAGE = picture(b"layer one", b"layer two!")

_WRITER = """
import sys
from pathlib import Path
from registry_shim.closure import Closure
from tests.simulators.upstream import picture
from trust.manifest import parse_manifest
from trust.reference import Repository
closure = Closure(Path(sys.argv[1]))
for number in range(50):
    image = picture(f"{sys.argv[2]} {number}".encode())
    closure.add(Repository(host="registry.test", path="acme/web"), image.digest, parse_manifest(image.manifest))
"""


def test_blob_is_named_by_the_manifests_of_its_repository_alone(tmp_path: Path) -> None:
    closure = Closure(tmp_path)
    closure.add(WEB, IMAGE.digest, parse_manifest(IMAGE.manifest))
    for blob in IMAGE.blobs:
        assert closure.parts(WEB, sha256(blob)) == [Part(manifest=IMAGE.digest, size_bytes=len(blob))]
        assert closure.parts(DB, sha256(blob)) == []
    assert closure.parts(WEB, IMAGE.digest) == []
    closure.close()


def test_index_names_its_children(tmp_path: Path) -> None:
    closure = Closure(tmp_path)
    index = index_bytes(IMAGE.manifest)
    closure.add(WEB, sha256(index), parse_manifest(index))
    assert closure.parts(WEB, IMAGE.digest) == [Part(manifest=sha256(index), size_bytes=len(IMAGE.manifest))]
    closure.close()


def test_closure_outlives_its_process(tmp_path: Path) -> None:
    closure = Closure(tmp_path)
    closure.add(WEB, IMAGE.digest, parse_manifest(IMAGE.manifest))
    closure.close()
    again = Closure(tmp_path)
    assert again.parts(WEB, IMAGE.layer)
    again.close()


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), name], cwd=CHECKOUT) for name in ("a", "b")
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    closure = Closure(tmp_path)
    for name in ("a", "b"):
        for number in range(50):
            assert closure.parts(WEB, picture(f"{name} {number}".encode()).layer)
    closure.close()


def test_damaged_closure_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "closure.db").write_bytes(b"no database " * 1000)
    with pytest.raises(StateError, match="closure cannot be used") as caught:
        Closure(tmp_path)
    assert caught.value.hint is not None


def test_closure_without_a_place_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="closure cannot be used"):
        Closure(tmp_path / "file" / "home")


def test_closure_that_is_damaged_while_it_is_open_tells_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    closure = Closure(tmp_path)
    closure.add(WEB, IMAGE.digest, parse_manifest(IMAGE.manifest))
    with closing(sqlite3.connect(tmp_path / "closure.db")) as other:
        other.execute("ALTER TABLE part RENAME TO gone")
        with pytest.raises(StateError, match="closure cannot be used"):
            closure.add(DB, IMAGE.digest, parse_manifest(IMAGE.manifest))
        with pytest.raises(StateError, match="closure cannot be used"):
            closure.parts(WEB, IMAGE.layer)
        other.execute("ALTER TABLE gone RENAME TO part")
    assert closure.parts(DB, IMAGE.layer) == []
    assert closure.parts(WEB, IMAGE.layer)
    closure.close()


def test_closure_that_another_process_holds_too_long_is_an_error_and_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_shim.closure._BUSY_SECONDS", 0.1)
    closure = Closure(tmp_path)
    with closing(sqlite3.connect(tmp_path / "closure.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="locked"):
            closure.add(WEB, IMAGE.digest, parse_manifest(IMAGE.manifest))
        other.execute("ROLLBACK")
    assert closure.parts(WEB, IMAGE.layer) == []
    closure.add(WEB, IMAGE.digest, parse_manifest(IMAGE.manifest))
    assert closure.parts(WEB, IMAGE.layer)
    closure.close()
