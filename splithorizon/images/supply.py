"""Published images where a registry answers, built ones where none does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from splithorizon.engine import Engine
from splithorizon.images import ImageSet, programs, published, versions
from splithorizon.images.build import Recipe
from splithorizon.images.cache import Cache
from splithorizon.images.cache import root as cache_root
from splithorizon.options import Options
from splithorizon.progress import Progress


def check(options: Options) -> None:
    """Refuse what no mode can supply, before an engine is looked for.

    Raises UsageProblem for an Istio version that is neither listed nor served, and for a program
    that is not there.
    """
    if options.images == "built" or (options.images == "auto" and not options.hub):
        versions.load().istio(options.istio_version)
    published.require_programs(options)


def supply(options: Options, engine: Engine, progress: Progress) -> ImageSet:
    """Have every image and host program of the run at hand."""
    known = versions.load()
    mode = options.images
    if mode == "auto":
        with progress.step("asked whether a registry answers"):
            mode = "published" if published.registry_answers(options, engine) else "built"
    if mode == "built":
        source = known.istio(options.istio_version)
        made = Recipe(known, source).make(engine, progress, rebuild=options.rebuild)
        return replace(
            made,
            kind=options.kind or made.kind,
            kubectl=options.kubectl or made.kubectl,
            istioctl=options.istioctl or made.istioctl,
        )

    def build(name: str) -> Path:
        """A host program from source, for a machine that has images to pull but no tools."""
        folder = cache_root()
        cache, log = Cache(folder, progress.say), folder / "build.log"
        if name == "istioctl":
            source = known.istio(options.istio_version)
            program = programs.istio(source, programs.istio_module(source, known, cache, log))
        else:
            program = programs.kind() if name == "kind" else programs.kubernetes(known)
        with progress.step(f"{program.name} compiled"):
            made = program.build(cache, log)
        if name == "kubectl":
            link = made / "kubectl"
            if not link.is_symlink():
                link.symlink_to("kubernetes")
        return made / name

    return published.pull(options, engine, published.host_programs(options, build), progress)
