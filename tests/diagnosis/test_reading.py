"""One reading of a mesh, from real loopback API servers: what it holds, what it leaves unread, and its bounds."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from splithorizon.diagnosis.access import ClusterAccess, External, Target, running_istiods
from splithorizon.diagnosis.reading import control_plane
from splithorizon.diagnosis.reading.budget import Budget
from splithorizon.diagnosis.reading.model import CLIENT, GATEWAY, SERVER, Reading, RemoteSecret
from splithorizon.diagnosis.reading.read import domain_of, read
from splithorizon.kube.api_resources import path_of
from splithorizon.kube.client import Kube
from tests.support.small_api import SmallApi, small_api

TOKEN = "eyJhbGciOiJSUzI1NiJ9.the-reader.token"
PORT = b"\x98\x3a"
_PARTS = {"certificate_chain": b"its chain", "private_key": b"its key", "trusted_ca": b"its roots"}
TARGET = Target("sample", "helloworld", ("echo",), "app=sleep")


UPSTREAM = "outbound|5000||helloworld.sample.svc.cluster.local"


@dataclass
class Two:
    """Two API servers, and what a reading needs to know of them."""

    apis: dict[str, SmallApi]
    access: tuple[ClusterAccess, ...]

    def read(self, **bounds: float) -> Reading:
        return read(self.access, TARGET, **{"seconds": 20, **bounds})  # type: ignore[arg-type]  # two kinds of numbers


def answer(api: SmallApi, body: bytes, *, status: str = "200 OK") -> None:
    """Every port of every pod answers so."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    api.frames = [(0, PORT), (1, PORT), (0, head.encode() + body)]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    with ExitStack() as stack:
        apis, access = {}, []
        for name in ("primary", "remote"):
            path = tmp_path / name / "kubeconfig"
            path.parent.mkdir()
            apis[name] = api = stack.enter_context(small_api(path))
            api.versioned = True
            labels = {"topology.istio.io/network": f"{name}-network"}
            api.put("Namespace", "istio-system", labels=labels)
            api.put("Namespace", "sample", labels={"istio-injection": "enabled"})
            ports = [{"name": "http", "port": 5000}]
            api.put("Service", "helloworld", "sample", spec={"selector": {"app": "helloworld"}, "ports": ports})
            for pod, app in (("sleep-1", "sleep"), ("helloworld-1", "helloworld")):
                put_pod(api, pod, "sample", {"app": app})
            put_pod(api, "gateway-1", "istio-system", {"istio": "eastwestgateway"})
            answer(api, b"{}")
            cluster = ClusterAccess(name, Kube(path, name), f"{name}-network", name, "istio-system", "primary")
            access.append(cluster)
        primary = apis["primary"]
        put_pod(primary, "istiod-1", "istio-system", {"app": "istiod"})
        kubeconfig = {
            "clusters": [{"cluster": {"server": "https://192.0.2.7:6443"}}],
            "users": [{"user": {"token": TOKEN}}],
        }
        data = {"remote": base64.b64encode(json.dumps(kubeconfig).encode()).decode()}
        primary.put(
            "Secret", "istio-remote-secret-remote", "istio-system", labels={"istio/multiCluster": "true"}, data=data
        )
        yield Two(apis, tuple(access))


def put_pod(api: SmallApi, name: str, namespace: str, labels: dict[str, str]) -> None:
    containers = [{"name": "istio-proxy"}]
    api.put("Pod", name, namespace, labels=labels, spec={"containers": containers}, status={"phase": "Running"})
    api.answers[f"{path_of('Pod', namespace, name)}/log"] = (200, b"")


def test_both_clusters_are_read_with_the_proxies_that_matter(two: Two) -> None:
    reading = two.read()
    assert [one.name for one in reading.clusters] == ["primary", "remote"]
    for cluster in reading.clusters:
        assert {proxy.kind: proxy.pod for proxy in cluster.proxies} == {
            CLIENT: "sleep-1", SERVER: "helloworld-1", GATEWAY: "gateway-1",
        }  # fmt: skip
        assert cluster.get("Service", "helloworld", "sample")
        assert cluster.get("Namespace", "sample")
    assert [one.pod for one in reading["primary"].istiods] == ["istiod-1"]
    assert reading["remote"].istiods == ()
    assert reading["primary"].read("DestinationRule")
    assert not reading["remote"].read("DestinationRule"), "no istiod reads rules there"
    assert reading.unread == ()
    assert 0 < reading.size < 100_000


