"""Every fault changes what its cause is about, and nothing else; and its undo leaves every object as it was."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from proof.faults import every_fault
from proof.faults.registry import Fault
from splithorizon.istio.info import NetworkMode
from splithorizon.kube.api_server import NoAnswer
from splithorizon.mesh.mesh import Mesh
from splithorizon.undo import undo_log
from tests.support.controllers import PROXY_IMAGE
from tests.support.existing_mesh import Run, TwoClusters, answers, installed_mesh
from tests.support.mesh_info import mesh_info
from tests.support.small_api import SmallApi, UnansweredWrite
from tests.support.snapshots import GONE, Made, differences, snapshot, without_pods

LABELS, MESH_NETWORKS = NetworkMode.LABELS, NetworkMode.MESH_NETWORKS
FAULTS = every_fault()
READ_ONLY = ["get", "list", "watch"]

# Objects of the installation, as a snapshot names them.
MESH_CONFIG = "primary ConfigMap istio-system/istio: data.mesh"
REMOTE_NETWORK = "primary ConfigMap istio-system/istio: data.meshNetworks.networks.remote-network"
REMOTE_SECRET = "primary Secret istio-system/istio-remote-secret-remote"
GATEWAY = "remote Service istio-system/istio-eastwestgateway"
WITHOUT_SLICES = [
    {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "list", "watch", "update"]},
    {
        "apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["mutatingwebhookconfigurations"],
        "verbs": ["get", "list", "watch", "update", "patch"],
    },
]
PRIMARY_GATEWAY = "primary Service istio-system/istio-eastwestgateway"
REMOTE_READER = "remote ClusterRole istio-reader-clusterrole-istio-system"
REMOTE_WEBHOOK = "remote MutatingWebhookConfiguration istio-sidecar-injector: webhooks"
REMOTE_ROOT = "remote ConfigMap sample/istio-ca-root-cert"
REMOTE_ISTIOD = "remote EndpointSlice istio-system/istiod: endpoints.0.addresses.0"
NEVER_READY = [{"conditionType": "splithorizon/never"}]
HELLOWORLD = {"selector": {"matchLabels": {"app": "helloworld"}}}


class Certificate(str):
    """Any certificate in PEM, but for the one that the mesh has."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and other.startswith("-----BEGIN CERTIFICATE-----")

    __hash__ = str.__hash__


class Bundle(str):
    """Any certificate in PEM, in base64."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and Certificate() == base64.b64decode(other).decode()

    __hash__ = str.__hash__


def made(**spec: Any) -> Made:
    return Made({"spec": spec})


def filter_of(applies_to: str, **selected: str) -> Made:
    """An EnvoyFilter with one patch, for the proxies that carry a label."""
    return made(configPatches=[{"applyTo": applies_to}], workloadSelector={"labels": selected})


def containers_of(image: str, **fields: Any) -> Made:
    """A Deployment with one container, its pod template's labels among the fields."""
    template = {"spec": {"containers": [{"image": image}]}, **({"metadata": fields} if fields else {})}
    return made(template=template)


def joined(far_pods: str, far_node: str) -> Made:
    environment = [{"name": "FAR_PODS", "value": far_pods}, {"name": "FAR_NODE", "value": far_node}]
    return made(hostNetwork=True, containers=[{"image": "curlimages/curl:8.16.0", "env": environment}])


def dropping(*rules: str) -> dict[str, Any]:
    """A pod on the remote's node with rules for iptables."""
    environment = [{"name": "RULES", "value": "".join(f"PREROUTING -p tcp {rule}\n" for rule in rules)}]
    container = {"image": PROXY_IMAGE, "env": environment}
    return {"remote Pod sample/packets-dropped": made(hostNetwork=True, containers=[container])}


def addressed(*addresses: str) -> Made:
    environment = [{"name": "ADDRESSES", "value": " ".join(addresses)}]
    return made(hostNetwork=True, containers=[{"image": "curlimages/curl:8.16.0", "env": environment}])


