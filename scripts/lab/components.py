"""The real components, the Debian packages they come from, and the groups that need them. Values only."""

from dataclasses import dataclass
from typing import Literal

from scripts.lab.forky import PACKAGES, RELEASE

Group = Literal["demo", "test", "bench"]
GROUPS: tuple[Group, ...] = ("demo", "test", "bench")  # each contains those before it

# libseccomp and its like are found among the dependencies; this one is of no component, but of pip.
PIP_PACKAGE = "python3-pip-whl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One executable that tests and demo start by ``name``.

    ``packages`` are the Debian packages it needs beside libraries; one that ends in ``?`` is taken where the
    release has it. ``program`` is looked for in the bin and sbin directories of what was unpacked; for a
    component from PyPI (no packages) in those of ``.venv``. ``probe`` are arguments with which it exits 0.
    ``release`` names a newer Debian that it comes from, with libraries of its own (``forky.py``).
    ``needs_root`` says why an ordinary user cannot use it, and is empty where he can.
    """

    name: str
    group: Group
    packages: tuple[str, ...] = ()
    program: str = ""
    probe: tuple[str, ...] = ("--version",)
    needs_root: str = ""
    release: str = ""

    @property
    def executable(self) -> str:
        """The file name of the program, ``name`` unless it differs."""
        return self.program or self.name


_CHECKPOINT = "a checkpoint of a container needs root"
_DAEMON = "its daemon needs root"
_DOCKER = ("docker.io", "docker-cli?", "tini")
_BROWSER = ("chromium-headless-shell", "chromium-common", "fonts-dejavu-core")
# What a layer of Debian is made of: thousands of small files, links of both kinds.
_SMALL_FILES = ("perl-base", "perl-modules-5.36?", "perl-modules-5.40?", "vim-runtime", "tzdata", "locales")
_CONTAINERS = ("golang-github-containers-common", "golang-github-containers-image?")

COMPONENTS: tuple[Component, ...] = (
    Component(name="docker-registry", group="demo", packages=("docker-registry",)),
    Component(name="runc", group="demo", packages=("runc",)),
    Component(name="crun", group="demo", packages=("crun",)),
    Component(name="busybox", group="demo", packages=("busybox-static",), probe=("true",)),
    Component(name="bwrap", group="demo", packages=("bubblewrap",)),
    Component(name="caddy", group="demo", probe=("version",)),
    Component(name="criu", group="demo", packages=PACKAGES, needs_root=_CHECKPOINT, release=RELEASE),
    Component(name="skopeo", group="test", packages=("skopeo", *_CONTAINERS)),
    Component(name="conmon", group="test", packages=("conmon",)),
    Component(name="podman", group="test", packages=("podman", "netavark?", *_CONTAINERS)),
    Component(name="umoci", group="test", packages=("umoci",)),
    Component(name="openssl", group="test", packages=("openssl",), probe=("version",)),
    Component(name="strace", group="test", packages=("strace",), probe=("-V",)),
    Component(name="faketime", group="demo", packages=("faketime", "libfaketime"), probe=("2001-02-03", "date")),
    Component(name="notary", group="test", packages=("notary",), probe=("version",)),
    Component(name="notary-server", group="test", packages=("notary",), probe=("-h",)),
    Component(name="notary-signer", group="test", packages=("notary",), probe=("-h",)),
    Component(name="chromium-headless-shell", group="test", packages=_BROWSER),
    Component(name="softhsm2-util", group="test", packages=("softhsm2",)),
    Component(name="docker", group="test", packages=_DOCKER, needs_root=_DAEMON),
    Component(name="dockerd", group="test", packages=_DOCKER, needs_root=_DAEMON),
    Component(name="containerd", group="test", packages=("containerd",), needs_root=_DAEMON),
    Component(name="ctr", group="test", packages=("containerd",), needs_root=_DAEMON),
    Component(name="nginx", group="bench", packages=("nginx",), probe=("-v",)),
    Component(name="perl", group="bench", packages=_SMALL_FILES, probe=("-v",)),
    Component(name="veritysetup", group="test", packages=("cryptsetup-bin",)),
)


def group_named(text: str) -> Group:
    """The group that ``text`` names; ``ValueError`` with the names there are, if it names none."""
    for group in GROUPS:
        if group == text:
            return group
    raise ValueError(f"no such group: expected one of {', '.join(GROUPS)}, got {text!r}")


def groups_within(group: Group) -> tuple[Group, ...]:
    """``group`` and every smaller one that it contains."""
    return GROUPS[: GROUPS.index(group) + 1]


def wanted(group: Group) -> tuple[Component, ...]:
    """Every component that ``group`` needs, the smaller groups' first."""
    within = groups_within(group)
    return tuple(component for component in COMPONENTS if component.group in within)


def reason_left_out(component: Component, *, is_root: bool, hybrid_cgroups: bool) -> str:
    """Why this user on this machine cannot have the component; empty where he can."""
    if is_root:
        return ""
    if component.name == "crun" and hybrid_cgroups:
        return "it refuses this machine's hybrid cgroup layout, and only root can hide that from it"
    return component.needs_root
