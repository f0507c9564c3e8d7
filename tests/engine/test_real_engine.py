"""Real engines do what the suite asks of them.

A step of its own in CI: podman, and docker where DOCKER_HOST is given.
"""

from __future__ import annotations

import fcntl
import io
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.engine import Engine, network, probe
from lab.engine.find import find_engine
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.base.file_lock import locked

pytestmark = pytest.mark.engine

PROVIDERS = ["podman", *(["docker"] if "DOCKER_HOST" in os.environ else [])]
NAME = "splithorizon-test"
IMAGE = "splithorizon.local/test:1"


@pytest.fixture(scope="module", params=PROVIDERS)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    found = find_engine(request.param, run_folder=tmp_path_factory.mktemp("run"), say=print)
    # What a killed run of these tests left.
    found.remove_container(NAME)
    found.run("network", "rm", NAME, within=30, check=False)
    return found


@pytest.fixture
def image(engine: Engine, tmp_path: Path) -> Iterator[str]:
    (tmp_path / "hello").write_text("hello")
    containerfile = tmp_path / "Containerfile"
    containerfile.write_text("FROM scratch\nARG WORD=none\nCOPY hello /hello\nLABEL splithorizon.word=${WORD}\n")
    try:
        engine.build(tmp_path, containerfile, IMAGE, {"WORD": "yes"})
        yield IMAGE
    finally:
        engine.run("rmi", "--force", IMAGE, within=30, check=False)


