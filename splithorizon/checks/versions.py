"""Whether each control plane supports the versions of its proxies."""

from __future__ import annotations

from collections.abc import Iterable

from splithorizon.base.errors import EnvironmentBroke
from splithorizon.checks.judging import SHOWN, CheckFailed, Evidence, require_samples
from splithorizon.diagnosis import causes
from splithorizon.istio.versions import counted, is_supported, minor
from splithorizon.mesh.versions import ProxyVersions


def proxy_versions_supported(found: ProxyVersions, cluster: str) -> Evidence:
    """Each proxy of ours and each gateway is of a version that its istiod supports, by Istio's documented rule.

    Other proxies of the cluster are counted: an unsupported one among them is a warning in the evidence, and so is a
    distance of more than one minor version between two control planes. Raises EnvironmentBroke where no proxy or no
    istiod says a version.
    """
    require_samples(found.proxies, f"proxies in the {cluster}")
    claim = f"{cluster}: every gateway and every sidecar of ours has a version that its istiod supports"
    table = tuple(f"{one.name} {one.version or 'unknown'}, istiod {one.istiod or 'unknown'}" for one in found.proxies)
    judged = {one: is_supported(one.version, by=one.istiod) for one in found.proxies}
    if all(supported is None for supported in judged.values()):
        raise EnvironmentBroke(f"{cluster}: no proxy and its istiod name versions to compare", seen="; ".join(table))
    numbers: dict[str, float | str] = {
        "versions": counted(one.version for one in found.proxies),
        "istiods": ", ".join(f"{name} {version}" for name, version in sorted(found.control_planes.items())),
        "others": len(found.others),
        "versions_of_others": counted(one.version for one in found.others),
        "others_unsupported": sum(is_supported(one.version, by=one.istiod) is False for one in found.others),
        "control_planes_apart": _apart(found.control_planes.values()),
    }
    wrong = [one for one, supported in judged.items() if supported is False]
    if wrong:
        raise CheckFailed(
            claim,
            expected="the version of istiod, or one minor version before it",
            seen="; ".join(f"{one.name} has {one.version}, its istiod {one.istiod}" for one in wrong[:SHOWN]),
            samples=len(found.proxies),
            causes=(causes.PROXY_VERSION_UNSUPPORTED,),
            next_command=f"istioctl <istiod of {cluster}> proxy-status<revision>",
            where=cluster,
            numbers=numbers,
        )
    return Evidence(claim, _key_number(numbers), numbers, sample_lines=table)


def _key_number(numbers: dict[str, float | str]) -> str:
    """The versions, and what is a warning: other proxies that are not supported, control planes far apart."""
    said = [str(numbers["versions"])]
    if numbers["others_unsupported"]:
        said.append(f"{numbers['others_unsupported']} of {numbers['others']} others not supported")
    if int(numbers["control_planes_apart"]) > 1:
        said.append(f"control planes {numbers['control_planes_apart']} minor versions apart")
    return ", ".join(said)


def _apart(versions: Iterable[str]) -> int:
    """The distance of the oldest and the newest of some versions; 0 where fewer than two are known."""
    known = [number for version in versions if (number := minor(version)) is not None]
    return max(known) - min(known) if known else 0
