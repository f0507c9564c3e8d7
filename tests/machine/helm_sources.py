"""What an installation by Helm takes: Helm, Istio's charts and the kinds of Gateway API, each from its Go module."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.images import versions
from lab.images.cache import Cache
from lab.images.cache import root as cache_root
from lab.images.programs import Program
from splithorizon.base import process
from splithorizon.base.timeouts import current as timeouts

HELM_MODULE = Path(__file__).with_name("helm")
_ISTIO, _GATEWAY_API = "istio.io/istio", "sigs.k8s.io/gateway-api"


@dataclass(frozen=True)
class HelmSources:
    """The program, and the folders of the charts and of Gateway API's CustomResourceDefinitions."""

    helm: Path
    charts: Path
    gateway_api: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """As ``helm_mesh.sh`` reads it."""
        return {"HELM": str(self.helm), "CHARTS": str(self.charts), "GATEWAY_API": str(self.gateway_api)}


def supply() -> HelmSources:
    """Build Helm, unless it is in the cache, and find the charts of the Istio that is built, and what it requires."""
    folder = cache_root()
    program = Program("helm", HELM_MODULE, {"helm": "helm.sh/helm/v3/cmd/helm"})
    built = program.build(Cache(folder, print), folder / "build.log")
    modules = _modules(_ISTIO, _GATEWAY_API)
    return HelmSources(
        built / "helm", modules[_ISTIO] / "manifests" / "charts", modules[_GATEWAY_API] / "config" / "crd"
    )


def _modules(*names: str) -> dict[str, Path]:
    """The folders of Go modules, in the versions of the Istio that is built; go.sum has their hashes."""
    istio = versions.load().istio(None).module
    assert istio is not None
    found = process.run(
        ["go", "mod", "download", "-json", *names],
        within=timeouts().go_download, cwd=istio, env={"GOFLAGS": "", "GOWORK": "off"},
    ).stdout  # fmt: skip
    decoder, folders = json.JSONDecoder(), {}
    while found := found.lstrip():
        module, end = decoder.raw_decode(found)
        folders[module["Path"]] = Path(module["Dir"])
        found = found[end:]
    return folders