def test_of_the_tls_to_an_upstream_its_identities_are_kept(two: Two) -> None:
    identity = "spiffe://cluster.local/ns/sample/sa/default"
    names = {"default_validation_context": {"match_subject_alt_names": [{"exact": identity}, {"prefix": "spiffe://"}]}}
    context = {"common_tls_context": {"combined_validation_context": names}}
    sockets = [{"name": "tls", "typed_config": context}, {"name": "raw_buffer"}]
    upstream = {"name": UPSTREAM, "transport_socket_matches": [{"transport_socket": one} for one in sockets]}
    answer(two.apis["primary"], json.dumps({"configs": [{"cluster": upstream}]}).encode())
    (client,) = two.read()["primary"].of(CLIENT)
    assert client.clusters[UPSTREAM]["expected_identities"] == [identity]
    assert client.clusters[UPSTREAM]["transport_sockets"] == ["tls", "raw_buffer"]


@pytest.mark.parametrize(
    ("logged", "last"),
    [
        (b"info starts\nerror cannot verify the cert\nusage: pilot-discovery\n\n", "error cannot verify the cert"),
        (b"info starts\ninfo ends\n", "info ends"),
        (b"", ""),
    ],
    ids=["an error", "no error", "nothing"],
)
def test_of_an_istiod_that_crashes_the_log_of_before_is_read(two: Two, logged: bytes, last: str) -> None:
    primary = two.apis["primary"]
    path = path_of("Pod", "istio-system", "istiod-1")
    primary.objects[path]["status"]["containerStatuses"] = [{"name": "discovery", "ready": False, "restartCount": 2}]
    primary.answers[f"{path}/log"] = (200, logged)
    reading = two.read()
    assert reading["primary"].logged_before_crash == {"istiod-1": last}
    assert reading["remote"].logged_before_crash == {}
    (query,) = (one[2] for one in primary.asked if one[1] == f"{path}/log")
    assert {"container": ["discovery"], "previous": ["true"]}.items() <= query.items()


def test_a_proxys_pages_are_asked_for_the_services_alone(two: Two) -> None:
    two.read()
    sent = [path for method, path, *_ in two.apis["primary"].asked if path.endswith("/portforward") and method == "GET"]
    assert any("/pods/sleep-1/" in path for path in sent)
    assert not any(path.endswith("/exec") for _, path, *_ in two.apis["primary"].asked)


def test_where_no_port_is_forwarded_the_programs_own_command_asks(two: Two) -> None:
    for api in two.apis.values():
        # A channel that no port-forward has: what a kubelet says that does not reach the port.
        api.frames = [(0, PORT), (1, PORT + b"error forwarding port"), (1, b"{}"), (3, b'{"status":"Success"}')]
    two.read()
    commands = [query["command"] for _, path, query, *_ in two.apis["remote"].asked if path.endswith("/exec")]
    assert ["pilot-agent", "request", "GET", "server_info"] in commands


def test_a_remote_secret_is_read_without_its_credential(two: Two) -> None:
    reading = two.read()
    (secret,) = reading["primary"].secrets
    assert secret == RemoteSecret(
        "istio-system", "istio-remote-secret-remote", "remote", "https://192.0.2.7:6443", "remote", answer=200
    )
    assert TOKEN.encode() not in reading.to_json()
    asked = [headers["Authorization"] for *_, headers, _ in two.apis["remote"].asked if "Authorization" in headers]
    assert f"Bearer {TOKEN}" in asked, "the far API server was asked with it"


