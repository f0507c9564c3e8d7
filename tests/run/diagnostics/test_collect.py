"""A collection has what one needs to go on, read from real loopback API servers, without a secret and within bounds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from splithorizon.diagnosis.access import ClusterAccess, Target
from splithorizon.kube.api_resources import path_of
from splithorizon.kube.client import Kube
from splithorizon.run import redaction
from splithorizon.run.diagnostics import collect, index, masked
from splithorizon.run.diagnostics.collect import Collected
from tests.support.parsed_html import parse
from tests.support.small_api import Failure, SmallApi, small_api

SINCE = datetime(2026, 11, 27, 6, 0, 30, tzinfo=UTC)
TARGET = Target("sample", "helloworld", (), "app=sleep")
PASSWORD = base64.b64encode(b"a password of the application").decode()
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
PORT = b"\x98\x3a"
PAGE = {"private_key": {"inline_bytes": "a key of envoy"}, "name": "default", "certificate_chain": "a chain"}


@dataclass
class Two:
    """Two API servers with a client, helloworld, a gateway and, in the first, an istiod."""

    apis: dict[str, SmallApi]
    access: tuple[ClusterAccess, ...]
    folder: Path

    def collect(self, **bounds: Any) -> Collected:
        return collect.collect(
            self.access, TARGET, "", self.folder, title="test_it", since=SINCE, redact=redaction.redact,
            **{"seconds": 20.0, **bounds},
        )  # fmt: skip

    def text(self, path: str) -> str:
        return (self.folder / path).read_text()

    @property
    def everything(self) -> str:
        return "\n".join(file.read_text() for file in self.folder.rglob("*") if file.is_file())


def put_pod(api: SmallApi, name: str, namespace: str, labels: dict[str, str], *, restarts: int = 0) -> None:
    status = {"phase": "Running", "containerStatuses": [{"name": "istio-proxy", "restartCount": restarts}]}
    api.put("Pod", name, namespace, labels=labels, spec={"containers": [{"name": "istio-proxy"}]}, status=status)
    api.answers[f"{path_of('Pod', namespace, name)}/log"] = (200, f"a line of {name}, Bearer {TOKEN}\n".encode())


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    with ExitStack() as stack:
        apis, access = {}, []
        for name in ("primary", "remote"):
            path = tmp_path / name / "kubeconfig"
            path.parent.mkdir()
            apis[name] = api = stack.enter_context(small_api(path))
            api.versioned = True
            api.put("Namespace", "sample")
            api.put("Service", "helloworld", "sample", spec={"selector": {"app": "helloworld"}, "ports": []})
            api.put("Secret", "login", "sample", type="Opaque", data={"password": PASSWORD})
            involved = {"kind": "Pod", "name": "sleep-1"}
            event = {"reason": "Unhealthy", "type": "Warning", "message": "not\nready", "count": 3}
            api.put("Event", "e-1", "sample", involvedObject=involved, lastTimestamp="2026-11-27T06:01:00Z", **event)
            put_pod(api, "sleep-1", "sample", {"app": "sleep"}, restarts=1)
            put_pod(api, "helloworld-1", "sample", {"app": "helloworld"})
            put_pod(api, "gateway-1", "istio-system", {"istio": "eastwestgateway"})
            body = json.dumps(PAGE).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            api.frames = [(0, PORT), (1, PORT), (0, head.encode() + body)]
            access.append(ClusterAccess(name, Kube(path, name), f"{name}-network", name, "istio-system", "primary"))
        put_pod(apis["primary"], "istiod-1", "istio-system", {"app": "istiod"})
        yield Two(apis, tuple(access), tmp_path / "collected")


def test_a_collection_has_objects_events_logs_and_pages_of_each_cluster(two: Two) -> None:
    found = two.collect()
    names = {name for name, _ in found.files}
    for cluster in ("primary", "remote"):
        assert {
            f"{cluster}/events/sample.txt",
            f"{cluster}/objects/Service.sample.json",
            f"{cluster}/objects/Pod.istio-system.json",
            f"{cluster}/logs/sample.sleep-1.istio-proxy.log",
            f"{cluster}/logs/istio-system.gateway-1.istio-proxy.log",
            f"{cluster}/envoy/client-sleep-1/clusters.json",
            f"{cluster}/envoy/server-helloworld-1/config-dump.json",
            f"{cluster}/envoy/gateway-gateway-1/stats.json",
        } <= names
    assert "primary/istiod/istiod-1/syncz.json" in names
    assert not [name for name in names if name.startswith("remote/istiod")]
    assert not found.unread
    assert dict(found.files) == {name: (two.folder / name).stat().st_size for name in names}


def test_events_are_lines_with_time_reason_object_and_count(two: Two) -> None:
    two.collect()
    line = "2026-11-27T06:01:00Z Warning Unhealthy Pod/sleep-1 x3: not ready\n"
    assert two.text("primary/events/sample.txt") == line


def test_logs_begin_with_the_run_and_those_before_a_restart_are_there_too(two: Two) -> None:
    two.collect()
    asked = [(path.split("/")[-2], query) for _, path, query, *_ in two.apis["primary"].asked if path.endswith("/log")]
    since = [query.get("sinceTime") for pod, query in asked if "previous" not in query]
    assert set(map(str, since)) == {"['2026-11-27T06:00:30Z']"}
    assert [pod for pod, query in asked if query.get("previous") == ["true"]] == ["sleep-1"]
    assert "a line of sleep-1" in two.text("primary/logs/sample.sleep-1.istio-proxy.previous.log")


def test_secrets_are_there_by_keys_and_lengths_and_nowhere_else(two: Two) -> None:
    two.collect()
    (secret,) = json.loads(two.text("primary/objects/Secret.sample.json"))
    assert secret["data"] == [{"key": "password", "characters": len(PASSWORD)}]
    written = two.everything
    assert PASSWORD not in written
    assert TOKEN not in written
    assert "a key of envoy" not in written
    assert "a chain" in written


def test_what_is_forbidden_is_listed_with_the_reason_and_the_rest_is_there(two: Two) -> None:
    two.apis["remote"].failures.append(Failure(100, "GET", "/secrets", 403))
    found = two.collect()
    assert {what for what, _ in found.unread} == {
        "remote/objects/Secret.sample.json",
        "remote/objects/Secret.istio-system.json",
    }
    assert all("403" in why for _, why in found.unread)
    assert "remote/events/sample.txt" in dict(found.files)


def test_a_cluster_that_does_not_answer_leaves_the_other(two: Two) -> None:
    two.apis["remote"].failures.append(Failure(1000))
    found = two.collect()
    assert {name.partition("/")[0] for name, _ in found.files} == {"primary"}
    assert any(what.startswith("remote/") for what, _ in found.unread)


def test_a_collection_has_no_more_bytes_than_it_may(two: Two) -> None:
    whole = two.collect().size
    for file in sorted(two.folder.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    found = two.collect(size=whole // 2)
    assert found.size <= whole // 2
    assert found.unread
    assert sum(file.stat().st_size for file in two.folder.rglob("*/*/*") if file.is_file()) == found.size


def test_without_time_nothing_is_read_and_that_is_said(two: Two) -> None:
    found = two.collect(seconds=0.0)
    assert not found.files
    assert {why for _, why in found.unread} == {"not read within 0 s"}


def test_the_index_links_every_file_and_escapes_what_it_shows(two: Two) -> None:
    found = two.collect()
    assert collect.load(two.folder) == found
    root = parse(index.write(two.folder.parent).read_text())
    links = [one.attributes["href"] for one in root.all("a")]
    assert sorted(links) == sorted(f"collected/{name}" for name, _ in found.files)
    assert all((two.folder.parent / link).is_file() for link in links)
    spoiled = Collected("<script>", (("a/<b>.json", 1),), (("<i>", "</table>"),))
    page = parse(index.render([("<x>", spoiled)]))
    assert "<script>" in page.text
    assert not list(page.all("script"))


def test_only_the_fields_that_hold_secrets_are_masked() -> None:
    assert masked.of_envoy({"a": [{"password": {"inline_string": "x"}, "token": "y", "tokens": 1}]}) == {
        "a": [{"password": masked.MASKED, "token": masked.MASKED, "tokens": 1}]
    }
