"""What traffic does not need now, and the next pod, proxy or token does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import Enum, auto

from cryptography import x509

from splithorizon.base import clock
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, first_of, require_samples
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio import certificates
from splithorizon.istio.remote_credential import RemoteCredential
from splithorizon.istio.topology import Route
from splithorizon.istio.webhooks import InjectionWebhook
from splithorizon.mesh.next_pod import AdmittedPod, IstiodProbe
from splithorizon.mesh.remote_access import RemoteAccess

_REVIEWED, _UNAUTHORIZED = 201, 401
# A week is enough to replace a credential after the report; within a day the report may be read too late.
_SHOULD_LAST, _MUST_LAST = timedelta(days=7), timedelta(days=1)


class _Flaw(Enum):
    """What is wrong with a certificate that is served."""

    NOT_VALID = auto()
    NO_CA = auto()
    ENDS_SOON = auto()


def new_pod_injected(pod: AdmittedPod, cluster: str, *, network: str, cluster_id: str, revision: str) -> Evidence:
    """A pod that is created now gets a sidecar of the mesh's revision, for its cluster and network."""
    claim = f"{cluster}: a pod that is created now gets a sidecar for its network and cluster"
    seen = {"network": pod.network, "cluster id": pod.cluster_id, "revision": pod.revision}
    wanted = {"network": network, "cluster id": cluster_id, "revision": revision}
    wrong = [name for name in wanted if seen[name] != wanted[name]]
    problem, why = "", tuple[Cause, ...]()
    if pod.refused:
        problem, why = f"refused: {pod.refused}", _why_refused(pod.refused)
    elif not pod.sidecar:
        problem, why = "admitted without a sidecar", (causes.NAMESPACE_NOT_INJECTED, causes.WEBHOOK_NOT_CALLED)
    elif wrong:
        problem, why = ", ".join(f"{name} {seen[name] or 'empty'}" for name in wrong), _why_another(wrong[0])
    if problem:
        raise CheckFailed(
            claim,
            expected=f"a sidecar with {', '.join(f'{name} {one}' for name, one in wanted.items())}",
            seen=problem,
            samples=1,
            causes=why,
            next_command=_webhooks_of(cluster),
            where=cluster,
        )
    return Evidence(claim, f"{network}, revision {revision}", dict(wanted))


def webhooks_lead_to_istiod(
    webhooks: Sequence[InjectionWebhook], probes: Sequence[IstiodProbe], cluster: str
) -> Evidence:
    """Each injection webhook names a Service and port that are there, and what answers has a certificate it trusts."""
    require_samples(webhooks, f"injection webhooks of the mesh's revision in the {cluster}")
    claim = f"{cluster}: every injection webhook leads to an istiod that it trusts"
    wrong = [f"{one.place}: {one.problem}" for one in webhooks if one.problem]
    untrusted = {probe: problem for probe in probes if (problem := _problem_of(probe))}
    if wrong or untrusted:
        problems = [*wrong, *(f"{probe.place}: {probe.address} {problem}" for probe, problem in untrusted.items())]
        raise CheckFailed(
            claim,
            expected=f"{len(webhooks)} webhooks whose Service is there, and serves a certificate of their caBundle",
            seen=first_of(problems),
            samples=len(webhooks) + len(probes),
            causes=(causes.WEBHOOK_LEADS_NOWHERE,) if wrong else _why_not_reached(tuple(untrusted)),
            next_command=_webhooks_of(cluster),
            where=cluster,
        )
    return Evidence(
        claim,
        f"{len(webhooks)} webhooks",
        {"webhooks": len(webhooks), "connections": len(probes)},
        sample_lines=tuple(one.place for one in webhooks),
        addresses=tuple(sorted({str(probe.address) for probe in probes})),
    )


def istiod_reached(probes: Sequence[IstiodProbe], cluster: str) -> Evidence:
    """A new proxy of a managed cluster, and its API server, find istiod behind the gateway, and trust it."""
    require_samples(probes, f"ports of the gateway at which the {cluster} looks for istiod")
    claim = f"{cluster}: a new proxy reaches istiod at the gateway of istiod's cluster"
    wrong = {probe: problem for probe in probes if (problem := _problem_of(probe))}
    if wrong:
        raise CheckFailed(
            claim,
            expected=f"istiod's certificate, of the root that the {cluster} trusts, at each of "
            f"{', '.join(str(probe.address) for probe in probes)}",
            seen="; ".join(f"{one.address}, for {one.place}: {problem}" for one, problem in wrong.items()),
            samples=len(probes),
            causes=_why_not_reached(tuple(wrong)),
            next_command=f"kubectl <istiod of {cluster}> get services,gateways,virtualservices -A -o wide",
            where=cluster,
        )
    return Evidence(
        claim,
        ", ".join(f":{port}" for port in sorted({probe.address.port for probe in probes})),
        {"connections": len(probes)},
        sample_lines=tuple(f"{one.address}, for {one.place}: {one.served}" for one in probes),
        addresses=tuple(str(one.address) for one in probes),
    )


