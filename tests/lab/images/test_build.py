"""Built images: their names, the key that they are found by, and when the engine has to load them."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lab.engine import Engine
from lab.images import build, published, versions
from lab.images import programs as go_programs
from lab.images.build import Recipe
from lab.images.cache import Cache
from splithorizon.run.progress import Progress
from splithorizon.traffic.workloads import HUB
from tests.support.child_python import line_of, running
from tests.support.fake_programs import FakePrograms

KNOWN = versions.load()


@pytest.fixture(autouse=True)
def go(programs: FakePrograms) -> None:
    """The key holds the version of Go."""
    programs.add("go", "echo go1.26.0")


PSEUDO_VERSION = "v0.0.0-20260306174214-6991a379e1fc"


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(KNOWN, KNOWN.istio(None))


def test_every_image_has_a_name_of_its_own_in_our_hub(recipe: Recipe) -> None:
    references = recipe.references
    assert {"kube-apiserver", "etcd", "coredns", "pause", "pilot", "proxyv2"} <= references.keys()
    assert len(set(references.values())) == len(references)
    for name, reference in references.items():
        assert re.fullmatch(rf"{re.escape(HUB)}/{name}:[\w.-]+", reference)
    assert references["kube-proxy"] == f"{HUB}/kube-proxy:v{KNOWN.kubernetes}"
    assert references["pilot"] == f"{HUB}/pilot:{KNOWN.istio_default}"


def test_the_key_is_stable_and_depends_on_the_istio_version(recipe: Recipe) -> None:
    assert Recipe(KNOWN, KNOWN.istio(KNOWN.istio_default)).key == recipe.key
    keys = {Recipe(KNOWN, KNOWN.istio(release)).key for release in KNOWN.istio_releases}
    source = KNOWN.istio(None)
    keys.add(Recipe(KNOWN, replace(source, pseudo_version=f"{source.pseudo_version}0")).key)
    assert len(keys) == len(KNOWN.istio_releases) + 1
    assert recipe.node == f"{HUB}/node:{recipe.key}"


def test_the_key_depends_on_go_and_on_what_is_built(
    recipe: Recipe, programs: FakePrograms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs.add("go", "echo go1.27.0")
    other_go = Recipe(KNOWN, KNOWN.istio(None)).key
    changed = tmp_path / "images"
    shutil.copytree(versions.IMAGES, changed)
    (changed / "curl" / "Containerfile").write_text("FROM scratch\n")
    monkeypatch.setattr(build, "IMAGES", changed)
    assert len({recipe.key, other_go, Recipe(KNOWN, KNOWN.istio(None)).key}) == 3


def test_another_release_of_istio_does_not_build_the_known_ones_again(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "images"
    shutil.copytree(versions.IMAGES, changed)
    shutil.copytree(changed / "istio" / KNOWN.istio_default, changed / "istio" / "9.9.9")
    (changed / "versions.toml").write_text("# read by others\n")
    monkeypatch.setattr(build, "IMAGES", changed)
    more = replace(KNOWN, istio_releases={**KNOWN.istio_releases, "9.9.9": PSEUDO_VERSION})
    assert Recipe(more, more.istio(None)).key == recipe.key
    (changed / "istio" / KNOWN.istio_default / "go.mod").write_text("module a\n")
    assert Recipe(more, more.istio(None)).key != recipe.key


def test_the_key_depends_on_the_kubernetes_version() -> None:
    chosen = [KNOWN, *map(KNOWN.with_kubernetes, KNOWN.kubernetes_others)]
    assert len({Recipe(known, known.istio(None)).key for known in chosen}) == len(KNOWN.kubernetes_others) + 1
    for known in chosen:
        recipe = Recipe(known, known.istio(None))
        assert recipe.references["kube-proxy"] == f"{HUB}/kube-proxy:v{known.kubernetes}"
        assert recipe.references["etcd"] == f"{HUB}/etcd:{known.etcd}"
        told = recipe.image_set(Path("/entry")).versions
        assert (told["kubernetes"], told["etcd"]) == (known.kubernetes, known.etcd)


def test_another_kubernetes_does_not_build_the_known_ones_again(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "images"
    shutil.copytree(versions.IMAGES, changed)
    other, *_ = KNOWN.kubernetes_others
    shutil.copytree(changed / "kubernetes" / other, changed / "kubernetes" / "9.9.9")
    monkeypatch.setattr(build, "IMAGES", changed)
    more = replace(KNOWN, kubernetes_others={**KNOWN.kubernetes_others, "9.9.9": "1.2.3"})

    def keys() -> list[str]:
        chosen = (more.with_kubernetes(version) for version in (None, other, "9.9.9"))
        return [Recipe(known, known.istio(None)).key for known in chosen]

    ours, others, nines = keys()
    chosen = KNOWN.with_kubernetes(other)
    assert (ours, others) == (recipe.key, Recipe(chosen, chosen.istio(None)).key)
    (changed / "kubernetes" / "9.9.9" / "go.sum").write_text("another hash\n")
    assert keys()[:2] == [ours, others]
    assert keys()[2] != nines
    (changed / "kubernetes" / "go.sum").write_text("another hash\n")
    assert keys()[0] != ours
    assert keys()[1] == others
    (changed / "kubernetes" / "main.go").write_text("package main\n")
    assert keys()[1] != others


def test_the_image_set_has_every_sample_under_its_built_name(recipe: Recipe, tmp_path: Path) -> None:
    images = recipe.image_set(tmp_path)
    assert set(images.samples) == set(published.SAMPLES)
    assert set(images.samples.values()) <= set(recipe.references.values())
    assert images.to_load == ()
    assert images.istio_version == KNOWN.istio_default


# An image exists if a file named `has-it` lies beside the program; `load` makes it.
ENGINE = """cd "$(dirname "$0")"
case "$1 $2" in
  "image inspect") [ -e has-it ] && echo sha256:1 ;;
  "load --input") touch has-it ;;
  *) echo "Error: $1 was not expected" >&2; exit 1 ;;
