"""What traffic does not need now, and the next pod, proxy or token does."""

from __future__ import annotations

from collections.abc import Sequence

from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, require_samples
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio import certificates
from splithorizon.istio.webhooks import InjectionWebhook
from splithorizon.mesh.next_pod import AdmittedPod, IstiodProbe


def new_pod_injected(pod: AdmittedPod, cluster: str, *, network: str, cluster_id: str, revision: str) -> Evidence:
    """A pod that is created now gets a sidecar of the mesh's revision, for its cluster and network."""
    claim = f"{cluster}: a pod that is created now gets a sidecar for its network and cluster"
    seen = {"network": pod.network, "cluster id": pod.cluster_id, "revision": pod.revision}
    wanted = {"network": network, "cluster id": cluster_id, "revision": revision}
    wrong = [name for name in wanted if seen[name] != wanted[name]]
    if pod.refused or not pod.sidecar or wrong:
        raise CheckFailed(
            claim,
            expected=f"a sidecar with {', '.join(f'{name} {one}' for name, one in wanted.items())}",
            seen=f"refused: {pod.refused}"
            if pod.refused
            else ", ".join(f"{name} {seen[name] or 'empty'}" for name in wrong)
            if pod.sidecar
            else "admitted without a sidecar",
            samples=1,
            causes=_why_refused(pod.refused)
            if pod.refused
            else _why_another(wrong[0])
            if pod.sidecar
            else (causes.NAMESPACE_NOT_INJECTED, causes.WEBHOOK_NOT_CALLED),
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
        told = [*wrong, *(f"{probe.place}: {probe.address} {problem}" for probe, problem in untrusted.items())]
        raise CheckFailed(
            claim,
            expected=f"{len(webhooks)} webhooks whose Service is there, and serves a certificate of their caBundle",
            seen="; ".join(told[:SHOWN]) + (f"; {len(told)} in all" if len(told) > SHOWN else ""),
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
