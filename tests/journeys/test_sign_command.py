"""``trust sign`` by a job: what a registry says of a tag is not what was built."""

from __future__ import annotations

from pathlib import Path

from tests.simulators.command_line import CommandLine
from tests.simulators.pushing import push_image
from tests.simulators.registry import docker_registry


def test_tag_is_not_signed_by_what_the_registry_says_without_a_terminal(
    founder: CommandLine, tmp_path: Path
) -> None:
    """Whoever can push moves the tag between the push and the signature of a pipeline."""
    (tmp_path / "user-tmp").mkdir()
    job = CommandLine(tmp_path, founder.zygote)
    with docker_registry(tmp_path / "registry") as registry:
        image = f"{registry.host}/acme/web:1.4"
        digest = push_image(registry.host, "1.4", "whoever pushed last")
        job.expect(0, "init", f"{registry.host}/acme/", "--metadata", f"file:{job.metadata}", "--write-policy")
        before = sorted(path.name for path in job.metadata.iterdir())
        said = job.expect(2, "sign", image)
        assert "a registry is not believed about what is signed" in said
        assert f"trust sign {image}@{digest}" in said
        assert sorted(path.name for path in job.metadata.iterdir()) == before
        job.expect(0, "sign", f"{image}@{digest}")
