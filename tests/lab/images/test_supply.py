"""Where a run's images come from, and what is refused before anything is created."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lab.engine import Engine
from lab.images import ImageSet, published, supply, versions
from lab.images.build import Recipe
from lab.images.cache import Cache
from splithorizon.base.errors import UsageProblem
from splithorizon.run.options import Options
from splithorizon.run.progress import Progress
from tests.support.fake_programs import FakePrograms

PSEUDO_VERSION = "v0.0.0-20260306174214-6991a379e1fc"
ENGINE = Engine("docker", Path("/does/not/exist"), {}, lacks_resource_capability=False)


@pytest.fixture(autouse=True)
def go(programs: FakePrograms) -> None:
    """The key of built images holds the version of Go."""
    programs.add("go", "echo go1.26.0")


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


@pytest.mark.parametrize("options", [Options(images="built"), Options(), Options(images="published")])
def test_another_node_image_is_refused_where_the_node_image_is_built(options: Options) -> None:
    options = replace(options, kind_image="kindest/node:v1.34.4")
    if options.images == "built":
        with pytest.raises(UsageProblem, match=r"--kind-image kindest/node:v1\.34\.4: built images"):
            supply.check(options)
    else:
        supply.check(options)


def test_a_kubernetes_version_is_chosen_only_where_the_node_image_is_built(
    modes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    other, *_ = versions.load().kubernetes_others
    for options in (Options(images="built", kubernetes_version=other), Options(kubernetes_version=other)):
        supply.check(options)
        with pytest.raises(UsageProblem, match=r"^unknown Kubernetes version '1\.0\.0'"):
            supply.check(replace(options, kubernetes_version="1.0.0"))
    told = (
        f"--kubernetes-version {other}: published images run the Kubernetes of their node image: name one with "
        "--kind-image, or add --images built. Nothing was created."
    )
    for options in (Options(images="published"), Options(hub="127.0.0.1:5000/istio")):
        with pytest.raises(UsageProblem) as refused:
            supply.check(replace(options, kubernetes_version=other))
        assert str(refused.value) == told
    monkeypatch.setattr(published, "registry_answers", lambda *_: True)
    with pytest.raises(UsageProblem) as refused:
        supply.supply(Options(kubernetes_version=other), ENGINE, Progress(print))
    assert str(refused.value) == told
    assert modes == []


def test_images_of_a_registry_that_an_option_names_are_in_no_cache(empty_cache: Cache) -> None:
    known = versions.load()
    built = Options(images="built")
    assert not supply.in_cache(built)
    empty_cache.fill("images", Recipe(known, known.istio(None)).key, lambda _: None)
    assert supply.in_cache(built)
    assert supply.in_cache(Options())
    other, *_ = known.kubernetes_others
    assert not supply.in_cache(replace(built, kubernetes_version=other))
    chosen = known.with_kubernetes(other)
    empty_cache.fill("images", Recipe(chosen, chosen.istio(None)).key, lambda _: None)
    assert supply.in_cache(replace(built, kubernetes_version=other))
    assert not supply.in_cache(replace(built, rebuild=True))
    assert not supply.in_cache(Options(images="published"))
    assert not supply.in_cache(Options(hub="127.0.0.1:5000/istio"))


def test_without_go_nothing_is_in_the_cache(empty_cache: Cache, programs: FakePrograms) -> None:
    programs.add("go", "echo go1.20.0")
    assert not supply.in_cache(Options(images="built"))


BUILT = ImageSet(
    mode="built", node="node:key", own_node=True, istio_hub="hub", istio_version="1", samples={}, to_load=(),
    upstream_envoy=True, kind=Path("/built/kind"), kubectl=Path("/built/kubectl"), istioctl=Path("/built/istioctl"),
    versions={},
)  # fmt: skip


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which way was gone: building and pulling themselves are tested beside their modules."""
    modes: list[str] = []

    def make(recipe: Recipe, *_: object, **__: object) -> ImageSet:
        modes.append("built")
        return replace(BUILT, versions={"kubernetes": recipe.image_set(Path("/built")).versions["kubernetes"]})

    def pull(*_: object) -> ImageSet:
        modes.append("published")
        return replace(BUILT, mode="published")

    monkeypatch.setattr(Recipe, "make", make)
    monkeypatch.setattr(published, "pull", pull)
    monkeypatch.setattr(published, "host_programs", lambda *_: None)
    return modes


@pytest.mark.parametrize(
    ("options", "answers", "mode"),
    [
        (Options(), True, "published"),
        (Options(), False, "built"),
        (Options(images="built"), True, "built"),
        (Options(images="published"), False, "published"),
        (Options(hub="hub.test/istio"), False, "published"),
        (Options(sample_hub="hub.test/samples"), False, "published"),
        (Options(images="built", hub="hub.test/istio"), True, "built"),
    ],
)
def test_images_are_published_where_a_registry_answers_or_is_named(
    modes: list[str], monkeypatch: pytest.MonkeyPatch, options: Options, answers: bool, mode: str
) -> None:
    monkeypatch.setattr(published, "registry_answers", lambda *_: answers)
    assert supply.supply(options, ENGINE, Progress(print)).mode == mode
    assert modes == [mode]


def test_the_images_are_built_with_the_kubernetes_that_was_chosen(modes: list[str]) -> None:
    known = versions.load()
    for version in (None, *known.kubernetes_others):
        images = supply.supply(Options(images="built", kubernetes_version=version), ENGINE, Progress(print))
        assert images.versions["kubernetes"] == (version or known.kubernetes)


def test_programs_that_options_name_replace_the_built_ones(modes: list[str]) -> None:
    options = Options(images="built", kind=Path("/my/kind"), istioctl=Path("/my/istioctl"))
    images = supply.supply(options, ENGINE, Progress(print))
    assert (images.kind, images.kubectl, images.istioctl) == (
        Path("/my/kind"), Path("/built/kubectl"), Path("/my/istioctl"),
    )  # fmt: skip


def test_a_node_image_is_refused_where_no_registry_answers(modes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "registry_answers", lambda *_: False)
    with pytest.raises(UsageProblem, match="built images include a node image"):
        supply.supply(Options(kind_image="kindest/node:v1"), ENGINE, Progress(print))
    assert modes == []


def test_a_program_that_is_missing_is_compiled(
    empty_cache: Cache, programs: FakePrograms, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'case "$1" in env) echo go1.26.0 ;; build) while [ "$1" != -o ]; do shift; done; echo "$3" >"$2" ;; esac'
    programs.add("go", script)
    programs.hide_all_others()
    host: list[Path] = []

    def pull(*arguments: object) -> ImageSet:
        built = arguments[2]
        host.extend([built.kind, built.kubectl, built.istioctl])  # type: ignore[attr-defined]  # HostPrograms
        return BUILT

    monkeypatch.setattr(published, "pull", pull)
    supply.supply(Options(images="published"), ENGINE, Progress(print))
    assert [path.name for path in host] == ["kind", "kubectl", "istioctl"]
    assert [path.read_text().strip() for path in host] == [
        "sigs.k8s.io/kind", ".", "istio.io/istio/istioctl/cmd/istioctl"
    ]  # fmt: skip
