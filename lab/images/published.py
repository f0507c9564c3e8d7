"""Images that others published: pulled by the engine, loaded into the nodes, whose network stays closed."""

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
    """What a run starts on this machine itself."""

    kind: Path
    kubectl: Path
    istioctl: Path


def registry_answers(options: Options, engine: Engine) -> bool:
    """Whether the registry of the sample images answers the engine within three seconds."""
    reference = _samples(options)[SAMPLES[0]]
    try:
        return engine.is_published(reference, insecure=_on_loopback(reference), within=timeouts().registry_answers)
    except EnvironmentBroke:
        return False


def require_programs(options: Options) -> None:
    """Raise UsageProblem where an option names a program that is not there."""
    chosen = {
        "--kind-bin": options.kind,
        "--kind-kubectl-bin": options.kubectl,
        "--istioctl": options.istioctl,
    }
    for option, path in chosen.items():
        if path and not path.is_file():
            raise UsageProblem(f"{option} {path}: there is no such file. Nothing was created.")


def host_programs(options: Options, build: Callable[[str], Path]) -> HostPrograms:
    """Find each program by its option, then on PATH; ``build`` makes the ones that are nowhere."""
    require_programs(options)

    def find(name: str, chosen: Path | None) -> Path:
        found = chosen or shutil.which(name)
        return Path(found) if found else build(name)

    return HostPrograms(
        kind=find("kind", options.kind),
        kubectl=find("kubectl", options.kubectl),
        istioctl=find("istioctl", options.istioctl),
    )


def pull(options: Options, engine: Engine, programs: HostPrograms, progress: Progress) -> ImageSet:
    """Pull what the two clusters run and say which version each part is.

    Raises UsageProblem where a named image is not to be had: nothing was created yet.
    """
    named = _istio_references(options, programs)
    _warn_of_another_version(options, programs, progress)
    wanted = [*named, *_samples(options).values(), *([options.kind_image] if options.kind_image else [])]
    pulled = {reference: _pull(reference, engine, progress) for reference in wanted}
    pilot, proxy = (pulled[reference] for reference in named)
    samples = {published: pulled[ours] for published, ours in _samples(options).items()}
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
    """Pull an image, and return the name that it has from then on."""
    try:
        with progress.step(f"{reference} pulled"):
            return engine.pull(reference, insecure=_on_loopback(reference))
    except CommandFailed as failed:
        raise UsageProblem(f"image {reference} cannot be pulled: {failed.seen}. Nothing was created.") from None


def _warn_of_another_version(options: Options, programs: HostPrograms, progress: Progress) -> None:
    """Say so where istioctl, whose charts install, is of another minor version than the images that are asked for."""
    command = [str(programs.istioctl), "version", "--remote=false", "--output", "json"]
    told = json.loads(process.run(command, within=timeouts().small_command).stdout)
    version = told["clientVersion"]["version"]
    minor, asked = (_MINOR.match(name or "") for name in (version, options.istio_version))
    if minor and asked and minor[0] != asked[0]:
        progress.say(
            f"warning: --istio-version {options.istio_version}, but {programs.istioctl} is of {version}: "
            f"its own charts install; name another with --istioctl"
        )


def _istio_references(options: Options, programs: HostPrograms) -> tuple[str, str]:
    """Istio's two images as istioctl itself would name them."""
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
    raise EnvironmentBroke("istioctl generated no istiod", next_command=" ".join(command))


def _samples(options: Options) -> dict[str, str]:
    if options.sample_hub is None:
        return {reference: reference for reference in SAMPLES}
    return {reference: f"{options.sample_hub}/{reference.rpartition('/')[2]}" for reference in SAMPLES}


def _on_loopback(reference: str) -> bool:
    """A registry on this machine speaks plain HTTP; podman wants to be told, docker knows."""
    return reference.startswith(("127.", "localhost:"))
