"""Published images: the engine pulls them, and they are loaded into the nodes, whose network stays closed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from lab.engine import Engine
from lab.images import ImageSet
from splithorizon.base import process
from splithorizon.base.errors import CommandFailed, EnvironmentBroke, UsageProblem
from splithorizon.base.paths import MANIFESTS
from splithorizon.base.timeouts import current as timeouts
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress

SAMPLES = (
    "istio/examples-helloworld-v1:1.0",
    "istio/examples-helloworld-v2:1.0",
    "curlimages/curl:8.16.0",
)


_MINOR = re.compile(r"\d+\.\d+\.")


@dataclass(frozen=True)
class HostPrograms:
    """The programs that a run starts on this machine."""

    kind: Path
    kubectl: Path
    istioctl: Path


def registry_answers(options: Options, engine: Engine) -> bool:
    """Whether the registry of the sample images answers the engine in time."""
    reference = _samples(options)[SAMPLES[0]]
    try:
        return engine.is_published(reference, insecure=_on_loopback(reference), within=timeouts().registry_answers)
    except EnvironmentBroke:
        return False


def require_programs(options: Options) -> None:
    """Raise UsageProblem if an option names a program that does not exist."""
    chosen = {
        "--kind-bin": options.kind,
        "--kind-kubectl-bin": options.kubectl,
        "--istioctl": options.istioctl,
        "--upgrade-istioctl": options.upgrade_istioctl,
    }
    for option, path in chosen.items():
        if path and not path.is_file():
            raise UsageProblem(f"{option} {path}: there is no such file. Nothing was created.")


def host_programs(options: Options, build: Callable[[str], Path]) -> HostPrograms:
    """Find each program by its option, or else on PATH, or else build it with ``build``."""
    require_programs(options)

    def find(name: str, chosen: Path | None) -> Path:
        path = chosen or shutil.which(name)
        return Path(path) if path else build(name)

    return HostPrograms(
        kind=find("kind", options.kind),
        kubectl=find("kubectl", options.kubectl),
        istioctl=find("istioctl", options.istioctl),
    )


def pull(options: Options, engine: Engine, programs: HostPrograms, progress: Progress) -> ImageSet:
    """Pull the images that the clusters run.

    Raises UsageProblem if an image cannot be pulled. Nothing has been created then.
    """
    istio = _istio_references(options, programs)
    _warn_of_another_version(options, programs, progress)
    references = [*istio, *_samples(options).values(), *([options.kind_image] if options.kind_image else [])]
    pulled = {reference: _pull(reference, engine, progress) for reference in references}
    pilot, proxy = (pulled[reference] for reference in istio)
    samples = {published: pulled[reference] for published, reference in _samples(options).items()}
    hub, _, tag = pilot.rpartition("/pilot:")
    return ImageSet(
        mode="published",
        node=options.kind_image or "",
        own_node=bool(options.kind_image) and engine.label_of(options.kind_image or "", "splithorizon.node") == "own",
        istio_hub=hub,
        istio_version=tag,
        samples=samples,
        to_load=(pilot, proxy, *samples.values()),
        upstream_envoy=engine.label_of(proxy, "splithorizon.envoy") == "upstream",
        kind=programs.kind,
        kubectl=programs.kubectl,
        istioctl=programs.istioctl,
        versions={"istio": tag},
    )


def _pull(reference: str, engine: Engine, progress: Progress) -> str:
    """Pull an image, and return its name in the engine's store."""
    try:
        with progress.step(f"{reference} pulled"):
            return engine.pull(reference, insecure=_on_loopback(reference))
    except CommandFailed as failed:
        raise UsageProblem(f"image {reference} cannot be pulled: {failed.seen}. Nothing was created.") from None


def _warn_of_another_version(options: Options, programs: HostPrograms, progress: Progress) -> None:
    """Warn if istioctl, which installs its own charts, has another minor version than ``--istio-version``."""
    command = [str(programs.istioctl), "version", "--remote=false", "--output", "json"]
    printed = json.loads(process.run(command, within=timeouts().small_command).stdout)
    version = printed["clientVersion"]["version"]
    minor, wanted = (_MINOR.match(name or "") for name in (version, options.istio_version))
    if minor and wanted and minor[0] != wanted[0]:
        progress.say(
            f"warning: --istio-version {options.istio_version}, but {programs.istioctl} has version {version} "
            "and installs its own charts: name another with --istioctl"
        )


def _istio_references(options: Options, programs: HostPrograms) -> tuple[str, str]:
    """The references of pilot and proxyv2, as istioctl generates them."""
    command = [
        str(programs.istioctl),
        "manifest",
        "generate",
        "--filename",
        str(MANIFESTS / "istio" / "primary.yaml"),
    ]
    for name, value in (("hub", options.hub), ("tag", options.istio_version)):
        command += ["--set", f"{name}={value}"] if value else []
    generated = process.run(command, within=timeouts().small_command).stdout
    for document in yaml.load_all(generated, Loader=yaml.CSafeLoader):
        if document and document["kind"] == "Deployment":
            (container,) = document["spec"]["template"]["spec"]["containers"]
            pilot: str = container["image"]
            return pilot, pilot.replace("/pilot:", "/proxyv2:")
    raise EnvironmentBroke("istioctl generated no Deployment of istiod", next_command=" ".join(command))


def _samples(options: Options) -> dict[str, str]:
    if options.sample_hub is None:
        return {reference: reference for reference in SAMPLES}
    return {reference: f"{options.sample_hub}/{reference.rpartition('/')[2]}" for reference in SAMPLES}


def _on_loopback(reference: str) -> bool:
    """Whether the registry is on this machine, where it may use plain HTTP. docker allows that by default."""
    return reference.startswith(("127.", "localhost:"))
