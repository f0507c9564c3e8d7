"""The roots that clusters and their webhooks trust."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from cryptography import x509

from splithorizon.base import clock
from splithorizon.checks.judging import CheckFailed, Evidence, first_of, require_samples
from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.certificates import trust_problem
from splithorizon.istio.trust_bundles import CABundle

# Who reads that the root ends has the time to replace it.
_STILL_VALID = timedelta(days=7)


def webhooks_hold_root(
    bundles: Sequence[CABundle], cluster: str, *, root: CABundle, served: Sequence[x509.Certificate] = ()
) -> Evidence:
    """Every webhook's bundle holds valid certificates, and a root that the mesh's workloads trust.

    ``served`` is the chain of istiod's own certificate: a bundle that it leads to is right as well, for istiod may have
    a certificate of another CA than its workloads.
    """
    require_samples(bundles, f"webhooks of the mesh's revision in the {cluster}")
    require_samples(root.roots, f"roots in {root.place}")
    claim = f"{cluster}: every webhook trusts the mesh's root"
    wrong = [
        one
        for one in bundles
        if not (one.fingerprints & root.fingerprints or _leads_to(served, one)) or not _all_valid(one)
    ]
    if wrong:
        raise CheckFailed(
            claim,
            expected=f"{len(bundles)} webhooks with {str(root).partition(': ')[2]}",
            seen=first_of(wrong),
            samples=len(bundles),
            causes=_why_root_not_held(wrong, root),
            where=cluster,
            next_command=f"kubectl <{cluster}> get mutatingwebhookconfigurations,validatingwebhookconfigurations "
            "-o yaml",
        )
    return Evidence(claim, f"{len(bundles)} webhooks", {"webhooks": len(bundles)}, sample_lines=(str(root),))


def roots_agree(bundles: Mapping[str, CABundle]) -> Evidence:
    """Each cluster's namespace has the same root certificates, and one of them stays valid for a while.

    ``bundles`` is by the cluster's name.
    """
    require_samples(list(bundles), "root bundles")
    claim = "every cluster trusts the same root, valid for a week at least"
    known = list(bundles.values())
    unread = [name for name, one in bundles.items() if one.problem]
    differing = [name for name, one in bundles.items() if one.fingerprints != known[0].fingerprints]
    ending = [
        name for name, one in bundles.items() if not any(root.valid(still_for=_STILL_VALID) for root in one.roots)
    ]
    if wrong := [*unread, *differing, *ending]:
        raise CheckFailed(
            claim,
            expected=f"the same certificates in each, one valid until after {clock.now() + _STILL_VALID:%F}",
            seen="; ".join(map(str, known)),
            samples=len(known),
            causes=_why_roots_disagree(unread, differing),
            where=wrong[0],
            next_command=f"kubectl <{wrong[0]}> -n <namespace> get configmap istio-ca-root-cert -o yaml",
        )
    return Evidence(
        claim,
        f"until {max(root.ends for one in known for root in one.roots):%F}",
        {"roots": len(known[0].roots)},
        sample_lines=tuple(map(str, known)),
    )


def _leads_to(served: Sequence[x509.Certificate], bundle: CABundle) -> bool:
    roots = [root.certificate for root in bundle.roots if root.certificate is not None]
    return bool(served and roots) and not trust_problem(served[0], served[1:], roots)


def _all_valid(bundle: CABundle) -> bool:
    return all(root.valid() for root in bundle.roots)


def _why_root_not_held(wrong: Sequence[CABundle], root: CABundle) -> tuple[Cause, ...]:
    if any(one.problem for one in wrong):
        return (causes.ISTIOD_MAY_NOT_WRITE, causes.CLUSTER_NOT_SYNCED, causes.WEBHOOK_ORPHANED)
    if all(one.fingerprints & root.fingerprints for one in wrong):
        return (causes.ROOT_EXPIRED,)
    return (causes.ROOTS_DIFFER, causes.WEBHOOK_ORPHANED)


def _why_roots_disagree(unread: Collection[str], differing: Collection[str]) -> tuple[Cause, ...]:
    if unread:
        return (causes.ISTIOD_MAY_NOT_WRITE, causes.CLUSTER_NOT_SYNCED)
    return (causes.ROOTS_DIFFER,) if differing else (causes.ROOT_EXPIRED,)
