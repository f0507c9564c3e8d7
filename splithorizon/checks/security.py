"""Whom the mesh knows by certificate, and whom it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias

from cryptography import x509

from splithorizon.base import clock, timeouts
from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, require_samples
from splithorizon.checks.next_steps import gateway_listeners_of
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.certificates import NO_ROOT, trust_problem
from splithorizon.istio.workload_certificate import WorkloadCertificate
from splithorizon.mesh.security import AuthzResult, WorkloadIdentity
from splithorizon.traffic.client import Attempt, Sample
from splithorizon.traffic.tls_probe import TlsProbeResult

_OK, _FORBIDDEN = 200, 403
# Which side a request went to, and what it was answered with.
_Treatment: TypeAlias = Counter[tuple[str, int]]


def chain_leads_to_root(
    greeting: TlsProbeResult, cluster: str, *, roots: Mapping[str, Collection[x509.Certificate]], identity: str
) -> Evidence:
    """What is served for helloworld at a gateway is helloworld's, valid, and leads to the root of every cluster."""
    for name, known in roots.items():
        require_samples(list(known), f"roots that the {name} trusts")
    require_samples(list(roots), "clusters")
    claim = f"at the {cluster}'s gateway: helloworld has its own certificate, of the root that every cluster trusts"
    chain = list(greeting.chain)
    if not chain:
        raise CheckFailed(
            claim,
            expected=f"a chain for {identity}",
            seen=str(greeting),
            samples=1,
            causes=_why_nothing_served(greeting),
            next_command=gateway_listeners_of(cluster),
            where=cluster,
        )
    leaf = WorkloadCertificate.of_served(chain[0])
    problems = {name: trust_problem(chain[0], chain[1:], known) for name, known in roots.items()}
    distrusted = {name: problem for name, problem in problems.items() if problem}
    if distrusted or leaf.identities != (identity,) or not leaf.valid:
        raise CheckFailed(
            claim,
            expected=f"{identity}, {_still_valid()}, of the root of all",
            seen=f"{leaf}, by {chain[0].issuer.rfc4514_string()}"
            + "".join(f"; by the roots of the {name}: {problem}" for name, problem in distrusted.items()),
            samples=len(chain),
            causes=_why_not_trusted(distrusted, leaf, identity),
            where=cluster,
            next_command=f"istioctl <{cluster}> proxy-config secret <{cluster} helloworld> -n <namespace>",
        )
    return Evidence(
        claim,
        f"{len(chain)} certificates, until {leaf.ends:%FT%RZ}",
        {"certificates": len(chain), "identity": identity, "ends": leaf.ends.isoformat()},
        sample_lines=tuple(one.subject.rfc4514_string() or str(leaf) for one in chain),
    )


def strangers_refused(*, bare: TlsProbeResult, foreign: TlsProbeResult, cluster: str) -> Evidence:
    """A gateway lets no client through without a certificate, or with one of another root."""
    for greeting in (bare, foreign):
        _require_served(greeting, cluster)
    claim = f"behind the {cluster}'s gateway: only clients with a certificate of the mesh are answered"
    if bare.answered or foreign.answered:
        raise CheckFailed(
            claim,
            expected="no byte of an answer to either",
            seen=f"without a certificate: {bare}; with one of a foreign root: {foreign}",
            samples=2,
            causes=(causes.NO_CLIENT_CERTIFICATE_DEMANDED,) if bare.answered else (causes.ANY_ROOT_TRUSTED,),
            where=cluster,
            next_command=f"istioctl <{cluster}> proxy-config listeners <{cluster} helloworld> "
            "-n <namespace> --port 15006 -o yaml",
        )
    return Evidence(
        claim,
        bare.ending,
        {"without_certificate": bare.ending, "foreign_certificate": foreign.ending},
        sample_lines=(str(bare), str(foreign)),
    )


