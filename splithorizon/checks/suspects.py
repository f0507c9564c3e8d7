"""The causes that the same evidence leaves open in several checks."""

from __future__ import annotations

from collections.abc import Collection

from splithorizon.diagnosis import causes
from splithorizon.diagnosis.causes import Cause
from splithorizon.istio.info import NetworkMode
from splithorizon.traffic.requests import Reply

_FORBIDDEN = 403


def far_pods_dialled(mode: NetworkMode) -> tuple[Cause, ...]:
    """Why a sidecar holds pod addresses of another network: istiod lacks its gateway, or its pods' network."""
    if mode is NetworkMode.LABELS:
        return (
            causes.GATEWAY_SERVICE_WITHOUT_NETWORK,
            causes.GATEWAY_SERVICE_WITHOUT_ADDRESS,
            causes.POD_WITHOUT_NETWORK,
        )
    return (causes.MESH_NETWORKS_WITHOUT_GATEWAY, causes.MESH_NETWORKS_REGISTRY_WRONG)


def far_endpoint_unreachable(mode: NetworkMode) -> tuple[Cause, ...]:
    """Why requests to another network's endpoint come to nothing, whatever address that is."""
    return (
        *far_pods_dialled(mode),
        causes.GATEWAY_ADDRESS_WRONG,
        causes.SERVICES_NOT_EXPOSED,
        causes.GATEWAY_NOT_SERVING,
    )


def far_version_missing(mode: NetworkMode) -> tuple[Cause, ...]:
    """Why only the near version answers: a sidecar sends a request that cannot leave to a near pod instead."""
    return (causes.REMOTE_SECRET_MISSING, causes.REMOTE_SECRET_REFUSED, *far_endpoint_unreachable(mode))


def near_version_missing() -> tuple[Cause, ...]:
    """Why only the far version answers."""
    return (
        causes.REMOTE_SECRET_MISSING,
        causes.REMOTE_SECRET_REFUSED,
        causes.LOCALITY_PREFERRED,
        causes.PODS_NOT_SERVING,
    )


def not_answered(lost: Collection[Reply]) -> tuple[Cause, ...]:
    """Why pods of the client's own network do not answer, by the status of what came instead."""
    forbidden = [reply.status == _FORBIDDEN for reply in lost]
    if all(forbidden):
        return (causes.POLICY_DENIES,)
    if any(forbidden):
        return (causes.POLICY_DENIES, causes.PODS_NOT_SERVING)
    return (causes.PODS_NOT_SERVING,)