esac"""


@pytest.fixture
def engine(programs: FakePrograms) -> Engine:
    return Engine("podman", programs.add("podman", ENGINE), {}, lacks_resource_capability=False)


@pytest.fixture
def entry(recipe: Recipe, empty_cache: Cache) -> Path:
    """The images, built before."""
    return empty_cache.fill("images", recipe.key, lambda folder: (folder / "node.tar").touch())


def test_images_in_the_cache_are_loaded_into_an_engine_that_lacks_them_and_built_by_nobody(
    recipe: Recipe, entry: Path, engine: Engine, programs: FakePrograms
) -> None:
    images = recipe.make(engine, Progress(print))
    assert images == recipe.image_set(entry)
    assert f"podman load --input {entry / 'node.tar'}" in programs.calls
    loads = len([call for call in programs.calls if " load " in call])
    recipe.make(engine, Progress(print))
    assert len([call for call in programs.calls if " load " in call]) == loads, "the engine has them by now"


def test_a_rebuild_drops_the_images_and_keeps_the_engines_until_new_ones_are_there(
    recipe: Recipe, entry: Path, engine: Engine, programs: FakePrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Begun(Exception):
        pass

    def begins(*_: object) -> Path:
        raise Begun

    monkeypatch.setattr(go_programs, "istio_module", begins)
    recipe.make(engine, Progress(print))
    with pytest.raises(Begun):
        recipe.make(engine, Progress(print), rebuild=True)
    assert not entry.exists()
    assert not [call for call in programs.calls if " rmi " in call]


def test_a_build_context_holds_links_where_the_file_system_allows(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("content")
    build._place(source, tmp_path / "context" / "program")
    build._place(Path("program"), tmp_path / "context" / "alias")
    assert (tmp_path / "context" / "program").samefile(source)
    assert (tmp_path / "context" / "alias").readlink() == Path("program")
    assert (tmp_path / "context" / "alias").read_text() == "content"


def test_programs_that_run_in_a_pool_are_stopped_once_the_block_fails() -> None:
    code = """
    import threading
    from lab.images.build import _pool
    from splithorizon.base import process

    def work():
        begun.set()
        process.run(["sleep", "600"], within=600)

    begun = threading.Event()
    try:
        with _pool(1) as pool:
            running, queued = pool.submit(work), pool.submit(print, "never")
            begun.wait()
            raise KeyError("a step failed")
    except KeyError:
        print(type(running.exception()).__name__, queued.cancelled(), flush=True)
    """
    with running(code) as child:
        assert line_of(child) == "Cancelled True"
