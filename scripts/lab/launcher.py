"""The small shell scripts in ``.lab/bin``: each starts one unpacked program so that it just works. Pure text.

Library paths are set for that program alone. What a program needs beyond libraries (configuration, sibling
programs, a cgroup layout it can bear) is set here too, and always yields to what the caller has set.
"""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where things are: ``lab`` is ``.lab``, ``root`` the unpacked tree, ``loader`` the machine's dynamic one."""

    lab: Path
    root: Path
    libraries: Sequence[Path]
    loader: Path | None

    @property
    def library_path(self) -> str:
        """The value for ``LD_LIBRARY_PATH``."""
        return ":".join(str(folder) for folder in self.libraries)


def _quoted(value: object) -> str:
    return shlex.quote(str(value))


def _default(name: str, value: object) -> str:
    return f'[ "${{{name}+set}}" ] || {name}={_quoted(value)}\nexport {name}\n'


def _path(places: Places) -> str:
    folders = (places.lab / "bin", places.root / "usr/bin", places.root / "usr/sbin")
    return f'PATH={_quoted(":".join(map(str, folders)))}:"$PATH"\nexport PATH\n'


def _start(program: Path, places: Places) -> str:
    libraries = f"LD_LIBRARY_PATH={_quoted(places.library_path)}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}} "
    return f"{libraries if places.libraries else ''}exec {_quoted(program)} "


def _plain(program: Path, places: Places) -> str:
    return _start(program, places) + '"$@"\n'


def _crun(program: Path, places: Places) -> str:
    """Crun refuses a hybrid layout even without cgroups, so root hides it in a mount namespace of its own."""
    inner = "umount /sys/fs/cgroup/unified || exit 125\n" + _start(program, places) + '"$@"'
    hidden = f"unshare --mount --propagation private sh -c {_quoted(inner)} crun"
    return f'[ ! -e /sys/fs/cgroup/unified/cgroup.procs ] || exec {hidden} "$@"\n' + _plain(program, places)


def _by_loader(program: Path, places: Places) -> str:
    """Started through the loader: LD_LIBRARY_PATH would reach the programs that it starts or traces."""
    if places.loader is None or not places.libraries:
        return _plain(program, places)
    return f'exec {places.loader} --library-path {_quoted(places.library_path)} {_quoted(program)} "$@"\n'


def _faketime(program: Path, places: Places) -> str:
    """Debian's program names its library by an absolute path, so this one stands in for it."""
    folder = next((found for lib in places.libraries for found in lib.glob("faketime")), program.parent)
    return f"""\
library=libfaketime.so.1 exact=
while :; do
  case ${{1-}} in
    -m) library=libfaketimeMT.so.1; shift ;;
    -f) exact=1; shift ;;
    --exclude-monotonic) export DONT_FAKE_MONOTONIC=1; shift ;;
    *) break ;;
  esac
done
[ $# -ge 2 ] || {{ echo 'usage: faketime [-m] [-f] [--exclude-monotonic] TIME COMMAND...' >&2; exit 2; }}
if [ "$exact" ]; then FAKETIME=$1
else
  wanted=$(date -d "$1" +%s) || exit 1
  FAKETIME=$(printf %+d $((wanted - $(date +%s))))
fi
shift
FAKETIME=$FAKETIME LD_PRELOAD={_quoted(folder)}/$library${{LD_PRELOAD:+:$LD_PRELOAD}} exec "$@"
"""


def _skopeo(program: Path, places: Places) -> str:
    policy = f"--policy {_quoted(places.root / 'etc/containers/policy.json')}"
    return (
        f'[ -e /etc/containers/policy.json ] || [ -e "$HOME/.config/containers/policy.json" ] ||'
        f' set -- {policy} "$@"\n' + _plain(program, places)
    )


def _podman(program: Path, places: Places) -> str:
    """Podman takes a policy per command only, so it is put behind the first word that can bear one."""
    policy = _quoted(places.root / "etc/containers/policy.json")
    return (
        _path(places)
        + _default("CONTAINERS_CONF", places.lab / "etc/containers.conf")
        + _default("CONTAINERS_STORAGE_CONF", places.lab / "etc/storage.conf")
        + _default("PODMAN_IGNORE_CGROUPSV1_WARNING", "1")
        + f"""\
if [ ! -e /etc/containers/policy.json ] && [ ! -e "$HOME/.config/containers/policy.json" ]; then
  left=$# placed=
  while [ "$left" -gt 0 ]; do
    word=$1; shift; left=$((left - 1))
    set -- "$@" "$word"
    case $placed$word in
      pull|push|run|create|load) placed=1; set -- "$@" --signature-policy {policy} ;;
    esac
  done
fi
"""
        + _plain(program, places)
    )


