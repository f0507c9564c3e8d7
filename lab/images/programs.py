"""Go programs of the built images, each from its own module under ``images/``."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.images.cache import Cache, digest
from lab.images.versions import IMAGES, IstioSource, Versions
from splithorizon.base.errors import UsageProblem
from splithorizon.base.process import run
from splithorizon.base.timeouts import current as timeouts

# The checksum database answers for none of these; the committed go.sum pins them all the same.
_NOT_IN_CHECKSUM_DATABASE = "github.com/openshift/api,istio.io/*"

_OLDEST_GO = (1, 26)


@dataclass(frozen=True)
class Program:
    """One ``go build``: a module, the packages to build in it, and what the linker is told."""

    name: str
    module: Path
    packages: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)

    def build(self, cache: Cache, log: Path) -> Path:
        """Build into the cache and return the folder that holds the programs."""
        inputs = sorted(p for p in self.module.glob("*") if p.suffix in {".mod", ".sum", ".go"})
        flags = " ".join(f"{name}={value}" for name, value in sorted(self.variables.items()))
        key = digest(go_version(), target(), repr(sorted(self.packages.items())), flags, *inputs)
        return cache.fill(f"programs-{self.name}", key, lambda folder: self._link(folder, log))

    def _link(self, folder: Path, log: Path) -> None:
        variables = " ".join(f"-X {name}={value}" for name, value in sorted(self.variables.items()))
        # Go does not clear up when it is stopped: here it goes with the half entry.
        temporary = folder / "go-build"
        temporary.mkdir()
        for name, package in self.packages.items():
            run(
                [
                    *("go", "build", "-trimpath", "-buildvcs=false", "-mod=readonly"),
                    *("-ldflags", f"-s -w {variables}", "-o", str(folder / name), package),
                ],
                within=timeouts().go_build,
                cwd=self.module,
                env={"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTMPDIR": str(temporary)},
                log=log,
            )
        shutil.rmtree(temporary)


def go_version() -> str:
    """The Go tool chain's version; raises UsageProblem where there is none that is new enough."""
    if not shutil.which("go"):
        raise UsageProblem(
            "what is not published or not on PATH is compiled with Go 1.26 or newer, and there is none on PATH. Where "
            "a registry answers, kind, kubectl and istioctl are enough: on PATH, or by --kind-bin, --kind-kubectl-bin "
            "and --istioctl. Nothing was created."
        )
    found = run(["go", "env", "GOVERSION"], within=timeouts().small_command).stdout.strip()
    numbers = tuple(int(part) for part in found.removeprefix("go").split(".")[:2])
    if numbers < _OLDEST_GO:
        raise UsageProblem(f"compiling needs Go 1.26 or newer, found {found}. Nothing was created.")
    return found


def target() -> str:
    """What the environment tells Go to compile for."""
    return " ".join(os.environ.get(name, "") for name in ("GOOS", "GOARCH", "GOAMD64", "GOEXPERIMENT"))


def kubernetes(versions: Versions) -> Program:
    """Every Kubernetes program in one binary, and etcd at the version Kubernetes pins."""
    major, minor, _ = versions.kubernetes.split(".")
    version = "k8s.io/component-base/version"
    return Program(
        "kubernetes",
        IMAGES / "kubernetes",
        {"kubernetes": ".", "etcd": "go.etcd.io/etcd/server/v3"},
        {
            f"{version}.gitVersion": f"v{versions.kubernetes}",
            f"{version}.gitMajor": major,
            f"{version}.gitMinor": minor,
            f"{version}.gitTreeState": "clean",
            "k8s.io/client-go/pkg/version.gitVersion": f"v{versions.kubernetes}",
        },
    )


def istio(source: IstioSource, module: Path) -> Program:
    """istiod, the sidecar's agent and istioctl."""
    version = "istio.io/istio/pkg/version"
    names = {
        "pilot-discovery": "pilot/cmd/pilot-discovery",
        "pilot-agent": "pilot/cmd/pilot-agent",
        "istioctl": "istioctl/cmd/istioctl",
    }
    return Program(
        f"istio-{source.version}",
        module,
        {name: f"istio.io/istio/{package}" for name, package in names.items()},
        {
            f"{version}.buildVersion": source.version,
            f"{version}.buildTag": source.version,
            # As in Istio's releases; without it istioctl names a testing registry's images.
            f"{version}.buildHub": "istio",
            f"{version}.buildGitRevision": source.revision,
            f"{version}.buildStatus": "Clean",
        },
    )


def kind() -> Program:
    """The program that makes clusters of containers."""
    return Program("kind", IMAGES / "kind", {"kind": "sigs.k8s.io/kind"})


def small_programs() -> Iterable[Program]:
    """What compiles in seconds or at least fits beside the two large ones."""
    yield kind()
    yield Program("coredns", IMAGES / "coredns", {"coredns": "."})
    yield Program("pause", IMAGES / "pause", {"pause": "."})
    yield Program("helloworld", IMAGES / "helloworld", {"helloworld": "."})


def istio_module(source: IstioSource, versions: Versions, cache: Cache, log: Path) -> Path:
    """The folder with Istio's go.mod and go.sum: committed for a release, made once for a pseudo-version.

    Raises UsageProblem when the module proxy does not serve the pseudo-version.
    """
    if source.module:
        return source.module
    template = IMAGES / "istio" / versions.istio_default

    def make(folder: Path) -> None:
        written = (template / "go.mod").read_text()
        head, _, _ = written.partition(")\n\nrequire")
        (folder / "go.mod").write_text(head + f")\n\nrequire istio.io/istio {source.pseudo_version}\n")
        environment = {
            "GONOSUMDB": _NOT_IN_CHECKSUM_DATABASE,
            "GOFLAGS": "-mod=mod",
            "GOWORK": "off",
        }
        known = run(
            ["go", "list", "-m", f"istio.io/istio@{source.pseudo_version}"],
            within=timeouts().go_download, cwd=folder, env=environment, log=log, check=False,
        )  # fmt: skip
        if known.status:
            raise UsageProblem(
                f"the Go module proxy does not serve Istio {source.pseudo_version}: "
                f"{known.stderr.strip().splitlines()[-1]}. Nothing was created."
            )
        _restate_replacements(folder, f"istio.io/istio@{source.pseudo_version}", environment, log)
        run(
            ["go", "mod", "tidy"],
            within=timeouts().go_download,
            cwd=folder,
            env=environment,
            log=log,
        )

    return cache.fill("istio-module", digest(source.pseudo_version, template / "go.mod"), make)


def _restate_replacements(folder: Path, module: str, environment: Mapping[str, str], log: Path) -> None:
    """Write the modules that another takes in place of others into our go.mod: Go heeds only the main module's."""

    def go(*arguments: str) -> str:
        return run(["go", *arguments], within=timeouts().go_download, cwd=folder, env=environment, log=log).stdout

    downloaded = json.loads(go("mod", "download", "-json", module))
    for replaced in json.loads(go("mod", "edit", "-json", downloaded["GoMod"]))["Replace"] or []:
        old, new = ("@".join(filter(None, (side["Path"], side.get("Version")))) for side in
                    (replaced["Old"], replaced["New"]))  # fmt: skip
        go("mod", "edit", f"-replace={old}={new}")
