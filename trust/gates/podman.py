"""Owns the files of podman, skopeo, buildah and CRI-O: one drop-in of registries.conf. Pure.

``prefix`` → ``location`` rewrites a name before any registry is asked: there is no second place to fall back to,
which a ``[[registry.mirror]]`` always has. The drop-in's name sorts last, since the last to name a prefix wins.
Source: containers-registries.conf(5), containers-registries.conf.d(5), containers-certs.d(5).
"""

from __future__ import annotations

from trust.gates.gate import MARK, File, Gate, Plan, gated_name

MAIN = "etc/containers/registries.conf"
DIRECTORY = "etc/containers/registries.conf.d"
DROP_IN = f"{DIRECTORY}/zz-trust-gate.conf"


def podman_files(plan: Plan) -> tuple[File, ...]:
    """Return the drop-in, and the CA where one was given."""
    entries = "\n".join(_entry(plan.gate, host) for host in plan.upstreams)
    files = [File(path=DROP_IN, data=f"{MARK}\n{entries}".encode())]
    if plan.ca is not None:
        files.append(File(path=ca_path(plan.gate), data=plan.ca))
    return tuple(files)


def ca_path(gate: Gate) -> str:
    """Return where the gate's authority is looked for."""
    return f"etc/containers/certs.d/{gate.host}/trust-gate.crt"


def podman_advice(plan: Plan) -> tuple[str, ...]:
    """Return what remains to be done."""
    hosts = ", ".join(plan.upstreams)
    egress = (
        f"block egress to {hosts}: a user's own ~/.config/containers/registries.conf, another spelling of a host"
        " and other clients go past these files"
    )
    return egress, 'refuse every other host in /etc/containers/policy.json: "default": [{"type": "reject"}]'


def _entry(gate: Gate, host: str) -> str:
    lines = ["[[registry]]", f'prefix = "{host}"', f'location = "{gated_name(gate, host)}"']
    if gate.is_plain:
        lines.append("insecure = true")
    return "\n".join(lines) + "\n"
