"""The state of a sidecar, from answers of Istio 1.29, by exec through the small API server."""

from __future__ import annotations

import base64
import json
import re
from fractions import Fraction
from pathlib import Path
from urllib.parse import unquote

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.istio.info import Address
from splithorizon.kube.client import Kube
from splithorizon.traffic.debug_api import parse
from splithorizon.traffic.proxy import Endpoint, Identity, Proxy, share_of
from tests.checks.test_security import CHAIN
from tests.support.small_api import SmallApi

DATA = Path(__file__).parents[1] / "data" / "discovery"
HELLOWORLD = "outbound|5000||helloworld.sample.svc.cluster.local"
SUCCESS = (3, b'{"status":"Success"}')
FAILED = b'{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"1"}]}}'


@pytest.fixture
def proxy(api: SmallApi, tmp_path: Path) -> Proxy:
    return Proxy(Kube(tmp_path / "primary.kubeconfig", "primary", kubectl="kubectl"), "sample", "sleep-1")


def answer(api: SmallApi, text: str) -> None:
    api.frames = [(1, text.encode()), SUCCESS]


def test_endpoints_have_addresses_and_weights(api: SmallApi, proxy: Proxy) -> None:
    answer(api, (DATA / "clusters.txt").read_text())
    near, gateway = proxy.endpoints(HELLOWORLD)
    assert near == Endpoint(Address("10.10.0.7", 5000), 1)
    assert str(gateway) == "10.89.0.94:15443 (weight 1)"
    command = api.asked[0][2]["command"]
    assert command[:-1] == ["pilot-agent", "request", "GET"]
    path, _, pattern = command[-1].partition("&filter=")
    assert (path, unquote(pattern)) == ("clusters?format=json", "^" + re.escape(HELLOWORLD) + "$")
    assert re.search(unquote(pattern), HELLOWORLD)
    assert not re.search(unquote(pattern), HELLOWORLD.replace("helloworld", "old-helloworld")), "of 500 Services one"
    assert api.asked[0][2]["container"] == ["istio-proxy"]


def test_an_unknown_cluster_has_no_endpoints(api: SmallApi, proxy: Proxy) -> None:
    answer(api, (DATA / "clusters.txt").read_text())
    assert proxy.endpoints("outbound|5000||nobody.sample.svc.cluster.local") == ()


def test_envoy_answers_without_a_list_where_its_filter_matches_no_cluster(api: SmallApi, proxy: Proxy) -> None:
    answer(api, "{}")
    assert proxy.endpoints("outbound|5000||nobody.sample.svc.cluster.local") == ()
    assert proxy.upstream_counts("nobody.sample.svc.cluster.local") == {}


@pytest.mark.parametrize(
    ("health", "shown"),
    [
        ({"eds_health_status": "HEALTHY", "failed_outlier_check": True}, "failed_outlier_check"),
        ({"eds_health_status": "UNHEALTHY"}, "eds_health_status UNHEALTHY"),
    ],
)
def test_an_endpoint_that_is_ejected_or_unready_has_health_flags(
    api: SmallApi, proxy: Proxy, health: dict[str, object], shown: str
) -> None:
    clusters = parse((DATA / "clusters.txt").read_text())
    (helloworld,) = (cluster for cluster in clusters["cluster_statuses"] if cluster["name"] == HELLOWORLD)
    helloworld["host_statuses"][0]["health_status"] = health
    answer(api, json.dumps(clusters))
    unhealthy, healthy = proxy.endpoints(HELLOWORLD)
    assert shown in str(unhealthy)
    assert healthy.health_flags == ()


def test_the_counters_of_a_host_are_those_of_all_its_clusters_and_of_no_other_host(api: SmallApi, proxy: Proxy) -> None:
    answer(api, (DATA / "clusters.txt").read_text())
    counts = proxy.upstream_counts("helloworld.sample.svc.cluster.local")
    assert [place for place in counts if place[0] == HELLOWORLD] == [
        (HELLOWORLD, "10.10.0.7:5000"),
        (HELLOWORLD, "10.89.0.94:15443"),
    ]
    assert {name.rpartition("|")[2] for name, _ in counts} == {"helloworld.sample.svc.cluster.local"}
    command = api.asked[0][2]["command"]
    assert command[-1] == "clusters?format=json&filter=%5C%7Chelloworld%5C.sample%5C.svc%5C.cluster%5C.local%24"


def test_the_identity_is_the_metadata_of_the_proxy(api: SmallApi, proxy: Proxy) -> None:
    answer(api, (DATA / "server_info.txt").read_text())
    assert proxy.identity == Identity("primary-network", "primary", "istiod.istio-system.svc:15012")


