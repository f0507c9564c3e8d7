"""Certificates in served chains that are not valid, or not for long."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509

from splithorizon.diagnosis import causes, identities
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, rule
from splithorizon.diagnosis.reading.model import Reading
from splithorizon.diagnosis.rules.follows import INJECTION
from splithorizon.istio import certificates

_FOLLOWS = INJECTION | {
    causes.CA_NOT_VALID.id, causes.CERTIFICATE_ENDS_SOON.id, causes.WEBHOOK_NOT_TRUSTED.id,
    causes.ISTIOD_UNREACHABLE.id, causes.PROXY_REFUSED.id,
}  # fmt: skip
_FIX = "renew the certificate, or the CA that issued it (cacerts, or istiod's own in istiod-tls), and restart istiod"


@rule
def served_chains(case: Case) -> Iterator[Finding]:
    """An issuer in a served chain is not valid or no CA, or a certificate has little of its life left."""
    invalid: list[Fact] = []
    ending: list[Fact] = []
    for who, chain in _chains(case.reading):
        for place, one in enumerate(chain):
            life = f"valid from {certificates.life(one)}"
            field, name = (
                f"certificate {place + 1} of {len(chain)}",
                one.subject.rfc4514_string() or "without a subject",
            )
            if place and not (certificates.is_valid_now(one) and certificates.may_sign(one)):
                what = life if certificates.may_sign(one) else "is no CA"
                invalid.append(Fact(who, field, f"{name}, {what}"))
            elif not certificates.is_root(one) and certificates.life_left(one) < certificates.LIFE_LEFT:
                ending.append(Fact(who, field, f"{name}, {life}"))
    if invalid:
        yield Finding(
            causes.CA_NOT_VALID, Layer.CONTROL_PLANE, tuple(invalid), _FIX,
            case.suspected(causes.CA_NOT_VALID), _FOLLOWS,
        )  # fmt: skip
    if ending:
        yield Finding(
            causes.CERTIFICATE_ENDS_SOON, Layer.LATENT, tuple(ending), _FIX,
            case.suspected(causes.CERTIFICATE_ENDS_SOON), _FOLLOWS,
        )  # fmt: skip


def _chains(reading: Reading) -> Iterator[tuple[str, list[x509.Certificate]]]:
    for cluster in reading.clusters:
        for istiod in cluster.istiods:
            yield (
                f"istiod {cluster.name}/{cluster.system_namespace}/{istiod.pod}",
                identities.parsed(istiod.certificate),
            )
        for proxy in cluster.proxies:
            yield f"Envoy {cluster.name}/{proxy.namespace}/{proxy.pod}", identities.parsed(proxy.certificate)
