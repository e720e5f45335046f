"""The project, importable in ``.venv`` from where it lies, with its commands. Runs on ``.venv``'s own Python.

What an editable install does, without a build back end: a ``.pth`` line, a ``dist-info`` folder, and one small
script for each entry of ``[project.scripts]`` that imports its function and nothing to find it by.
"""

import compileall
import sys
import sysconfig
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_SHEBANG_LIMIT = 127  # bytes that every kernel reads
_PACKAGES = ("trust", "keys", "registry_shim", "scripts/lab")


def script(python: str, entry: str) -> str:
    """The text of a command that calls ``entry`` (``package.module:function``) under ``python``."""
    module, _, function = entry.partition(":")
    shebang = f"#!{python}"
    if " " in python or len(shebang) > _SHEBANG_LIMIT:
        shebang = f"#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''"
    return f"{shebang}\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text, "utf-8")
    new.chmod(mode)
    new.replace(path)


def install(checkout: Path) -> None:
    """The packages in ``checkout`` are importable here, and each command of its pyproject.toml starts them."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text("utf-8"))["project"]
    site, bin_folder = Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("scripts"))
    name, version = str(project["name"]), str(project["version"])
    commands: dict[str, str] = project.get("scripts", {})
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    _write(site / f"{name}.pth", f"{checkout}\n")
    _write(info / "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    _write(info / "INSTALLER", "scripts/setup\n")
    lines = "".join(f"{command} = {entry}\n" for command, entry in commands.items())
    _write(info / "entry_points.txt", f"[console_scripts]\n{lines}")
    _write(info / "direct_url.json", f'{{"url": "{checkout.as_uri()}", "dir_info": {{"editable": true}}}}\n')
    for command, entry in commands.items():
        _write(bin_folder / command, script(sys.executable, entry), mode=0o755)
    for package in _PACKAGES:
        compileall.compile_dir(checkout / package, quiet=3)


if __name__ == "__main__":
    install(Path.cwd())
