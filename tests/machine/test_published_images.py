"""The same verdict with images that somebody published, pulled from a registry on this machine."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from splithorizon.engine import Engine
from splithorizon.engine.find import find_engine
from splithorizon.images import versions
from splithorizon.images.build import Recipe
from splithorizon.images.cache import root as cache_root
from splithorizon.images.published import SAMPLES
from splithorizon.progress import Progress
from splithorizon.topology import MANIFESTS
from tests.machine.conftest import Starter, require_conformant

PATH_PROOF = "suites/routing/test_each_version_takes_its_own_path.py"
pytestmark = [pytest.mark.engine, pytest.mark.timeout(900), pytest.mark.xdist_group("published images")]


def require_taken_as_they_lie(programs: Path, kubeconfig: str) -> None:
    """Every manifest but kind's own and what is laid over others, by the API server or by istioctl."""
    whole = [file for file in sorted(MANIFESTS.rglob("*.yaml")) if not {"kind", "overlays"} & {*file.parts}]
    operators = [file for file in whole if "kind: IstioOperator" in file.read_text()]
    placed = [file for file in whole if file not in operators and file.parent.name in {"istio", "workloads"}]
    others = [file for file in whole if file not in operators + placed]
    assert operators
    for file in operators:
        subprocess.run([programs / "istioctl", "manifest", "generate", "-f", file], check=True, capture_output=True)
    for files, namespace in ((placed, []), (others, ["--namespace", "sample"])):
        command = [str(programs / "kubectl"), "--kubeconfig", kubeconfig, "apply", "--dry-run=server", *namespace]
        done = subprocess.run([*command, *(f"-f={file}" for file in files)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    return find_engine("podman", run_folder=tmp_path_factory.mktemp("engine"), say=print)


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
        podman.push(name, insecure=True)
    podman.run("rmi", *published.values(), within=120)
    podman.run("rmi", "--force", *recipe.references.values(), within=120, check=False)
    yield registry
    podman.run("rmi", "--force", *published.values(), within=120, check=False)


def test_published_images_node_ports_and_a_fault_that_is_found(
    start: Starter, hub: str, recipe: Recipe, podman: Engine
) -> None:
    known = versions.load()
    programs = cache_root() / f"images-{recipe.key}" / "programs"
    arguments = (
        *("--provider", "podman", "--images", "auto", "--cluster-name", "published"),
        *("--hub", f"{hub}/istio", "--sample-hub", f"{hub}/samples", "--istio-version", known.istio_default),
        *("--kind-image", f"{hub}/kind/node:v{known.kubernetes}", "--kind-bin", str(programs / "kind")),
        *("--kind-kubectl-bin", str(programs / "kubectl"), "--istioctl", str(programs / "istioctl")),
        *("--gateway-address", "nodeport", "--keep-cluster", "--profile", "core"),
    )
    curl = f"{hub}/samples/curl:8.16.0"
    assert podman.pull(curl, insecure=True) == curl
    try:
        first = start("suites/", *arguments)
        assert first.ends(within=600) == 0, first.output
        require_conformant(first.report, first.output)
        assert first.report["versions"]["images"] == "published"
        gateways = [cluster["gateway_addresses"] for cluster in first.report["topology"]["clusters"]]
        assert all(not address.endswith(":15443") for (address,) in gateways), gateways

        require_taken_as_they_lie(programs, _kept_kubeconfig(first.output, "primary"))

        # Without its network's label the remote's gateway is none: istiod hands out pod addresses.
        kubeconfig = _kept_kubeconfig(first.output, "remote")
        unlabel = ["-n", "istio-system", "label", "service", "istio-eastwestgateway", "topology.istio.io/network-"]
        subprocess.run([programs / "kubectl", "--kubeconfig", kubeconfig, *unlabel], check=True)
        second = start(PATH_PROOF, *arguments, "--reuse", "--requests", "200")
        assert second.ends(within=300) == 1, second.output
        refuted = {b["route"] for b in second.report["behaviours"] if b["verdict"] == "not conformant"}
        assert second.report["verdict"] == "not conformant"
        assert "primary→remote" in refuted
        assert "remote→primary" not in refuted, "the other way is whole"
        assert all(b["verdict"] != "inconclusive" for b in second.report["behaviours"])
    finally:
        for role in ("primary", "remote"):
            podman.remove_container(f"published-{role}-control-plane")


def _kept_kubeconfig(output: str, role: str) -> str:
    found = re.search(rf"\[{role}\] kept: export KUBECONFIG=(\S+)", output)
    assert found, output
    return found[1]


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
