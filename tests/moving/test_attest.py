"""Attestations from the publisher's file to the consumer's policy, over a real registry whose owner may cheat."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.moving.places import Places, founded, manifest, push_referrer, run, tags
from tests.simulators.command_line import Zygote
from tests.simulators.pushing import PATH, push_image
from tests.simulators.registry import docker_registry
from trust.digest import Digest, parse_digest, sha256

SPDX = json.dumps({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "packages": []})


@pytest.fixture
def shop(tmp_path: Path, zygote: Zygote) -> Iterator[Places]:
    """Give a publisher's registry of the test's own."""
    with docker_registry(tmp_path / "own") as source:
        yield founded(tmp_path, source, zygote)


def provenance(subject: Digest) -> str:
    return json.dumps(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": PATH, "digest": {"sha256": subject.hex}}],
            "predicateType": "https://slsa.dev/provenance/v1",
            "predicate": {"buildDefinition": {}},
        }
    )


def attest(shop: Places, tag: str, kind: str = "spdx", text: str = SPDX, **how: Any) -> dict[str, Any]:
    file = shop.folder / f"{kind}.json"
    file.write_text(text)
    return shop.json("attest", shop.src(tag), str(file), "--type", kind, **how)


def asking(shop: Places, *kinds: str) -> dict[str, Any]:
    """Return how a consumer runs commands whose policy asks for attestations of these types."""
    text = (shop.folder / "policy.toml").read_text()
    policy = shop.folder / "asking.toml"
    policy.write_text(text.rstrip() + f"\nattestations = {json.dumps(kinds)}\n")
    return {"home": "asking", "policy": policy.name}


def verdict(shop: Places, image: str, **how: Any) -> dict[str, Any]:
    found: dict[str, Any] = shop.json("verify", image, **how)["verdicts"][0]
    return found


def test_required_attestation_is_missing_until_it_is_signed_and_then_shown(shop: Places) -> None:
    consumer = asking(shop, "spdx")
    before = verdict(shop, shop.src("single"), code=1, **consumer)
    assert (before["reason"], "--type spdx" in before["hint"]) == ("attestation-missing", True)
    done = attest(shop, "single")
    assert (done["changed"], done["subject"], done["type"]) == (True, str(shop.single), "spdx")
    after = verdict(shop, shop.src("single"), **consumer)
    assert after["attestations"] == {"spdx": [done["digest"]]}
    assert (
        verdict(shop, f"{shop.src('single')}@{shop.single}", **consumer)["attestations"] == after["attestations"]
    )
    assert f"spdx {done['digest']}" in shop.run("verify", "-v", shop.src("single"), **consumer)
    assert verdict(shop, shop.src("multi"), code=1, **consumer)["reason"] == "attestation-missing"


def test_attestation_is_a_referrer_that_other_tools_find(shop: Places) -> None:
    done = attest(shop, "single", "slsa", provenance(shop.single))
    stored = manifest(shop.source.host, PATH, parse_digest(done["digest"]))
    assert stored is not None
    document = json.loads(stored)
    assert document["subject"]["digest"] == str(shop.single)
    assert document["artifactType"] == "application/vnd.in-toto+json"
    assert document["annotations"] == {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v1"}
    assert document["layers"][0]["digest"] == str(sha256(provenance(shop.single).encode()))
    index = manifest(shop.source.host, PATH, f"sha256-{shop.single.hex}")
    assert index is not None
    assert done["digest"] in {entry["digest"] for entry in json.loads(index)["manifests"]}
    shop.run("verify", f"{shop.source.host}/{PATH}@{done['digest']}")  # its digest is signed as every other


def test_inspect_lists_what_is_signed_of_an_image(shop: Places) -> None:
    done = attest(shop, "single")
    for image in (shop.src("single"), f"{shop.source.host}/{PATH}@{shop.single}"):
        assert shop.json("inspect", image)["attestations"] == {"spdx": [done["digest"]]}
        assert f"spdx  {done['digest']}" in shop.run("inspect", image)
    assert shop.json("inspect", shop.src("multi"))["attestations"] == {}
    assert shop.json("inspect", f"{shop.source.host}/acme/")["attestations"] is None


def test_repeated_attestation_publishes_nothing(shop: Places) -> None:
    first, again = attest(shop, "single"), attest(shop, "single")
    assert (again["changed"], again["versions"], again["digest"]) == (False, first["versions"], first["digest"])


def test_dry_run_checks_the_file_and_writes_nothing(shop: Places) -> None:
    file = shop.folder / "file.json"
    file.write_text(SPDX)
    done = shop.json("attest", shop.src("single"), str(file), "--type", "spdx", "--dry-run")
    assert (done["changed"], done["dry_run"]) == (True, True)
    assert manifest(shop.source.host, PATH, parse_digest(done["digest"])) is None
    assert attest(shop, "single")["digest"] == done["digest"]


def test_children_of_an_attested_index_are_attested(shop: Places) -> None:
    consumer = asking(shop, "slsa")
    attest(shop, "multi", "slsa", provenance(shop.multi))
    index = manifest(shop.source.host, PATH, shop.multi)
    assert index is not None
    for entry in json.loads(index)["manifests"]:
        shop.run("verify", f"{shop.source.host}/{PATH}@{entry['digest']}", **consumer)


def test_file_that_is_no_such_document_is_bad_input_and_nothing_is_stored(shop: Places) -> None:
    before, versions = tags(shop.source.host, PATH), attest(shop, "single")["versions"]
    for kind, text in (("cyclonedx", SPDX), ("slsa", provenance(shop.multi)), ("vuln", "{}"), ("spdx", SPDX[:-1])):
        attest(shop, "single", kind, text, code=2)
    assert tags(shop.source.host, PATH) == before
    assert attest(shop, "single")["versions"] == versions


def test_image_that_is_not_signed_is_not_attested(shop: Places) -> None:
    push_image(shop.source.host, "unsigned", "the attacker's")
    assert "not signed" in attest(shop, "unsigned", code=2)["error"]["message"]


def test_referrer_that_nobody_signed_is_no_attestation(shop: Places) -> None:
    push_referrer(shop.source.host, PATH, shop.single, SPDX.encode())
    denied = verdict(shop, shop.src("single"), code=1, **asking(shop, "spdx"))
    assert denied["reason"] == "attestation-missing"


def test_swapped_document_never_leaves_the_registry(shop: Places, tmp_path: Path) -> None:
    attest(shop, "single")
    file = shop.source.blob_file(sha256(SPDX.encode()).hex)
    file.write_bytes(SPDX.replace("2.3", "2.2").encode())
    with docker_registry(tmp_path / "there") as there:
        error = shop.towards(there).json("copy", shop.src("single"), f"{there.host}/{PATH}", code=1)["error"]
        assert error["reason"] == "tampered"
        assert "single" not in tags(there.host, PATH)
        assert not there.blob_file(file.parent.name).exists()


def test_copy_brings_signed_attestations_also_where_the_registry_hides_them(shop: Places, tmp_path: Path) -> None:
    digest = parse_digest(attest(shop, "single")["digest"])
    shop.source.link_of_tag(PATH, f"sha256-{shop.single.hex}").unlink()
    with docker_registry(tmp_path / "there") as there:
        shop.towards(there).run("copy", shop.src("single"), f"{there.host}/{PATH}")
        assert manifest(there.host, PATH, digest) is not None


def test_revoked_image_takes_its_attestations_along(shop: Places) -> None:
    digest = attest(shop, "single")["digest"]
    shop.run("revoke", f"{shop.source.host}/{PATH}@{shop.single}")
    assert verdict(shop, f"{shop.source.host}/{PATH}@{digest}", code=1)["reason"] == "revoked"


def test_revoked_attestation_is_missing_and_cannot_be_signed_again(shop: Places) -> None:
    consumer = asking(shop, "spdx")
    digest = attest(shop, "single")["digest"]
    verdict(shop, shop.src("single"), **consumer)
    shop.run("revoke", f"{shop.source.host}/{PATH}@{digest}")
    assert verdict(shop, shop.src("single"), code=1, **consumer)["reason"] == "attestation-missing"
    assert verdict(shop, shop.src("single"))["attestations"] == {}
    assert "revoked" in attest(shop, "single", code=2)["error"]["message"]


def test_type_that_nobody_knows_is_an_error_of_the_policy(shop: Places) -> None:
    said = run(
        shop.zygote, shop.folder, "verify", shop.src("single"), code=2, policy=asking(shop, "sbom")["policy"]
    )
    assert "expected spdx or cyclonedx" in said