def test_the_identities_that_servers_need_are_those_of_every_kind_of_tls(api: SmallApi, proxy: Proxy) -> None:
    def socket(*names: dict[str, str]) -> dict[str, object]:
        validation = {"default_validation_context": {"match_subject_alt_names": list(names)}}
        return {"typed_config": {"common_tls_context": {"combined_validation_context": validation}}}

    cluster = {
        "transport_socket_matches": [{"transport_socket": socket({"exact": "spiffe:///ns/a/sa/b"})}, {"name": "raw"}],
        "transport_socket": socket({"exact": "spiffe://c/ns/a/sa/b"}, {"prefix": "spiffe://d/"}),
    }
    answer(api, json.dumps({"configs": [{"cluster": cluster}]}))
    assert proxy.expected_identities(HELLOWORLD) == {"spiffe:///ns/a/sa/b", "spiffe://c/ns/a/sa/b"}
    path, _, pattern = api.asked[0][2]["command"][-1].partition("&name_regex=")
    assert path == "config_dump?resource=dynamic_active_clusters"
    assert re.fullmatch(unquote(pattern), HELLOWORLD)
    answer(api, "{}")
    assert proxy.expected_identities(HELLOWORLD) == set()


def test_only_refused_updates_are_listed(api: SmallApi, proxy: Proxy) -> None:
    answer(api, (DATA / "stats.txt").read_text())
    assert proxy.refused_updates == {}
    stats = parse((DATA / "stats.txt").read_text())
    stats["stats"][0]["value"] = 2
    answer(api, json.dumps(stats))
    assert list(proxy.refused_updates.values()) == [2]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("error: no such page", "no line begins with JSON"),
        ('{"cluster_statuses": [{"name": "outbound|1||a", "host_statuses": [{"address": {"pipe": {}}}]}]}', "KeyError"),
        ("[]", "TypeError"),
        ("{", "JSONDecodeError"),
    ],
)
def test_an_answer_in_an_unknown_format_is_a_broken_environment(
    api: SmallApi, proxy: Proxy, text: str, reason: str
) -> None:
    answer(api, text)
    with pytest.raises(EnvironmentBroke, match="in an unknown format") as caught:
        proxy.endpoints(HELLOWORLD)
    assert reason in caught.value.seen
    assert caught.value.next_command.startswith(
        "kubectl -n sample exec sleep-1 -c istio-proxy -- pilot-agent request GET 'clusters?format=json&filter="
    )


def test_a_proxy_that_does_not_answer_is_a_broken_environment(api: SmallApi, proxy: Proxy) -> None:
    api.frames = [(2, b"connection refused"), (3, FAILED)]
    with pytest.raises(EnvironmentBroke, match="sample/sleep-1 in the primary does not answer") as caught:
        _ = proxy.identity
    assert caught.value.seen == "exit status 1: connection refused"


def test_a_share_is_relative_to_the_total_weight() -> None:
    near, gateway = Endpoint(Address("10.10.0.7", 5000), 2), Endpoint(Address("172.18.0.9", 15443), 6)
    assert share_of({"172.18.0.9:15443"}, [near, gateway]) == Fraction(3, 4)
    assert share_of({"172.18.0.9:15443"}, []) == 0


def test_certificates_are_listed_once_with_identity_and_validity(api: SmallApi, proxy: Proxy) -> None:
    answer(api, (DATA / "certs.txt").read_text())
    (certificate,) = proxy.certificates
    assert str(certificate) == (
        "spiffe://cluster.local/ns/sample/sa/sleep, valid from 2026-11-23T06:55Z to 2026-11-24T06:57Z"
    )
    assert api.asked[0][2]["command"] == ["pilot-agent", "request", "GET", "certs"]


def test_the_chain_that_is_served_is_the_workloads_and_no_gateway_credentials(api: SmallApi, proxy: Proxy) -> None:
    pem = base64.b64encode("".join(one.public_bytes(Encoding.PEM).decode() for one in CHAIN).encode()).decode()
    other, own = ({"tls_certificate": {"certificate_chain": {"inline_bytes": one}}} for one in ("", pem))
    configs = [{"name": "kubernetes://ingress", "secret": other}, {"name": "default", "secret": own}]
    answer(api, json.dumps({"configs": configs}))
    assert proxy.chain == CHAIN
    answer(api, "{}")
    assert proxy.chain == ()


def test_a_proxy_without_a_certificate_yet_has_none(api: SmallApi, proxy: Proxy) -> None:
    answer(api, '{"certificates": [{"ca_cert": [], "cert_chain": []}, {"ca_cert": []}]}')
    assert proxy.certificates == ()


def test_certificates_in_an_unknown_format_are_a_broken_environment(api: SmallApi, proxy: Proxy) -> None:
    answer(api, '{"certificates": [{"cert_chain": [{"path": "here"}]}]}')
    with pytest.raises(EnvironmentBroke, match="in an unknown format"):
        _ = proxy.certificates
