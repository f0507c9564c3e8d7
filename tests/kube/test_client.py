"""The client of the Kubernetes API, with the small API server."""

from __future__ import annotations

import copy
import json
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from splithorizon.base.errors import EnvironmentBroke, TimedOut
from splithorizon.base.timeouts import shortened
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube import credentials
from splithorizon.kube.api_resources import path_of
from splithorizon.kube.api_server import NoAnswer, Refused, TooLarge
from splithorizon.kube.client import Kube, NotAdmitted
from splithorizon.undo import mutations
from tests.support.manual_clock import ManualClock
from tests.support.small_api import Failure, SmallApi, small_api, write_kubeconfig

SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "helloworld", "namespace": "sample"},
}
SERVICE_PATH = "/api/v1/namespaces/sample/services/helloworld"
EXEC_PATH = "/api/v1/namespaces/sample/pods/sleep-1/exec"
SUCCESS = (3, b'{"status":"Success"}')


@pytest.mark.parametrize(
    ("kind", "namespace", "path"),
    [
        ("Pod", "sample", "/api/v1/namespaces/sample/pods"),
        ("Pod", None, "/api/v1/pods"),
        ("Namespace", "ignored", "/api/v1/namespaces"),
        ("Deployment", "sample", "/apis/apps/v1/namespaces/sample/deployments"),
        ("Endpoints", "a", "/api/v1/namespaces/a/endpoints"),
        ("EndpointSlice", "a", "/apis/discovery.k8s.io/v1/namespaces/a/endpointslices"),
        ("Gateway", "a", "/apis/networking.istio.io/v1/namespaces/a/gateways"),
        ("ServiceEntry", "a", "/apis/networking.istio.io/v1/namespaces/a/serviceentries"),
        ("NetworkPolicy", "a", "/apis/networking.k8s.io/v1/namespaces/a/networkpolicies"),
        (
            "MutatingWebhookConfiguration",
            None,
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
        ),
    ],
)
def test_a_kind_has_the_path_that_kubernetes_serves(kind: str, namespace: str | None, path: str) -> None:
    assert path_of(kind, namespace) == path


def test_an_unknown_kind_needs_its_api_version() -> None:
    path = path_of("HTTPRoute", "a", "r", api="gateway.networking.k8s.io/v1")
    assert path == "/apis/gateway.networking.k8s.io/v1/namespaces/a/httproutes/r"
    with pytest.raises(KeyError, match="HTTPRoute"):
        path_of("HTTPRoute", "a")


def test_the_first_answer_costs_one_request(api: SmallApi, kube: Kube) -> None:
    api.objects[SERVICE_PATH] = SERVICE
    assert kube.get("Service", "helloworld", "sample") == SERVICE
    assert [(asked[0], asked[1]) for asked in api.asked] == [("GET", SERVICE_PATH)]
    assert api.asked[0][3]["authorization"] == "Bearer the-token"


def test_an_access_review_asks_and_stores_nothing(tmp_path: Path) -> None:
    attributes = {"group": "discovery.k8s.io", "resource": "endpointslices", "verb": "list"}
    with small_api(tmp_path / "kubeconfig") as api:
        api.allows = lambda spec: spec["resourceAttributes"]["verb"] == "list"
        kube = Kube(tmp_path / "kubeconfig", "remote")
        assert kube.allowed({"user": "somebody", "resourceAttributes": attributes})
        assert not kube.allowed({"user": "somebody", "resourceAttributes": attributes | {"verb": "watch"}})
        assert api.objects == {}


def test_a_missing_object_is_none(kube: Kube) -> None:
    assert kube.get("Service", "nope", "sample") is None


def test_apply_is_server_side_and_forced_with_our_field_manager(api: SmallApi, kube: Kube) -> None:
    kube.apply(SERVICE)
    method, path, query, headers, body = api.asked[0]
    assert (method, path) == ("PATCH", SERVICE_PATH)
    assert query == {"fieldManager": ["splithorizon"], "force": ["true"]}
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert json.loads(body) == SERVICE


