"""The suite's image: which programs are called, what the pinned libraries are, and what the Containerfile copies."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from lab.images import suite, versions
from lab.images.build import parts_of_nodes
from lab.images.cache import Cache
from lab.images.versions import IMAGES
from splithorizon.base.errors import EnvironmentBroke
from tests.support.fake_programs import FakePrograms
from tests.support.repository import REPOSITORY

KNOWN = versions.load()
LIBRARIES = f"usr/local/lib/python{suite.PYTHON}/dist-packages"


@pytest.fixture
def tools(programs: FakePrograms, monkeypatch: pytest.MonkeyPatch) -> FakePrograms:
    """apt with an archive, an mmdebstrap whose root has a Python, and a pip and a Python that install a client."""
    programs.add("apt-get", '[ "$1" != indextargets ] || printf "http://a/debian/\\n"')
    made_root(programs, suite.PYTHON)
    installs = 'while [ "$1" != --target ]; do shift; done; mkdir -p "$2/kubernetes/aio" "$2/kubernetes/client"'
    monkeypatch.setattr(sys, "executable", str(programs.add("python-with-pip", installs)))
    programs.add("chroot")
    return programs


def made_root(programs: FakePrograms, python: str) -> None:
    programs.add(
        "mmdebstrap",
        "for last; do target=$previous; previous=$last; done; "
        'root=$(mktemp -d); mkdir -p "$root/usr/bin" "$root/usr/sbin"; '
        f'touch "$root/usr/bin/python{python}"; tar -cf "$target" -C "$root" .; rm -r "$root"',
    )


def test_python_and_libraries_are_made_once_and_compiled_by_the_images_own_python(
    tools: FakePrograms, empty_cache: Cache, tmp_path: Path
) -> None:
    tar, again = (suite.python_root(KNOWN, empty_cache, tmp_path / "log") for _ in range(2))
    assert tar == again
    assert [path.name for path in tar.parent.iterdir()] == ["python.tar"]
    (debian,) = (call for call in tools.calls if call.startswith("mmdebstrap"))
    assert "--include=base-files,busybox-static,libc6,python3 " in debian
    (installed,) = (call for call in tools.calls if call.startswith("python-with-pip"))
    assert "--require-hashes --requirement" in installed
    assert f"--python-version={suite.PYTHON} " in installed
    (compiled,) = (call for call in tools.calls if call.startswith("chroot"))
    assert compiled.endswith(f"-m compileall -q -j 2 /usr/lib/python{suite.PYTHON} /{LIBRARIES}")


def test_a_debian_with_another_python_is_no_base_for_the_pinned_libraries(
    tools: FakePrograms, empty_cache: Cache, tmp_path: Path
) -> None:
    made_root(tools, "3.99")
    with pytest.raises(EnvironmentBroke, match=f"has no Python {re.escape(suite.PYTHON)}"):
        suite.python_root(KNOWN, empty_cache, tmp_path / "log")
    assert not [call for call in tools.calls if call.startswith("python-with-pip")]


def pinned() -> dict[str, str]:
    """Every library of the image, with its version."""
    lines = [line for line in suite.REQUIREMENTS.read_text().splitlines() if not line.startswith("#")]
    found = [re.fullmatch(r"(\S+)==(\S+)(?: --hash=sha256:[0-9a-f]{64})+", line) for line in lines]
    assert all(found), lines
    return {normal(match[1]): match[2] for match in found if match}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_all_that_the_wheel_depends_on_is_pinned_by_hash_in_a_version_that_it_accepts() -> None:
    known = pinned()
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    for wanted in map(Requirement, project["dependencies"]):
        assert wanted.specifier.contains(known[normal(wanted.name)]), wanted


def test_the_containerfile_copies_to_where_the_images_python_looks() -> None:
    text = (suite.FOLDER / "Containerfile").read_text()
    assert f"COPY packages/ /{LIBRARIES}/" in text
    assert f"/{LIBRARIES}/splithorizon" in text


def test_the_images_of_clusters_do_not_change_with_it() -> None:
    assert suite.FOLDER.parent == IMAGES
    assert suite.FOLDER not in parts_of_nodes(IMAGES)
    assert IMAGES / "node" in parts_of_nodes(IMAGES)
