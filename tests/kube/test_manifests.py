"""The manifests of the repository, and the operations on manifests."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from splithorizon.base.errors import UsageProblem
from splithorizon.base.paths import MANIFESTS
from splithorizon.kube import manifests

ALL = sorted(MANIFESTS.rglob("*.yaml"))
WORKLOADS = MANIFESTS / "workloads"


def name_of(path: Path) -> str:
    return str(path.relative_to(MANIFESTS))


def test_there_are_manifests() -> None:
    assert {"helloworld-v1.yaml", "sleep.yaml", "strict-mtls.yaml"} <= {path.name for path in ALL}
    assert not list(MANIFESTS.rglob("*.yml"))


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_a_manifest_parses_and_names_its_kinds(path: Path) -> None:
    documents = manifests.load(path)
    assert documents
    for document in documents:
        assert {"apiVersion", "kind"} <= document.keys()


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_a_manifest_begins_with_two_lines_that_say_its_purpose_and_cluster(path: Path) -> None:
    header = path.read_text().splitlines()[:2]
    assert all(re.match(r"# \S.{20,}", line) for line in header), header
    assert re.search(r"\b(primary|remote|both|clusters?)\b", " ".join(header))


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_a_manifest_has_no_placeholders(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\{\{|\$\{|\$\(", text)


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_a_manifest_gives_every_object_its_real_name(path: Path) -> None:
    # tests/repository/test_cronjob.py reads the CronJob's, as Kustomize puts them together.
    if {"overlays", "cronjob"} & {*path.parts} or path.parent.name == "kind":
        return
    keys = [
        (document["kind"], document["metadata"].get("namespace"), document["metadata"]["name"])
        for document in manifests.load(path)
    ]
    assert len(set(keys)) == len(keys)
    installed = path.parent.name in {"istio", "workloads"}
    for kind, namespace, _ in keys:
        # Tests and faults apply theirs to the namespace of the run's workloads, whose name differs between runs.
        assert bool(namespace) == (installed and kind != "Namespace")


def deployment(name: str) -> dict[str, Any]:
    documents = manifests.load(WORKLOADS / f"{name}.yaml")
    (only,) = [document for document in documents if document["kind"] == "Deployment"]
    return only


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_helloworld_is_istios_sample(version: str) -> None:
    helloworld = deployment(f"helloworld-{version}")
    labels = {"app": "helloworld", "version": version}
    assert helloworld["metadata"]["labels"] == helloworld["spec"]["selector"]["matchLabels"] == labels
    assert helloworld["spec"]["template"]["metadata"]["labels"] == labels
    (container,) = helloworld["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"istio/examples-helloworld-{version}:1.0"
    assert container["ports"] == [{"containerPort": 5000}]
    (service,) = manifests.load(WORKLOADS / "helloworld-service.yaml")
    assert service["spec"]["selector"].items() <= labels.items()
    assert service["spec"]["ports"] == [{"name": "http", "port": 5000}]


def test_all_workloads_are_in_one_namespace_with_injection() -> None:
    (namespace,) = manifests.load(WORKLOADS / "namespace.yaml")
    assert namespace["metadata"]["labels"] == {"istio-injection": "enabled"}
    spaces = {
        document["metadata"]["namespace"]
        for path in WORKLOADS.glob("*.yaml")
        for document in manifests.load(path)
        if document["kind"] != "Namespace"
    }
    assert spaces == {namespace["metadata"]["name"]} == {"sample"}


def test_the_cross_network_gateway_passes_tls_through_by_sni_on_15443() -> None:
    (gateway,) = manifests.load(MANIFESTS / "istio" / "cross-network-gateway.yaml")
    (server,) = gateway["spec"]["servers"]
    assert (server["port"]["number"], server["tls"]["mode"]) == (15443, "AUTO_PASSTHROUGH")
    assert server["hosts"] == ["*.local"]


def test_an_invalid_file_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1\nb: 2\n")
    with pytest.raises(UsageProblem, match=r"broken\.yaml cannot be read") as caught:
        manifests.load(broken)
    assert "\n" not in str(caught.value)
    broken.write_text("- 1\n")
    with pytest.raises(UsageProblem, match="not a mapping"):
        manifests.load(broken)
    with pytest.raises(UsageProblem, match="No such file"):
        manifests.load(tmp_path / "none.yaml")


def test_empty_documents_are_skipped_and_tags_construct_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("# first\n---\na: 1\n---\n# nothing\n---\nb: 2\n")
    assert manifests.load(path) == [{"a": 1}, {"b": 2}]
    path.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(UsageProblem, match="could not determine a constructor"):
        manifests.load(path)


@pytest.mark.parametrize(
    ("base", "patch", "merged"),
    [
        ("{a: 1}", "{b: 2}", "{a: 1, b: 2}"),
        ("{a: {b: 1, c: 2}}", "{a: {c: 3}}", "{a: {b: 1, c: 3}}"),
        ("{a: {b: 1}}", "{a: 2}", "{a: 2}"),
        ("{a: 1}", "{a: {b: 2}}", "{a: {b: 2}}"),
        ("{a: 1, b: 2}", "{a: null, c: null}", "{b: 2}"),
        ("{}", "{a: {b: null, c: 1}}", "{a: {c: 1}}"),
        ("{a: [1, 2]}", "{a: [3]}", "{a: [3]}"),
        ("{a: [{x: 1}]}", "{a: [{y: 2}]}", "{a: [{y: 2}]}"),
        ("{a: [{name: n, x: 1}]}", "{a: []}", "{a: []}"),
        ("{a: [{name: n, x: 1}]}", "{a: [{name: n, y: 2}]}", "{a: [{name: n, x: 1, y: 2}]}"),
        (
            "{a: [{name: m, x: 1}, {name: n, x: 1}]}",
            "{a: [{name: o, x: 3}, {name: n, x: 2}]}",
            "{a: [{name: m, x: 1}, {name: n, x: 2}, {name: o, x: 3}]}",
        ),
        ("{a: [{name: n, x: 1}]}", "{a: [{x: 2}]}", "{a: [{x: 2}]}"),
    ],
)
def test_an_overlay_is_merged_as_by_kubernetes(base: str, patch: str, merged: str) -> None:
    before, change = yaml.safe_load(base), yaml.safe_load(patch)
    originals = copy.deepcopy((before, change))
    result = manifests.overlay(before, change)
    assert result == yaml.safe_load(merged)
    assert (before, change) == originals


def test_an_overlay_shares_nothing_with_its_sources() -> None:
    base: dict[str, Any] = {"a": [{"name": "n"}], "b": {"c": [1]}}
    patch: dict[str, Any] = {"d": {"e": [2]}, "a": [{"name": "o", "f": [3]}]}
    result = manifests.overlay(base, patch)
    result["b"]["c"].append(9)
    result["d"]["e"].append(9)
    result["a"][1]["f"].append(9)
    assert base == {"a": [{"name": "n"}], "b": {"c": [1]}}
    assert patch == {"d": {"e": [2]}, "a": [{"name": "o", "f": [3]}]}


def test_images_are_replaced_in_containers_and_nowhere_else() -> None:
    source: dict[str, Any] = {
        "kind": "Deployment",
        "spec": {
            "template": {
                "spec": {
                    "initContainers": [{"name": "i", "image": "old:1"}],
                    "containers": [
                        {
                            "name": "a",
                            "image": "old:1",
                            "env": [{"name": "image", "value": "old:1"}],
                        },
                        {"name": "b", "image": "other:1"},
                        {"name": "c"},
                    ],
                }
            }
        },
        "data": {"image": "old:1"},
    }
    before = copy.deepcopy(source)
    (changed,) = manifests.with_images([source], {"old:1": "new:2", "never-seen:1": "x"})
    assert source == before
    pod = changed["spec"]["template"]["spec"]
    assert pod["initContainers"] == [{"name": "i", "image": "new:2"}]
    assert [container.get("image") for container in pod["containers"]] == ["new:2", "other:1", None]
    assert pod["containers"][0]["env"] == [{"name": "image", "value": "old:1"}]
    assert changed["data"] == {"image": "old:1"}


def test_every_workload_image_can_be_replaced() -> None:
    documents = [document for path in WORKLOADS.glob("*.yaml") for document in manifests.load(path)]
    images = set(re.findall(r"image: (\S+)", "".join(p.read_text() for p in WORKLOADS.glob("*"))))
    assert len(images) == 3
    changed = manifests.with_images(documents, dict.fromkeys(images, "mine:1"))
    assert set(re.findall(r"'image': '([^']+)'", str(changed))) == {"mine:1"}
