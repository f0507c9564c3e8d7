"""The engine's commands, by programs that stand for docker and podman; ``tests/engine`` uses real ones."""

from __future__ import annotations

import fcntl
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lab.engine import Engine, names_a_registry
from splithorizon.base.errors import CommandFailed, EnvironmentBroke
from splithorizon.base.file_lock import locked
from tests.support.fake_podman import FakePodman

# Records what it is asked to pull, and lists its one image under three names.
PODMAN = """#!/bin/sh
case "$1" in
  pull) shift; echo "$@" >>"$(dirname "$0")/asked";;
  image) echo '["elsewhere.test/b:1", "elsewhere.test/istio/pilot:1.29.1", "elsewhere.test/kindest/node@sha256:12ab"]';;
esac
"""


@pytest.mark.parametrize(
    ("reference", "asked", "name"),
    [
        ("istio/pilot:1.29.1", "docker://istio/pilot:1.29.1", "elsewhere.test/istio/pilot:1.29.1"),
        ("kindest/node:v1@sha256:12ab", "docker://kindest/node@sha256:12ab", "elsewhere.test/kindest/node@sha256:12ab"),
        ("elsewhere.test/istio/pilot:1.29.1", "elsewhere.test/istio/pilot:1.29.1", "elsewhere.test/istio/pilot:1.29.1"),
        ("localhost/a:1", "localhost/a:1", "localhost/a:1"),
        ("host:5000/a@sha256:12ab", "host:5000/a@sha256:12ab", "host:5000/a@sha256:12ab"),
    ],
)
def test_podman_takes_a_name_without_a_registry_as_docker_does(
    tmp_path: Path, reference: str, asked: str, name: str
) -> None:
    program = tmp_path / "podman"
    program.write_text(PODMAN)
    program.chmod(0o755)
    engine = Engine("podman", program, {}, lacks_resource_capability=False)
    assert engine.pull(reference) == name
    assert (tmp_path / "asked").read_text().strip() == asked


@pytest.fixture
def fake(tmp_path: Path) -> FakePodman:
    return FakePodman(tmp_path / "engine")


def test_a_network_is_dual_stack_and_created_once(fake: FakePodman) -> None:
    fake.engine.make_network("kind")
    fake.engine.make_network("kind")
    (created,) = (call for call in fake.calls if call.startswith("network create"))
    assert "--ipv6 --subnet fd" in created
    assert fake.names("networks") == {"kind"}


def test_each_network_has_an_ipv6_subnet_that_depends_on_its_name(fake: FakePodman) -> None:
    for name in ("one", "two"):
        fake.engine.make_network(name)
    subnets = {call.split("--subnet ")[1].split()[0] for call in fake.calls if "--subnet" in call}
    assert len(subnets) == 2
    fake.engine.remove_network("one")
    fake.engine.make_network("one")
    assert {call.split("--subnet ")[1].split()[0] for call in fake.calls if "--subnet" in call} == subnets


def test_a_machine_without_ipv6_gets_a_network_with_ipv4(fake: FakePodman) -> None:
    fake.has_no_ipv6()
    fake.engine.make_network("kind")
    assert fake.names("networks") == {"kind"}
    assert "--ipv6" not in fake.calls[-1]


def test_a_network_that_another_process_created_meanwhile_is_taken(fake: FakePodman) -> None:
    fake.another_creates_it_meanwhile()
    fake.engine.make_network("kind")
    assert fake.names("networks") == {"kind"}


def test_one_run_at_a_time_creates_networks(fake: FakePodman) -> None:
    with ThreadPoolExecutor(1) as pool:
        with locked(fake.engine.command.parent, fcntl.LOCK_EX):
            made = pool.submit(fake.engine.make_network, "kind")
            with pytest.raises(TimeoutError):
                made.result(0.5)
            assert fake.names("networks") == set()
        made.result()
    assert fake.names("networks") == {"kind"}


def test_a_network_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "podman"
    program.write_text("#!/bin/sh\necho 'Error: no space left' >&2; exit 125\n")
    program.chmod(0o755)
    engine = Engine("podman", program, {}, lacks_resource_capability=False)
    with pytest.raises(CommandFailed, match="no space left"):
        engine.make_network("kind")


def test_only_a_network_that_we_created_and_nobody_uses_is_removed(fake: FakePodman) -> None:
    fake.engine.run("network", "create", "of-others", within=60)
    fake.engine.make_network("kind")
    fake.start("node", "kind")
    for name in ("of-others", "kind", "absent"):
        fake.engine.remove_network(name)
    assert fake.names("networks") == {"of-others", "kind"}
    fake.engine.remove_container("node")
    fake.engine.remove_network("kind")
    assert fake.names("networks") == {"of-others"}


def test_a_container_is_stopped_and_removed_with_its_named_volume(fake: FakePodman) -> None:
    fake.start("node")
    fake.start("other")
    fake.add_volume("volume-of-node")
    fake.engine.remove_container("node")
    assert fake.names("containers") == {"other"}
    assert fake.names("volumes") == set()
    assert fake.calls.index("stop -t 0 node") < fake.calls.index("rm --force --volumes node")
    assert "volume ls --filter label=node --format {{.Name}}" in fake.calls


def test_removing_a_container_that_is_gone_stops_nothing(fake: FakePodman) -> None:
    fake.engine.remove_container("node")
    assert not [call for call in fake.calls if call.startswith(("stop", "rm"))]


@pytest.mark.parametrize(
    ("networks", "message"),
    [
        ({"kind": {"IPAddress": "10.89.0.2"}}, None),
        ({"other": {"IPAddress": "10.89.0.2"}}, "networks: other"),
        ({"kind": {"IPAddress": ""}}, "networks: kind"),
        (None, "networks: none"),
    ],
)
def test_a_nodes_address_is_that_on_kinds_network(
    tmp_path: Path, networks: dict[str, dict[str, str]] | None, message: str | None
) -> None:
    program = tmp_path / "docker"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(networks)}'\n")
    program.chmod(0o755)
    engine = Engine("docker", program, {}, lacks_resource_capability=False)
    if message is None:
        assert engine.address_of("node") == "10.89.0.2"
    else:
        with pytest.raises(EnvironmentBroke, match="container node has no address on the network 'kind'") as refused:
            engine.address_of("node")
        assert refused.value.seen == message


@pytest.mark.parametrize(
    ("reference", "names_one"),
    [
        ("istio/pilot:1.29.1", False),
        ("pilot:1.29.1", False),
        ("hub.example/istio/pilot:1", True),
        ("host:5000/pilot", True),
        ("localhost/pilot", True),
        ("localhost", False),
    ],
)
def test_a_registry_is_known_by_a_dot_a_port_or_localhost(reference: str, names_one: bool) -> None:
    assert names_a_registry(reference) is names_one


def test_an_engine_is_read_back_as_it_was(fake: FakePodman) -> None:
    assert Engine.from_json(fake.engine.to_json()) == fake.engine
