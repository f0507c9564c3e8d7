"""Who is trusted, known and let in: seen sound, refuted for each cause, and silent on no samples."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from splithorizon import checks
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks import CheckFailed
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio import certificates
from splithorizon.istio.topology import Route
from splithorizon.istio.workload_certificate import WorkloadCertificate, identity_of
from splithorizon.mesh.security import AuthzResult, WorkloadIdentity
from splithorizon.traffic.access_log import AccessLogLine
from splithorizon.traffic.client import Attempt, PodAddress, Sample
from splithorizon.traffic.correlate import join
from splithorizon.traffic.requests import Reply
from splithorizon.traffic.tls_probe import TlsProbeResult
from tests.istio.test_certificates import Issuer

OUT = Route("primary", "remote")
IDENTITY = identity_of("cluster.local", "sample", "default")
NOW = datetime.now(UTC)
OK_ANSWER = b"HTTP/1.1 200 OK\r\n\r\nhello"


def chain(identity: str = IDENTITY) -> tuple[x509.Certificate, ...]:
    """A leaf, its intermediate and its root, each of a key of its own."""
    root_name, ca_name = certificates.name("Root CA"), certificates.name("Intermediate CA", "primary")
    root_key, ca_key, key = (certificates.new_key() for _ in range(3))
    root = certificates.authority(root_name, root_key, issuer=root_name, issuer_key=root_key)
    ca = certificates.authority(ca_name, ca_key, issuer=root_name, issuer_key=root_key, path_length=0)
    return certificates.workload(identity, key, issuer=ca_name, issuer_key=ca_key), ca, root


def over_intermediate(issuer: Issuer) -> tuple[x509.Certificate, ...]:
    """As ``chain``, with this intermediate."""
    root_name, root_key, key = certificates.name("Root CA"), certificates.new_key(), certificates.new_key()
    root = certificates.authority(root_name, root_key, issuer=root_name, issuer_key=root_key)
    intermediate = issuer.signed_by(root_name, root_key)
    leaf = certificates.workload(IDENTITY, key, issuer=intermediate.subject, issuer_key=issuer.key)
    return leaf, intermediate, root


CHAIN, OTHER = chain(), chain()
ROOTS = dict.fromkeys(("primary", "remote"), (CHAIN[-1],))
SERVED = TlsProbeResult(CHAIN, ending="tlsv13 alert certificate required")
CLOSED = TlsProbeResult(ending="connection reset by peer")


def test_a_chain_of_the_common_root_is_proof() -> None:
    found = checks.chain_leads_to_root(SERVED, "remote", roots=ROOTS, identity=IDENTITY)
    assert found.key_number.startswith("3 certificates, until 20")
    assert found.numbers["identity"] == IDENTITY
    assert found.sample_lines[1:] == ("L=primary,CN=Intermediate CA,O=Istio", "CN=Root CA,O=Istio")


def test_a_root_that_is_not_served_is_still_led_to() -> None:
    without_root = replace(SERVED, chain=CHAIN[:2])
    found = checks.chain_leads_to_root(without_root, "remote", roots=ROOTS, identity=IDENTITY)
    assert found.numbers["identity"] == IDENTITY


def expired() -> x509.Certificate:
    key = certificates.new_key()
    builder = x509.CertificateBuilder(
        subject_name=x509.Name([]), issuer_name=x509.Name([]), public_key=key.public_key(), serial_number=1
    )
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(IDENTITY)])
    dated = builder.not_valid_before(NOW - timedelta(days=1)).not_valid_after(NOW + timedelta(minutes=30))
    return dated.add_extension(names, critical=True).sign(key, hashes.SHA256())


EXPIRED = expired()


@pytest.mark.parametrize(
    ("greeting", "roots", "open_causes"),
    [
        (TlsProbeResult(ending="connection refused"), ROOTS, (causes.GATEWAY_NOT_LISTENING,)),
        (CLOSED, ROOTS, (causes.SERVICES_NOT_EXPOSED, causes.NO_MUTUAL_TLS)),
        (TlsProbeResult(ending="wrong version number"), ROOTS, (causes.GATEWAY_WITHOUT_TLS,)),
        (replace(SERVED, chain=OTHER), ROOTS, (causes.ROOTS_DIFFER,)),
        (SERVED, ROOTS | {"remote": (OTHER[-1],)}, (causes.ROOTS_DIFFER,)),
        (replace(SERVED, chain=CHAIN[:1]), ROOTS, (causes.ROOTS_DIFFER,)),
        (
            TlsProbeResult((EXPIRED,)),
            dict.fromkeys(ROOTS, (EXPIRED,)),
            (causes.CERTIFICATE_NOT_RENEWED,),
        ),
    ],
    ids=["refused", "reset", "no TLS", "another root", "one cluster's root", "no intermediate", "expires"],
)
def test_what_is_not_trusted_is_refuted(
    greeting: TlsProbeResult, roots: dict[str, tuple[x509.Certificate, ...]], open_causes: tuple[Cause, ...]
) -> None:
    with pytest.raises(CheckFailed) as caught:
        checks.chain_leads_to_root(greeting, "primary", roots=roots, identity=IDENTITY)
    assert caught.value.causes == open_causes


def test_only_the_cluster_that_does_not_trust_it_is_named() -> None:
    roots = ROOTS | {"remote": (OTHER[-1],)}
    with pytest.raises(CheckFailed, match="by the roots of the remote: no chain") as caught:
        checks.chain_leads_to_root(SERVED, "primary", roots=roots, identity=IDENTITY)
    assert "roots of the primary" not in caught.value.seen


@pytest.mark.parametrize(
    ("flaw", "problem"),
    [
        ({"days": (-9, -2)}, "expired at"),
        ({"days": (2, 9)}, "is not valid before"),
        ({"authority": False}, "may not sign certificates: it is no CA"),
    ],
    ids=["expired", "not valid yet", "no CA"],
)
def test_a_chain_over_a_wrong_intermediate_is_refuted_and_names_it(flaw: dict[str, Any], problem: str) -> None:
    served = over_intermediate(Issuer(**flaw))
    roots = dict.fromkeys(("primary", "remote"), (served[-1],))
    with pytest.raises(CheckFailed) as caught:
        checks.chain_leads_to_root(TlsProbeResult(served), "primary", roots=roots, identity=IDENTITY)
    assert f"by the roots of the remote: the intermediate CN=made by a test {problem}" in caught.value.seen
    assert "renew istiod's own (cacerts)" in caught.value.likely_cause


def test_another_identity_is_not_helloworlds() -> None:
    with pytest.raises(CheckFailed, match=causes.SERVER_IS_ANOTHER.text) as caught:
        checks.chain_leads_to_root(SERVED, "primary", roots=ROOTS, identity=IDENTITY.replace("default", "hello"))
    assert IDENTITY in caught.value.seen


def test_a_certificate_without_any_name_is_nobodys() -> None:
    with pytest.raises(CheckFailed, match="nobody, valid from"):
        checks.chain_leads_to_root(TlsProbeResult((CHAIN[-1],)), "primary", roots=ROOTS, identity=IDENTITY)


@pytest.mark.parametrize("roots", [{}, ROOTS | {"remote": ()}], ids=["no cluster", "none in one"])
def test_without_roots_nothing_is_said(roots: dict[str, tuple[x509.Certificate, ...]]) -> None:
    with pytest.raises(EnvironmentBroke):
        checks.chain_leads_to_root(SERVED, "primary", roots=roots, identity=IDENTITY)


FOREIGN = replace(SERVED, ending="tlsv1 alert unknown ca")


def test_refused_strangers_are_told_with_their_alerts() -> None:
    found = checks.strangers_refused(bare=SERVED, foreign=FOREIGN, cluster="primary")
    assert found.numbers == {"without_certificate": SERVED.ending, "foreign_certificate": FOREIGN.ending}


@pytest.mark.parametrize(
    ("bare", "foreign", "open_causes"),
    [
        (replace(SERVED, answer=OK_ANSWER), FOREIGN, (causes.NO_CLIENT_CERTIFICATE_DEMANDED,)),
        (
            replace(SERVED, answer=OK_ANSWER),
            replace(FOREIGN, answer=OK_ANSWER),
            (causes.NO_CLIENT_CERTIFICATE_DEMANDED,),
        ),
        (SERVED, replace(FOREIGN, answer=b"\0"), (causes.ANY_ROOT_TRUSTED,)),
    ],
)
def test_a_stranger_who_hears_a_byte_is_not_refused(
    bare: TlsProbeResult, foreign: TlsProbeResult, open_causes: tuple[Cause, ...]
) -> None:
    with pytest.raises(CheckFailed) as caught:
        checks.strangers_refused(bare=bare, foreign=foreign, cluster="primary")
    assert caught.value.causes == open_causes


@pytest.mark.parametrize(("bare", "foreign"), [(CLOSED, SERVED), (SERVED, CLOSED)])
def test_where_nothing_is_served_a_refusal_means_nothing(bare: TlsProbeResult, foreign: TlsProbeResult) -> None:
    with pytest.raises(EnvironmentBroke, match="not even served"):
        checks.strangers_refused(bare=bare, foreign=foreign, cluster="primary")


def test_a_gateway_that_closes_on_what_it_does_not_know_is_sound() -> None:
    found = checks.gateway_knows_only_services(known=SERVED, unknown=CLOSED, plain=CLOSED, cluster="remote")
    assert found.key_number == "connection reset by peer"


@pytest.mark.parametrize(
    ("unknown", "plain", "open_causes"),
    [
        (SERVED, CLOSED, (causes.ANY_NAME_PASSED,)),
        (replace(CLOSED, answer=b"?"), CLOSED, (causes.ANY_NAME_PASSED,)),
        (CLOSED, replace(CLOSED, answer=b"HTTP/1.1 404 Not Found"), (causes.PLAIN_TEXT_AT_GATEWAY,)),
    ],
)
def test_a_gateway_that_passes_on_what_it_does_not_know_is_refuted(
    unknown: TlsProbeResult, plain: TlsProbeResult, open_causes: tuple[Cause, ...]
) -> None:
    with pytest.raises(CheckFailed) as caught:
        checks.gateway_knows_only_services(known=SERVED, unknown=unknown, plain=plain, cluster="remote")
    assert caught.value.causes == open_causes


def test_a_gateway_that_serves_nothing_at_all_refuses_nobody() -> None:
    with pytest.raises(EnvironmentBroke, match="not even served"):
        checks.gateway_knows_only_services(known=CLOSED, unknown=CLOSED, plain=CLOSED, cluster="remote")


POD = PodAddress("helloworld-v1-x", "10.10.0.7")
URL = "http://10.10.0.5:5000/hello"
REACHED = Attempt(POD, URL, 200, 0.01, "")
REFUSED = Attempt(POD, URL, 0, 0.0, "Recv failure: Connection reset by peer")


def test_plain_text_that_is_refused_at_once_is_proof() -> None:
    found = checks.plain_text_refused("primary", control=REACHED, asked=REFUSED)
    assert found.numbers["error"] == "Recv failure: Connection reset by peer"


@pytest.mark.parametrize(
    ("asked", "open_causes"),
    [
        (replace(REFUSED, status=200, error=""), (causes.PLAIN_TEXT_ADMITTED,)),
        (replace(REFUSED, status=503, error=""), (causes.PLAIN_TEXT_ADMITTED,)),
        (replace(REFUSED, seconds=3.0, error="timed out"), (causes.NETWORK_POLICY_DROPS,)),
    ],
)
def test_plain_text_that_is_not_refused_is_refuted(asked: Attempt, open_causes: tuple[Cause, ...]) -> None:
    with pytest.raises(CheckFailed) as caught:
        checks.plain_text_refused("primary", control=REACHED, asked=asked)
    assert caught.value.causes == open_causes


def test_a_client_that_reaches_nothing_proves_nothing() -> None:
    with pytest.raises(EnvironmentBroke, match="does not even reach the pod"):
        checks.plain_text_refused("primary", control=REFUSED, asked=REFUSED)


NEAR, FAR = "10.10.0.7:5000", "10.89.0.2:15443"


def sample(near: int, far: int, *, far_host: str = FAR, lines: int = 100) -> Sample:
    """A hundred requests, every second one across the gateway, with the status that each side answered."""
    sides = [(NEAR, near), (far_host, far)] * 50
    replies = tuple(Reply(f"r-{n}", status, 0.01) for n, (_, status) in enumerate(sides))
    log = [AccessLogLine(f"line {n}", request_id=f"r-{n}", upstream_host=host) for n, (host, _) in enumerate(sides)]
    return Sample(OUT, replies, join(replies, log[:lines]))


def judge(stranger: Sample, client: Sample) -> checks.Evidence:
    return checks.admission_follows_identity(AuthzResult(stranger, client, frozenset({NEAR}), frozenset({FAR})))


def test_an_admission_by_identity_on_both_sides_is_proof() -> None:
    found = judge(sample(403, 403), sample(200, 200))
    assert found.key_number == "100 refused, 100 answered"
    assert found.numbers["refused"] == "50 x 403 from far, 50 x 403 from near"


@pytest.mark.parametrize(
    ("stranger", "client", "open_causes"),
    [
        (sample(200, 200), sample(200, 200), (causes.ADMITTED_BY_ANOTHER_POLICY, causes.POLICY_NOT_ENFORCED)),
        (sample(403, 200), sample(200, 200), (causes.ADMITTED_BY_ANOTHER_POLICY, causes.POLICY_NOT_ENFORCED)),
        (sample(403, 403), sample(200, 403), (causes.CLIENT_NOT_IDENTIFIED, causes.POLICY_DENIES)),
        (sample(403, 403), sample(403, 403), (causes.CLIENT_NOT_IDENTIFIED, causes.POLICY_DENIES)),
        (sample(403, 503), sample(200, 503), ()),
        (sample(403, 403, far_host=NEAR), sample(200, 200, far_host=NEAR), ()),
        (sample(403, 403, far_host="10.20.0.9:5000"), sample(200, 200), ()),
    ],
    ids=["open", "far open", "far unknown", "unknown", "far lost", "near only", "elsewhere"],
)
def test_an_admission_by_anything_else_is_refuted(
    stranger: Sample, client: Sample, open_causes: tuple[Cause, ...]
) -> None:
    with pytest.raises(CheckFailed) as caught:
        judge(stranger, client)
    assert caught.value.causes == open_causes
    assert caught.value.samples == 200


@pytest.mark.parametrize(
    ("stranger", "client"),
    [
        (Sample(OUT, (), join((), ())), sample(200, 200)),
        (sample(403, 403), Sample(OUT, (), join((), ()))),
        (sample(403, 403, lines=99), sample(200, 200)),
    ],
    ids=["no stranger", "no client", "a line is missing"],
)
def test_an_admission_of_which_too_little_is_known_is_inconclusive(stranger: Sample, client: Sample) -> None:
    with pytest.raises(EnvironmentBroke):
        judge(stranger, client)


CERTIFICATE = WorkloadCertificate((IDENTITY,), NOW - timedelta(hours=1), NOW + timedelta(hours=23))
KNOWN = WorkloadIdentity("helloworld-v1-x.sample", IDENTITY, (CERTIFICATE,))
GATEWAY = identity_of("cluster.local", "istio-system", "gateway")


def test_proxies_with_certificates_of_their_own_are_sound() -> None:
    gateway = WorkloadIdentity("gateway-1.istio-system", GATEWAY, (replace(CERTIFICATE, identities=(GATEWAY,)),))
    found = checks.workloads_known_by_their_own([KNOWN, gateway], "primary")
    assert found.key_number == f"2 proxies, until {CERTIFICATE.ends:%FT%RZ}"


@pytest.mark.parametrize(
    ("found", "open_causes"),
    [
        ((), (causes.PROXY_NOT_CERTIFIED,)),
        ((replace(CERTIFICATE, identities=(GATEWAY,)),), (causes.TRUST_DOMAIN_DIFFERS,)),
        ((CERTIFICATE, replace(CERTIFICATE, identities=())), (causes.TRUST_DOMAIN_DIFFERS,)),
        (
            (replace(CERTIFICATE, begins=NOW - timedelta(hours=23), ends=NOW + timedelta(minutes=59)),),
            (causes.CERTIFICATE_NOT_RENEWED,),
        ),
        (
            (replace(CERTIFICATE, begins=NOW - timedelta(minutes=48), ends=NOW + timedelta(minutes=12)),),
            (causes.CERTIFICATE_NOT_RENEWED,),
        ),
        (
            (replace(CERTIFICATE, begins=NOW, ends=NOW + timedelta(minutes=30)),),
            (causes.CERTIFICATE_SHORT_LIVED,),
        ),
        ((replace(CERTIFICATE, begins=NOW + timedelta(hours=1)),), (causes.CLOCK_WRONG,)),
    ],
    ids=["none", "somebody else's", "nobody's", "ends soon", "an hour's ends soon", "short-lived", "not valid yet"],
)
def test_a_proxy_that_is_not_known_by_its_own_is_refuted(
    found: tuple[WorkloadCertificate, ...], open_causes: tuple[Cause, ...]
) -> None:
    with pytest.raises(CheckFailed) as caught:
        checks.workloads_known_by_their_own([KNOWN, replace(KNOWN, certificates=found)], "primary")
    assert caught.value.causes == open_causes
    assert caught.value.samples == 2


def test_without_proxies_nothing_is_said() -> None:
    with pytest.raises(EnvironmentBroke):
        checks.workloads_known_by_their_own([], "primary")


@pytest.mark.parametrize("minutes", [60, 31, 20])
def test_a_certificate_of_one_hour_is_judged_by_its_own_life(minutes: int) -> None:
    ends = datetime.now(UTC) + timedelta(minutes=minutes)
    known = WorkloadIdentity(
        "sleep-1.sample", IDENTITY, (replace(CERTIFICATE, begins=ends - timedelta(hours=1), ends=ends),)
    )
    assert checks.workloads_known_by_their_own([known], "remote").numbers["proxies"] == 1
