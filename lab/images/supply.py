"""Supplies images and host programs: published images if a registry answers, built ones otherwise."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lab.engine import Engine
from lab.images import ImageSet, programs, published, versions
from lab.images.build import Recipe
from lab.images.cache import Cache
from lab.images.cache import root as cache_root
from splithorizon.base.errors import EnvironmentBroke, UsageProblem
from splithorizon.base.timeouts import current as timeouts
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress


def check(options: Options) -> None:
    """Check the options before an engine is chosen.

    Raises UsageProblem for a version of Istio or Kubernetes that cannot be built, for a program that does not exist,
    for ``--kind-image`` if the node image is built, and for ``--kubernetes-version`` if it is not.
    """
    if options.images == "built" or (options.images == "auto" and not _named(options)):
        known = versions.load().with_kubernetes(options.kubernetes_version)
        for version in (options.istio_version, *([options.upgrade_to] if options.upgrade_to else [])):
            known.istio(version)
    else:
        _refuse_kubernetes_version(options)
    if options.images == "built":
        _refuse_node_image(options)
    published.require_programs(options)


def in_cache(options: Options) -> bool:
    """Whether the built images are in the cache. False if the images come from a registry that an option names."""
    if options.images == "published" or options.rebuild or (options.images == "auto" and _named(options)):
        return False
    try:
        known = versions.load().with_kubernetes(options.kubernetes_version)
        key = Recipe(known, known.istio(options.istio_version)).key
    except UsageProblem:
        # Without Go nothing can have been built.
        return False
    return Cache(cache_root(), lambda _: None).find("images", key) is not None


def supply_upgrade(
    options: Options, engine: Engine, progress: Progress, archive: Path, *, container: str = "splithorizon-import"
) -> ImageSet:
    """Pull or build the images and istioctl of the version that the run upgrades to; save those of Istio as a tar.

    ``archive`` is that tar, which a node's containerd reads. Raises as ``supply`` does.
    """
    wanted = replace(options, istio_version=options.upgrade_to, istioctl=options.upgrade_istioctl)
    images = supply(wanted, engine, progress, container=container)
    references = [f"{images.istio_hub}/{name}:{images.istio_version}" for name in ("pilot", "proxyv2")]
    if images.mode == "published":
        engine.save(references, archive)
        return images
    known = versions.load().with_kubernetes(options.kubernetes_version)
    recipe = Recipe(known, known.istio(options.upgrade_to))
    entry = Cache(cache_root(), progress.say).find("images", recipe.key)
    if entry is None:
        raise EnvironmentBroke(f"the images of Istio {images.istio_version} are not in the cache any more")
    with progress.step(f"images of Istio {images.istio_version} saved for the nodes"):
        engine.load(entry / "images.tar")
        try:
            engine.save(references, archive)
        finally:
            engine.run("rmi", "--force", *recipe.references.values(), within=timeouts().image_step, check=False)
    return images


def supply(options: Options, engine: Engine, progress: Progress, *, container: str = "splithorizon-import") -> ImageSet:
    """Pull or build every image and host program of the run.

    ``container`` is the name of the temporary container in which a node image is assembled. Raises UsageProblem if an
    image cannot be pulled or built.
    """
    known = versions.load()
    mode = options.images
    if mode == "auto" and _named(options):
        # With a hub, the Istio of that hub is to be tested, and no other.
        mode = "published"
    elif mode == "auto":
        with progress.step("registry checked"):
            mode = "published" if published.registry_answers(options, engine) else "built"
    if mode == "built":
        _refuse_node_image(options)
        known = known.with_kubernetes(options.kubernetes_version)
        source = known.istio(options.istio_version)
        images = Recipe(known, source).make(engine, progress, rebuild=options.rebuild, container=container)
        return replace(
            images,
            kind=options.kind or images.kind,
            kubectl=options.kubectl or images.kubectl,
            istioctl=options.istioctl or images.istioctl,
        )
    _refuse_kubernetes_version(options)

    def build(name: str) -> Path:
        """Build a host program, for a machine that pulls images but lacks the program."""
        folder = cache_root()
        cache, log = Cache(folder, progress.say), folder / "build.log"
        if name == "istioctl":
            source = known.istio(options.istio_version)
            program = programs.istio(source, programs.istio_module(source, known, cache, log))
        else:
            program = programs.kind() if name == "kind" else programs.kubernetes(known)
        with progress.step(f"{program.name} compiled"):
            built = program.build(cache, log)
        if name == "kubectl":
            link = built / "kubectl"
            if not link.is_symlink():
                link.symlink_to("kubernetes")
        return built / name

    return published.pull(options, engine, published.host_programs(options, build), progress)


def _named(options: Options) -> bool:
    return bool(options.hub or options.sample_hub)


def _refuse_node_image(options: Options) -> None:
    if options.kind_image:
        raise UsageProblem(
            f"--kind-image {options.kind_image}: built images include a node image; to use another one, add "
            "--images published. Nothing was created."
        )


def _refuse_kubernetes_version(options: Options) -> None:
    if options.kubernetes_version:
        raise UsageProblem(
            f"--kubernetes-version {options.kubernetes_version}: published images run the Kubernetes of their node "
            "image: name one with --kind-image, or add --images built. Nothing was created."
        )
