"""What a bundle holds is all that its images are: no word of a stranger's makes it less, or keeps it out."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.moving.bundles import Files, put_together, read_all, take_apart
from tests.moving.places import EMPTY, Places, door, manifest, referrer_bytes, soon
from tests.moving.test_bundle import exported, far_home, refused
from tests.simulators.pushing import PATH
from trust.bundle_export import Load, Packed, write_bundle
from trust.bundle_file import INDEX, MARKER, blob_name
from trust.digest import Digest, parse_digest, sha256
from trust.manifest import OCI_INDEX, OCI_MANIFEST
from trust.oci.image_copy import read_pieces
from trust.oci.layout import REF_NAME, Layout
from trust.oci.layout_repository import LayoutRepository
from trust.reference import parse_reference
from trust.verdict import Allowed


def child_of(places: Places) -> tuple[Digest, bytes]:
    """Return the first platform of the signed index."""
    index = manifest(places.source.host, PATH, places.multi)
    assert index is not None
    digest = parse_digest(json.loads(index)["manifests"][0]["digest"])
    data = manifest(places.source.host, PATH, digest)
    assert data is not None
    return digest, data


def with_referrers(files: Files, *referrers: bytes) -> Files:
    """Return the files of a bundle with referrers that somebody on the way added, before all other content."""
    index = json.loads(dict(files)[INDEX])
    index["manifests"] += [
        {"mediaType": OCI_MANIFEST, "digest": str(sha256(each)), "size": len(each)} for each in referrers
    ]
    files = [(name, json.dumps(index).encode() if name == INDEX else data) for name, data in files]
    first = next(number for number, (name, _) in enumerate(files) if name.startswith("blobs/"))
    return [*files[:first], *((blob_name(sha256(each)), each) for each in referrers), *files[first:]]


def blob_names(data: bytes) -> set[str]:
    """Return where a bundle has the blobs of a manifest."""
    document = json.loads(data)
    return {blob_name(parse_digest(each["digest"])) for each in (document["config"], *document["layers"])}


def test_platform_that_a_stranger_calls_his_blob_is_not_missing_its_own(places: Places) -> None:
    child, data = child_of(places)
    files = take_apart(exported(places, places.src("multi"), name="multi.tar"))
    without = [(name, content) for name, content in files if name not in blob_names(data)]
    stranger = referrer_bytes(places.multi, data)
    assert str(child) in stranger.decode()
    hostile = [*with_referrers(without, stranger), (blob_name(sha256(EMPTY)), EMPTY)]
    assert "bundle is incomplete" in refused(places, put_together(hostile), code=2)["message"]


def test_platform_that_stands_before_the_index_that_names_it_is_refused(places: Places) -> None:
    _, data = child_of(places)
    files = take_apart(exported(places, places.src("multi"), name="multi.tar"))
    without = [(name, content) for name, content in files if content != data and name not in blob_names(data)]
    stranger = referrer_bytes(places.multi, data)
    hostile = with_referrers(without, stranger)
    behind = 1 + next(number for number, (name, _) in enumerate(hostile) if name == blob_name(sha256(stranger)))
    hostile[behind:behind] = [(blob_name(sha256(data)), data)]
    hostile.append((blob_name(sha256(EMPTY)), EMPTY))
    assert "stands before what names it" in refused(places, put_together(hostile), code=2)["message"]


def test_referrer_whose_layer_is_a_platform_of_the_image_keeps_no_bundle_out(own_places: Places) -> None:
    places = own_places
    child, data = child_of(places)
    stranger = referrer_bytes(places.multi, data)
    with door(places.source.host) as registry:
        for content in (EMPTY, data):
            registry.push_blob(PATH, sha256(content), content, deadline=soon())
        registry.put_manifest(PATH, sha256(stranger), stranger, OCI_MANIFEST, deadline=soon())
        registry.add_referrer(PATH, places.multi, stranger, deadline=soon())
    file = exported(places, places.src("multi"))
    assert blob_name(sha256(stranger)) in dict(take_apart(file))
    places.run("bundle", "import", str(file), "--to", places.there.host, **far_home(places, "far"))
    assert manifest(places.there.host, PATH, child) == data


def test_referrers_of_any_length_leave_a_layout_that_is_read(own_places: Places) -> None:
    places, kept = own_places, own_places.folder / "kept"
    home = far_home(places, "far")
    files = take_apart(exported(places, places.src("single"), name="honest.tar"))
    for letter in "ab":
        note = json.loads(referrer_bytes(places.single, b"a note")) | {"annotations": {"k": letter * 2_500_000}}
        file = places.folder / f"{letter}.tar"
        file.write_bytes(put_together(with_referrers(files, json.dumps(note).encode())))
        places.run("bundle", "import", str(file), "--layout", str(kept), **home)
    image = f"oci:{kept}:{places.src('single')}"
    places.run("verify", "--offline", image, "--as", places.src("single"), **home)


def test_referrer_that_calls_itself_by_the_name_of_an_image_keeps_no_bundle_out(own_places: Places) -> None:
    places = own_places
    note = json.loads(referrer_bytes(places.single, b"a note")) | {"annotations": {REF_NAME: "no image"}}
    data = json.dumps(note).encode()
    with door(places.source.host) as registry:
        registry.put_manifest(PATH, sha256(data), data, OCI_MANIFEST, deadline=soon())
        registry.add_referrer(PATH, places.single, data, deadline=soon())
    file = exported(places, places.src("single"))
    assert blob_name(sha256(data)) in dict(take_apart(file))
    places.run("bundle", "import", str(file), **far_home(places, "far"))


def test_attestation_that_is_an_index_is_packed_with_what_it_names(tmp_path: Path) -> None:
    layout = Layout.create(tmp_path / "source")

    def put(document: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps({"schemaVersion": 2, **document}).encode()
        layout.add_blob([data], sha256(data), len(data))
        return {"mediaType": document["mediaType"], "digest": str(sha256(data)), "size": len(data)}

    layout.add_blob([EMPTY], sha256(EMPTY), len(EMPTY))
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(sha256(EMPTY)), "size": len(EMPTY)}
    image = put({"mediaType": OCI_MANIFEST, "config": empty, "layers": []})
    child = put({"mediaType": OCI_MANIFEST, "config": empty, "layers": [empty]})
    attestation = put({"mediaType": OCI_INDEX, "manifests": [child], "subject": image})
    digests = [parse_digest(each["digest"]) for each in (image, child, attestation)]
    source = LayoutRepository(layout)
    pieces = read_pieces(source, digests[0], wanted={digests[2]})
    assert [piece.digest for piece in pieces] == digests
    reference = parse_reference("registry.test/acme/web:1.4")
    allowed = Allowed(
        reference=reference, digest=digests[0], size_bytes=image["size"], role="targets", signers=(),
        versions={}, valid_until=datetime.max.replace(tzinfo=timezone.utc),
    )  # fmt: skip
    packed = Packed(reference=reference, allowed=allowed, pieces=pieces, source=source)
    written: list[bytes] = []
    write_bundle(Load(images=(packed,), metadata={}), written.append, in_zstd=False)
    names = [entry.name for entry, _ in read_all(b"".join(written))]
    assert {blob_name(digest) for digest in (*digests, sha256(EMPTY))} == set(names) - {MARKER, INDEX}


def test_platform_of_an_attested_index_crosses_alone(own_places: Places) -> None:
    places = own_places
    statement = places.folder / "spdx.json"
    statement.write_text(json.dumps({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "packages": []}))
    places.run("attest", places.src("multi"), str(statement), "--type", "spdx")
    child, data = child_of(places)
    file = exported(places, f"{places.source.host}/{PATH}@{child}")
    places.run("bundle", "import", str(file), "--to", places.there.host, **far_home(places, "far"))
    assert manifest(places.there.host, PATH, child) == data
