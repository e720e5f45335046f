"""Owns the files of containerd: one hosts.toml for each upstream, and ``_default`` for every other host. Pure.

Measured with containerd 1.6: ``server`` without a ``[host]`` block makes it drop the whole file and ask the
origin, and so do an empty file and one that is no TOML; a ``[host]`` block without ``server`` falls back to the
origin. With both there is none. ``server`` is given ``push`` alone, or each refusal would be asked for twice.
containerd adds ``?ns=HOST`` wherever the host it asks is not the one the image names; the shim routes by it.
Source: containerd ``docs/hosts.md``.
"""

from __future__ import annotations

from trust.gates.gate import MARK, File, Plan

CONFIG = "etc/containerd/config.toml"
DIRECTORY = "etc/containerd/certs.d"
DEFAULT = "_default"
CA_NAME = "trust-gate.crt"


def containerd_files(plan: Plan) -> tuple[File, ...]:
    """Return the hosts.toml of each upstream and of all other hosts, and the CA where one was given."""
    text = hosts_text(plan)
    names = (*plan.upstreams, DEFAULT)
    files = [File(path=f"{DIRECTORY}/{name}/hosts.toml", data=text.encode()) for name in names]
    if plan.ca is not None:
        files.append(File(path=f"{DIRECTORY}/{DEFAULT}/{CA_NAME}", data=plan.ca))
    return tuple(files)


def hosts_text(plan: Plan) -> str:
    """Return the hosts.toml, the same for every host; the CA is named relative to it, whatever the root."""
    ca = f'ca = "../{DEFAULT}/{CA_NAME}"\n' if plan.ca is not None else ""
    url = plan.gate.url
    return (
        f'{MARK}\nserver = "{url}"\ncapabilities = ["push"]\n{ca}\n'
        f'[host."{url}"]\ncapabilities = ["pull", "resolve"]\n{ca}'
    )


def config_text(*, version: int) -> str:
    """Return what containerd's config.toml must hold for its CRI plug-in, Kubernetes' way in, to use the files.

    ``version`` is that of the file: 2 for containerd 1.x, 3 for 2.x.
    """
    plugin = "io.containerd.cri.v1.images" if version > 2 else "io.containerd.grpc.v1.cri"  # noqa: PLR2004 - as said
    return f"version = {version}\n[plugins.'{plugin}'.registry]\n  config_path = '/{DIRECTORY}'\n"


def containerd_advice(plan: Plan) -> tuple[str, ...]:
    """Return what remains to be done."""
    hosts = ", ".join(plan.upstreams)
    return (
        f"block egress to {hosts}: `ctr images pull` without --hosts-dir /{DIRECTORY} goes past these files",
        "push from another machine: pushes go to the gate too, which takes none",
    )