def test_a_token_is_tried_on_everything_that_istiod_watches(two: Two) -> None:
    forbidden = json.dumps({"message": "no, not for you"}).encode()
    two.apis["remote"].answers[path_of("EndpointSlice", None)] = (403, forbidden)
    (secret,) = two.read()["primary"].secrets
    assert (secret.answer, secret.refused) == (403, "endpointslices")


def test_of_a_token_that_is_good_for_nothing_no_resource_is_named(two: Two) -> None:
    two.apis["remote"].answers[path_of("Pod", None)] = (401, b"{}")
    (secret,) = two.read()["primary"].secrets
    assert (secret.answer, secret.refused) == (401, "")


def test_a_secret_with_the_authority_of_another_cluster_leads_where_its_token_is_known(two: Two) -> None:
    for name, api in two.apis.items():
        api.put("ConfigMap", "kube-root-ca.crt", "kube-system", data={"ca.crt": f"the CA of {name}"})
    two.apis["primary"].answers[path_of("Pod", None)] = (401, b"{}")
    cluster = {"server": "https://192.0.2.7:6443", "certificate-authority-data": encoded("the CA of primary")}
    kubeconfig = {"clusters": [{"cluster": cluster}], "users": [{"user": {"token": TOKEN}}]}
    two.apis["primary"].put(
        "Secret", "istio-remote-secret-remote", "istio-system", labels={"istio/multiCluster": "true"},
        data={"remote": encoded(json.dumps(kubeconfig))},
    )  # fmt: skip
    (secret,) = two.read()["primary"].secrets
    assert (secret.authority, secret.leads_to, secret.answer) == ("primary", "remote", 200)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_proxys_certificates_are_read_and_its_key_is_not(two: Two) -> None:
    inline = {name: {"inline_bytes": base64.b64encode(text).decode()} for name, text in _PARTS.items()}
    served = {
        "name": "default",
        "secret": {"tls_certificate": {name: inline[name] for name in _PARTS if name != "trusted_ca"}},
    }
    root = {"name": "ROOTCA", "secret": {"validation_context": {"trusted_ca": inline["trusted_ca"]}}}
    answer(two.apis["remote"], json.dumps({"configs": [served, root]}).encode())
    reading = two.read()
    (client,) = reading["remote"].of(CLIENT)
    assert (client.certificate, client.trusted) == ("its chain", "its roots")
    assert b"its key" not in reading.to_json()
    assert reading["remote"].of(GATEWAY)[0].certificate == "its chain"


def test_of_the_injectors_configmap_the_values_alone_are_kept(two: Two) -> None:
    values = json.dumps({"global": {"network": "primary-network"}})
    api = two.apis["primary"]
    api.put("ConfigMap", "istio", "istio-system", data={"mesh": "{}"})
    api.put("ConfigMap", "istio-sidecar-injector", "istio-system", data={"config": "a template", "values": values})
    reading = two.read()
    found = reading["primary"].get("ConfigMap", "istio-sidecar-injector", "istio-system")
    assert found
    assert found["data"] == {"values": values}
    assert b"a template" not in reading.to_json()
    assert reading["primary"].get("ConfigMap", "istio", "istio-system")
    assert reading["remote"].get("ConfigMap", "istio-sidecar-injector", "istio-system") is None
    assert reading.unread == (), "that the remote has none is no failure"


def test_an_injectors_configmap_without_data_has_no_values(two: Two) -> None:
    two.apis["primary"].put("ConfigMap", "istio-sidecar-injector", "istio-system")
    found = two.read()["primary"].get("ConfigMap", "istio-sidecar-injector", "istio-system")
    assert found
    assert found["data"] == {}


def test_the_injector_is_that_of_the_revision(two: Two) -> None:
    api = two.apis["primary"]
    for name in ("istio-sidecar-injector", "istio-sidecar-injector-canary"):
        api.put("ConfigMap", name, "istio-system", data={"values": "{}"})
    two.access = tuple(replace(one, revision="canary") for one in two.access)
    assert [one["metadata"]["name"] for one in two.read()["primary"].all("ConfigMap")] == [
        "istio-sidecar-injector-canary"
    ]


