"""The image of the suite itself, by which a Job in a cluster runs it: ``python -m lab.images.suite NAME`` builds it.

It is in no node image. Debian's Python, in which the pinned libraries are installed and compiled, is in the cache; the
wheel of the checkout is built each time.
"""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lab.engine import Engine
from lab.images import command, packages, versions
from lab.images.cache import Cache, digest
from lab.images.cache import root as cache_root
from lab.images.versions import IMAGES, Versions
from splithorizon.base import paths
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.process import run
from splithorizon.base.timeouts import current as timeouts
from splithorizon.run.progress import Progress

FOLDER = IMAGES / "suite"
REQUIREMENTS = FOLDER / "requirements.txt"

PYTHON = "3.13"
"""The version of Debian's Python, for which the libraries are pinned; the Containerfile has it too."""
_LIBRARIES = f"usr/local/lib/python{PYTHON}/dist-packages"
_DEBIAN_PACKAGES = ("base-files", "busybox-static", "libc6", "python3")
# Newest first; the C library of the Debian suite is newer than all of them.
_WHEEL_PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
# Of the userland: links to iptables, which is not there.
_UNUSED = ("usr/sbin",)
# The asynchronous client, which the suite does not use, is half of the library.
_UNUSED_MODULES = ("kubernetes/aio",)


def build(engine: Engine, reference: str, progress: Progress) -> None:
    """Build the image from this checkout into the engine's store, under the name ``reference``.

    Raises UsageProblem if a tool is missing that cannot be installed.
    """
    folder = cache_root()
    log = folder / "build.log"
    with progress.step("Debian tools available"):
        packages.require_tools(progress.say)
    with progress.step("Python and libraries of the suite's image"):
        python = python_root(versions.load(), Cache(folder, progress.say), log)
    with progress.step("suite's image assembled"), tempfile.TemporaryDirectory() as temporary:
        context = Path(temporary)
        shutil.copytree(FOLDER, context, dirs_exist_ok=True)
        shutil.copy2(python, context / "python.tar")
        _install_wheel(context, log)
        engine.build(context, context / "Containerfile", reference, {}, log=log)


def python_root(known: Versions, cache: Cache, log: Path) -> Path:
    """A tar of a root file system with Debian's Python and the pinned libraries, compiled."""
    userland = packages.userland_root(replace(known, userland_packages=_DEBIAN_PACKAGES), cache, log)

    def make(folder: Path) -> None:
        root = folder / "root"
        root.mkdir()
        _tar("--extract", userland, root, log)
        if not (root / "usr" / "bin" / f"python{PYTHON}").exists():
            raise EnvironmentBroke(
                f"Debian {known.debian_suite} has no Python {PYTHON}, which libraries are pinned for"
            )
        libraries = root / _LIBRARIES
        run(_pip_install(libraries, "--require-hashes", "--requirement", str(REQUIREMENTS)),
            within=timeouts().package_download, log=log)  # fmt: skip
        for unused in (*(root / name for name in _UNUSED), *(libraries / name for name in _UNUSED_MODULES)):
            shutil.rmtree(unused)
        compiler = ["chroot", str(root), f"/usr/bin/python{PYTHON}", "-m", "compileall", "-q", "-j", "2"]
        run([*compiler, f"/usr/lib/python{PYTHON}", f"/{_LIBRARIES}"], within=timeouts().image_step, log=log)
        _tar("--create", folder / "python.tar", root, log)
        shutil.rmtree(root)

    key = digest(userland.parent.name, repr((_UNUSED, _UNUSED_MODULES, _pip_install(Path()))), REQUIREMENTS)
    return cache.fill("packages-suite", key, make) / "python.tar"


def _tar(action: str, archive: Path, folder: Path, log: Path) -> None:
    command = ["tar", action, "--numeric-owner", "--file", str(archive), "--directory", str(folder), "."]
    run(command, within=timeouts().image_step, log=log)


def _install_wheel(context: Path, log: Path) -> None:
    """Build the wheel of the checkout, and unpack it where the Containerfile takes it."""
    wheels = context / "wheels"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(paths.ROOT)],
        within=timeouts().package_download, log=log)  # fmt: skip
    (wheel,) = wheels.glob("*.whl")
    run(_pip_install(context / "packages", "--no-deps", str(wheel)), within=timeouts().package_download, log=log)
    shutil.rmtree(wheels)


def _pip_install(target: Path, *what: str) -> list[str]:
    """The command by which this machine's pip installs for the image's Python."""
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    command += ["--target", str(target), "--only-binary=:all:", "--implementation=cp", f"--python-version={PYTHON}"]
    return [*command, *(f"--platform={name}_{platform.machine()}" for name in _WHEEL_PLATFORMS), *what]


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the image under the name that the command line gives it; return the exit status."""
    return command.run("lab.images.suite", __doc__, "the image's name and tag", build, arguments)


if __name__ == "__main__":
    sys.exit(main())
