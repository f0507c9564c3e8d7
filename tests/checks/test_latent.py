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
from splithorizon.istio.remote_credential import RemoteCredential, Right
from splithorizon.istio.topology import Watch
from splithorizon.istio.webhooks import InjectionWebhook
from splithorizon.mesh.next_pod import AdmittedPod, IstiodProbe
from splithorizon.mesh.remote_access import RemoteAccess
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


WATCH = Watch("primary", "remote")
RIGHTS = tuple(Right("", "pods", verb) for verb in ("get", "list", "watch", "patch"))
CREDENTIAL = RemoteCredential("Secret a/b, data key remote", "remote", "token", ends_known=True)
ACCESS = RemoteAccess(WATCH, CREDENTIAL, 201, RIGHTS)


def ending(**after: float) -> RemoteAccess:
    return replace(ACCESS, credential=replace(CREDENTIAL, ends=NOW + timedelta(**after)))


def test_a_credential_that_lasts_is_proof() -> None:
    found = checks.remote_credentials_last([ACCESS])
    assert (found.key_number, found.numbers["reviews"]) == ("does not end", 4)
    assert found.sample_lines == ("Secret a/b, data key remote: token, does not end; 4 rights, all granted",)
    assert "within a week" not in checks.remote_credentials_last([ending(days=8)]).key_number


def test_an_end_within_a_week_is_reported() -> None:
    assert checks.remote_credentials_last([ending(days=6)]).key_number.endswith(", within a week")


def test_an_end_that_nobody_can_read_is_called_unknown() -> None:
    opaque = replace(ACCESS, credential=replace(CREDENTIAL, ends_known=False))
    assert checks.remote_credentials_last([opaque]).key_number == "end unknown"


def test_what_was_not_asked_is_called_so() -> None:
    certificate = RemoteAccess(WATCH, replace(CREDENTIAL, kind="client certificate"))
    (line,) = checks.remote_credentials_last([certificate]).sample_lines
    assert line.endswith("rights not asked for: it is no token")
    (line,) = checks.remote_credentials_last([replace(ACCESS, status=0)]).sample_lines
    assert line.endswith("rights not asked for: no answer")


@pytest.mark.parametrize(
    ("access", "seen", "cause"),
    [
        (ending(minutes=10), "within a week", causes.REMOTE_TOKEN_ENDS),
        (ending(minutes=-10), "it ends", causes.REMOTE_TOKEN_ENDS),
        (replace(ACCESS, status=401), "the token is dead", causes.REMOTE_SECRET_REFUSED),
        (replace(ending(minutes=-10), status=401), "the token is dead", causes.REMOTE_SECRET_REFUSED),
        (replace(ACCESS, denied=RIGHTS), "get pods, list pods, watch pods and 1 more", causes.REMOTE_SECRET_REFUSED),
        (RemoteAccess(WATCH), "none", causes.REMOTE_SECRET_MISSING),
    ],
    ids=["ends", "ended", "dead", "ended and dead", "lacks", "missing"],
)
def test_a_credential_that_does_not_last_is_refuted(access: RemoteAccess, seen: str, cause: Cause) -> None:
    with pytest.raises(CheckFailed) as caught:
        checks.remote_credentials_last([ACCESS, access])
    assert seen in caught.value.seen
    assert caught.value.causes[0] is cause


def test_another_answer_says_nothing_of_the_credential() -> None:
    with pytest.raises(EnvironmentBroke, match="no access review is answered"):
        checks.remote_credentials_last([replace(ACCESS, status=503)])
    with pytest.raises(EnvironmentBroke):
        checks.remote_credentials_last([])


DAYS_OLD = (-1, 9)
LEAF, AUTHORITY = Issuer(days=DAYS_OLD, authority=None), Issuer(days=DAYS_OLD, common="intermediate")


def chain(leaf: Issuer = LEAF, authority: Issuer = AUTHORITY, root: Issuer = ROOT) -> tuple[x509.Certificate, ...]:
    """A workload's certificate, its intermediate and the root."""
    return (
        leaf.signed_by(authority.name, authority.key),
        authority.signed_by(root.name, root.key),
        root.as_root,
    )


def test_chains_with_a_fifth_of_each_life_left_are_proof() -> None:
    found = checks.chains_last({"sleep-1.sample": chain(), "istiod at 10.10.0.3:15012": chain()[:2]}, "primary")
    assert found.key_number == "2 chains, 90% of a life left"
    assert (found.numbers["chains"], found.numbers["certificates"]) == (2, 5)


def test_a_root_that_is_served_has_to_be_valid_and_no_more() -> None:
    old = Issuer(days=(-99, 1), common="old root")
    assert checks.chains_last({"x": chain(root=old)}, "primary").numbers["chains"] == 1


ENDING, ENDED, TO_COME = (-9, 1), (-9, -1), (1, 9)


@pytest.mark.parametrize(
    ("served_chain", "seen", "cause"),
    [
        (
            chain(replace(LEAF, days=ENDING)),
            "certificate 1 of 3, CN=made by a test, 10% left",
            causes.CERTIFICATE_ENDS_SOON,
        ),
        (chain(replace(LEAF, days=ENDED)), "not valid now", causes.CERTIFICATE_NOT_RENEWED),
        (chain(replace(LEAF, days=TO_COME)), "not valid now", causes.CERTIFICATE_NOT_RENEWED),
        (chain(authority=replace(AUTHORITY, days=ENDING)), "certificate 2 of 3", causes.CERTIFICATE_ENDS_SOON),
        (chain(authority=replace(AUTHORITY, days=ENDED)), "CN=intermediate, not valid now", causes.CA_NOT_VALID),
        (chain(authority=replace(AUTHORITY, authority=False)), "no CA, and it issued another", causes.CA_NOT_VALID),
        (chain(authority=replace(AUTHORITY, signs=False)), "no CA, and it issued another", causes.CA_NOT_VALID),
        (chain(root=Issuer(days=ENDED)), "certificate 3 of 3", causes.CA_NOT_VALID),
        ((), "x: no chain", causes.PROXY_NOT_CERTIFIED),
    ],
    ids=[
        "leaf ends",
        "leaf ended",
        "leaf to come",
        "CA ends",
        "CA ended",
        "no CA",
        "may not sign",
        "root ended",
        "none",
    ],
)
def test_one_certificate_that_does_not_last_refutes(
    served_chain: tuple[x509.Certificate, ...], seen: str, cause: Cause
) -> None:
    with pytest.raises(CheckFailed) as caught:
        checks.chains_last({"y": chain(), "x": served_chain}, "primary")
    assert caught.value.seen.startswith("x: ")
    assert seen in caught.value.seen
    assert caught.value.causes[0] is cause


def test_no_chain_at_all_is_no_proof() -> None:
    with pytest.raises(EnvironmentBroke):
        checks.chains_last({}, "primary")