@pytest.fixture
def node(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A container that stays, on a network as kind's, with this machine's sleep and cat in it."""
    monkeypatch.setenv(f"KIND_EXPERIMENTAL_{engine.provider.upper()}_NETWORK", NAME)
    try:
        engine.run("import", "-", IMAGE, within=30, stdin=_archive_of("/bin/sleep", "/bin/cat"))
        engine.make_network(NAME)
        arguments = [
            "--detach",
            "--privileged",
            "--name",
            NAME,
            "--label",
            f"{NAME}=node",
            "--net",
            NAME,
        ]
        engine.run("run", *arguments, IMAGE, "/bin/sleep", "300", within=30)
        yield NAME
    finally:
        engine.remove_container(NAME)
        engine.remove_network(NAME)
        engine.run("rmi", "--force", IMAGE, within=30, check=False)


def _archive_of(*programs: str) -> bytes:
    listed = subprocess.run(["ldd", *programs], capture_output=True, text=True, check=True, timeout=10).stdout
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as tar:
        for path in sorted({*programs, *re.findall(r"(?:=>\s*|^\s+)(/\S+)", listed, flags=re.MULTILINE)}):
            tar.add(path)
    return buffer.getvalue()


def test_the_engine_found_measures_its_containers_capability(engine: Engine) -> None:
    status = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapBnd:"))
    assert engine.lacks_resource_capability == (not int(status.split()[1], 16) >> 24 & 1)


def test_finding_an_engine_leaves_nothing_and_clears_what_a_killed_search_left(engine: Engine, tmp_path: Path) -> None:
    engine.run("network", "create", probe.NAME, within=30)
    find_engine(engine.provider, run_folder=tmp_path, say=print)
    assert not engine.has_network(probe.NAME)
    assert not engine.has_image(probe.IMAGE)
    assert probe.NAME not in engine.containers()


def test_a_sweep_removes_what_a_killed_search_left(engine: Engine) -> None:
    engine.run("network", "create", probe.NAME, within=30)
    engine.run("import", "-", probe.IMAGE, within=30, stdin=probe.archive())
    engine.run("create", "--name", probe.NAME, probe.IMAGE, probe.SHELL, within=30)
    probe.remove_remains(engine)
    assert not engine.has_network(probe.NAME)
    assert not engine.has_image(probe.IMAGE)
    assert probe.NAME not in engine.containers()


def test_an_image_that_a_container_uses_is_not_removed(engine: Engine, node: str) -> None:
    assert engine.images(IMAGE.partition(":")[0])[0][0] == IMAGE
    assert not engine.remove_image(IMAGE)
    assert engine.has_image(IMAGE)
    engine.remove_container(node)
    known = engine.image_id(IMAGE)
    assert engine.remove_image(known)
    assert engine.image_id(IMAGE) == ""


def test_images_are_not_stored_as_full_copies(engine: Engine) -> None:
    field = "{{.Driver}}" if engine.provider == "docker" else "{{.Store.GraphDriverName}}"
    assert engine.run("info", "--format", field, within=30).stdout.strip().startswith("overlay")


def test_an_image_survives_build_save_and_load(engine: Engine, image: str, tmp_path: Path) -> None:
    second, archive = "splithorizon.local/test:2", tmp_path / "images.tar"
    archive.write_text("left by a run before")
    engine.tag(image, second)
    engine.save([image, second], archive)
    engine.run("rmi", "--force", image, second, within=30)
    assert not engine.has_image(image)
    try:
        engine.load(archive)
        assert engine.has_image(image)
        assert engine.label_of(second, "splithorizon.word") == "yes"
        assert engine.label_of(second, "splithorizon.other") is None
    finally:
        engine.run("rmi", "--force", second, within=30)


def test_a_built_and_removed_image_leaves_nothing_in_the_store(engine: Engine, tmp_path: Path) -> None:
    # The first instruction: what is kept of a later one has it too. Others may build meanwhile: theirs have it not.
    label = f"splithorizon.test={tmp_path}"

    def kept() -> list[str]:
        return engine.run("images", "--all", "--quiet", "--filter", f"label={label}", within=30).stdout.split()

    (tmp_path / "Containerfile").write_text(
        f"FROM scratch\nLABEL {label}\nCOPY Containerfile /a\nCOPY Containerfile /b\n"
    )
    engine.build(tmp_path, tmp_path / "Containerfile", IMAGE, {})
    assert kept()
    engine.run("rmi", "--force", IMAGE, within=30)
    assert kept() == []


def test_a_running_container_has_an_address_and_takes_commands(engine: Engine, node: str) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\.\d+", engine.address_of(node))
    assert engine.execute(node, "/bin/cat", within=30, stdin="to and fro").stdout == "to and fro"
    assert engine.containers(label=f"{NAME}=node") == [node]
    assert engine.containers(label=f"{NAME}=other") == []


def test_an_address_on_another_network_is_not_taken_for_kinds(
    engine: Engine, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"KIND_EXPERIMENTAL_{engine.provider.upper()}_NETWORK", "splithorizon-elsewhere")
    with pytest.raises(EnvironmentBroke, match="no address on the network"):
        engine.address_of(node)


def test_a_network_in_use_is_not_removed(engine: Engine, node: str) -> None:
    engine.remove_network(NAME)
    assert engine.has_network(NAME)
    engine.run("kill", node, within=30)
    engine.remove_network(NAME)
    assert engine.has_network(NAME), "a node that is stopped must find its network when it starts again"
    engine.remove_container(node)
    engine.remove_container(node)
    engine.remove_network(NAME)
    engine.remove_network(NAME)
    assert not engine.has_network(NAME)


def test_a_network_that_others_made_is_theirs(engine: Engine) -> None:
    engine.run("network", "create", NAME, within=30)
    try:
        engine.make_network(NAME)
        engine.remove_network(NAME)
        assert engine.has_network(NAME)
    finally:
        engine.run("network", "rm", NAME, within=30)


def test_a_network_stays_for_who_is_on_the_way_to_it(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"KIND_EXPERIMENTAL_{engine.provider.upper()}_NETWORK", NAME)
    with network.approached(engine), network.approached(engine):
        network.remove(engine, NAME)
        assert engine.has_network(NAME)
    network.remove(engine, NAME)
    assert not engine.has_network(NAME)


def test_who_removes_a_network_waits_for_who_looks_whether_to(engine: Engine) -> None:
    engine.make_network(NAME)
    with ThreadPoolExecutor(1) as pool:
        with locked(engine.command, fcntl.LOCK_EX):
            removed = pool.submit(network.remove, engine, NAME)
            with pytest.raises(TimeoutError):
                removed.result(1)
            assert engine.has_network(NAME)
        removed.result()
    assert not engine.has_network(NAME)


def test_a_network_that_many_make_at_once_is_there_for_all(engine: Engine) -> None:
    try:
        with ThreadPoolExecutor(8) as pool:
            assert [one.result() for one in [pool.submit(engine.make_network, NAME) for _ in range(8)]] == [None] * 8
        assert engine.has_network(NAME)
    finally:
        engine.remove_network(NAME)
    assert not engine.has_network(NAME)
