"""With which credentials istiods watch other clusters, how long these last, and what they allow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus

from splithorizon.base.timeouts import current as timeouts
from splithorizon.istio import remote_credential
from splithorizon.istio.remote_credential import RemoteCredential, Right
from splithorizon.istio.topology import Watch
from splithorizon.kube.api_server import Refused
from splithorizon.kube.client import Object
from splithorizon.mesh.cluster import Cluster
from splithorizon.mesh.mesh import Mesh


@dataclass(frozen=True)
class RemoteAccess:
    """The credential of one watch, and how the watched cluster's API server answers it.

    ``credential`` is None where no remote secret has the watched cluster's id. ``status`` is the HTTP status of the
    access reviews: 201 where all were answered, 0 where none was asked or answered.
    """

    watch: Watch
    credential: RemoteCredential | None = None
    status: int = 0
    asked: tuple[Right, ...] = ()
    denied: tuple[Right, ...] = ()


def of_mesh(mesh: Mesh) -> list[RemoteAccess]:
    """Every watch of a mesh, with the credential in its remote secret; the token is left out of the result.

    The watched API server is asked at the address of its own context: the secret's may be one for istiod alone. Raises
    Refused where the secrets may not be read.
    """
    return [_access(mesh, watch) for watch in mesh.watches]


def _access(mesh: Mesh, watch: Watch) -> RemoteAccess:
    watching, watched = mesh.holding_secrets_of(watch.watching), mesh[watch.watched]
    secrets = watching.kube.list("Secret", watching.system_namespace, "istio/multiCluster=true")
    found = [one for one in remote_credential.of_secrets(secrets) if one.cluster_id == watched.info.cluster_id]
    if not found:
        return RemoteAccess(watch)
    credential = found[0]
    if not credential.token:
        return RemoteAccess(watch, credential)
    role = _role(watched, mesh.info.revision_of(watch.watched))
    rights = sorted(remote_credential.needed() | remote_credential.rights_of(role))
    status, allowed = watched.kube.reviewed_for(
        credential.token, [one.attributes for one in rights], within=timeouts().access_reviewed
    )
    # Fewer answers than questions where the API server ended the reviews, which the status says.
    denied = tuple(right for right, granted in zip(rights, allowed, strict=False) if not granted)
    return RemoteAccess(watch, replace(credential, token=""), status, tuple(rights), denied)


def _role(watched: Cluster, revision: str) -> Object | None:
    """The role of the reader account; None where there is none of its name, or where it may not be read."""
    name = remote_credential.reader_role_of(revision, watched.system_namespace)
    try:
        return watched.kube.get("ClusterRole", name)
    except Refused as refused:
        if refused.status != HTTPStatus.FORBIDDEN:
            raise
        return None