JOINED = {
    "primary Pod sample/networks-joined": joined("10.20.0.0/16", "172.18.0.3"),
    "remote Pod sample/networks-joined": joined("10.10.0.0/16", "172.18.0.2"),
}
UNLABELLED = {f"{GATEWAY}: metadata.labels.topology.istio.io/network": GONE}
OF_THREE_CLUSTERS = {"kept-gateway-without-network", "kept-network-without-gateway"}
UNNAMED: dict[str, Any] = {f"{REMOTE_NETWORK}.gateways": []}

# What each fault leaves of a mesh: the fields that differ, with the value that they have then.
EFFECTS: dict[str, dict[str, Any]] = {
    "kept-by-a-finalizer": {
        "primary ConfigMap istio-system/kept-by-a-finalizer": Made(
            {"metadata": {"finalizers": ["splithorizon.local/of-a-controller-that-is-gone"]}}
        )
    },
    "left-by-an-earlier-installation": {
        "remote ClusterRole istiod-clusterrole-of-an-earlier-installation": Made({"rules": [{"verbs": READ_ONLY}]})
    },
    "abort-two-percent": {"primary EnvoyFilter sample/abort-two-percent": filter_of("HTTP_FILTER", app="sleep")},
    "selector-selects-nothing": {"remote Service sample/helloworld: spec.selector.app": "hello"},
    "network-preferred": {
        "primary DestinationRule sample/network-preferred": made(
            host="helloworld", trafficPolicy={"loadBalancer": {"localityLbSetting": {"enabled": True}}}
        ),
        **{
            f"{cluster} Node node: metadata.labels": {
                "topology.kubernetes.io/region": f"r{number}",
                "topology.kubernetes.io/zone": f"z{number}",
            }
            for number, cluster in enumerate(("primary", "remote"), start=1)
        },
    },
    "gateway-port-leads-elsewhere": {f"{GATEWAY}: spec.ports.0.targetPort": 15021},
    "sidecar-egress-hides-service": {
        "primary Sidecar sample/sidecar-egress-hides-service": made(egress=[{"hosts": ["istio-system/*"]}])
    },
    "mutual-tls-disabled-far": {
        "primary PeerAuthentication sample/mutual-tls-disabled-far": made(mtls={"mode": "DISABLE"})
    },
    "port-names-differ": {"remote Service sample/helloworld: spec.ports.0.name": "http-web"},
    "traffic-distribution": {
        f"{cluster} Service sample/helloworld: spec.trafficDistribution": "PreferClose"
        for cluster in ("primary", "remote")
    },
    "workload-entry-counts": {
        "primary WorkloadEntry sample/workload-entry-counts": made(address="192.0.2.20", network="remote-network")
    },
    "sound-registry-only": {
        "primary ConfigMap istio-system/istio: data.mesh.outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}
    },
    "kept-gateway-without-network": UNLABELLED,
    "kept-network-without-gateway": UNNAMED,
    "namespace-without-network": {"remote Namespace istio-system: metadata.labels.topology.istio.io/network": GONE},
    "cluster-refused": {"primary EnvoyFilter sample/cluster-refused": filter_of("CLUSTER", app="sleep")},
    "far-pod-without-sidecar": {
        "remote Deployment sample/helloworld-v2-bare": containers_of(
            "istio/examples-helloworld-v2:1.0", labels={"app": "helloworld", "sidecar.istio.io/inject": "false"}
        )
    },
    "balanced-without-weights": {
        "primary DestinationRule sample/balanced-without-weights": made(
            host="helloworld", trafficPolicy={"loadBalancer": {"simple": "RANDOM"}}
        )
    },
    "istiod-address-stale": {REMOTE_ISTIOD: "192.0.2.1"},
    "remote-secret-at-loopback": {f"{REMOTE_SECRET}: data.remote.clusters.0.cluster.server": "https://127.0.0.1:6443"},
    "webhook-bundles-empty": {
        f"{REMOTE_READER}: rules.1.verbs": READ_ONLY,
        f"{REMOTE_WEBHOOK}.0.clientConfig.caBundle": "",
        f"{REMOTE_WEBHOOK}.1.clientConfig.caBundle": "",
    },
    "webhook-leads-nowhere": {f"{REMOTE_WEBHOOK}.{one}.clientConfig.service.name": "istiod-1-7-0" for one in (0, 1)},
    "other-primary-injects-nothing": {
        f"{REMOTE_WEBHOOK}.{one}.clientConfig.service.name": "istiod-1-7-0" for one in (0, 1)
    },
    "webhook-names-another-network": {
        f"{REMOTE_WEBHOOK}.{one}.clientConfig.service.path": "/inject/cluster/remote/net/former-network"
        for one in (0, 1)
    },
    "webhook-trusts-another-root": {
        f"{REMOTE_READER}: rules.1.verbs": READ_ONLY,
        **{f"{REMOTE_WEBHOOK}.{one}.clientConfig.caBundle": Bundle() for one in (0, 1)},
    },
    "istiod-port-leads-elsewhere": {f"{PRIMARY_GATEWAY}: spec.ports.1.targetPort": 15021},
    "webhook-port-leads-elsewhere": {f"{PRIMARY_GATEWAY}: spec.ports.2.targetPort": 15021},
    "remote-token-of-ten-minutes": {f"{REMOTE_SECRET}: data.remote.users.0.user.token": "a-token-on-request"},
    "reader-lacks-endpoint-slices": {f"{REMOTE_READER}: rules": WITHOUT_SLICES},
    "istiod-certificate-ends-soon": {"primary Secret istio-system/istiod-tls": Made({"type": "kubernetes.io/tls"})},
    "istiod-intermediate-expired": {"primary Secret istio-system/istiod-tls": Made({"type": "kubernetes.io/tls"})},
    "root-certificate-missing": {f"{REMOTE_READER}: rules.0.verbs": READ_ONLY, REMOTE_ROOT: GONE},
    "networks-joined": JOINED,
    "bodies-limited": {"primary EnvoyFilter sample/bodies-limited": filter_of("HTTP_FILTER", app="helloworld")},
    "ports-misnamed": {
        f"{cluster} Service sample/echo: spec.ports.{number}.name": f"http-{number}"
        for cluster in ("primary", "remote")
        for number in range(4)
    },
    "requests-limited": {
        "primary VirtualService sample/requests-limited": made(hosts=["echo"], http=[{"timeout": "5s"}])
    },
    "silence-limited": {
        "primary DestinationRule sample/silence-limited": made(
            host="echo", trafficPolicy={"connectionPool": {"tcp": {"idleTimeout": "5s"}}}
        )
    },
    "control-plane-never-ready": {
        "primary Deployment istio-system/istiod: spec.template.spec.readinessGates": NEVER_READY
    },
    "gateway-never-ready": {
        "remote Deployment istio-system/istio-eastwestgateway: spec.template.spec.readinessGates": NEVER_READY
    },
    "gateway-of-an-old-version": {
        "remote Deployment istio-system/istio-eastwestgateway: spec.template.spec.containers.0.env": [
            {"name": "ISTIO_META_ISTIO_VERSION", "value": "1.20.0"}
        ]
    },
    "workload-not-injected": {
        "remote Deployment sample/helloworld-v2: spec.template.metadata.labels.sidecar.istio.io/inject": "false"
    },
    "remote-named-twice": {
        f"{REMOTE_SECRET}-before": Made({"metadata": {"labels": {"istio/multiCluster": "true"}}, "type": None})
    },
    "reader-may-not-read": {"remote ClusterRoleBinding istio-reader-clusterrole-istio-system": GONE},
    "remote-without-istiod": {REMOTE_ISTIOD: "192.0.2.1"},
    "gateway-is-one-pod": {
        f"{GATEWAY}: spec.selector.splithorizon/pinned": "true",
        "remote Pods of istio-system/istio-eastwestgateway: 0.metadata.labels.splithorizon/pinned": "true",
    },
    "rule-without-outlier-detection": {
        "primary DestinationRule sample/without-outlier-detection": made(
            host="helloworld", trafficPolicy={"outlierDetection": None}
        )
    },
    "gateway-address-named-twice": {
        "remote Service istio-system/second-gateway": Made(
            {
                "metadata": {"labels": {"topology.istio.io/network": "remote-network"}},
                "spec": {"externalIPs": ["172.18.0.3"], "ports": [{"port": 15443}]},
            }
        )
    },
    "istiod-waits-for-every-remote": {
        "primary Deployment istio-system/istiod: spec.template.spec.containers.0.env": [
            {"name": "REVISION", "value": "default"},
            {"name": "CLUSTER_ID", "value": "primary"},
            {"name": "PILOT_REMOTE_CLUSTER_TIMEOUT", "value": "30m"},
        ]
    },
    "remote-secret-missing": {REMOTE_SECRET: GONE},
    "gateway-service-without-network": UNLABELLED,
    "registry-mistyped": {f"{REMOTE_NETWORK}.endpoints.0.fromRegistry": "Kubernetes"},
    "gateway-missing-in-mesh-networks": UNNAMED,
    "pods-dialled-past-the-unlabelled-gateway": {**JOINED, **UNLABELLED},
    "pods-dialled-past-the-unnamed-gateway": {**JOINED, **UNNAMED},
    "services-not-exposed": {"primary Gateway istio-system/cross-network-gateway": GONE},
    "service-not-exported": {
        f"{cluster} Service sample/helloworld: metadata.annotations": {"networking.istio.io/exportTo": "."}
        for cluster in ("primary", "remote")
    },
    "gateway-bypassed": {
        "remote ConfigMap istio-system/gateway-bypassed": Made({"kind": "ConfigMap"}),
        "remote Deployment istio-system/gateway-bypassed": containers_of(PROXY_IMAGE),
        f"{GATEWAY}: spec.selector.app": "gateway-bypassed",
        f"{GATEWAY}: spec.selector.istio": GONE,
    },
    "mesh-configuration-unreadable": {f"{MESH_CONFIG}.enablePrometheusMerge": "perhaps"},
    "older-virtual-service": {
        "primary VirtualService sample/helloworld-everywhere": made(
            hosts=["helloworld-subsets"],
            http=[{"route": [{"destination": {"host": "helloworld-subsets", "subset": None}}]}],
        )
    },
    "answered-by-another-rule": {
        "primary VirtualService sample/answered-by-another-rule": made(
            hosts=["helloworld"], http=[{"directResponse": {"status": 418}}]
        )
    },
    "headless-sent-on": {
        "primary VirtualService sample/headless-sent-on": made(
            hosts=["helloworld-headless"], http=[{"route": [{"destination": {"host": "helloworld"}}]}]
        )
    },
    "both-versions-everywhere": {
        "primary Deployment sample/helloworld-v2": containers_of("istio/examples-helloworld-v2:1.0"),
        "remote Deployment sample/helloworld-v1": containers_of("istio/examples-helloworld-v1:1.0"),
    },
    "near-pods-refuse": {
        "primary AuthorizationPolicy sample/near-pods-refuse": made(action="DENY", rules=[{}], **HELLOWORLD)
    },
    "access-log-reformatted": {
        f"{MESH_CONFIG}.extensionProviders": [
            Made({"name": "access-log-reformatted", "envoyFileAccessLog": {"path": "/dev/stdout"}})
        ],
        "primary Telemetry sample/access-log-reformatted": made(
            accessLogging=[{"providers": [{"name": "access-log-reformatted"}]}]
        ),
    },
    "access-log-off": {f"{MESH_CONFIG}.accessLogFile": ""},
    "forwarder-among-the-near-pods": {
        "primary ConfigMap sample/helloworld-forwarder": Made({"kind": "ConfigMap"}),
        "primary Deployment sample/helloworld-forwarder": containers_of(PROXY_IMAGE, labels={"app": "helloworld"}),
        "primary Service sample/helloworld-v2": made(selector={"app": "helloworld", "version": "v2"}),
    },
    "connections-dropped-on-the-way": dropping("--syn --dport 15443 -m statistic --mode nth --every 4 --packet 0"),
    "handshakes-dropped": dropping("-i eth0 --syn --dport 15443 -m statistic --mode random --probability 0.1"),
    "packets-lost": dropping(
        "--dport 15443 -m statistic --mode random --probability 0.05",
        "--sport 15443 -m statistic --mode random --probability 0.05",
    ),
    "sound-gateway-delayed": {
        "remote Service istio-system/gateway-behind-the-delay": made(selector={"istio": "eastwestgateway"}),
        "remote ConfigMap istio-system/gateway-delayed": Made({"kind": "ConfigMap"}),
        "remote Deployment istio-system/gateway-delayed": containers_of(PROXY_IMAGE),
        f"{GATEWAY}: spec.selector.app": "gateway-delayed",
        f"{GATEWAY}: spec.selector.istio": GONE,
    },
    "root-replaced": {
        f"{REMOTE_READER}: rules.0.verbs": READ_ONLY,
        f"{REMOTE_ROOT}: data.root-cert.pem": Certificate(),
    },
    "no-mutual-tls": {"primary PeerAuthentication sample/no-mutual-tls": made(mtls={"mode": "DISABLE"}, **HELLOWORLD)},
    "no-certificate-demanded": {
        "primary EnvoyFilter sample/no-certificate-demanded": filter_of("FILTER_CHAIN", app="helloworld")
    },
    "any-root-taken": {"primary EnvoyFilter sample/any-root-taken": filter_of("FILTER_CHAIN", app="helloworld")},
    "any-name-passed": {
        "primary EnvoyFilter istio-system/any-name-passed": filter_of("LISTENER", istio="eastwestgateway")
    },
    "everyone-admitted": {
        "primary AuthorizationPolicy sample/everyone-admitted": made(action="ALLOW", rules=[{}], **HELLOWORLD)
    },
    "plain-text-admitted": {
        "primary PeerAuthentication sample/plain-text-admitted": made(mtls={"mode": "PERMISSIVE"}, **HELLOWORLD)
    },
    "certificate-short-lived": {
        "primary Pod sample/short-lived": Made(
            {"metadata": {"annotations": {"proxy.istio.io/config": "proxyMetadata:\n  SECRET_TTL: 30m\n"}}}
        )
    },
}  # fmt: skip
# Faults whose changes depend on how istiod learns of the networks.
GATEWAY_ADDRESS_WRONG = {
    LABELS: {f"{GATEWAY}: status.loadBalancer.ingress.0.ip": "192.0.2.1"},
    MESH_NETWORKS: {f"{REMOTE_NETWORK}.gateways.0.address": "192.0.2.1"},
}
IN_EVERY_MODE = [pytest.param(fault, mode, id=f"{fault.name}-{mode}") for fault in FAULTS for mode in fault.modes]
BY_NAME = [pytest.param(fault, id=fault.name) for fault in FAULTS]


