"""The templates for pipelines: each of their commands exists and takes these options."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest

from tests.simulators.command_line import CHECKOUT, CommandLine
from tests.simulators.pushing import push_image
from tests.simulators.registry import docker_registry
from trust.cli import cli
from trust.cli.options import Common

TEMPLATES = sorted((CHECKOUT / "deploy/ci").iterdir())
TEXTS = [*TEMPLATES, CHECKOUT / "docs/ci.md", CHECKOUT / "docs/keys.md"]
COMMAND = re.compile(
    r"""(?:^\s*(?:-\s+|\$\s+)?|sh ['"]|\| |`)(trust (?:key )?[a-z]+ [^'`\n|]*(?:'[^'\n]*'[^'`\n|]*)*)""",
    re.MULTILINE,
)
VALUES = {"IMAGE": "registry.example.com/acme/web", "DIGEST": f"sha256:{'0' * 64}", "NAME": "targets"}


def commands(path: Path) -> list[list[str]]:
    lines = [found.rstrip("\\").rstrip() for found in COMMAND.findall(path.read_text())]
    return [
        shlex.split(re.sub(r"\$\{?([A-Z_]+)\}?", lambda name: VALUES.get(name[1], "1.4"), line)) for line in lines
    ]


def parse(words: list[str]) -> click.Command:
    """Return the command that ``words`` name, after it has taken its arguments."""
    command: click.Command = cli
    context = click.Context(cli, obj=Common())
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, name
        command = found
    command.make_context(command.name, words, parent=context)
    return command


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_commands_in_it_exist_and_take_these_options(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build.json").touch()
    found = [words for _, *words in commands(path) if "…" not in words]
    assert found
    for words in found:
        parse(words)


def test_templates_sign_by_digest_and_never_trust_the_registry() -> None:
    signing = [words for path in TEMPLATES for words in commands(path) if words[1] == "sign"]
    assert len(signing) == len(TEMPLATES) == 3
    for words in signing:
        assert "--resolve-tag" not in words
        assert "@sha256:" in words[2] or "--digest-file" in words


def test_renewing_jobs_have_no_targets_key() -> None:
    for name in ("github.yml", "gitlab.yml"):
        _, _, renew = (
            (CHECKOUT / "deploy/ci" / name)
            .read_text()
            .partition("\nrenew:" if name == "gitlab.yml" else "  renew:")
        )
        assert "trust publish" in renew
        assert "targets" not in renew
        assert "TARGETS" not in renew


def script(job: str, host: str) -> str:
    """Return the shell script of a job of the GitLab template, but for what needs a network or a password."""
    text = (CHECKOUT / "deploy/ci/gitlab.yml").read_text()
    body = re.search(rf"^{job}:.*?(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    assert body is not None
    lines = [line.removeprefix("    - ") for line in body[0].splitlines() if line.startswith("    - ")]
    ours = [line for line in lines if line.startswith("trust ")]
    assert len(lines) - len(ours) == 2, "all but pip and login is run here"
    return 'set -eu\ntrust() { python -m trust "$@"; }\n' + "\n".join(ours).replace("registry.example.com", host)


def test_jobs_of_gitlab_sign_and_renew_on_a_real_registry(founder: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "user-tmp").mkdir()
    publisher = CommandLine(tmp_path, founder.zygote)
    with docker_registry(tmp_path / "registry") as server:
        names = [word for name in ("root", "targets", "online") for word in (f"--{name}-key", name)]
        url = f"{server.host}/acme/"
        publisher.expect(0, "init", url, "--metadata", "registry:", "--write-policy", *names)
        digest = push_image(server.host, "1.4", "v1")
        (tmp_path / "build.json").write_text(json.dumps({"containerimage.digest": str(digest)}))
        keys = {
            f"{name.upper()}_KEY": publisher.expect(0, "key", "export", name, "--private") for name in names[1::2]
        }

        def run(job: str, *held: str) -> str:
            environment = {
                **publisher.environment,
                "TRUST_HOME": str(tmp_path / f"job-{job}-{len(held)}"),
                "IMAGE": f"{server.host}/acme/web",
                "CI_COMMIT_TAG": "1.4",
                "PYTHONPATH": str(CHECKOUT),
                **{name: keys[name] for name in held},
            }
            command = ["sh", "-c", script(job, server.host)]
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            return f"{done.returncode} {done.stdout}{done.stderr}"

        signed = run("sign", "TARGETS_KEY", "ONLINE_KEY")
        assert signed.startswith("0 "), signed
        assert f"signed {server.host}/acme/web:1.4 {digest}" in signed
        assert f"allowed {server.host}/acme/web:1.4 {digest}" in signed
        assert run("sign", "TARGETS_KEY", "ONLINE_KEY").startswith("0 "), "a runner that kept its home"
        renewed = run("renew", "ONLINE_KEY")
        assert renewed.startswith("0 "), renewed
        # What the renewing job holds signs no image.
        stolen = run("sign", "ONLINE_KEY")
        assert "variable TARGETS_KEY is not set" in stolen
        files = [path.read_bytes() for path in tmp_path.glob("job-*/**/*") if path.is_file()]
        assert files
        assert not any(b"PRIVATE KEY" in data for data in files)
