"""Connections to a gateway that are refused at one of its addresses, or lost on the way."""

from __future__ import annotations

from collections.abc import Iterator

from splithorizon.base.addresses import host_port
from splithorizon.diagnosis import causes, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, Symptom, of, rule, shown
from splithorizon.diagnosis.reading.model import Cluster, Reading, spec_of
from splithorizon.diagnosis.rules.follows import UNREACHED
from splithorizon.istio.gateway_services import external_hosts


@rule
def refusing_address(case: Case) -> Iterator[Finding]:
    """One of a gateway's addresses makes no connections, while others do."""
    reading = case.reading
    for cluster in reading.clusters:
        for client, proxy, host, reached in state.refusing(reading, cluster, in_network=True):
            others = ", ".join(f"{one.address} has rq_success {one.successes}" for one in reached)
            yield Finding(
                causes.GATEWAY_ADDRESS_REFUSES,
                Layer.GATEWAY,
                (
                    Fact(
                        f"Envoy {client.name}/{proxy.namespace}/{proxy.pod}",
                        f"clusters: {host.address}",
                        f"cx_connect_fail {host.connect_failures}, rq_success 0; {others}",
                    ),
                    *_named_in(reading, cluster, host.address),
                ),
                f"take {host.address} from the addresses of {cluster.name}'s gateway, or let the gateway listen there",
                f"{state.failed_to_connect(client, proxy, host)}, and reached the gateway at "
                f"{shown([one.address for one in reached])}",
                UNREACHED,
            )


def _named_in(reading: Reading, cluster: Cluster, address: str) -> Iterator[Fact]:
    """Where an address of a cluster's gateway comes from: its Service's status, or meshNetworks."""
    for service in state.gateway_services(cluster):
        port = state.gateway_port(service)
        given = [host_port(host, port) for host in external_hosts(service)]
        if address in given:
            host = address.rpartition(":")[0]
            by_hand = host in (spec_of(service).get("externalIPs") or [])
            field = "spec.externalIPs" if by_hand else "status.loadBalancer.ingress"
            value = f"{host}, one of {shown(external_hosts(service))}"
            yield Fact(of(cluster, service, "Service"), field, value)
    plane = state.control_plane_of(reading, cluster)
    network = state.mesh_networks(reading, plane).get(cluster.network) or {}
    named = [f"{one.get('address')}:{one.get('port')}" for one in network.get("gateways") or []]
    if address in named and (found := state.config_map(reading, plane)):
        place = f"data.meshNetworks.networks.{cluster.network}.gateways"
        yield Fact(of(plane, found, "ConfigMap"), place, f"{address}, one of {shown(named)}")


@rule
def dropped(case: Case) -> Iterator[Finding]:
    """New connections to a gateway are made late, at a rate that was measured, and others are not."""
    for symptom in case.symptoms:
        if causes.CONNECTIONS_DROPPED.id in symptom.cause_ids and _count(symptom, "late") > _count(symptom, "failed"):
            near, _, far = symptom.route.partition("→")
            addresses = str(symptom.numbers.get("addresses", ""))
            # The check judges without the worst rounds; the rate is that of all.
            late, failed, every = (_count(symptom, f"{one}_of_all_rounds") for one in ("late", "failed", "connections"))
            rate = (late + failed) / max(1, every)
            median = symptom.numbers.get("median_seconds")
            yield Finding(
                causes.CONNECTIONS_DROPPED,
                Layer.PATH,
                (
                    Fact(
                        f"Gateway {addresses} of {far}",
                        f"new connections from {near}",
                        f"{late} late and {failed} failed of {every}, {rate:.1%}; median {median} s",
                    ),
                    Fact(f"Client {near}", "new connections within its network", _near(symptom)),
                ),
                f"find what drops packets between {near}'s nodes and {addresses}: a firewall, a full conntrack table, "
                "a load balancer with a dead target; on the gateway's nodes: iptables -t raw -L -v",
                f"{symptom.behaviour} ({symptom.route}): {rate:.1%} of new connections were late or failed",
                frozenset({causes.GATEWAY_DROPS_PACKETS.id}),
            )


def _count(symptom: Symptom, name: str) -> int:
    value = symptom.numbers.get(name)
    return int(value) if isinstance(value, int | float) else 0


def _near(symptom: Symptom) -> str:
    late, failed, every = (_count(symptom, f"near_{name}") for name in ("late", "failed", "connections"))
    return f"{late} late and {failed} failed of {every}"
