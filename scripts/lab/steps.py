"""One set-up, step by step, under the lock of the checkout: only what is missing is fetched or made.

1. Withdraw the marks, so that a kill from here on leaves nothing that looks ready.
2. Fetch packages and fill ``.venv`` side by side; pip's own package, where it is needed, comes first.
3. Expose and probe each component, make the project importable, publish, and only then mark as ready.
"""

import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scripts.lab.apt import PrivateApt, kept_settings
from scripts.lab.components import PIP_PACKAGE, Component, Group, groups_within, reason_left_out, wanted
from scripts.lab.errors import SetupFailed
from scripts.lab.forky import RELEASE, ForeignRelease
from scripts.lab.pip_source import SYSTEM_CERTIFICATES, give_authorities, pip_wheel, unpack_wheel
from scripts.lab.process import Runner
from scripts.lab.ready import HandOver, elsewhere_on_path
from scripts.lab.unpacked import Unpacked
from scripts.lab.venv import Environment, interpreter_mark

LOCKS = ("requirements.lock", "requirements-dev.lock")
_CERTIFICATES_PACKAGE = "ca-certificates"
_HYBRID_CGROUPS = Path("/sys/fs/cgroup/unified/cgroup.procs")


def needed_packages(components: Sequence[Component], *, pip: bool, authorities: bool) -> tuple[str, ...]:
    """The Debian packages of ``components``, each once; ``?`` marks those that not every release has.

    ``pip`` and ``authorities`` say whether the machine lacks those, too; they come first.
    """
    first = [PIP_PACKAGE] * pip + [_CERTIFICATES_PACKAGE] * authorities
    return tuple(
        dict.fromkeys(
            [*first, *(name for component in components if not component.release for name in component.packages)]
        )
    )


def lock_for(group: Group, runtime: str, development: str) -> str:
    """The lock that ``group`` installs: for the demo what runs, else everything."""
    return runtime if group == "demo" else development


def without_apt(components: Sequence[Component], absent: Callable[[str], bool], *, pip: bool) -> None:
    """Every component is on ``PATH``, so apt is not missed.

    Raises:
        SetupFailed: some are not (exit 2); the hint names them.
    """
    lacking = [
        component.executable for component in components if component.packages and absent(component.executable)
    ]
    lacking += ["pip"] * pip
    if lacking:
        raise SetupFailed(
            f"no apt-get and dpkg on this machine, and not on PATH: {', '.join(lacking)}",
            hint=f"install {', '.join(lacking)} with this machine's package manager, or use Debian 12 or 13",
            exit_code=2,
        )


