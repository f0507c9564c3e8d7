"""What the next pod, proxy or token meets: seen sound, refuted for each cause, and silent on no samples."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from splithorizon import checks
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks import CheckFailed, Evidence
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.info import Address
from splithorizon.istio.webhooks import InjectionWebhook
from splithorizon.mesh.next_pod import AdmittedPod, IstiodProbe
from splithorizon.traffic.tls_probe import TlsProbeResult
from tests.istio.test_certificates import NOW, Issuer

HOST = "istiod.istio-system.svc"
ROOT, OTHER = Issuer(common="root"), Issuer(common="another")
AT = Address("10.89.0.3", 15012)
ADMITTED = AdmittedPod(True, "remote-network", "remote", "default")


def served(host: str = HOST, *, issuer: Issuer = ROOT, days: tuple[int, int] = (-1, 1)) -> TlsProbeResult:
    """A server's own certificate of a root, as istiod serves it."""
    begins, ends = (NOW + timedelta(days=one) for one in days)
    made = x509.CertificateBuilder(issuer.name, x509.Name([]), Issuer().key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(begins).not_valid_after(ends)
    names = x509.SubjectAlternativeName([x509.DNSName(host)])
    leaf = made.add_extension(names, critical=False).sign(issuer.key, hashes.SHA256())
    return TlsProbeResult((leaf, issuer.as_root), ending="closed")


TRUSTED = (ROOT.as_root,)
PROBE = IstiodProbe("proxies of the remote", HOST, AT, TRUSTED, served())
WEBHOOK = InjectionWebhook(
    "MutatingWebhookConfiguration injector, n.istio.io", "n.istio.io", HOST, frozenset({AT}), TRUSTED
)


def injected(pod: AdmittedPod) -> Evidence:
    return checks.new_pod_injected(pod, "remote", network="remote-network", cluster_id="remote", revision="default")


def test_a_pod_with_its_sidecar_is_proof() -> None:
    assert injected(ADMITTED).key_number == "remote-network, revision default"


SERVICE_GONE = (
    'failed to call webhook: Post "https://istiod-1-7-0.istio-system.svc:443/inject": service "istiod-1-7-0" not found'
)
UNKNOWN_ROOT = "tls: failed to verify certificate: x509: certificate signed by unknown authority"


@pytest.mark.parametrize(
    ("pod", "cause"),
    [
        (AdmittedPod(refused=SERVICE_GONE), causes.WEBHOOK_LEADS_NOWHERE),
        (AdmittedPod(refused=UNKNOWN_ROOT), causes.WEBHOOK_NOT_TRUSTED),
        (AdmittedPod(refused="dial tcp 192.0.2.1:15017: connect: no route to host"), causes.ISTIOD_UNREACHABLE),
        (AdmittedPod(), causes.NAMESPACE_NOT_INJECTED),
        (replace(ADMITTED, network="former-network"), causes.PROXY_NETWORK_WRONG),
        (replace(ADMITTED, network=""), causes.PROXY_NETWORK_WRONG),
        (replace(ADMITTED, cluster_id="Kubernetes"), causes.PROXY_CLUSTER_ID_WRONG),
        (replace(ADMITTED, revision="1-7-0"), causes.WEBHOOK_ORPHANED),
    ],
)
def test_another_pod_is_refuted_with_what_was_seen(pod: AdmittedPod, cause: Cause) -> None:
    with pytest.raises(CheckFailed) as caught:
        injected(pod)
    assert caught.value.causes[0] is cause
    for word in (pod.refused, *({pod.network, pod.cluster_id, pod.revision} - {"remote-network", "remote", "default"})):
        assert word in caught.value.seen


def led(webhook: InjectionWebhook = WEBHOOK, probe: IstiodProbe = PROBE) -> Evidence:
    return checks.webhooks_lead_to_istiod([WEBHOOK, webhook], [probe], "remote")


def test_webhooks_that_lead_to_an_istiod_they_trust_are_proof() -> None:
    assert led().numbers == {"webhooks": 2, "connections": 1}


def test_one_webhook_that_leads_nowhere_refutes() -> None:
    with pytest.raises(CheckFailed, match="no Service a/b") as caught:
        led(replace(WEBHOOK, problem="no Service a/b"))
    assert caught.value.causes == (causes.WEBHOOK_LEADS_NOWHERE,)


NOT_SERVED = TlsProbeResult(ending="Connection refused")
REFUTED = [
    (NOT_SERVED, "served no certificate, then Connection refused", causes.ISTIOD_UNREACHABLE),
    (served(issuer=OTHER), "no chain of issuers leads to a trusted root", causes.WEBHOOK_NOT_TRUSTED),
    (served("helloworld.sample.svc"), f"not a certificate of {HOST}", causes.WEBHOOK_NOT_TRUSTED),
    (served(days=(-9, -2)), "valid from", causes.WEBHOOK_NOT_TRUSTED),
]


@pytest.mark.parametrize(("result", "seen", "cause"), REFUTED)
def test_what_no_client_trusts_refutes(result: TlsProbeResult, seen: str, cause: Cause) -> None:
    with pytest.raises(CheckFailed) as caught:
        led(probe=replace(PROBE, served=result))
    assert seen in caught.value.seen
    assert caught.value.causes[0] is cause
    with pytest.raises(CheckFailed) as caught:
        checks.istiod_reached([PROBE, replace(PROBE, served=result)], "remote")
    assert seen in caught.value.seen
    assert caught.value.causes[0] is cause


def test_istiod_behind_the_gateway_is_proof() -> None:
    webhook = replace(PROBE, address=Address("10.89.0.3", 15017), place="webhooks of the remote")
    assert checks.istiod_reached([PROBE, webhook], "remote").key_number == ":15012, :15017"


def test_a_wildcard_is_a_name_of_the_host() -> None:
    assert led(probe=replace(PROBE, served=served("*.istio-system.svc"))).key_number == "2 webhooks"


def test_a_cluster_without_roots_trusts_nobody() -> None:
    with pytest.raises(CheckFailed, match="no chain of issuers"):
        checks.istiod_reached([replace(PROBE, trusted=())], "remote")


def test_nothing_is_judged_by_nothing() -> None:
    with pytest.raises(EnvironmentBroke):
        checks.istiod_reached([], "remote")
    with pytest.raises(EnvironmentBroke):
        checks.webhooks_lead_to_istiod([], [], "remote")
