"""The image of Istio's CNI plug-in: what it is built from, that it is built once, and that no other image changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lab.engine import Engine
from lab.images import build, cni, versions
from lab.images.build import Recipe
from lab.images.cache import Cache
from splithorizon.base.errors import CommandFailed
from splithorizon.run.progress import Progress
from tests.support.fake_programs import FakePrograms

KNOWN = versions.load()
SOURCE = KNOWN.istio(None)

GO = """case "$1" in
  env) echo go1.26.0 ;;
  build) while [ "$1" != -o ]; do shift; done; echo "$3" >"$2" ;;
esac"""
# Of a build it keeps what the context has; a save writes the tar.
ENGINE = """case "$1" in
  build) for last; do :; done; ls "$last" >"$(dirname "$0")/context" ;;
  save) while [ "$1" != --output ]; do shift; done; touch "$2" ;;
esac"""


@pytest.fixture(autouse=True)
def tools(programs: FakePrograms) -> None:
    programs.add("go", GO)
    programs.add("apt-get", '[ "$1" != indextargets ] || printf "http://a/debian/\\n"')
    programs.add("mmdebstrap", 'for last; do target=$previous; previous=$last; done; touch "$target"')


@pytest.fixture
def engine(programs: FakePrograms) -> Engine:
    return Engine("podman", programs.add("podman", ENGINE), {}, lacks_resource_capability=False)


def compiled(programs: FakePrograms) -> list[str]:
    return [call.rsplit(" ", 1)[1] for call in programs.calls if call.startswith("go build")]


def test_the_plug_in_is_compiled_and_packed_once_and_leaves_no_image_in_the_engine(
    engine: Engine, programs: FakePrograms, empty_cache: Cache
) -> None:
    archive = cni.archive(engine, Progress(print))
    assert compiled(programs) == ["istio.io/istio/cni/cmd/install-cni", "istio.io/istio/cni/cmd/istio-cni"]
    context = (programs.folder / "context").read_text().split()
    assert context == ["Containerfile", "install-cni", "istio-cni", "userland.tar"]
    assert [path.name for path in archive.parent.iterdir()] == ["install-cni.tar"]
    assert programs.calls[-1] == f"podman rmi --force {cni.reference(SOURCE)}"
    before = len(programs.calls)
    assert cni.archive(engine, Progress(print)) == archive
    assert not [call for call in programs.calls[before:] if not call.startswith("go env")]


def test_an_image_that_cannot_be_saved_is_removed_and_not_cached(
    engine: Engine, programs: FakePrograms, empty_cache: Cache
) -> None:
    programs.add("podman", ENGINE.replace('touch "$2"', "exit 1"))
    with pytest.raises(CommandFailed):
        cni.archive(engine, Progress(print))
    assert programs.calls[-1].startswith("podman rmi --force ")
    programs.add("podman", ENGINE)
    assert cni.archive(engine, Progress(print)).exists()


def test_istios_chart_finds_the_image_beside_istiods() -> None:
    pilot = Recipe(KNOWN, SOURCE).references["pilot"]
    assert cni.reference(SOURCE) == pilot.replace("/pilot:", "/install-cni:")


def test_the_images_of_clusters_do_not_change_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "images"
    shutil.copytree(versions.IMAGES, changed)
    monkeypatch.setattr(build, "IMAGES", changed)
    before = Recipe(KNOWN, SOURCE).key
    (changed / cni.FOLDER.relative_to(versions.IMAGES) / "Containerfile").write_text("another")
    assert Recipe(KNOWN, SOURCE).key == before


def test_the_containerfile_has_the_plug_in_where_the_installer_looks_for_it() -> None:
    text = (cni.FOLDER / "Containerfile").read_text()
    assert "COPY istio-cni /opt/cni/bin/" in text
    assert "COPY install-cni /usr/local/bin/" in text