def remote_credentials_last(accesses: Sequence[RemoteAccess]) -> Evidence:
    """Each remote secret's credential is valid for another day, and allows what Istio's reader account needs.

    An end within a week is reported, and so is a credential whose end is unknown.
    """
    require_samples(accesses, "clusters that an istiod of another cluster has to watch")
    claim = "with each remote secret istiod can watch its cluster tomorrow"
    for access in accesses:
        refuted = _refuted_access(access)
        if refuted:
            expected, seen, why = refuted
            raise CheckFailed(
                f"{access.watch.watched}: with its remote secret istiod can watch it tomorrow",
                expected=expected,
                seen=seen,
                samples=max(1, len(access.asked)),
                causes=why,
                next_command=f"kubectl <{access.watch.watching}> -n <{access.watch.watching} system> "
                "get secrets -l istio/multiCluster=true",
                where=Route(access.watch.watching, access.watch.watched),
                numbers={"reviews": len(access.asked), "denied": len(access.denied)},
            )
    lives = {access.watch: _life(access.credential) for access in accesses if access.credential}
    return Evidence(
        claim,
        "; ".join(dict.fromkeys(lives.values())),
        {"reviews": sum(len(access.asked) for access in accesses if access.status == _REVIEWED)},
        sample_lines=tuple(
            f"{access.credential.place}: {access.credential.kind}, {_life(access.credential)}; {_reviewed(access)}"
            for access in accesses
            if access.credential
        ),
    )


def _refuted_access(access: RemoteAccess) -> tuple[str, str, tuple[Cause, ...]] | None:
    """What was expected and seen, and the causes; None where nothing is refuted."""
    credential, watched = access.credential, access.watch.watched
    if credential is None:
        return (
            f"a remote secret with the cluster id of the {watched}",
            "none",
            (causes.REMOTE_SECRET_MISSING, causes.REMOTE_SECRET_KEY_WRONG),
        )
    if access.status == _UNAUTHORIZED:
        return (
            f"the API server of the {watched} knows the token of {credential.place}",
            f"HTTP {_UNAUTHORIZED}: the token is dead",
            (causes.REMOTE_SECRET_REFUSED,),
        )
    if credential.ends is not None and credential.ends - clock.now() < _MUST_LAST:
        return (
            f"a {credential.kind} that is valid for another day in {credential.place}",
            f"it {_life(credential)}",
            (causes.REMOTE_TOKEN_ENDS,),
        )
    if access.denied:
        shown = ", ".join(map(str, access.denied[:SHOWN]))
        more = f" and {len(access.denied) - SHOWN} more" if len(access.denied) > SHOWN else ""
        return (
            f"all of {len(access.asked)} rights of Istio's reader account in the {watched}",
            f"may not {shown}{more}",
            (causes.REMOTE_SECRET_REFUSED,),
        )
    if access.asked and access.status not in (_REVIEWED, 0):
        raise EnvironmentBroke(f"{watched}: no access review is answered", seen=f"HTTP {access.status}")
    return None


def _life(credential: RemoteCredential) -> str:
    if credential.ends is None:
        return "does not end" if credential.ends_known else "end unknown"
    soon = ", within a week" if credential.ends - clock.now() < _SHOULD_LAST else ""
    return f"ends {credential.ends:%FT%RZ}{soon}"


def _reviewed(access: RemoteAccess) -> str:
    if access.status == _REVIEWED:
        return f"{len(access.asked)} rights, all granted"
    return "rights not asked for: " + ("no answer" if access.asked else "it is no token")


