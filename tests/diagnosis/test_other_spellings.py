"""The same mistakes in other fields, spellings and objects that Istio treats alike."""

from __future__ import annotations

from typing import Any

import pytest

from splithorizon.diagnosis import causes, root_causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.diagnosis.reading.model import GATEWAY, SERVER
from splithorizon.diagnosis.root_cause import of_reading
from tests.support.made_reading import (
    FAR_LOST,
    HOST,
    MESH,
    OUTBOUND,
    Change,
    Object,
    adds,
    also,
    edits,
    logs,
    made,
    sound,
)


def rule(kind: str, namespace: str = "sample", **spec: Any) -> Change:
    return adds("primary", made(kind, "h", namespace, spec=spec))


def to(host: str = "helloworld", **more: Any) -> list[Object]:
    return [{"destination": {"host": host}, **more}]


def annotated(name: str, pod: str, key: str, value: str) -> Change:
    """A pod has this annotation of its capture."""
    full = {f"traffic.sidecar.istio.io/{key}": value}
    return edits(name, "Pod", pod, lambda one: one["metadata"].update(annotations=full))


def nodes(*names: str) -> Change:
    """Each cluster has a node in a region of its name."""
    return also(
        *(adds(one, made("Node", f"{one}-node", labels={"topology.kubernetes.io/region": one})) for one in names)
    )


DISTRIBUTED = edits(
    "primary", "Service", "helloworld", lambda one: one["spec"].update(trafficDistribution="PreferClose")
)
FULL_AT_SERVER = logs("remote", SERVER, code=503, flags="UO", cluster="inbound|5000||")
LOST_AT_POD = logs("remote", GATEWAY, flags="UF", upstream="10.20.0.3:5000")
TO_ITSELF = {"distribute": [{"from": "primary/*", "to": {"primary/*": 100}}]}

SPELLED: dict[str, tuple[Change, Cause, tuple[str, str]]] = {
    # VirtualServices.
    "a limit of each try": (
        also(
            rule("VirtualService", hosts=["helloworld"],
                 http=[{"retries": {"attempts": 2, "perTryTimeout": "1ms"}, "route": to()}]),
            logs("primary", code=504, flags="UT", cluster=OUTBOUND),
        ),
        causes.REQUEST_TIME_LIMITED,
        ("VirtualService primary/sample/h", "spec.http[0].retries.perTryTimeout"),
    ),
    "no route for a client's short name": (
        also(
            rule("VirtualService", hosts=["helloworld"], http=[{"match": [{"uri": {"prefix": "/x"}}], "route": to()}]),
            logs("primary", code=404, flags="NR", authority="helloworld:5000"),
        ),
        root_causes.RULE_MATCHES_NOTHING,
        ("VirtualService primary/sample/h", "spec.http[].match"),
    ),
    # DestinationRules.
    "plain text at a port of a subset": (
        also(
            rule("VirtualService", hosts=["helloworld"],
                 http=[{"route": [{"destination": {"host": "helloworld", "subset": "all"}}]}]),
            adds("primary", made("DestinationRule", "d", "sample", spec={"host": "helloworld", "subsets": [{
                "name": "all", "labels": {"app": "helloworld"},
                "trafficPolicy": {"portLevelSettings": [{"port": {"number": 5000}, "tls": {"mode": "DISABLE"}}]},
            }]})),
            logs("primary", code=503, flags="UC", cluster=f"outbound|5000|all|{HOST}"),
        ),
        root_causes.RULE_CHANGES_TLS,
        ("DestinationRule primary/sample/d", "spec.subsets[0].trafficPolicy.portLevelSettings[0].tls.mode"),
    ),
    "a distribution of a rule that leaves a cluster out": (
        also(
            rule("DestinationRule", host=HOST, trafficPolicy={"loadBalancer": {"localityLbSetting": TO_ITSELF}}),
            nodes("primary", "remote"), FAR_LOST,
        ),
        causes.LOCALITY_PREFERRED,
        ("DestinationRule primary/sample/h", "spec.trafficPolicy.loadBalancer.localityLbSetting"),
    ),
    # Policies.
    "a provider that does not answer": (
        also(
            rule("AuthorizationPolicy", action="CUSTOM", provider={"name": "opa"}, rules=[{}]),
            edits("primary", "ConfigMap", "istio",
                  lambda one: one["data"].update(mesh=f"{MESH}extensionProviders: [{{name: opa}}]\n")),
            logs("remote", SERVER, code=403, flags="UAEX", details="ext_authz_error"),
        ),
        causes.POLICY_DENIES,
        ("AuthorizationPolicy primary/sample/h", "spec.provider.name"),
    ),
    # Sidecar resources.
    "a pool of a Sidecar": (
        also(
            rule("Sidecar", workloadSelector={"labels": {"app": "helloworld"}},
                 inboundConnectionPool={"http": {"http2MaxRequests": 1}}),
            adds("primary", made("DestinationRule", "d", "sample", spec={
                "host": "helloworld", "trafficPolicy": {"connectionPool": {"http": {"http2MaxRequests": 1000}}},
            })),
            FULL_AT_SERVER,
        ),
        root_causes.CONNECTIONS_LIMITED,
        ("Sidecar primary/sample/h", "spec.inboundConnectionPool"),
    ),
    "a pool of a Sidecar's port": (
        also(
            rule("Sidecar", workloadSelector={"labels": {"app": "helloworld"}},
                 ingress=[{"port": {"number": 5000}, "connectionPool": {"http": {"http2MaxRequests": 1}}}]),
            FULL_AT_SERVER,
        ),
        root_causes.CONNECTIONS_LIMITED,
        ("Sidecar primary/sample/h", "spec.ingress[0].connectionPool"),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("broken", "cause", "cite"), SPELLED.values(), ids=SPELLED)
def test_another_spelling_of_a_mistake_is_named_too(broken: Change, cause: Cause, cite: tuple[str, str]) -> None:
    found = of_reading(broken(sound())).root_causes
    assert [one.id for one in found] == [cause.id]
    facts = [(one.object, one.field) for one in found[0].finding.evidence]
    assert any(cite[0] == where and field.startswith(cite[1]) for where, field in facts), facts
