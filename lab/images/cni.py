"""The image of Istio's CNI plug-in, with which no pod of a mesh changes its own packet filter.

It is in no node image, because only tests of existing meshes need it: a node imports the archive from the cache.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from lab.engine import Engine
from lab.images import packages, programs, versions
from lab.images.cache import Cache, digest
from lab.images.cache import root as cache_root
from lab.images.versions import IMAGES, IstioSource
from splithorizon.base.timeouts import current as timeouts
from splithorizon.run.progress import Progress
from splithorizon.traffic.workloads import HUB

FOLDER = IMAGES / "istio" / "install-cni"
"""Beside the releases' modules, where it is in the key of no other image."""

_PROGRAMS = {name: f"istio.io/istio/cni/cmd/{name}" for name in ("install-cni", "istio-cni")}


def reference(source: IstioSource) -> str:
    """The image's name and tag, as Istio's chart looks for it below the hub of the built images."""
    return f"{HUB}/install-cni:{source.version}"


def archive(engine: Engine, progress: Progress, istio_version: str | None = None) -> Path:
    """A tar of the image, found in the cache or built; the engine's store does not keep the image.

    Raises UsageProblem if a tool is missing that cannot be installed, or a Go module is not served.
    """
    folder = cache_root()
    log, cache, known = folder / "build.log", Cache(folder, progress.say), versions.load()
    source = known.istio(istio_version)
    with progress.step(f"Istio's CNI plug-in {source.version} compiled"):
        compiled = _program(source, programs.istio_module(source, known, cache, log)).build(cache, log)
    with progress.step("Debian tools available"):
        packages.require_tools(progress.say)
    userland = packages.userland_root(known, cache, log)

    def make(entry: Path) -> None:
        with tempfile.TemporaryDirectory(dir=entry) as temporary:
            context = Path(temporary)
            shutil.copytree(FOLDER, context, dirs_exist_ok=True)
            for file in (userland, *(compiled / name for name in _PROGRAMS)):
                shutil.copy2(file, context / file.name)
            engine.build(context, context / "Containerfile", reference(source), {}, log=log)
        try:
            engine.save([reference(source)], entry / "install-cni.tar")
        finally:
            engine.run("rmi", "--force", reference(source), within=timeouts().image_step, check=False)

    key = digest(compiled.name, userland.parent.name, FOLDER)
    with progress.step("image of Istio's CNI plug-in assembled"):
        return cache.fill("images-install-cni", key, make) / "install-cni.tar"


def _program(source: IstioSource, module: Path) -> programs.Program:
    """The plug-in and its installer, with the same module and linker variables as istiod."""
    return replace(programs.istio(source, module), name=f"install-cni-{source.version}", packages=_PROGRAMS)