# The system namespaces have a label of their network only where istiod reads the networks from labels.
_SELECTED = {
    "primary Namespace sample: metadata.labels.mesh": "yes",
    "primary ConfigMap istio-system/istio: data.mesh.discoverySelectors": [{"matchLabels": {"mesh": "yes"}}],
}
DISCOVERY_SELECTORS: Mapping[NetworkMode, dict[str, Any]] = {
    NetworkMode.LABELS: {
        f"{cluster} Namespace istio-system: metadata.labels.mesh": "yes" for cluster in ("primary", "remote")
    }
    | _SELECTED,
    NetworkMode.MESH_NETWORKS: {
        f"{cluster} Namespace istio-system: metadata.labels": {"mesh": "yes"} for cluster in ("primary", "remote")
    }
    | _SELECTED,
}
FOUR_ADDRESSES = ["172.18.0.3", "172.18.0.241", "172.18.0.242", "172.18.0.244"]
ONE_REFUSES = {
    "remote Pod sample/gateway-addresses": addressed("172.18.0.241", "172.18.0.242"),
    "primary Pod sample/gateway-addresses": addressed("172.18.0.244"),
    f"{GATEWAY}: status.loadBalancer.ingress": [{"ip": address} for address in FOUR_ADDRESSES],
}
OF_A_MODE: Mapping[str, Mapping[NetworkMode, dict[str, Any]]] = {
    "one-gateway-address-refuses": {
        LABELS: ONE_REFUSES,
        MESH_NETWORKS: ONE_REFUSES
        | {f"{REMOTE_NETWORK}.gateways": [{"address": one, "port": 15443} for one in FOUR_ADDRESSES]},
    },
    "gateway-address-wrong": GATEWAY_ADDRESS_WRONG,
    "discovery-selectors": DISCOVERY_SELECTORS,
}