def test_an_injector_that_may_not_be_read_leaves_the_rest_whole(two: Two) -> None:
    api = two.apis["primary"]
    api.put("ConfigMap", "istio", "istio-system", data={"mesh": "rootNamespace: other"})
    forbidden = json.dumps({"message": "no, not for you"}).encode()
    api.answers[path_of("ConfigMap", "istio-system", "istio-sidecar-injector")] = (403, forbidden)
    reading = two.read()
    assert [str(one) for one in reading.unread] == ["the injector's values of primary: HTTP 403: no, not for you"]
    found = reading["primary"].get("ConfigMap", "istio", "istio-system")
    assert found
    assert found["data"] == {"mesh": "rootNamespace: other"}
    assert {proxy.kind for proxy in reading["primary"].proxies} == {CLIENT, SERVER, GATEWAY}


@pytest.mark.parametrize(
    ("state", "read_too"),
    [({"running": {}}, True), ({"waiting": {"reason": "PodInitializing"}}, False), (None, False)],
    ids=["it runs", "it waits", "not begun"],
)
def test_a_pending_pod_is_read_where_its_sidecar_runs_before_its_application(
    two: Two, state: dict[str, Any] | None, read_too: bool
) -> None:
    statuses = [{"name": "istio-init", "state": {"terminated": {"exitCode": 0}}}]
    statuses += [{"name": "istio-proxy", "state": state}] if state else []
    two.apis["remote"].put(
        "Pod", "helloworld-1", "sample", labels={"app": "helloworld"},
        spec={"initContainers": [{"name": "istio-init"}, {"name": "istio-proxy"}], "containers": [{"name": "app"}]},
        status={"phase": "Pending", "initContainerStatuses": statuses},
    )  # fmt: skip
    reading = two.read()
    assert [one.pod for one in reading["remote"].of(SERVER)] == ["helloworld-1"] * read_too
    assert [one.pod for one in reading["primary"].of(SERVER)] == ["helloworld-1"]


def test_a_sidecar_that_runs_in_a_pod_that_ends_is_not_read(two: Two) -> None:
    kept = two.apis["remote"].put(
        "Pod", "helloworld-1", "sample", labels={"app": "helloworld"}, spec={"containers": [{"name": "istio-proxy"}]},
        status={"phase": "Pending", "initContainerStatuses": [{"name": "istio-proxy", "state": {"running": {}}}]},
    )  # fmt: skip
    kept["metadata"]["deletionTimestamp"] = "2026-11-28T04:00:00Z"
    assert two.read()["remote"].of(SERVER) == ()


def test_what_is_forbidden_is_listed_and_the_rest_is_read(two: Two) -> None:
    forbidden = json.dumps({"message": "no, not for you"}).encode()
    two.apis["primary"].answers[path_of("Secret", "istio-system")] = (403, forbidden)
    two.apis["remote"].answers[path_of("NetworkPolicy", None)] = (403, forbidden)
    reading = two.read()
    assert [str(one) for one in reading.unread] == [
        "NetworkPolicy objects of remote: HTTP 403: no, not for you",
        "remote secrets of primary: HTTP 403: no, not for you",
    ]
    assert not reading["remote"].read("NetworkPolicy")
    assert reading["remote"].read("Service")


def test_a_kind_that_is_not_served_is_empty_and_not_unread(two: Two) -> None:
    two.apis["primary"].answers[path_of("ProxyConfig", None)] = (404, b"{}")
    reading = two.read()
    assert reading["primary"].all("ProxyConfig") == ()
    assert reading.unread == ()


@pytest.mark.parametrize("flag", ["true", "false"])
def test_exports_are_read_where_an_istiod_asks_for_them(two: Two, flag: str) -> None:
    container = {"name": "discovery", "env": [{"name": "ENABLE_MCS_SERVICE_DISCOVERY", "value": flag}]}
    spec = {"template": {"spec": {"containers": [container]}}}
    two.apis["primary"].put("Deployment", "istiod", "istio-system", labels={"app": "istiod"}, spec=spec)
    two.apis["remote"].put("ServiceExport", "helloworld", "sample")
    found = two.read()
    assert [one.read("ServiceExport") for one in found.clusters] == [flag == "true"] * 2
    assert [len(one.all("ServiceExport", "sample")) for one in found.clusters] == [0, 1 if flag == "true" else 0]