def _release() -> str:
    try:
        found = platform.freedesktop_os_release()
    except OSError:
        return "unknown"
    return f"{found.get('ID')} {found.get('VERSION_ID', found.get('VERSION_CODENAME', ''))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """One run for ``group`` in ``checkout``; ``sources`` is the digest that ``scripts/setup`` took."""

    checkout: Path
    group: Group
    sources: str
    runner: Runner
    is_root: bool
    is_ci: bool
    say: Callable[[str], None]

    @property
    def _lab(self) -> Path:
        return self.checkout / ".lab"

    def run(self) -> None:
        """Everything that ``group`` needs is here, works, and is marked as ready.

        Raises:
            SetupFailed: something could not be fetched or made; in CI also if a component is missing that does
                not need more rights than this user has.
        """
        hand_over, runner = HandOver(lab=self._lab), self.runner
        locks = tuple((self.checkout / name).read_text("utf-8") for name in LOCKS)
        environment = Environment(home=self.checkout / ".venv", locks=locks)
        notes = hand_over.marked(self.group, self._mark(environment))
        if notes is not None:
            self._say_all(notes)
            return
        hand_over.withdraw()
        left_out = self._left_out()
        components = [component for component in wanted(self.group) if component.name not in left_out]
        unpacked = Unpacked(root=self._lab / "root", release=_release())
        self._fetch(components, unpacked, environment)
        self._fetch_foreign(components)
        runner.run("the project", [environment.python, "-m", "scripts.lab.project"], cwd=self.checkout)
        outcome = hand_over.expose(components, unpacked, environment.home / "bin", runner)
        hand_over.publish(outcome, left_out)
        self._say_all(self._notes(self.group, left_out))
        self._say_all([f"setup: missing: {name}: {why}" for name, why in outcome.missing.items()])
        if not outcome.missing:
            for within in groups_within(self.group):
                hand_over.mark(within, self._mark(environment), self._notes(within, left_out))
        elif self.is_ci:
            raise SetupFailed(f"in CI nothing may be missing, got no {', '.join(outcome.missing)}")

    @staticmethod
    def _notes(group: Group, left_out: Mapping[str, str]) -> list[str]:
        names = [component.name for component in wanted(group) if component.name in left_out]
        return [f"setup: left out: {name}: {left_out[name]}" for name in names]

    def _say_all(self, notes: Sequence[str]) -> None:
        for note in notes:
            self.say(note)

    def _mark(self, environment: Environment) -> str:
        return f"{self.sources} {interpreter_mark(environment.python)}"

    def _left_out(self) -> dict[str, str]:
        hybrid = _HYBRID_CGROUPS.exists()
        reasons = {
            component.name: reason_left_out(component, is_root=self.is_root, hybrid_cgroups=hybrid)
            for component in wanted(self.group)
        }
        return {name: why for name, why in reasons.items() if why}

    def _fetch(self, components: Sequence[Component], unpacked: Unpacked, environment: Environment) -> None:
        pip_here = pip_wheel(None)
        needed = needed_packages(components, pip=pip_here is None, authorities=not SYSTEM_CERTIFICATES.exists())
        missing = [name for name in needed if name not in unpacked.packages()]
        if missing and not PrivateApt.is_here():
            without_apt(components, lambda name: elsewhere_on_path(name, self._lab) is None, pip=pip_here is None)
            missing = []
        pip_ready: Future[Path] = Future()
        if pip_here is not None and not {_CERTIFICATES_PACKAGE}.intersection(missing):
            pip_ready.set_result(pip_here)
        with ThreadPoolExecutor(2) as pool:
            packages = pool.submit(self._packages, missing, unpacked, pip_ready)
            filled = pool.submit(self._environment, environment, unpacked, pip_ready)
            packages.result()
            filled.result()

    def _packages(self, missing: Sequence[str], unpacked: Unpacked, pip_ready: "Future[Path]") -> None:
        try:
            if missing:
                self._unpack(missing, unpacked, pip_ready)
            self._offer_pip(unpacked, pip_ready)
        except BaseException as err:
            if not pip_ready.done():
                pip_ready.set_exception(err)
            raise

    def _offer_pip(self, unpacked: Unpacked, pip_ready: "Future[Path]") -> None:
        if pip_ready.done():
            return
        wheel = pip_wheel(None) or pip_wheel(unpacked.root)
        if wheel is not None:
            pip_ready.set_result(wheel)
        else:  # only an environment that lacks something asks for it, and so hears of it
            pip_ready.set_exception(
                SetupFailed(
                    f"pip: expected a wheel of this Python, of this machine or in {PIP_PACKAGE}, got none",
                    hint="remove .lab and set up again",
                )
            )

    def _unpack(self, missing: Sequence[str], unpacked: Unpacked, pip_ready: "Future[Path]") -> None:
        apt = PrivateApt(home=self._lab / "apt", runner=self.runner)
        shutil.rmtree(apt.home, ignore_errors=True)
        apt.update()
        known = apt.known(name.removesuffix("?") for name in missing)
        if not known:
            raise SetupFailed(
                f"package lists: this machine's apt sources know none of {', '.join(missing)}",
                hint="see whether they answer: apt-get update",
            )
        first = [name for name in missing if name in {PIP_PACKAGE, _CERTIFICATES_PACKAGE} and name in known]
        if first:
            unpacked.add(apt.download(first), self.runner)
            unpacked.remember(first)
            self._offer_pip(unpacked, pip_ready)
        rest = [name.removesuffix("?") for name in missing if name.removesuffix("?") in known.difference(first)]
        if rest:
            unpacked.add(apt.download(apt.resolve(rest)), self.runner)
        unpacked.remember(name for name in missing if name in known or name.endswith("?"))
        shutil.rmtree(apt.home, ignore_errors=True)

    def _fetch_foreign(self, components: Sequence[Component]) -> None:
        """What comes from a newer release is unpacked apart; where that fails, it alone is missing."""
        if not any(component.release for component in components) or not PrivateApt.is_here():
            return
        settings = kept_settings(self.runner.run("apt", ["apt-config", "dump"], changes={"LC_ALL": "C"}))
        foreign = ForeignRelease(root=self._lab / RELEASE, home=self._lab / "apt", runner=self.runner)
        try:
            foreign.fetch(settings)
        except SetupFailed as err:
            self.say(f"setup: {err}")

    def _environment(self, environment: Environment, unpacked: Unpacked, pip_ready: "Future[Path]") -> None:
        need = environment.need(self.group)
        if need == "nothing":
            return
        if need == "anew":
            environment.make()
        lock = self._lab / f"{self.group}.lock"
        lock.write_text(lock_for(self.group, *environment.locks), "utf-8")
        pip = self._lab / "pip"
        unpack_wheel(pip_ready.result(), pip)
        extra = give_authorities(pip, unpacked.root, self._lab / "authorities.pem", self.runner.environ)
        environment.install(lock, self.runner, pip=pip, cache=self._lab / "cache/pip", extra=extra)
        environment.compile(self.runner)
        environment.remember(self.group)