def chains_last(chains: Mapping[str, Sequence[x509.Certificate]], cluster: str) -> Evidence:
    """Every certificate in a served chain is valid, every issuer is a CA, and each has a fifth of its life left.

    ``chains`` is by who serves each. A root that signs itself has to be valid: the roots that clients trust are judged
    elsewhere, and it is served in vain.
    """
    require_samples(list(chains), f"chains that are served in the {cluster}")
    claim = f"{cluster}: every served chain is valid, and a fifth of each life is left"
    wrong = [
        (who, place, certificate, flaw)
        for who, chain in chains.items()
        for place, certificate in enumerate(chain)
        if (flaw := _flaw_of(certificate, is_issuer=place > 0))
    ]
    missing = [who for who, chain in chains.items() if not chain]
    if wrong or missing:
        problems = [f"{who}: no chain" for who in missing]
        problems += [
            f"{who}: certificate {place + 1} of {len(chains[who])}, {_described(certificate, flaw)}"
            for who, place, certificate, flaw in wrong
        ]
        raise CheckFailed(
            claim,
            expected=f"{len(chains)} chains, all valid, none with less than a fifth of a certificate's life left",
            seen=first_of(problems),
            samples=len(chains),
            causes=(causes.PROXY_NOT_CERTIFIED,)
            if missing
            else _why_not_lasting([(place, flaw) for _, place, _, flaw in wrong]),
            next_command=f"istioctl <{cluster}> proxy-config secret deploy/sleep -n <namespace>",
            where=cluster,
        )
    judged = [one for chain in chains.values() for one in chain if not certificates.is_root(one)]
    shares = [certificates.life_left(one) for one in judged]
    first = min((one.not_valid_after_utc for one in judged), default=None)
    return Evidence(
        claim,
        f"{len(chains)} chains" + (f", {min(shares):.0%} of a life left" if shares else ""),
        {
            "chains": len(chains),
            "certificates": sum(map(len, chains.values())),
            "first_ends": first.isoformat() if first else "",
        },
        sample_lines=tuple(chains),
    )


def _flaw_of(certificate: x509.Certificate, *, is_issuer: bool) -> _Flaw | None:
    """What is wrong with one certificate of a chain; None where nothing is."""
    if not certificates.is_valid_now(certificate):
        return _Flaw.NOT_VALID
    if is_issuer and not certificates.may_sign(certificate):
        return _Flaw.NO_CA
    if not certificates.is_root(certificate) and certificates.life_left(certificate) < certificates.LIFE_LEFT:
        return _Flaw.ENDS_SOON
    return None


def _described(certificate: x509.Certificate, flaw: _Flaw) -> str:
    name, life = certificate.subject.rfc4514_string() or "without a subject", certificates.life(certificate)
    match flaw:
        case _Flaw.NOT_VALID:
            return f"{name}, not valid now: {life}"
        case _Flaw.NO_CA:
            return f"{name}, no CA, and it issued another"
        case _Flaw.ENDS_SOON:
            return f"{name}, {certificates.life_left(certificate):.0%} left of {life}"


def _why_not_lasting(wrong: Sequence[tuple[int, _Flaw]]) -> tuple[Cause, ...]:
    """By the place in its chain, from the server's own certificate on, and the flaw of each certificate."""
    if any(place > 0 and flaw is not _Flaw.ENDS_SOON for place, flaw in wrong):
        return (causes.CA_NOT_VALID,)
    if any(flaw is _Flaw.NOT_VALID for _, flaw in wrong):
        return (causes.CERTIFICATE_NOT_RENEWED, causes.CLOCK_WRONG)
    return (causes.CERTIFICATE_ENDS_SOON,)


def _why_another(setting: str) -> tuple[Cause, ...]:
    match setting:
        case "network":
            return (causes.PROXY_NETWORK_WRONG,)
        case "cluster id":
            return (causes.PROXY_CLUSTER_ID_WRONG,)
        case _:
            return (causes.WEBHOOK_ORPHANED,)


def _problem_of(probe: IstiodProbe) -> str:
    if not probe.served.chain:
        return str(probe.served)
    return certificates.server_problem(probe.served.chain, probe.host, probe.trusted)


def _why_refused(message: str) -> tuple[Cause, ...]:
    """By the words of the API server, which are Go's."""
    if "not found" in message or "no service port" in message.lower():
        return (causes.WEBHOOK_LEADS_NOWHERE,)
    if "x509:" in message or "certificate" in message:
        return _NOT_TRUSTED
    return _NOT_REACHED


def _why_not_reached(probes: Sequence[IstiodProbe]) -> tuple[Cause, ...]:
    return _NOT_TRUSTED if all(probe.served.chain for probe in probes) else _NOT_REACHED


_NOT_TRUSTED = (causes.WEBHOOK_NOT_TRUSTED, causes.ISTIOD_MAY_NOT_WRITE, causes.ROOTS_DIFFER, causes.CA_NOT_VALID)
_NOT_REACHED = (causes.ISTIOD_UNREACHABLE, causes.ISTIOD_PORT_LEADS_ELSEWHERE, causes.ISTIOD_ADDRESS_STALE)


def _webhooks_of(cluster: str) -> str:
    return f"kubectl <{cluster}> get mutatingwebhookconfigurations -l app=sidecar-injector -o yaml"