def test_a_list_is_read_page_by_page_and_not_without_end(two: Two) -> None:
    page = {"items": [{"metadata": {"name": "one"}}], "metadata": {"continue": "more"}}
    path = path_of("DestinationRule", None)
    two.apis["primary"].answers[path] = (200, json.dumps(page).encode())
    reading = two.read()
    (unread,) = reading.unread
    assert "more than 8 of them" in unread.reason
    pages = [query for _, asked, query, *_ in two.apis["primary"].asked if asked == path]
    assert [query.get("continue") for query in pages] == [None, *[["more"]] * 7]


def test_a_program_that_answers_something_else_is_unread(two: Two) -> None:
    answer(two.apis["remote"], b"no JSON")
    reading = two.read()
    assert reading.unread
    assert {one.cluster for one in reading.unread} == {"remote"}
    assert reading["remote"].of(CLIENT)[0].read == ("log",)


def test_without_time_nothing_is_read_and_nothing_is_raised(two: Two) -> None:
    reading = two.read(seconds=0)
    assert reading.size == 0
    assert all("not read within" in one.reason for one in reading.unread)
    assert [one.objects for one in reading.clusters] == [{}, {}]


def test_no_more_bytes_are_read_than_allowed(two: Two) -> None:
    two.apis["primary"].put("ConfigMap", "istio", "istio-system", data={"mesh": "x" * 50_000})
    reading = two.read(size=20_000)
    assert any("more than" in one.reason or "share of bytes" in one.reason for one in reading.unread)
    assert reading["primary"].get("ConfigMap", "istio", "istio-system") is None


def test_a_cluster_that_is_gone_leaves_the_other_readable(two: Two) -> None:
    two.apis["remote"].shutdown()
    two.apis["remote"].server_close()
    reading = two.read()
    assert reading["primary"].read("Service")
    assert reading["remote"].objects == {}
    assert {one.cluster for one in reading.unread} == {"remote"}


def test_the_domain_is_that_of_istiods_own_argument(two: Two) -> None:
    assert two.read().host == "helloworld.sample.svc.cluster.local"
    (istiod,) = [one for one in two.apis["primary"].kept("Pod") if one["metadata"]["name"] == "istiod-1"]
    istiod["spec"]["containers"] = [{"name": "discovery", "args": ["discovery", "--domain", "corp.example"]}]
    assert two.read().host == "helloworld.sample.svc.corp.example"
    istiod["spec"]["containers"][0]["args"][1:] = ["--domain=other.example"]
    assert two.read().host == "helloworld.sample.svc.other.example"


def test_without_istiods_argument_a_sidecars_tells_the_domain() -> None:
    args = ["proxy", "sidecar", "--domain", "$(POD_NAMESPACE).svc.corp.example"]
    sidecar = {"metadata": {"name": "sleep"}, "spec": {"initContainers": [{"name": "istio-proxy", "args": args}]}}
    assert domain_of([sidecar], "default") == "corp.example"
    istiod = {
        "metadata": {"name": "istiod", "labels": {"istio.io/rev": "canary"}},
        "spec": {"containers": [{"name": "discovery", "args": ["--domain", "canary.example"]}]},
    }
    assert domain_of([sidecar, istiod], "default") == "corp.example", "that istiod manages others"
    assert domain_of([sidecar, istiod], "canary") == "canary.example"


@pytest.mark.parametrize("name", ["batch-1", "batch"], ids=["a pod", "a Deployment"])
def test_a_client_of_another_namespace_is_read_where_it_is_named(two: Two, name: str) -> None:
    api = two.apis["primary"]
    put_pod(api, "batch-1", "jobs", {"app": "batch"})
    api.put("Deployment", "batch", "jobs", spec={"selector": {"matchLabels": {"app": "batch"}}})
    target = Target("sample", "helloworld", client_name=name, client_namespace="jobs")
    reading = read(two.access, target, seconds=20)
    assert [(one.namespace, one.pod) for one in reading["primary"].of(CLIENT)] == [("jobs", "batch-1")]
    assert [one.pod for one in reading["remote"].of(CLIENT)] == ["sleep-1"], "where it is not, another one is read"
    assert reading.client_namespaces == ("jobs", "sample")


