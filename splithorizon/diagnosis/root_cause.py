"""Decides: of all that the rules find, what everything else follows from, with its evidence and its consequences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from splithorizon.diagnosis import causes as c
from splithorizon.diagnosis import prevailing
from splithorizon.diagnosis import root_causes as r
from splithorizon.diagnosis import rules as _  # noqa: F401  # they register themselves
from splithorizon.diagnosis.finding import RULES, Case, Fact, Finding
from splithorizon.diagnosis.reading.model import Reading, Unread

NO_KNOWN_CAUSE = "no known cause fits"

# The pod's reason is the cause, and that no istiod is ready follows.
_EXPLAINS_ISTIOD = frozenset(
    one.id
    for one in (c.READINESS_GATE_UNMET, c.IMAGE_NOT_PULLED, c.CONTAINER_CRASHES, c.POD_NOT_SCHEDULED, c.CA_NOT_VALID)
)
# What a cause makes follow, where both are found: the second is no cause of its own then.
_MAKES_FOLLOW = {
    c.REMOTE_SECRET_AT_LOOPBACK.id: {c.API_SERVER_UNREACHABLE.id, c.REMOTE_SECRET_MISSING.id},
    c.REMOTE_SECRET_KEY_WRONG.id: {
        c.REMOTE_SECRET_MISSING.id,
        c.API_SERVER_UNREACHABLE.id,
        c.PROXY_CLUSTER_ID_WRONG.id,
    },
    r.CLUSTER_ID_SHARED.id: {
        c.REMOTE_SECRET_MISSING.id,
        c.REMOTE_SECRET_KEY_WRONG.id,
        c.REMOTE_NAMED_TWICE.id,
        c.PROXY_CLUSTER_ID_WRONG.id,
    },
    c.REMOTE_SECRET_WITHOUT_KUBECONFIG.id: {c.REMOTE_SECRET_MISSING.id, c.API_SERVER_UNREACHABLE.id},
    c.REMOTE_SECRET_REFUSED.id: {c.API_SERVER_UNREACHABLE.id, c.ISTIOD_MAY_NOT_WRITE.id},
    # All but what explains that it is not ready, and what an API server itself answers to the token in a secret.
    r.ISTIOD_NOT_READY.id: {one.id for one in (*r.READ, *c.REGISTRY)}
    - {r.ISTIOD_NOT_READY.id, c.REMOTE_SECRET_REFUSED.id, *_EXPLAINS_ISTIOD},
    # The other gateways of the network may serve.
    c.GATEWAY_ADDRESS_WRONG.id: {c.GATEWAY_ADDRESS_REFUSES.id},
    r.SERVICE_IS_NO_GATEWAY.id: {c.GATEWAY_ADDRESS_WRONG.id, c.GATEWAY_ADDRESS_REFUSES.id},
    c.SERVICES_NOT_EXPOSED.id: {c.GATEWAY_NOT_LISTENING.id, r.GATEWAY_PORT_LEADS_ELSEWHERE.id},
    c.GATEWAY_NOT_SERVING.id: {c.GATEWAY_SERVICE_SELECTS_ABSENT_POD.id, c.SERVICES_NOT_EXPOSED.id},
    c.SYSTEM_NAMESPACE_WITHOUT_NETWORK.id: {c.POD_WITHOUT_NETWORK.id},
    c.PROXY_NETWORK_WRONG.id: {c.POD_WITHOUT_NETWORK.id},
    r.SELECTOR_MISSES_PODS.id: {c.POD_NOT_READY.id},
    r.SUBSET_UNKNOWN_AT_GATEWAY.id: {r.RULE_PICKS_SUBSET.id},
    c.WEBHOOK_LEADS_NOWHERE.id: {c.WEBHOOK_NOT_CALLED.id},
    c.CA_NOT_VALID.id: {c.CERTIFICATE_ENDS_SOON.id, c.WEBHOOK_NOT_TRUSTED.id, c.ISTIOD_UNREACHABLE.id},
    c.ISTIOD_MAY_NOT_WRITE.id: {c.WEBHOOK_NOT_TRUSTED.id},
    r.MANAGED_ELSEWHERE.id: {c.WEBHOOK_NOT_TRUSTED.id},
    c.NAMESPACE_NOT_INJECTED.id: {c.WEBHOOK_NOT_CALLED.id},
    # The probes of a pod's containers go through its sidecar.
    r.DISCOVERY_ADDRESS_WRONG.id: {c.POD_NOT_READY.id},
}
_READINESS = "status.conditions Ready"
# As the API server says it of a pod that it does not create, and why Istio's injection webhook may not answer: that of
# a remote is asked by the way that its proxies take to istiod.
_PLACE = re.compile(" (?:of|in) ")
_UNANSWERED = re.compile(r'failed calling webhook "[^"]*\.istio\.io"')
_EXPLAINS_WEBHOOK = frozenset(
    one.id
    for one in (
        c.WEBHOOK_LEADS_NOWHERE,
        c.WEBHOOK_NOT_TRUSTED,
        c.CONTAINER_CRASHES,
        c.CA_NOT_VALID,
        c.ISTIOD_UNREACHABLE,
        c.ISTIOD_ADDRESS_STALE,
        c.ISTIOD_SERVICE_WITHOUT_ENDPOINT,
        c.ISTIOD_PORT_LEADS_ELSEWHERE,
        r.ISTIOD_NOT_READY,
    )
)


@dataclass(frozen=True)
class RootCause:
    """One cause that nothing else found explains: its evidence, what mends it, and the checks that failed by it."""

    finding: Finding
    consequences: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """The cause's id."""
        return self.finding.cause.id


