"""Published images where a registry answers, built ones where none does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lab.engine import Engine
from lab.images import ImageSet, programs, published, versions
from lab.images.build import Recipe
from lab.images.cache import Cache
from lab.images.cache import root as cache_root
from splithorizon.base.errors import UsageProblem
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress


def check(options: Options) -> None:
    """Refuse what no mode can supply, before an engine is looked for.

    Raises UsageProblem for an Istio version that is neither listed nor served, for a program that is
    not there, and for a node image where the node is to be built.
    """
    if options.images == "built" or (options.images == "auto" and not _named(options)):
        versions.load().istio(options.istio_version)
    if options.images == "built":
        _refuse_node_image(options)
    published.require_programs(options)


def in_cache(options: Options) -> bool:
    """Whether the images were built before; never where they may come from a registry that an option names."""
    if options.images == "published" or options.rebuild or (options.images == "auto" and _named(options)):
        return False
    known = versions.load()
    try:
        key = Recipe(known, known.istio(options.istio_version)).key
    except UsageProblem:
        # Without Go nothing is built either.
        return False
    return Cache(cache_root(), lambda _: None).find("images", key) is not None


def supply(options: Options, engine: Engine, progress: Progress, *, container: str = "splithorizon-import") -> ImageSet:
    """Have every image and host program of the run at hand.

    ``container`` is the name of the one that images are put together in, where they are.
    """
    known = versions.load()
    mode = options.images
    if mode == "auto" and _named(options):
        # Who names a hub wants its Istio judged, and no other in its place.
        mode = "published"
    elif mode == "auto":
        with progress.step("asked whether a registry answers"):
            mode = "published" if published.registry_answers(options, engine) else "built"
    if mode == "built":
        _refuse_node_image(options)
        source = known.istio(options.istio_version)
        made = Recipe(known, source).make(engine, progress, rebuild=options.rebuild, container=container)
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


def _named(options: Options) -> bool:
    return bool(options.hub or options.sample_hub)


def _refuse_node_image(options: Options) -> None:
    if options.kind_image:
        raise UsageProblem(
            f"--kind-image {options.kind_image}: built images come in a node of their own; for another node name "
            "--images published. Nothing was created."
        )