@pytest.mark.parametrize(("named", "port"), [("443", 443), ("tls", 15443)], ids=["a number", "no number: the default"])
def test_a_gateway_is_read_at_the_ports_that_its_services_lead_to(two: Two, named: str, port: int) -> None:
    api = two.apis["primary"]
    labels = {"topology.istio.io/network": "primary-network", "networking.istio.io/gatewayPort": named}
    spec = {"selector": {"istio": "eastwestgateway"}, "ports": [{"port": port, "targetPort": 8443}]}
    api.put("Service", "gateway", "istio-system", labels=labels, spec=spec)
    sent: list[str] = []

    def execute(pod: str, command: list[str]) -> str:
        sent.append(f"{pod.rpartition('/')[2]} {command[-1]}")
        return "{}"

    for one in api.kept("Pod"):
        path = path_of("Pod", one["metadata"]["namespace"], one["metadata"]["name"])
        api.answers[f"{path}/portforward"] = (403, b"{}")
    api.execute = execute
    two.read()
    (asked,) = [one for one in sent if one.startswith("gateway-1") and "dynamic_listeners" in one]
    assert asked.endswith("15443%7C8443%29%24")


def test_a_gateway_for_tunnels_alone_is_none_of_those_that_istiod_knows(two: Two) -> None:
    of_sidecars = {"Network": "remote-network", "Addr": "10.89.0.2", "Port": 15443}
    tunnels = {"Network": "remote-network", "Addr": "10.89.0.9", "Port": 0, "HBONEPort": 15008}
    answer(two.apis["primary"], json.dumps([of_sidecars, tunnels]).encode())

    def attempt(name: str, step: Callable[[], Any]) -> Any:
        return None if name.startswith("certificate") else step()

    istiod = control_plane.read(two.access[0].kube, "istio-system", "istiod-1", (), Budget(20), attempt)
    assert istiod.networks == (of_sidecars,)


def test_an_external_istiod_and_its_remote_secrets_are_read_where_they_are(two: Two, tmp_path: Path) -> None:
    with small_api(tmp_path / "north") as outside:
        outside.versioned = True
        primary = two.apis["primary"]
        del primary.objects[path_of("Pod", "istio-system", "istiod-1")]
        put_pod(outside, "istiod-1", "istio-system", {"app": "istiod"})
        secret = primary.objects.pop(path_of("Secret", "istio-system", "istio-remote-secret-remote"))
        outside.put(
            "Secret", "istio-remote-secret-remote", "istio-system", labels={"istio/multiCluster": "true"},
            data=secret["data"],
        )  # fmt: skip
        answer(outside, b"{}")
        kube = Kube(tmp_path / "north", "north")
        two.access = (replace(two.access[0], external=External(kube, kube)), two.access[1])
        reading = two.read()
        assert reading.unread == ()
        assert [one.pod for one in reading["primary"].istiods] == ["istiod-1"]
        assert [one.cluster_id for one in reading["primary"].secrets] == ["remote"]
        assert [path for _, path, *_ in outside.asked if path.endswith("/pods/istiod-1/portforward")]
        (beside,) = running_istiods(two.access)
        assert (beside.name, beside.kube, beside.control_plane) == ("primary-istiod", kube, "primary")


def test_of_an_external_istiod_that_is_not_named_no_secret_counts_as_missing(two: Two) -> None:
    two.access = (replace(two.access[0], external=External()), two.access[1])
    reading = two.read()
    assert reading["primary"].secrets == ()
    assert [str(one) for one in reading.unread if one.what == "remote secrets"], "no rule misses a secret then"
    assert running_istiods(two.access) == ()