@dataclass(frozen=True)
class Diagnosis:
    """What a reading shows: root causes, the first of them first, and what is only noted.

    ``tie`` says that the first two stand in the same place and that the reading does not show which came first.
    ``unexplained`` are failed checks that follow from none of them.
    """

    root_causes: tuple[RootCause, ...]
    notes: tuple[Finding, ...] = ()
    unexplained: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()
    tie: bool = False

    @property
    def text(self) -> str:
        """One sentence: the root causes, or that none is known, and what could not be read."""
        if self.root_causes:
            said = "; and ".join(one.finding.cause.text for one in self.root_causes)
            return f"{said} (none of them shows to be the first)" if self.tie else said
        unread = f"; not read: {'; '.join(map(str, self.unread[:_SHOWN]))}" if self.unread else ""
        more = f" and {len(self.unread) - _SHOWN} more" if len(self.unread) > _SHOWN else ""
        return f"{NO_KNOWN_CAUSE}{unread}{more}"


_SHOWN = 3


def diagnose(case: Case) -> Diagnosis:
    """Ask every rule; what bears no witness is a note, and what follows from another finding is left out."""
    found = joined([finding for rule in RULES for finding in rule(case)])
    borne_out = [one for one in found if one.witness]
    notes = tuple(one for one in found if not one.witness)
    roots = sorted(_roots(case.reading, borne_out), key=lambda one: one.layer)
    causes = tuple(RootCause(one, _consequences(case, one)) for one in roots)
    explained = {name for one in causes for name in one.consequences}
    return Diagnosis(
        causes,
        notes,
        tuple(dict.fromkeys(one.behaviour for one in case.symptoms if one.behaviour not in explained)),
        case.reading.unread,
        tie=len(roots) > 1 and roots[0].layer == roots[1].layer,
    )


def of_reading(reading: Reading) -> Diagnosis:
    """What a reading shows by itself, where no check was run; of the access logs, what prevails there."""
    return diagnose(Case(prevailing.without_rare_failures(reading)))


def _roots(reading: Reading, found: Sequence[Finding]) -> list[Finding]:
    return [one for one in found if not _follows(reading, one, found) and not _is_general(one, found)]


def _follows(reading: Reading, finding: Finding, found: Sequence[Finding]) -> bool:
    """Whether the finding follows from one of the other causes that are found."""
    others = {one.cause.id for one in found} - {finding.cause.id}
    explaining = others - {r.ISTIOD_NOT_READY.id} if _is_of_another_primary(reading, finding, found) else others
    if any(finding.cause.id in _MAKES_FOLLOW.get(one, ()) for one in explaining):
        return True
    if finding.cause is r.PODS_NOT_CREATED and any(_UNANSWERED.search(fact.value) for fact in finding.evidence):
        return bool(others & _EXPLAINS_WEBHOOK)
    unready = [fact.value for fact in finding.evidence if fact.field == _READINESS]
    if finding.cause is r.ISTIOD_NOT_READY:
        # An istiod that starts waits for every remote cluster; where there is no pod, none starts.
        return bool(others & _EXPLAINS_ISTIOD) or (c.REMOTE_SECRET_REFUSED.id in others and bool(unready))
    return False


def _is_of_another_primary(reading: Reading, finding: Finding, found: Sequence[Finding]) -> bool:
    """Whether all evidence is in clusters whose istiod is ready: it would be there with every istiod ready."""
    unready = {place for one in found if one.cause is r.ISTIOD_NOT_READY for place in map(_cluster, one.evidence)}
    ready = {one.name for one in reading.clusters if one.control_plane not in unready}
    return all(_cluster(fact) in ready for fact in finding.evidence)


def _cluster(fact: Fact) -> str:
    """The cluster of a fact's object: one as ``finding.of`` names it, or another thing, as "istiod of east"."""
    *thing, place = _PLACE.split(fact.object)
    return place if thing else fact.object.partition(" ")[2].partition("/")[0]


def _is_general(finding: Finding, found: Sequence[Finding]) -> bool:
    """Whether a finding says only that something is so, where another says why.

    A rule is there, and another finding says what is wrong with it; connections are lost, or not made at all between
    two clusters, and another explains that.
    """
    if finding.cause is r.NETWORK_PARTED:
        return any(finding.explains & other.explains for other in found if other is not finding)
    if finding.cause is c.CONNECTIONS_DROPPED:
        return any(finding.cause.id in other.explains for other in found if other is not finding)
    if finding.cause is not c.OLDER_RULE:
        return False
    others = {fact.object for other in found if other.cause is not c.OLDER_RULE for fact in other.evidence}
    return all(fact.object in others for fact in finding.evidence)


def joined(found: Iterable[Finding]) -> list[Finding]:
    """One finding for each cause: the evidence and each fix of all that bear witness, or of all where none does."""
    by_cause: dict[str, list[Finding]] = {}
    for one in found:
        by_cause.setdefault(one.cause.id, []).append(one)
    result = []
    for ones in by_cause.values():
        strong = [one for one in ones if one.witness] or ones
        facts: tuple[Fact, ...] = tuple(dict.fromkeys(fact for one in strong for fact in one.evidence))
        first = strong[0]
        follows = frozenset().union(*(one.explains for one in strong))
        fix = "; ".join(dict.fromkeys(one.fix for one in strong))
        result.append(Finding(first.cause, first.layer, facts, fix, first.witness, follows))
    return result


def _consequences(case: Case, finding: Finding) -> tuple[str, ...]:
    known = finding.explains | {finding.cause.id}
    return tuple(dict.fromkeys(one.behaviour for one in case.symptoms if known & {*one.cause_ids}))