def gateway_knows_only_services(
    *, known: TlsProbeResult, unknown: TlsProbeResult, plain: TlsProbeResult, cluster: str
) -> Evidence:
    """A gateway passes on what comes under a service's name, and nothing else."""
    _require_served(known, cluster)
    claim = f"the {cluster}'s gateway: what comes under no service's name goes nowhere"
    passed_on = unknown.chain or unknown.answered
    if passed_on or plain.answered:
        raise CheckFailed(
            claim,
            expected="neither a certificate nor a byte of an answer",
            seen=f"under an unused name: {unknown}; in plain text: {plain}",
            samples=2,
            causes=(causes.ANY_NAME_PASSED,) if passed_on else (causes.PLAIN_TEXT_AT_GATEWAY,),
            next_command=gateway_listeners_of(cluster),
            where=cluster,
        )
    return Evidence(
        claim,
        unknown.ending,
        {"unknown_name": unknown.ending, "plain_text": plain.ending},
        sample_lines=(str(known), str(unknown), str(plain)),
    )


def plain_text_refused(cluster: str, *, control: Attempt, asked: Attempt) -> Evidence:
    """Helloworld answers nothing to plain text from a client of the same cluster that can reach the pod."""
    if not control.reached:
        raise EnvironmentBroke(
            f"{cluster}: the client outside the mesh does not even reach the pod, so that a refusal means nothing",
            seen=f"{control.target.name} at {control.target.ip}: {control.error or control.status}",
            next_command=f"kubectl <{cluster}> -n <namespace> get pods -o wide",
        )
    claim = f"within {cluster}: plain text from outside the mesh is refused"
    if asked.status or asked.seconds >= timeouts.current().dial:
        raise CheckFailed(
            claim,
            expected=f"{asked.target.ip} closes the connection at once",
            seen=f"HTTP {asked.status} after {asked.seconds:.2f} s" if asked.status else "no answer, and no refusal",
            samples=1,
            causes=(causes.PLAIN_TEXT_ADMITTED,) if asked.status else (causes.NETWORK_POLICY_DROPS,),
            next_command=_policies_for(cluster),
            where=cluster,
        )
    return Evidence(
        claim,
        f"refused in {asked.seconds:.2f} s",
        {"seconds": asked.seconds, "error": asked.error},
        addresses=(asked.target.ip,),
    )


def admission_follows_identity(admission: AuthzResult) -> Evidence:
    """A policy that names another account refuses the client near and far; one that names its own lets it in."""
    stranger, client = admission.stranger, admission.client
    route = client.route
    refused, admitted = (
        _treatment(sample, admission.near_pods, admission.far_gateways) for sample in (stranger, client)
    )
    claim = f"{route}: who may ask is decided by the client's certificate, across the gateway too"
    seen = f"another account named: {_counted(refused)}; the client's own: {_counted(admitted)}"
    if refused.keys() != _both(_FORBIDDEN) or admitted.keys() != _both(_OK):
        raise CheckFailed(
            claim,
            expected=f"another account named: {_FORBIDDEN} from near and far; the client's own: {_OK}",
            seen=seen,
            samples=len(stranger.replies) + len(client.replies),
            causes=_why_not_by_identity(refused, admitted),
            next_command=_policies_for(route.far),
            where=route,
        )
    return Evidence(
        claim,
        f"{refused.total()} refused, {admitted.total()} answered",
        {"refused": _counted(refused), "answered": _counted(admitted)},
    )


def workloads_known_by_their_own(known: Sequence[WorkloadIdentity], cluster: str) -> Evidence:
    """Every proxy of a cluster has a valid certificate of its service account and no other."""
    require_samples(known, f"proxies in the {cluster}")
    claim = f"{cluster}: every proxy has a valid certificate of its service account"
    wrong = [one for one in known if not _sound(one)]
    if wrong:
        raise CheckFailed(
            claim,
            expected=f"each its own account's, {_still_valid()}",
            seen="; ".join(
                f"{one.pod}, {one.identity}: {', '.join(map(str, one.certificates)) or 'none'}" for one in wrong[:SHOWN]
            ),
            samples=len(known),
            causes=_why_not_own(wrong[0]),
            where=cluster,
            next_command=f"istioctl <{cluster}> proxy-config secret {wrong[0].pod}",
        )
    first = min(leaf.ends for one in known for leaf in one.certificates)
    return Evidence(
        claim,
        f"{len(known)} proxies, until {first:%FT%RZ}",
        {"proxies": len(known), "first_ends": first.isoformat()},
        sample_lines=tuple(f"{one.pod}: {one.certificates[0]}" for one in known),
    )