def test_apply_takes_a_file_and_a_default_namespace(api: SmallApi, kube: Kube, tmp_path: Path) -> None:
    manifest = tmp_path / "two.yaml"
    manifest.write_text(
        "{apiVersion: v1, kind: Namespace, metadata: {name: n}}\n---\n"
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}}\n"
    )
    applied = kube.apply(manifest, namespace="elsewhere")
    assert [document["kind"] for document in applied] == ["Namespace", "ConfigMap"]
    assert sorted(api.objects) == [
        "/api/v1/namespaces/elsewhere/configmaps/c",
        "/api/v1/namespaces/n",
    ]


def test_applied_objects_are_undone_last_first(api: SmallApi, kube: Kube) -> None:
    other = SERVICE | {"metadata": {"name": "sleep", "namespace": "sample"}}
    with ExitStack() as undo:
        mutations.apply(kube, [SERVICE, other], "sample", undo)
        assert len(api.objects) == 2
    assert api.objects == {}
    deleted = [asked[1].rpartition("/")[2] for asked in api.asked if asked[0] == "DELETE"]
    assert deleted == ["sleep", "helloworld"]


def test_the_undo_of_a_failed_apply_deletes_nothing(api: SmallApi, kube: Kube) -> None:
    services = SERVICE_PATH.rpartition("/")[0]
    api.answers[services] = (422, b'{"message": "spec.ports: Required value"}')
    undo = ExitStack()
    with pytest.raises(Refused, match=r"spec\.ports: Required value") as caught:
        mutations.apply(kube, [SERVICE], "sample", undo)
    assert caught.value.status == 422
    assert not isinstance(caught.value, NotYet)
    del api.answers[services]
    undo.close()
    assert [(method, path) for method, path, *_ in api.asked] == [("POST", services), ("GET", SERVICE_PATH)]


def test_a_changed_object_is_not_deleted(api: SmallApi, kube: Kube) -> None:
    api.versioned = True
    seen = copy.deepcopy(api.put("Service", "helloworld", "sample"))
    api.put("Service", "helloworld", "sample")
    with pytest.raises(Refused) as caught:
        kube.delete("Service", "helloworld", "sample", only=seen)
    assert caught.value.status == 409
    kube.delete("Service", "helloworld", "sample", only=kube.get("Service", "helloworld", "sample"))
    assert SERVICE_PATH not in api.objects


def test_an_object_is_read_with_the_time_of_the_server(api: SmallApi, kube: Kube) -> None:
    api.now = datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    assert kube.get_dated("Service", "helloworld", "sample") == (None, datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC))
    kept = api.put("Service", "helloworld", "sample")
    assert kube.get_dated("Service", "helloworld", "sample") == (kept, datetime(2031, 1, 2, 3, 4, 5, tzinfo=UTC))


@pytest.mark.parametrize("how", ["lost", "unanswered"])
def test_a_connection_that_ends_without_an_answer_is_not_a_refusal(api: SmallApi, kube: Kube, how: str) -> None:
    api.put("Service", "helloworld", "sample")
    api.failures.append(Failure(9, how=how))
    with shortened(0.02), pytest.raises(NoAnswer, match="does not answer"):
        kube.get("Service", "helloworld", "sample")


@pytest.mark.parametrize("status", [404, 500, 503])
def test_an_apply_that_may_succeed_later_raises_not_yet(api: SmallApi, kube: Kube, status: int) -> None:
    api.answers[SERVICE_PATH] = (status, b'{"message": "failed calling webhook"}')
    with pytest.raises(NotYet, match="failed calling webhook") as caught:
        kube.apply(SERVICE)
    assert isinstance(caught.value, NotAdmitted)
    assert isinstance(caught.value, EnvironmentBroke)


