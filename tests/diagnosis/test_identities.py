"""Names in certificates: a rule that demands others, and a trust domain that was renamed."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding

from splithorizon.diagnosis import root_causes
from splithorizon.diagnosis.reading.model import CLIENT, SERVER
from splithorizon.diagnosis.root_cause import of_reading
from splithorizon.istio import certificates
from tests.support.made_reading import HOST, OUTBOUND, Change, Object, adds, also, edits, logs, made, proxies, sound

DEFAULT = "spiffe://cluster.local/ns/sample/sa/default"
REFUSED = logs(
    "primary", code=503, flags="URX,UF", cluster=OUTBOUND, upstream="10.20.0.3:5000",
    failure="TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED:verify_cert_failed",
)  # fmt: skip

RESET = logs("primary", code=503, flags="UC", cluster=OUTBOUND, upstream="10.20.0.3:5000")


def certificate(identity: str) -> str:
    key, name = certificates.new_key(), certificates.name("Root")
    made_one = certificates.workload(identity, key, issuer=name, issuer_key=key)
    return made_one.public_bytes(Encoding.PEM).decode()


def identified(identity: str = DEFAULT) -> Change:
    pem = certificate(identity)
    return also(
        *(proxies(cluster, kind, certificate=pem) for cluster in ("primary", "remote") for kind in (CLIENT, SERVER))
    )


def rule(**tls: Any) -> Change:
    spec = {"host": HOST, "trafficPolicy": {"tls": tls}}
    return adds("primary", made("DestinationRule", "h", "sample", spec=spec))


def demands(*names: str) -> Change:
    return rule(mode="ISTIO_MUTUAL", subjectAltNames=list(names))


def mesh(**settings: Any) -> Change:
    def edit(one: Object) -> None:
        one["data"]["mesh"] = yaml.safe_dump({**yaml.safe_load(one["data"].get("mesh", "{}")), **settings})

    return edits("primary", "ConfigMap", "istio", edit)


def test_a_rule_that_demands_another_name_is_cited_with_the_name_of_the_pods() -> None:
    (found,) = of_reading(also(identified(), demands("spiffe://other"), REFUSED)(sound())).root_causes
    assert found.id == root_causes.RULE_DEMANDS_ANOTHER_NAME.id
    (fact,) = found.finding.evidence
    assert (fact.object, fact.field) == ("DestinationRule primary/sample/h", "spec.trafficPolicy.tls.subjectAltNames")
    assert fact.value == f"[spiffe://other]; the service's pods are [{DEFAULT}]"
    assert "CERTIFICATE_VERIFY_FAILED" in found.finding.witness


@pytest.mark.parametrize("names", [(DEFAULT,), ("spiffe://other", DEFAULT)])
def test_a_rule_that_admits_the_pods_is_no_finding(names: tuple[str, ...]) -> None:
    found = of_reading(also(identified(), demands(*names), REFUSED)(sound()))
    assert root_causes.RULE_DEMANDS_ANOTHER_NAME.id not in {one.id for one in found.root_causes}
    assert root_causes.RULE_DEMANDS_ANOTHER_NAME.id not in {one.cause.id for one in found.notes}


def test_where_no_connection_was_refused_another_name_is_a_note() -> None:
    found = of_reading(also(identified(), demands("spiffe://other"))(sound()))
    assert found.root_causes == ()
    assert root_causes.RULE_DEMANDS_ANOTHER_NAME.id in {one.cause.id for one in found.notes}


def test_tls_settings_without_a_mode_are_no_tls() -> None:
    refused = logs("primary", code=503, flags="UC", cluster=OUTBOUND)
    (found,) = of_reading(also(rule(sni=HOST), refused)(sound())).root_causes
    assert found.id == root_causes.RULE_CHANGES_TLS.id
    assert found.finding.evidence[0].field == "spec.trafficPolicy.tls"


@pytest.mark.parametrize("refused", [REFUSED, RESET], ids=["by the client", "by the server, in TLS 1.3"])
def test_a_trust_domain_that_pods_do_not_have_yet_is_cited_with_their_certificates(refused: Change) -> None:
    broken = also(identified(), mesh(trustDomain="mesh.example.com"), refused)
    (found,) = of_reading(broken(sound())).root_causes
    assert found.id == root_causes.TRUST_DOMAIN_CHANGED.id
    facts = [(fact.field, fact.value) for fact in found.finding.evidence]
    assert facts[:2] == [("data.mesh.trustDomain", "mesh.example.com"), ("data.mesh.trustDomainAliases", "[]")]
    assert ("secret default", f"certificate of {DEFAULT}") in facts


@pytest.mark.parametrize(
    "settings",
    [{}, {"trustDomain": "mesh.example.com", "trustDomainAliases": ["cluster.local"]}],
    ids=["same", "alias"],
)
def test_a_trust_domain_that_is_known_is_no_finding(settings: dict[str, Any]) -> None:
    found = of_reading(also(identified(), mesh(**settings), REFUSED)(sound()))
    assert root_causes.TRUST_DOMAIN_CHANGED.id not in {one.id for one in found.root_causes}


def test_where_no_connection_was_refused_a_new_trust_domain_is_a_note() -> None:
    found = of_reading(also(identified(), mesh(trustDomain="mesh.example.com"))(sound()))
    assert root_causes.TRUST_DOMAIN_CHANGED.id in {one.cause.id for one in found.notes}


def expects(*identities: str) -> Change:
    return proxies("primary", CLIENT, clusters={OUTBOUND: {"expected_identities": list(identities)}})


def test_an_identity_without_a_trust_domain_is_named_where_a_certificate_was_refused_for_it() -> None:
    (found,) = of_reading(also(expects("spiffe:///ns/sample/sa/default", DEFAULT), REFUSED)(sound())).root_causes
    assert found.id == root_causes.IDENTITY_WITHOUT_TRUST_DOMAIN.id
    (fact,) = found.finding.evidence
    assert fact.field == f"cluster {OUTBOUND}, match_subject_alt_names"
    assert fact.value == f"spiffe:///ns/sample/sa/default, {DEFAULT}"
    assert found.finding.fix == "kubectl <primary> -n istio-system rollout restart deployment -l app=istiod"


@pytest.mark.parametrize(
    ("change", "noted"),
    [(expects("spiffe:///ns/sample/sa/default"), True), (also(expects(DEFAULT), REFUSED), False)],
    ids=["nothing was refused", "each has a trust domain"],
)
def test_identities_that_refuse_nothing_are_no_cause(change: Change, noted: bool) -> None:
    found = of_reading(change(sound()))
    assert found.root_causes == ()
    assert (root_causes.IDENTITY_WITHOUT_TRUST_DOMAIN.id in {one.cause.id for one in found.notes}) is noted
