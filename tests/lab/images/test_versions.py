"""The version file, and which versions of Istio can be had from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.images import supply, versions
from lab.images.build import Recipe
from splithorizon.base.errors import UsageProblem
from splithorizon.run.options import Options

PSEUDO_VERSION = "v0.0.0-20260306174214-6991a379e1fc"


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


def test_a_pseudo_version_is_taken_as_it_stands() -> None:
    source = versions.load().istio(PSEUDO_VERSION)
    assert (source.version, source.pseudo_version) == (PSEUDO_VERSION, PSEUDO_VERSION)
    assert source.revision == "6991a379e1fc"
    assert source.module is None


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
def test_an_unknown_version_is_refused_in_one_line_with_what_there_is(wanted: str) -> None:
    known = versions.load()
    with pytest.raises(UsageProblem) as problem:
        known.istio(wanted)
    said = str(problem.value)
    assert repr(wanted) in said
    assert all(release in said for release in known.istio_releases)
    assert "pseudo-version" in said
    assert said.endswith("Nothing was created.")
    assert "\n" not in said


def test_only_what_would_be_built_must_be_known() -> None:
    for options in (Options(images="built"), Options(istio_version=PSEUDO_VERSION)):
        supply.check(options)
    supply.check(Options(images="published", istio_version="1.0.0"))
    supply.check(Options(hub="127.0.0.1:5000/istio", istio_version="1.0.0"))
    for options in (
        Options(images="built", istio_version="1.0.0"),
        Options(images="built", hub="127.0.0.1:5000/istio", istio_version="1.0.0"),
        Options(istio_version="1.0.0"),
    ):
        with pytest.raises(UsageProblem, match=r"1\.0\.0"):
            supply.check(options)


@pytest.mark.parametrize("asked", [Options(images="built"), Options(), Options(images="published")])
def test_another_node_image_is_refused_where_the_node_is_built(asked: Options) -> None:
    options = replace(asked, kind_image="kindest/node:v1.34.4")
    if asked.images == "built":
        with pytest.raises(UsageProblem, match=r"--kind-image kindest/node:v1\.34\.4: built images"):
            supply.check(options)
    else:
        supply.check(options)


def test_what_a_registry_named_by_an_option_has_is_in_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    known = versions.load()
    built = Options(images="built")
    assert not supply.in_cache(built)
    (tmp_path / "splithorizon" / f"images-{Recipe(known, known.istio(None)).key}").mkdir()
    assert supply.in_cache(built)
    assert supply.in_cache(Options())
    assert not supply.in_cache(replace(built, rebuild=True))
    assert not supply.in_cache(Options(images="published"))
    assert not supply.in_cache(Options(hub="127.0.0.1:5000/istio"))


def test_every_version_is_read(tmp_path: Path) -> None:
    text = (versions.IMAGES / "versions.toml").read_text()
    found = versions.load()
    for value in (found.kubernetes, found.coredns, found.etcd, found.pause, found.kind):
        assert f'"{value}"' in text
    assert "systemd" in found.node_packages
    assert "libc6" in found.userland_packages
    changed = tmp_path / "versions.toml"
    changed.write_text(text.replace(found.kubernetes, "1.99.0"))
    assert versions.load(changed).kubernetes == "1.99.0"