def test_delete_waits_for_the_end_of_the_object(api: SmallApi, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock.installed(monkeypatch)
    api.objects[SERVICE_PATH] = SERVICE
    api.answers[SERVICE_PATH] = (200, json.dumps(SERVICE).encode())
    api.objects.clear()
    clock.at(1.5, api.answers.clear)
    kube.delete("Service", "helloworld", "sample", gone_within=10)
    assert 1.5 <= clock.now() < 2.5


def test_status_is_patched_as_a_subresource_and_merged(api: SmallApi, kube: Kube) -> None:
    kube.patch_status("Service", "helloworld", "sample", {"status": {"loadBalancer": {}}})
    method, path, _, headers, _ = api.asked[0]
    assert (method, path) == ("PATCH", f"{SERVICE_PATH}/status")
    assert headers["Content-Type"] == "application/merge-patch+json"


def test_list_sends_only_the_given_selectors(api: SmallApi, kube: Kube) -> None:
    api.objects["/api/v1/namespaces/sample/pods"] = {"items": [{"a": 1}]}
    assert kube.list("Pod", "sample", labels="app=sleep") == [{"a": 1}]
    kube.list("Pod", "sample")
    assert [asked[2] for asked in api.asked] == [{"labelSelector": ["app=sleep"]}, {}]


def test_events_are_in_the_order_of_their_creation(api: SmallApi, kube: Kube) -> None:
    late, early = ({"metadata": {"creationTimestamp": f"2026-01-01T00:00:0{n}Z"}} for n in (2, 1))
    api.objects["/api/v1/namespaces/sample/events"] = {"items": [late, early]}
    assert kube.events("sample", "sleep-1") == [early, late]
    assert api.asked[0][2] == {"fieldSelector": ["involvedObject.name=sleep-1"]}


def test_a_log_of_one_json_line_stays_text(api: SmallApi, kube: Kube) -> None:
    api.answers["/api/v1/namespaces/sample/pods/sleep-1/log"] = (200, '{"a":"ü"}\n'.encode())
    text = kube.logs("sleep-1", "sample", "istio-proxy", since_seconds=7)
    assert text == '{"a":"ü"}\n'
    asked = {"container": ["istio-proxy"], "sinceSeconds": ["7"]}
    assert api.asked[0][2] == asked


def test_any_path_can_be_read(api: SmallApi, kube: Kube) -> None:
    api.answers["/readyz"] = (200, b"ok")
    assert kube.request("/readyz") == "ok"


def test_an_api_server_that_does_not_answer_is_a_broken_environment(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "remote.kubeconfig"
    with small_api(kubeconfig) as server:
        write_kubeconfig(kubeconfig, server.url)
    with (
        shortened(0.02),
        pytest.raises(EnvironmentBroke, match="remote cluster's API server does not answer") as caught,
    ):
        Kube(kubeconfig, "remote").get("Pod", "p", "n")
    assert f"kubectl --kubeconfig {kubeconfig} get --raw /readyz" in str(caught.value)


def test_the_clients_key_stays_private_and_next_to_its_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, run = tmp_path / "tmp", tmp_path / "run"
    elsewhere.mkdir()
    run.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    write_kubeconfig(run / "remote.kubeconfig", "https://127.0.0.1:9")
    (run / "remote.kubeconfig").chmod(0o600)
    with shortened(0.02), pytest.raises(EnvironmentBroke, match="does not answer"):
        Kube(run / "remote.kubeconfig", "remote").request("/readyz")
    assert list(elsewhere.iterdir()) == []
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in run.rglob("*")}
    assert modes <= {(False, 0o600), (True, 0o700)}
    assert len(list(run.iterdir())) > 1


def test_an_unusable_kubeconfig_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "no.kubeconfig"
    with pytest.raises(EnvironmentBroke, match=r"no\.kubeconfig cannot be used"):
        Kube(missing, "primary").request("/readyz")


def test_no_proxy_is_used_for_a_loopback_address(api: SmallApi, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    api.answers["/readyz"] = (200, b"ok")
    assert kube.request("/readyz") == "ok"


def test_threads_share_a_client_while_a_command_runs(api: SmallApi, kube: Kube) -> None:
    api.objects[SERVICE_PATH] = SERVICE
    api.frames = [(1, b"early"), 0.5, SUCCESS]
    with ThreadPoolExecutor() as pool:
        running = pool.submit(kube.execute, "sleep-1", "sample", "sleep", ["id"], within=60)
        read = [pool.submit(kube.get, "Service", "helloworld", "sample") for _ in range(40)]
        assert [future.result() for future in read] == [SERVICE] * 40
        assert running.result() == ("early", "", 0)


def test_a_command_returns_both_streams_and_its_status(api: SmallApi, kube: Kube) -> None:
    failure = {
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "7"}]},
    }
    api.frames = [(1, b""), (1, b"out"), (2, b"err"), (3, json.dumps(failure).encode())]
    argv = ["sh", "-c", "echo out; echo 'err & more' >&2; exit 7"]
    assert kube.execute("sleep-1", "sample", "sleep", argv, within=60) == ("out", "err", 7)
    _, path, query, headers, _ = api.asked[0]
    assert path == EXEC_PATH
    assert query["command"] == argv
    assert query["container"] == ["sleep"]
    assert headers["Authorization"] == "Bearer the-token"


