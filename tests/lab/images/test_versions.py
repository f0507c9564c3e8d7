"""The version file, and which versions of Istio and Kubernetes can be built from it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from lab.images import versions
from splithorizon.base.errors import UsageProblem

PSEUDO_VERSION = "v0.0.0-20260306174214-0a1b2c3d4e5f"


def test_the_default_is_a_release() -> None:
    known = versions.load()
    assert known.istio_default in known.istio_releases
    assert known.istio(None) == known.istio(known.istio_default)


def test_there_is_more_than_one_release_to_choose_from() -> None:
    known = versions.load()
    assert len({release.rpartition(".")[0] for release in known.istio_releases}) >= 2


@pytest.mark.parametrize("release", versions.load().istio_releases)
def test_a_release_has_its_module_and_its_commit(release: str) -> None:
    known = versions.load()
    source = known.istio(release)
    assert source.version == release
    assert source.pseudo_version == known.istio_releases[release]
    assert source.pseudo_version.endswith(f"-{source.revision}")
    assert len(source.revision) == 12
    assert source.module is not None
    assert (source.module / "go.sum").is_file()


def test_a_pseudo_version_is_its_own_source() -> None:
    source = versions.load().istio(PSEUDO_VERSION)
    assert (source.version, source.pseudo_version) == (PSEUDO_VERSION, PSEUDO_VERSION)
    assert source.revision == "0a1b2c3d4e5f"
    assert source.module is None


@pytest.mark.parametrize("release", versions.load().istio_releases)
def test_a_pseudo_version_that_has_a_name_is_what_is_named(release: str) -> None:
    known = versions.load()
    assert known.istio(known.istio_releases[release]) == known.istio(release)


def test_a_snapshot_is_named_by_its_minor_version_and_its_commit() -> None:
    known = versions.load()
    snapshots = [name for name in known.istio_releases if not re.fullmatch(r"1\.\d+\.\d+", name)]
    assert "1.31-alpha.eed52ebb66ad" in snapshots
    for name in snapshots:
        assert re.fullmatch(rf"1\.\d+-alpha\.{known.istio(name).revision}", name)


UNKNOWN = [
    "1.0.0",
    "v1.29.1",
    "1.29",
    "latest",
    "../1.29.1",
    f"{PSEUDO_VERSION}\n",
    f"{PSEUDO_VERSION}0",
    PSEUDO_VERSION.upper(),
]


@pytest.mark.parametrize("wanted", UNKNOWN, ids=repr)
def test_an_unknown_version_is_refused_in_one_line_with_the_known_ones(wanted: str) -> None:
    known = versions.load()
    with pytest.raises(UsageProblem) as problem:
        known.istio(wanted)
    message = str(problem.value)
    assert repr(wanted) in message
    assert all(release in message for release in known.istio_releases)
    assert "pseudo-version" in message
    assert message.endswith("Nothing was created.")
    assert "\n" not in message


def test_the_default_kubernetes_is_the_files_own_and_its_module_lies_beside_the_sources() -> None:
    known = versions.load()
    assert known.with_kubernetes(None) is known
    assert known.with_kubernetes(known.kubernetes) is known
    assert known.kubernetes_folder == ""


def test_there_is_another_minor_version_of_kubernetes_to_choose() -> None:
    known = versions.load()
    minors = {version.rpartition(".")[0] for version in known.kubernetes_others}
    assert minors - {known.kubernetes.rpartition(".")[0]}


@pytest.mark.parametrize("version", versions.load().kubernetes_others)
def test_another_kubernetes_has_its_module_and_its_etcd_and_all_else_in_common(version: str) -> None:
    known = versions.load()
    chosen = known.with_kubernetes(version)
    assert (chosen.kubernetes, chosen.etcd) == (version, known.kubernetes_others[version])
    assert replace(chosen, kubernetes=known.kubernetes, etcd=known.etcd) == known
    folder = versions.IMAGES / "kubernetes" / chosen.kubernetes_folder
    assert folder.name == version
    assert {file.name for file in folder.iterdir()} == {"go.mod", "go.sum"}
    assert chosen.with_kubernetes(version) is chosen


@pytest.mark.parametrize("wanted", ["1.99.0", "v1.35.4", "1.35", "latest", "../1.35.4", ""], ids=repr)
def test_an_unknown_kubernetes_is_refused_in_one_line_with_the_known_ones(wanted: str) -> None:
    known = versions.load()
    with pytest.raises(UsageProblem) as problem:
        known.with_kubernetes(wanted)
    listed = ", ".join(sorted((known.kubernetes, *known.kubernetes_others), reverse=True))
    assert str(problem.value) == (
        f"unknown Kubernetes version {wanted!r}: images/versions.toml lists {listed}. Nothing was created."
    )


def test_every_version_is_read(tmp_path: Path) -> None:
    text = (versions.IMAGES / "versions.toml").read_text()
    known = versions.load()
    for value in (known.kubernetes, known.coredns, known.etcd, known.pause, known.kind):
        assert f'"{value}"' in text
    assert "systemd" in known.node_packages
    assert "libc6" in known.userland_packages
    changed = tmp_path / "versions.toml"
    changed.write_text(text.replace(known.kubernetes, "1.99.0"))
    assert versions.load(changed).kubernetes == "1.99.0"
