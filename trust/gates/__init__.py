"""Owns what makes a machine's own clients go through the gate, and through nothing else.

A *mirror* falls back to the origin on every refusal. What is written here leaves a client no origin to fall back
to; ``check`` finds what would give it one again. Nothing here speaks to a registry or decides about an image.

    gate          the gate and its upstreams, as values
    podman, containerd, docker   their files, as text: pure
    files         the machine's files: read, written as a whole, taken away
    record        what was installed, ``etc/trust/gate/RUNTIME.json``
    installation  the journey: files of others are left alone
    check         installed, unchanged, not by-passable
    trial         the real client against a listener that must hear nothing
"""