def test_a_command_may_print_megabytes_in_frames_that_split_characters(api: SmallApi, kube: Kube) -> None:
    text = "für Elise → 日本\n" * 200_000
    encoded = text.encode()
    assert len(encoded) > 4_000_000
    step = 32 * 1024 - 1
    api.frames = [(1, encoded[at : at + step]) for at in range(0, len(encoded), step)]
    api.frames.append(SUCCESS)
    assert kube.execute("sleep-1", "sample", "sleep", ["cat"], within=30) == (text, "", 0)


def test_a_command_has_a_deadline(api: SmallApi, kube: Kube) -> None:
    api.frames = [(2, b"still trying"), 2.0, SUCCESS]
    with pytest.raises(EnvironmentBroke, match=r"did not end within 0\.3 s") as caught:
        kube.execute("sleep-1", "sample", "sleep", ["curl"], within=0.3)
    assert "still trying" in str(caught.value)


def test_a_stream_that_is_cut_off_is_an_error(api: SmallApi, kube: Kube) -> None:
    api.frames = [(1, b"half of it")]
    with pytest.raises(EnvironmentBroke, match="the stream was cut off"):
        kube.execute("sleep-1", "sample", "sleep", ["curl"], within=5)


def test_a_command_that_cannot_start_raises_the_reason(api: SmallApi, kube: Kube) -> None:
    api.frames = [(3, b'{"status":"Failure","message":"container not found (\\"x\\")"}')]
    with pytest.raises(EnvironmentBroke, match="container not found"):
        kube.execute("sleep-1", "sample", "x", ["id"], within=5)
    api.answers[EXEC_PATH] = (404, b'{"message":"pods \\"sleep-1\\" not found"}')
    with pytest.raises(EnvironmentBroke, match='pods "sleep-1" not found'):
        kube.execute("sleep-1", "sample", "x", ["id"], within=5)


def not_started(reason: str) -> tuple[int, bytes]:
    message = f"OCI runtime exec failed: exec failed: unable to start container process: {reason}: unknown"
    return 3, json.dumps({"status": "Failure", "message": message}).encode()


def test_a_command_that_the_container_runtime_did_not_start_is_begun_again(api: SmallApi, kube: Kube) -> None:
    def asked() -> None:
        if not api.asked:
            raise NotYet("not asked")

    api.frames = [not_started("waiting for init preliminary setup: read init-p: connection reset by peer")]
    with ThreadPoolExecutor() as pool:
        running = pool.submit(kube.execute, "sleep-1", "sample", "sleep", ["id"], within=5)
        eventually("the first attempt is made", asked, within=60, every=0.01)
        api.frames = [(1, b"begun"), SUCCESS]
        assert running.result() == ("begun", "", 0)
    assert len(api.asked) > 1


@pytest.mark.parametrize(("reason", "again"), [("read init-p: reset", True), ('exec: "id": not found', False)])
def test_a_command_that_never_starts_raises_the_reason(api: SmallApi, kube: Kube, reason: str, again: bool) -> None:
    api.frames = [not_started(reason)]
    with shortened(0.05), pytest.raises(EnvironmentBroke, match="could") as caught:
        kube.execute("sleep-1", "sample", "sleep", ["id"], within=5)
    assert reason in str(caught.value)
    assert (len(api.asked) > 1) is again


def test_a_log_begins_with_the_time_of_its_first_line(api: SmallApi, kube: Kube) -> None:
    path = "/api/v1/namespaces/sample/pods/sleep-1/log"
    api.answers[path] = (200, b"2026-11-23T12:58:29.123456789Z [2026-11-23T12:58:28.1Z] GET")
    api.now = datetime(2026, 11, 23, 13, tzinfo=UTC).timestamp()
    first, now = kube.log_begins("sleep-1", "sample", "istio-proxy")
    assert first == datetime(2026, 11, 23, 12, 58, 29, 123456, tzinfo=UTC)
    assert now == datetime(2026, 11, 23, 13, tzinfo=UTC)
    assert api.asked[0][2]["timestamps"] == ["true"]
    api.answers[path] = (200, b"")
    first, _ = kube.log_begins("sleep-1", "sample", "istio-proxy")
    assert first is None


