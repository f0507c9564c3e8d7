"""The Go programs of the built images. Each has a Go module in ``images/``."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab.images.cache import Cache, digest
from lab.images.versions import IMAGES, IstioSource, Versions
from splithorizon.base.errors import CommandFailed, UsageProblem
from splithorizon.base.process import Completed, run
from splithorizon.base.timeouts import current as timeouts

# The checksum database has none of these. The committed go.sum pins them.
_NOT_IN_CHECKSUM_DATABASE = "github.com/openshift/api,istio.io/*"

_OLDEST_GO = (1, 26)

PINS = frozenset({".mod", ".sum"})
"""The suffixes of the files that say which modules a program is compiled of."""

_MINOR_FILE = "VERSION"
"""The file of Istio's module with its minor version; it lies beside a go.mod that is generated here."""

# What Go prints of a module that the proxy answers for and does not have: "M@V: reading URL: 404 Not Found", or
# "M@V: invalid version: unknown revision R". A proxy that cannot be reached has no such line.
_NOT_SERVED = re.compile(
    r"(?P<module>[\w./~-]+)@(?P<version>v[\w.+-]+): "
    r"(?P<why>reading \S+: (?:403|404|410) [\w ]+|(?:invalid version: )?unknown revision \S+)"
)


@dataclass(frozen=True)
class Program:
    """A Go module, the packages to build in it by the names of their programs, and variables that the linker sets."""

    name: str
    module: Path
    packages: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    pins: Path | None = None
    """The folder of go.mod and go.sum, if they are not beside the sources."""

    def build(self, cache: Cache, log: Path) -> Path:
        """Build into the cache, and return the folder with the programs."""
        pins = (p for p in (self.pins or self.module).glob("*") if p.suffix in PINS)
        inputs = sorted((*pins, *self.module.glob("*.go")), key=lambda file: file.name)
        flags = " ".join(f"{name}={value}" for name, value in sorted(self.variables.items()))
        key = digest(go_version(), target(), repr(sorted(self.packages.items())), flags, *inputs)
        return cache.fill(f"programs-{self.name}", key, lambda folder: self._compile(folder, log))

    def _compile(self, folder: Path, log: Path) -> None:
        variables = " ".join(f"-X {name}={value}" for name, value in sorted(self.variables.items()))
        # Go leaves its temporary files when it is killed. Here they are removed with the unfinished entry.
        temporary = folder / "go-build"
        temporary.mkdir()
        pinned = [f"-modfile={self.pins / 'go.mod'}"] if self.pins else []
        for name, package in self.packages.items():
            _go(
                "build", "-trimpath", "-buildvcs=false", "-mod=readonly", *pinned,
                "-ldflags", f"-s -w {variables}", "-o", str(folder / name), package,
                program=self.name, within=timeouts().go_build, folder=self.module, log=log,
                environment={"CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off", "GOTMPDIR": str(temporary)},
            )  # fmt: skip
        shutil.rmtree(temporary)


def go_version() -> str:
    """The version of Go. Raises UsageProblem if Go is missing or too old."""
    if not shutil.which("go"):
        raise UsageProblem(
            "images and programs that are neither published nor on PATH are compiled with Go 1.26 or newer, and there "
            "is no Go on PATH. With a registry, kind, kubectl and istioctl are enough: on PATH, or by --kind-bin, "
            "--kind-kubectl-bin and --istioctl. Nothing was created."
        )
    version = run(["go", "env", "GOVERSION"], within=timeouts().small_command).stdout.strip()
    numbers = tuple(int(part) for part in version.removeprefix("go").split(".")[:2])
    if numbers < _OLDEST_GO:
        raise UsageProblem(f"compiling needs Go 1.26 or newer, and this is {version}. Nothing was created.")
    return version


def target() -> str:
    """The target platform, as far as environment variables of Go set it."""
    return " ".join(os.environ.get(name, "") for name in ("GOOS", "GOARCH", "GOAMD64", "GOEXPERIMENT"))


def kubernetes(versions: Versions) -> Program:
    """All programs of Kubernetes in one binary, and etcd, in the versions that ``versions`` names."""
    major, minor, _ = versions.kubernetes.split(".")
    version = "k8s.io/component-base/version"
    folder = IMAGES / "kubernetes"
    return Program(
        "kubernetes",
        folder,
        {"kubernetes": ".", "etcd": "go.etcd.io/etcd/server/v3"},
        {
            f"{version}.gitVersion": f"v{versions.kubernetes}",
            f"{version}.gitMajor": major,
            f"{version}.gitMinor": minor,
            f"{version}.gitTreeState": "clean",
            "k8s.io/client-go/pkg/version.gitVersion": f"v{versions.kubernetes}",
        },
        pins=folder / versions.kubernetes_folder if versions.kubernetes_folder else None,
    )