def _chromium(program: Path, places: Places) -> str:
    """Debian's own starter names the program by an absolute path, so this one stands in for it.

    The browser refuses root unless told to go without its sandbox; for a user it keeps it.
    """
    real = program.parents[1] / "lib/chromium" / program.name
    sound = [folder / "pulseaudio" for folder in places.libraries]  # its library is linked, and kept apart
    places = replace(places, libraries=[*places.libraries, *sound])
    return (
        _default("FONTCONFIG_FILE", places.lab / "etc/fonts.conf")
        + '[ "$(id -u)" -ne 0 ] || set -- --no-sandbox "$@"\n'
        + _plain(real if real.exists() else program, places)
    )


def _softhsm(program: Path, places: Places) -> str:
    """The tool looks for its module where Debian installs it; of several given ones, the last counts."""
    found = next((path for lib in places.libraries for path in lib.glob("softhsm/libsofthsm2.so")), None)
    default = f'set -- --module {_quoted(found)} "$@"\n' if found else ""
    return default + _plain(program, places)


def _containerd(program: Path, places: Places) -> str:
    return _path(places) + _plain(program, places)


def _dockerd(program: Path, places: Places) -> str:
    """Dockerd starts itself anew with an empty environment, so its libraries lie over the machine's.

    That is a read-only overlay in a mount namespace of its own; nobody else sees it.
    """
    if not places.libraries:
        return _path(places) + _plain(program, places)
    system = Path("/usr/lib") / places.libraries[0].name
    layers = ":".join(_quoted(folder) for folder in (*places.libraries, system))
    mount = f"mount -t overlay -o ro,lowerdir={layers} overlay {system} || exit 125"
    inner = f'{mount}\nexec {_quoted(program)} "$@"'
    return _path(places) + f'exec unshare --mount --propagation slave sh -c {_quoted(inner)} dockerd "$@"\n'


_SPECIAL: dict[str, Callable[[Path, Places], str]] = {
    "chromium-headless-shell": _chromium,
    "containerd": _containerd,
    "criu": _by_loader,
    "crun": _crun,
    "dockerd": _dockerd,
    "faketime": _faketime,
    "podman": _podman,
    "skopeo": _skopeo,
    "softhsm2-util": _softhsm,
    "strace": _by_loader,
}


def launcher(name: str, program: Path, places: Places) -> str:
    """A POSIX shell script that becomes ``program`` with its arguments unchanged but for what the module says."""
    return "#!/bin/sh\n" + _SPECIAL.get(name, _plain)(program, places)


def podman_configuration(places: Places) -> dict[str, str]:
    """Name in ``.lab/etc`` → text: podman's helpers are the unpacked ones, and its images stay below ``.lab``.

    The plain ``vfs`` driver works on every file system, and for a user who may have but one uid.
    """
    helpers = [str(places.root / folder) for folder in ("usr/lib/podman", "usr/libexec/podman", "usr/bin")]
    runtimes = "".join(f'{name} = ["{places.lab}/bin/{name}"]\n' for name in ("crun", "runc"))
    engine = f"""\
[containers]
seccomp_profile = "{places.root}/usr/share/containers/seccomp.json"
[network]
network_backend = "netavark"
network_config_dir = "{places.lab}/containers/networks"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
conmon_path = ["{places.lab}/bin/conmon"]
helper_binaries_dir = {helpers!r}
[engine.runtimes]
{runtimes}"""
    storage = f"""\
[storage]
driver = "vfs"
graphroot = "{places.lab}/containers/storage"
runroot = "{places.lab}/containers/run"
[storage.options.vfs]
ignore_chown_errors = "true"
"""
    return {"containers.conf": engine, "storage.conf": storage}


def font_configuration(places: Places) -> str:
    """The text of ``.lab/etc/fonts.conf``: the unpacked fonts alone, so that a page looks alike everywhere."""
    families = {"sans-serif": "DejaVu Sans", "serif": "DejaVu Serif", "monospace": "DejaVu Sans Mono"}
    aliases = "".join(
        f"<alias><family>{generic}</family><prefer><family>{family}</family></prefer></alias>\n"
        for generic, family in families.items()
    )
    folders = f"<dir>{places.root}/usr/share/fonts</dir>\n<cachedir>{places.lab}/cache/fonts</cachedir>\n"
    return f'<?xml version="1.0"?>\n<fontconfig>\n{folders}{aliases}</fontconfig>\n'
