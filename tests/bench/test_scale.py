"""The measurement of scale, as far as it needs no mesh: what it counts, makes and runs, through small API servers."""

from __future__ import annotations

import argparse
import json
import re
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote

import pytest

from bench import __main__ as command_line
from bench import scale
from bench.scale import Pushes, Scale, service, sizes_of
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.mesh.mesh import Mesh
from splithorizon.run.progress import Progress
from tests.support.controllers import Controllers
from tests.support.mesh_info import mesh_info
from tests.support.small_api import SmallApi, small_api

METRICS = """# HELP pilot_xds_pushes Pilot build and send errors for lds, rds, cds and eds.
# TYPE pilot_xds_pushes counter
pilot_xds_pushes{type="cds"} 40
pilot_xds_pushes{type="cds_senderr"} 3
pilot_xds_pushes{type="eds"} 25
pilot_xds_pushes{type="lds"} 41
pilot_xds_pushes{type="rds"} 1e+01
pilot_pushcontext_init_seconds_bucket{le="0.01"} 5
pilot_pushcontext_init_seconds_sum 0.3
pilot_pushcontext_init_seconds_count 7
pilot_xds{version="1.29.1"} 6
"""


@pytest.fixture
def apis(tmp_path: Path) -> Iterator[dict[str, SmallApi]]:
    with ExitStack() as stack:
        found = {}
        for name, version in (("primary", "v1"), ("remote", "v2")):
            api = stack.enter_context(small_api(tmp_path / f"{name}.kubeconfig", context=f"kind-{name}"))
            api.versioned = True
            labels = {"istio-injection": "enabled", "kubernetes.io/metadata.name": "sample"}
            api.put("Namespace", "sample", labels=labels)
            api.put("Deployment", f"helloworld-{version}", "sample", spec=deployment(version), status={"replicas": 1})
            found[name] = api
        yield found


def deployment(version: str) -> dict[str, object]:
    labels = {"app": "helloworld", "version": version}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "helloworld", "image": version}]}}
    return {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}


@pytest.fixture
def measured(apis: dict[str, SmallApi], tmp_path: Path) -> Scale:  # the servers have to be there
    return Scale(Mesh(mesh_info(tmp_path)), tmp_path, Progress(print))


def test_pushes_are_counted_by_what_was_pushed() -> None:
    assert Pushes.read(METRICS) == Pushes(full=7, sent=91, endpoints_sent=25)


def test_pushes_of_istiods_add_up_and_those_of_before_are_left_out() -> None:
    assert Pushes(7, 90, 20) + Pushes(1, 2, 3) - Pushes(3, 50, 10) == Pushes(5, 42, 13)


def test_pushes_are_read_at_istiods_own_port(apis: dict[str, SmallApi], measured: Scale) -> None:
    for pod, labels in (("istiod-1", {"app": "istiod"}), ("gateway-1", {"istio": "eastwestgateway"})):
        apis["primary"].put("Pod", pod, "istio-system", labels=labels, status={"phase": "Running"})
    answer = f"HTTP/1.1 200 OK\r\nContent-Length: {len(METRICS)}\r\n\r\n{METRICS}".encode()
    port = struct.pack("<H", 15014)
    apis["primary"].frames = [(0, port), (1, port), (0, answer)]
    assert measured._pushes() == Pushes.read(METRICS)
    (asked,) = apis["primary"].requests("GET", "/portforward")
    assert asked == "/api/v1/namespaces/istio-system/pods/istiod-1/portforward"