def istio(source: IstioSource, module: Path) -> Program:
    """istiod, the sidecar's agent and istioctl."""
    built = _istio_version(source, module)
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
            f"{version}.buildVersion": built,
            f"{version}.buildTag": source.version,
            # As in Istio's releases. Otherwise istioctl uses images of a testing registry.
            f"{version}.buildHub": "istio",
            f"{version}.buildGitRevision": source.revision,
            f"{version}.buildStatus": "Clean",
        },
    )


def _istio_version(source: IstioSource, module: Path) -> str:
    """The version that the programs say they are of: a commit without a name is a snapshot of its minor version."""
    file = module / _MINOR_FILE
    return f"{file.read_text().strip()}-alpha.{source.revision}" if file.is_file() else source.version


def kind() -> Program:
    """The program of kind."""
    return Program("kind", IMAGES / "kind", {"kind": "sigs.k8s.io/kind"})


def helloworld() -> Program:
    """What answers in clusters that a run makes."""
    return Program("helloworld", IMAGES / "helloworld", {"helloworld": "."})


def sender() -> Program:
    """What sends in a watch."""
    return Program("sender", IMAGES / "sender", {"sender": "."})


def small_programs() -> Iterable[Program]:
    """The programs that compile faster than Kubernetes and Istio."""
    yield kind()
    yield Program("coredns", IMAGES / "coredns", {"coredns": "."})
    yield Program("pause", IMAGES / "pause", {"pause": "."})
    yield helloworld()
    yield sender()


def istio_module(source: IstioSource, versions: Versions, cache: Cache, log: Path) -> Path:
    """The folder with Istio's go.mod and go.sum: in the repository for a release, generated for a pseudo-version.

    Raises UsageProblem if the Go module proxy does not serve the pseudo-version, or a module that it requires.
    """
    if source.module:
        return source.module
    template = IMAGES / "istio" / versions.istio_default

    def make(folder: Path) -> None:
        head, _, _ = (template / "go.mod").read_text().partition(")\n\nrequire")
        (folder / "go.mod").write_text(head + f")\n\nrequire istio.io/istio {source.pseudo_version}\n")
        environment = {
            "GONOSUMDB": _NOT_IN_CHECKSUM_DATABASE,
            "GOFLAGS": "-mod=mod",
            "GOWORK": "off",
        }
        listed = run(
            ["go", "list", "-m", f"istio.io/istio@{source.pseudo_version}"],
            within=timeouts().go_download, cwd=folder, env=environment, log=log, check=False,
        )  # fmt: skip
        if listed.status:
            raise UsageProblem(
                f"the Go module proxy does not serve Istio {source.pseudo_version}: "
                f"{listed.stderr.strip().splitlines()[-1]}. Nothing was created."
            )
        _copy_from_module(folder, f"istio.io/istio@{source.pseudo_version}", environment, log)
        _go(
            "mod", "tidy",
            program=f"Istio {source.version}", within=timeouts().go_download, folder=folder, log=log,
            environment=environment,
        )  # fmt: skip

    return cache.fill("istio-module", digest(source.pseudo_version, template / "go.mod", _MINOR_FILE), make)


def _go(
    *arguments: str, program: str, within: float, folder: Path, log: Path, environment: Mapping[str, str]
) -> Completed:
    """Run Go. Raises UsageProblem where a module that it needs is not served, CommandFailed for all else."""
    command = ["go", *arguments]
    done = run(command, within=within, cwd=folder, env=environment, log=log, check=False)
    if not done.status:
        return done
    if missing := _NOT_SERVED.search(done.stderr):
        raise UsageProblem(
            f"{program} cannot be built: the Go module proxy does not serve {missing['module']} {missing['version']} "
            f"({missing['why']}). Nothing was created."
        )
    raise CommandFailed(command, done.status, done.stdout, done.stderr)


def _copy_from_module(folder: Path, module: str, environment: Mapping[str, str], log: Path) -> None:
    """Copy the ``replace`` directives of a module into our go.mod, as Go uses those of the main module only.

    Its file with the minor version is copied too, where it has one.
    """

    def go(*arguments: str) -> str:
        return run(["go", *arguments], within=timeouts().go_download, cwd=folder, env=environment, log=log).stdout

    downloaded = json.loads(go("mod", "download", "-json", module))
    if (minor := Path(downloaded["Dir"], _MINOR_FILE)).is_file():
        shutil.copyfile(minor, folder / _MINOR_FILE)
    for replacement in json.loads(go("mod", "edit", "-json", downloaded["GoMod"]))["Replace"] or []:
        old, new = ("@".join(filter(None, (side["Path"], side.get("Version")))) for side in
                    (replacement["Old"], replacement["New"]))  # fmt: skip
        go("mod", "edit", f"-replace={old}={new}")