def effect_of(fault: Fault, mode: NetworkMode) -> dict[str, Any]:
    return OF_A_MODE[fault.name][mode] if fault.name in OF_A_MODE else EFFECTS[fault.name]


@dataclass(frozen=True)
class Lab:
    """A mesh that a run owns, as the proof has it."""

    clusters: TwoClusters
    run: Run
    mesh: Mesh


@contextmanager
def owned_mesh(folder: Path, mode: NetworkMode, *, three: bool = False) -> Iterator[Lab]:
    """With ``three`` the remote counts twice: as one that istiod may no longer watch, and as one that it still does."""
    with installed_mesh(folder, mode) as clusters:
        answers(clusters, lambda *_: ("v1", "v2"))
        run = clusters.run(folder / "runs", "run", owned=True)
        info = mesh_info(run.folder, network_mode=mode)
        if three:
            beside = replace(info.clusters["remote"], name="beside")
            info = replace(info, clusters={**info.clusters, "beside": beside})
        yield Lab(clusters, run, Mesh(info))


def test_the_table_has_every_registered_fault() -> None:
    assert {*EFFECTS, *OF_A_MODE} == {fault.name for fault in FAULTS}
    assert all(EFFECTS.values())


@pytest.mark.parametrize(("fault", "mode"), IN_EVERY_MODE)
def test_a_fault_changes_these_fields_alone_and_its_undo_leaves_every_object_as_it_was(
    fault: Fault, mode: NetworkMode, tmp_path: Path
) -> None:
    with owned_mesh(tmp_path, mode, three=fault.name in OF_THREE_CLUSTERS) as lab:
        before = snapshot(lab.clusters)
        with ExitStack() as undo:
            fault.inject(lab.mesh, undo)
            assert without_pods(differences(before, snapshot(lab.clusters))) == effect_of(fault, mode)
        assert snapshot(lab.clusters) == before
        assert not undo_log.is_pending(lab.run.folder)


@pytest.mark.parametrize("fault", BY_NAME)
def test_a_fault_is_undone_though_the_answer_to_any_of_its_writes_is_lost(fault: Fault, tmp_path: Path) -> None:
    """What is registered behind its change would not be undone here: the change is made, and raises."""
    with owned_mesh(tmp_path, fault.modes[0], three=fault.name in OF_THREE_CLUSTERS) as lab:
        before = snapshot(lab.clusters)
        broken = [_interrupted(fault, lab, api, before) for api in lab.clusters.apis.values()]
        assert sum(broken), "the fault writes something"


def _interrupted(fault: Fault, lab: Lab, api: SmallApi, before: Mapping[str, str]) -> int:
    """Inject a fault once for each write of an API server, whose answer is lost; return how many there are."""
    for number in count(1):
        api.failures[:] = [UnansweredWrite(number)]
        try:
            with ExitStack() as undo:
                try:
                    fault.inject(lab.mesh, undo)
                finally:
                    api.failures.clear()
        except NoAnswer:
            assert differences(before, snapshot(lab.clusters)) == {}
        else:
            return number - 1
    raise AssertionError