def test_an_istiod_without_metrics_breaks_the_measurement(apis: dict[str, SmallApi], measured: Scale) -> None:
    apis["primary"].put("Pod", "istiod-1", "istio-system", labels={"app": "istiod"}, status={"phase": "Running"})
    port = struct.pack("<H", 15014)
    apis["primary"].frames = [(0, port), (1, port), (0, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")]
    with pytest.raises(EnvironmentBroke, match="istiod-1 has no metrics"):
        measured._pushes()


def test_each_cluster_gets_one_pod_like_its_helloworld(apis: dict[str, SmallApi], measured: Scale) -> None:
    for number, api in enumerate(apis.values()):
        Controllers(api, f"10.{number}")
    measured.make_workloads()
    for name, version in (("primary", "v1"), ("remote", "v2")):
        (namespace,) = (one for one in apis[name].kept("Namespace") if one["metadata"]["name"] == "scale")
        assert namespace["metadata"]["labels"] == {"istio-injection": "enabled"}
        (made,) = apis[name].kept("Deployment", "scale")
        assert made["metadata"]["name"] == f"helloworld-{version}"
        assert made["spec"] == {**deployment(version), "replicas": 1}


def test_a_mesh_grows_by_what_it_lacks_until_every_client_knows_it(apis: dict[str, SmallApi], measured: Scale) -> None:
    asked: list[str] = []

    def clusters(_: str, command: list[str]) -> str:
        asked.append(unquote(command[-1]).replace("\\", ""))
        hosts = [endpoint("10.10.0.7", 5000), endpoint("172.18.0.3", 15443)]
        name = re.search(r"outbound[^$]+", asked[-1])
        # A sidecar that knows nothing yet of a Service answers without a list.
        known = name is not None and len(asked) > 1
        return json.dumps({"cluster_statuses": [{"name": name[0], "host_statuses": hosts}]} if name and known else {})

    for api in apis.values():
        api.put("Pod", "sleep-1", "sample", labels={"app": "sleep"}, status={"phase": "Running"})
        api.execute = clusters
    measured._grow(2)
    measured._grow(3)
    measured._grow(3)
    for api in apis.values():
        applied = [path.rpartition("/")[2] for path in api.requests("PATCH") if "/services/" in path]
        assert applied == ["scale-0000", "scale-0001", "scale-0002"]
    assert len(asked) == 5, "one answer without a list, then one of each client for each growth"
    assert asked[-1].endswith("filter=^outbound|5000||scale-0002.scale.svc.cluster.local$")


def endpoint(host: str, port: int) -> dict[str, object]:
    address = {"socket_address": {"address": host, "port_value": port}}
    return {"address": address, "weight": 1, "health_status": {"eds_health_status": "HEALTHY"}}


def test_a_run_of_core_without_a_report_is_no_measurement(measured: Scale, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "_core_command", lambda _: iter(("true",)))
    with pytest.raises(EnvironmentBroke, match="core is not conformant") as caught:
        measured.run_core("core-1")
    assert caught.value.seen == "no report"
    assert caught.value.next_command.endswith("core-1.log")


def test_a_service_of_ours_selects_what_it_is_given() -> None:
    made = service("scale-0001", {"app": "nobody"})
    assert made["metadata"] == {"name": "scale-0001", "namespace": "scale"}
    assert made["spec"] == {"ports": [{"name": "http", "port": 5000}], "selector": {"app": "nobody"}}


def test_core_is_run_by_contexts_and_not_by_what_the_lab_knows(apis: dict[str, SmallApi], tmp_path: Path) -> None:
    command = list(scale._core_command(Mesh(mesh_info(tmp_path))))
    assert command[command.index("--contexts") + 1] == "kind-primary,kind-remote"
    assert command[-2:] == [f"--kubeconfig-{name}={tmp_path / name}.kubeconfig" for name in ("primary", "remote")]
    assert "--mesh" not in command
    assert command[command.index("--profile") + 1] == "core"


@pytest.mark.parametrize(("text", "sizes"), [("10,100,500", (10, 100, 500)), ("50", (50,)), ("20,10,20", (10, 20))])
def test_sizes_are_measured_from_the_smallest(text: str, sizes: tuple[int, ...]) -> None:
    assert sizes_of(text) == sizes


@pytest.mark.parametrize(("text", "error"), [("0,10", argparse.ArgumentTypeError), ("ten", ValueError)])
def test_a_size_is_a_number_of_services(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        sizes_of(text)


def test_bad_input_is_said_before_anything_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["scale", "--cluster-name", "x" * 70]) == 4
    printed = capsys.readouterr()
    assert "Nothing was created" in printed.err
    assert printed.out == ""