def _policies_for(cluster: str) -> str:
    """What istiod reads of policies for the workloads of a cluster."""
    return f"kubectl <config of {cluster}> get peerauthentications,authorizationpolicies,envoyfilters -A"


def _still_valid() -> str:
    return f"valid for {timeouts.current().certificate_still_valid:g} s more, or for a quarter of its life"


def _require_served(greeting: TlsProbeResult, cluster: str) -> None:
    if not greeting.chain:
        raise EnvironmentBroke(
            f"at the {cluster}'s gateway helloworld is not even served, so that a refusal means nothing",
            seen=str(greeting),
            next_command=gateway_listeners_of(cluster),
        )


def _why_nothing_served(greeting: TlsProbeResult) -> tuple[Cause, ...]:
    if greeting.ending == "connection refused":
        return (causes.GATEWAY_NOT_LISTENING,)
    if greeting.ending == "connection reset by peer":
        return (causes.SERVICES_NOT_EXPOSED, causes.NO_MUTUAL_TLS)
    return (causes.GATEWAY_WITHOUT_TLS,)


def _why_not_trusted(distrusted: Mapping[str, str], leaf: WorkloadCertificate, identity: str) -> tuple[Cause, ...]:
    if set(distrusted.values()) - {NO_ROOT}:
        return (causes.CA_NOT_VALID,)
    if distrusted:
        return (causes.ROOTS_DIFFER,)
    if leaf.identities != (identity,):
        return (causes.SERVER_IS_ANOTHER, causes.TRUST_DOMAIN_DIFFERS)
    return _why_not_valid(leaf)


def _why_not_valid(certificate: WorkloadCertificate) -> tuple[Cause, ...]:
    if certificate.begins > clock.now():
        return (causes.CLOCK_WRONG,)
    if certificate.short_lived:
        return (causes.CERTIFICATE_SHORT_LIVED,)
    return (causes.CERTIFICATE_NOT_RENEWED,)


def _treatment(sample: Sample, near_pods: Collection[str], far_gateway: Collection[str]) -> _Treatment:
    require_samples(sample.replies, "requests")
    if left := sample.matched.requests - len(sample.matched.pairs):
        seen = f"{left} of {sample.matched.requests} without their own log line"
        raise EnvironmentBroke(f"{sample.route}: it is not known who refused a request", seen=seen)
    sides = {**dict.fromkeys(near_pods, "near"), **dict.fromkeys(far_gateway, "far")}
    return Counter(
        (sides.get(str(one.line.upstream_host), "elsewhere"), one.reply.status) for one in sample.matched.pairs
    )


def _both(status: int) -> set[tuple[str, int]]:
    return {("near", status), ("far", status)}


def _counted(treatment: _Treatment) -> str:
    return ", ".join(f"{count} x {status} from {side}" for (side, status), count in sorted(treatment.items()))


def _why_not_by_identity(refused: _Treatment, admitted: _Treatment) -> tuple[Cause, ...]:
    """Nothing where requests are lost or go to one side only: that is for the routing checks to say."""
    if any(status == _OK for _, status in refused):
        return (causes.ADMITTED_BY_ANOTHER_POLICY, causes.POLICY_NOT_ENFORCED)
    if any(status == _FORBIDDEN for _, status in admitted):
        return (causes.CLIENT_NOT_IDENTIFIED, causes.POLICY_DENIES)
    return ()


def _sound(known: WorkloadIdentity) -> bool:
    own = [leaf.valid and leaf.identities == (known.identity,) for leaf in known.certificates]
    return bool(own) and all(own)


def _why_not_own(known: WorkloadIdentity) -> tuple[Cause, ...]:
    if not known.certificates:
        return (causes.PROXY_NOT_CERTIFIED,)
    if any(leaf.identities != (known.identity,) for leaf in known.certificates):
        return (causes.TRUST_DOMAIN_DIFFERS,)
    return _why_not_valid(next(leaf for leaf in known.certificates if not leaf.valid))