def test_admission_is_a_dry_run(api: SmallApi, kube: Kube) -> None:
    assert kube.as_admitted(SERVICE, "sample")["metadata"]["name"] == "helloworld"
    _, path, query, _, _ = api.asked[0]
    assert (path, query["dryRun"]) == (SERVICE_PATH, ["All"])
    kube.apply(SERVICE)
    assert "dryRun" not in api.asked[1][2]


def test_no_more_of_an_answer_is_read_than_is_allowed(api: SmallApi, kube: Kube) -> None:
    api.answers["/big"] = (200, b"x" * 300_000)
    assert len(kube.read("/big", limit=300_000, within=60)) == 300_000
    with pytest.raises(TooLarge, match="too large") as broken:
        kube.read("/big", limit=299_999, within=60)
    assert broken.value.seen == "more than 299999 bytes"
    assert kube.request("/big"), "the connection with half an answer in it is not used again"


def test_a_bounded_read_says_no_as_any_other(api: SmallApi, kube: Kube) -> None:
    api.answers["/secret"] = (403, b'{"message": "not for you"}')
    with pytest.raises(Refused, match="not for you") as refused:
        kube.read("/secret", limit=10, within=60)
    assert refused.value.status == 403
    api.failures.append(Failure(9, "GET", "/lost"))
    with shortened(0.02), pytest.raises(NoAnswer):
        kube.read("/lost", limit=10, within=60)


def test_a_command_that_prints_more_than_is_allowed_is_cut_off(api: SmallApi, kube: Kube) -> None:
    api.frames = [(1, b"x" * 600), (1, b"x" * 600), SUCCESS]
    with pytest.raises(EnvironmentBroke, match="printed more than 1000 bytes"):
        kube.execute("sleep-1", "sample", "sleep", ["yes"], within=60, limit=1000)


def test_another_token_is_asked_with_and_answered_by_its_status(api: SmallApi, kube: Kube) -> None:
    api.answers["/api/v1/pods"] = (403, b"{}")
    assert kube.status_for("another", "/api/v1/pods", within=60) == 403
    *_, headers, _ = api.asked[-1]
    assert headers["Authorization"] == "Bearer another"
    api.failures.append(Failure(1, "GET", "/api/v1/pods"))
    assert kube.status_for("another", "/api/v1/pods", within=60) == 0


def test_a_token_is_asked_for_as_long_as_it_has_to_last(tmp_path: Path) -> None:
    with small_api(tmp_path / "kubeconfig") as api:
        token = Kube(tmp_path / "kubeconfig", "remote").token_of("reader", "istio-system", seconds=600)
        (path,) = api.requests("POST")
        assert path == "/api/v1/namespaces/istio-system/serviceaccounts/reader/token"
        assert json.loads(api.asked[0][-1])["spec"] == {"expirationSeconds": 600}
        assert token.encode() in {*credentials.kept_in(tmp_path)}


def test_a_namespace_that_stays_in_deletion_says_why(
    api: SmallApi, kube: Kube, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock.installed(monkeypatch)
    message = "Some resources are remaining: pods. has 1 resource instances"
    stays = {"type": "NamespaceContentRemaining", "status": "True", "message": message}
    passed = {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "all is well"}
    kept = {"metadata": {"name": "ours"}, "status": {"phase": "Terminating", "conditions": [passed, stays]}}
    api.answers["/api/v1/namespaces/ours"] = (200, json.dumps(kept).encode())
    with pytest.raises(TimedOut, match=f"NamespaceContentRemaining: {message}") as caught:
        kube.delete("Namespace", "ours", gone_within=10)
    assert "all is well" not in str(caught.value)
    assert clock.now() > 5


def test_a_list_of_metadata_without_objects_is_null(tmp_path: Path) -> None:
    with small_api(tmp_path / "kubeconfig") as server:
        server.answers["/apis/apps/v1/namespaces/sample/daemonsets"] = (200, b'{"items": null}')
        assert Kube(tmp_path / "kubeconfig", "primary").list_metadata("DaemonSet", "sample") == []
