"""Settings that are cited as the cause, where at first only what followed from them was found, or nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from splithorizon.diagnosis import causes, root_causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.reading.model import CLIENT, Host, RemoteSecret
from splithorizon.diagnosis.root_cause import of_reading
from tests.support.made_reading import (
    FAR_LOST,
    GATEWAYS,
    HOST,
    Change,
    Object,
    adds,
    also,
    change,
    edits,
    holds,
    istiod,
    made,
    near,
    pod,
    proxies,
    sound,
)

DEAD = "192.0.2.60"
READER = "istio-reader-clusterrole-istio-system"


def not_watched() -> Change:
    return istiod(clusters=({"id": "primary", "syncStatus": "synced"},))


def secret_with(user: str) -> Change:
    secret = RemoteSecret(
        "istio-system", "istio-remote-secret-remote", "remote", "https://10.89.0.2:6443", "remote", not_allowed=user
    )
    return also(change("primary", lambda one: replace(one, secrets=(secret,))), not_watched(), FAR_LOST)


def without_token_reviews(*, connected: bool) -> Change:
    def edit(role: Object) -> None:
        role["rules"] = [one for one in role["rules"] if "tokenreviews" not in one["resources"]]

    names = ["sleep-1.sample", "helloworld-1.sample", "istio-eastwestgateway-1.istio-system"]
    known = istiod(proxies=tuple({"proxy": one} for one in (names if connected else names[:1])))
    return also(edits("remote", "ClusterRole", READER, edit), known)


def gateway_asked(path: str, port: int | str) -> Change:
    def edit(one: Object) -> None:
        one["spec"]["containers"][-1]["readinessProbe"] = {"httpGet": {"path": path, "port": port}}
        said = "containers with unready status: [istio-proxy]"
        one["status"]["conditions"] = [{"type": "Ready", "status": "False", "message": said}]
        one["status"]["containerStatuses"] = [{"name": "istio-proxy", "ready": False}]

    return edits("remote", "Pod", "istio-eastwestgateway-1", edit)


def selecting_entry() -> Change:
    spec = {"hosts": [HOST], "resolution": "STATIC", "workloadSelector": {"labels": {"app": "sleep"}}}
    client = pod("sleep-2", "sample", "10.10.0.9", {"app": "sleep"})
    return also(
        adds("primary", client),
        adds("primary", made("ServiceEntry", "machines", "sample", spec=spec)),
        holds("primary", near("primary"), Host(GATEWAYS["remote"], successes=9, requests=9), Host("10.10.0.9:5000")),
    )


def image_of_type(name: str) -> Change:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": f"proxyv2:1.29.1-{name} is not there"}}

    def edit(one: Object) -> None:
        one["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
        one["status"]["containerStatuses"] = [
            {"name": "istio-proxy", "image": f"proxyv2:1.29.1-{name}", "state": waiting}
        ]

    config = made("ProxyConfig", "hardened", "sample", spec={"image": {"imageType": name}})
    return also(edits("remote", "Pod", "helloworld-1", edit), adds("primary", config))


def gateway_of_template(name: str) -> Change:
    message = 'Pod "istio-eastwestgateway-2" is invalid: spec.containers: Required value'
    template = {
        "metadata": {"labels": {"istio": "eastwestgateway"}, "annotations": {"inject.istio.io/templates": name}}
    }
    failure = {"type": "ReplicaFailure", "status": "True", "message": message}
    deployment = made(
        "Deployment", "istio-eastwestgateway", "istio-system",
        spec={"replicas": 1, "template": template}, status={"conditions": [failure]},
    )  # fmt: skip
    return adds("remote", deployment)


def labelled_console(*ports: int) -> Change:
    service = made(
        "Service", "mesh-console", "istio-system", {"topology.istio.io/network": "remote-network"},
        spec={
            "selector": {"app": "mesh-console"}, "externalIPs": [DEAD],
            "ports": [{"name": f"port-{one}", "port": one} for one in ports],
        },
    )  # fmt: skip
    known = [near("primary"), Host(GATEWAYS["remote"], successes=9, requests=9)]
    return also(
        adds("remote", service), holds("primary", *known, Host(f"{DEAD}:15443", connect_failures=9, requests=9))
    )


def client_view(networks: str) -> Change:
    metadata = {"NETWORK": "remote-network", "CLUSTER_ID": "remote", "REQUESTED_NETWORK_VIEW": networks}
    return proxies("remote", CLIENT, metadata=metadata)


CASES: list[tuple[str, Change, Cause, tuple[str, str, str]]] = [
    (
        "a command in a remote secret",
        secret_with("exec"),
        root_causes.REMOTE_SECRET_NOT_ALLOWED,
        ("Secret primary/istio-system/istio-remote-secret-remote", "data.remote", "users[0].user has exec"),
    ),
    (
        "a reader that may not review tokens",
        without_token_reviews(connected=False),
        causes.REMOTE_SECRET_REFUSED,
        (f"ClusterRole remote/{READER}", "rules", "tokenreviews: in none of them"),
    ),
    (
        "a gateway that is asked at another port",
        gateway_asked("/ready", 8080),
        causes.POD_NOT_READY,
        ("Pod remote/istio-system/istio-eastwestgateway-1", "istio-proxy.readinessProbe", "8080"),
    ),
    (
        "a ServiceEntry that selects clients",
        selecting_entry(),
        root_causes.SERVICE_ENTRY_ADDS_ENDPOINTS,
        ("ServiceEntry primary/sample/machines", "spec.workloadSelector.labels", "app=sleep selects"),
    ),
    (
        "an image type",
        image_of_type("fips"),
        causes.IMAGE_NOT_PULLED,
        ("ProxyConfig primary/sample/hardened", "spec.image.imageType", "fips"),
    ),
    (
        "the template of a sidecar for a gateway",
        gateway_of_template("sidecar"),
        root_causes.PODS_NOT_CREATED,
        ("Deployment remote/istio-system/istio-eastwestgateway", "annotations inject.istio.io/templates", "sidecar"),
    ),
    (
        "a Service that is no gateway",
        labelled_console(443, 15443),
        root_causes.SERVICE_IS_NO_GATEWAY,
        ("Service remote/istio-system/mesh-console", "addresses outside", DEAD),
    ),
    (
        "a client's view",
        also(client_view("remote-network"), holds("remote", near("remote"))),
        root_causes.CLIENT_VIEW_LIMITED,
        ("Pod remote/sample/sleep-1", "ISTIO_META_REQUESTED_NETWORK_VIEW", "remote-network; not primary-network"),
    ),
]


@pytest.mark.parametrize(("broken", "cause", "fact"), [one[1:] for one in CASES], ids=[one[0] for one in CASES])
def test_the_setting_is_cited(broken: Change, cause: Cause, fact: tuple[str, str, str]) -> None:
    (found,) = of_reading(broken(sound())).root_causes
    assert found.id == cause.id
    name, field, value = fact
    assert [one for one in found.finding.evidence if one.object == name and field in one.field and value in one.value]
    assert found.finding.fix


INNOCENT: dict[str, Change] = {
    "proxies that were admitted before": without_token_reviews(connected=True),
    "a gateway that is asked as Istio does": gateway_asked("/healthz/ready", 15021),
    "a gateway that is asked by its port's name": gateway_asked("/healthz/ready", "status-port"),
    "a labelled Service without the gateway's port": labelled_console(443),
    "a view of every network": also(client_view("remote-network, primary-network"), holds("remote", near("remote"))),
    "a ServiceEntry that selects the service's own pods": adds(
        "primary",
        made("ServiceEntry", "machines", "sample", spec={
            "hosts": [HOST], "resolution": "STATIC", "workloadSelector": {"labels": {"app": "helloworld"}},
        }),
    ),
}  # fmt: skip


@pytest.mark.parametrize("change_", INNOCENT.values(), ids=INNOCENT)
def test_a_setting_without_an_effect_is_no_cause(change_: Change) -> None:
    named = {one.id for one in of_reading(change_(sound())).root_causes}
    assert not named & {one[2].id for one in CASES}
