"""The same verdict with images that somebody published, pulled from a registry on this machine."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab import topology
from lab.engine import Engine, network
from lab.images import versions
from lab.images.build import Recipe
from lab.images.cache import root as cache_root
from lab.images.published import SAMPLES
from splithorizon.base.paths import MANIFESTS
from splithorizon.run.progress import Progress
from tests.machine.conftest import Run, Starter, require_conformant, unused
from tests.machine.limits import HANGS_AFTER

ENDPOINTS = "suites/discovery/test_endpoints_are_near_pods_and_the_far_gateway.py"
pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's docker-registry on loopback; yields its address."""
    if not shutil.which("docker-registry"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=environment)
        install = ["apt-get", "install", "-qq", "-y", "--no-install-recommends", "docker-registry"]
        subprocess.run(install, check=True, env=environment)
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (folder / "config.yml").write_text(
        f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {folder / 'data'}\nhttp:\n  addr: {address}\n"
    )
    with (folder / "log").open("wb") as log:
        serving = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        _await_port(address)
        yield address
    finally:
        serving.terminate()
        serving.wait(30)
        shutil.rmtree(folder / "data", ignore_errors=True)


@pytest.fixture(scope="module")
def recipe(podman: Engine) -> Recipe:
    """The default images, built if no run has built them yet."""
    known = versions.load()
    found = Recipe(known, known.istio(None))
    found.make(podman, Progress(print))
    return found


@pytest.fixture(scope="module")
def hub(registry: str, podman: Engine, recipe: Recipe) -> Iterator[str]:
    """The built images, pushed to the registry as a publisher would and gone from the engine."""
    known = versions.load()
    entry = cache_root() / f"images-{recipe.key}"
    podman.load(entry / "images.tar")
    samples = recipe.image_set(entry).samples
    published = {
        recipe.references["pilot"]: f"{registry}/istio/pilot:{known.istio_default}",
        recipe.references["proxyv2"]: f"{registry}/istio/proxyv2:{known.istio_default}",
        **{samples[name]: f"{registry}/samples/{name.rpartition('/')[2]}" for name in SAMPLES},
        recipe.node: f"{registry}/kind/node:v{known.kubernetes}",
    }
    for built, name in published.items():
        podman.tag(built, name)
        # For the node's gigabyte gzip takes long. The others are saved again for the nodes, which podman 4.3 refuses
        # to do with zstd.
        quickly = ["--compression-format=zstd"] if built == recipe.node else []
        podman.run("push", "--quiet", "--tls-verify=false", *quickly, name, within=HANGS_AFTER)
    podman.run("rmi", *published.values(), within=HANGS_AFTER)
    podman.run("rmi", "--force", *recipe.references.values(), within=HANGS_AFTER, check=False)
    yield registry
    podman.run("rmi", "--force", *published.values(), within=HANGS_AFTER, check=False)


@dataclass(frozen=True)
class Kept:
    """A run with the published images that left its clusters, and the options that reach them again."""

    run: Run
    status: int
    options: tuple[str, ...]
    programs: Path

    def kubeconfig(self, role: str) -> str:
        found = re.search(rf"\[{role}\] kept: export KUBECONFIG=(\S+)", self.run.output)
        assert found, self.run.output
        return found[1]


@pytest.fixture(scope="module")
def kept(hub: str, recipe: Recipe, podman: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    known, clusters = versions.load(), unused("published")
    programs = cache_root() / f"images-{recipe.key}" / "programs"
    options = (
        *("--provider", "podman", "--images", "auto", "--cluster-name", clusters),
        *("--hub", f"{hub}/istio", "--sample-hub", f"{hub}/samples", "--istio-version", known.istio_default),
        *("--kind-image", f"{hub}/kind/node:v{known.kubernetes}", "--kind-bin", str(programs / "kind")),
        *("--kind-kubectl-bin", str(programs / "kubectl"), "--istioctl", str(programs / "istioctl")),
        *("--gateway-address", "nodeport", "--keep-cluster", "--profile", "core"),
    )
    folder = tmp_path_factory.mktemp("published")
    start = Starter(folder)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_STATE_HOME", str(folder / "state"))
        run = start("suites/", *options)
        try:
            yield Kept(run, run.ends(), options, programs)
        finally:
            run.stop()
            for role in ("primary", "remote"):
                podman.remove_container(topology.node_of(f"{clusters}-{role}"))
            network.remove(podman, podman.network)


def test_published_images_and_node_ports(kept: Kept) -> None:
    assert kept.status == 0, kept.run.output
    report = kept.run.report
    require_conformant(report, kept.run.output)
    assert report["versions"]["images"] == "published"
    gateways = [cluster["gateway_addresses"] for cluster in report["clusters"]]
    assert all(not address.endswith(":15443") for (address,) in gateways), gateways


def test_every_manifest_is_taken_as_it_lies_by_the_server_or_by_istioctl(kept: Kept) -> None:
    # test_cronjob.py applies the CronJob's, by Kustomize.
    left_out = {"kind", "overlays", "cronjob"}
    whole = [file for file in sorted(MANIFESTS.rglob("*.yaml")) if not left_out & {*file.parts}]
    operators = [file for file in whole if "kind: IstioOperator" in file.read_text()]
    placed = [file for file in whole if file not in operators and file.parent.name in {"istio", "workloads"}]
    others = [file for file in whole if file not in operators + placed]
    assert operators
    for file in operators:
        istioctl = [str(kept.programs / "istioctl"), "manifest", "generate", "--filename", str(file)]
        subprocess.run(istioctl, check=True, capture_output=True)
    kubectl = [str(kept.programs / "kubectl"), "--kubeconfig", kept.kubeconfig("primary")]
    for files, namespace in ((placed, []), (others, ["--namespace", "sample"])):
        command = [*kubectl, "apply", "--dry-run=server", *namespace, *(f"--filename={file}" for file in files)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_a_fault_in_a_kept_mesh_is_found_where_it_is(kept: Kept, start: Starter) -> None:
    # Without its network's label the remote's gateway is none: istiod hands out pod addresses.
    remote = [str(kept.programs / "kubectl"), "--kubeconfig", kept.kubeconfig("remote"), "--namespace", "istio-system"]
    unlabel = ["label", "service", "istio-eastwestgateway", "topology.istio.io/network-"]
    subprocess.run([*remote, *unlabel], check=True)
    run = start(ENDPOINTS, *kept.options, "--reuse")
    assert run.ends() == 1, run.output
    refuted = {found["route"] for found in run.report["behaviours"] if found["verdict"] == "not conformant"}
    assert run.report["verdict"] == "not conformant"
    assert "primary→remote" in refuted
    assert "remote→primary" not in refuted, "the other way is whole"
    assert all(found["verdict"] != "inconclusive" for found in run.report["behaviours"])
    assert run.report["versions"]["istio"]["primary"] == versions.load().istio_default


def _await_port(address: str) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens at {address}"
            time.sleep(0.1)


def test_a_second_run_finds_its_images_and_takes_no_step(podman: Engine, recipe: Recipe) -> None:
    progress = Progress(print)
    recipe.make(podman, progress)
    assert progress.steps == []
