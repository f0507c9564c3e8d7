"""Istio's remote secret: what the primary's istiod needs to watch the remote's API server."""

from __future__ import annotations

import base64
from functools import partial

import yaml

from splithorizon.base.timeouts import current as timeouts
from splithorizon.base.waiting import NotYet, eventually
from splithorizon.kube.client import Kube, Object

NAMESPACE = "istio-system"
READER = "istio-reader-service-account"
_TOKEN_SECRET = f"{READER}-istio-remote-secret-token"


def build(kube: Kube, *, cluster_id: str, server: str) -> Object:
    """Make the Secret that lets another cluster's istiod watch this one, as istioctl does.

    ``server`` is the API server's URL as that istiod reaches it: the kubeconfig's own is a loopback
    address. Raises TimedOut where Istio's reader account, or its token, does not appear.
    """
    soon = timeouts().object_appears
    # Kubernetes deletes a token Secret at once whose account is not there yet.
    eventually(f"the {kube.cluster} has Istio's reader account", partial(_reader, kube), within=soon)
    kube.apply(token_request())
    claim = f"the {kube.cluster}'s reader account has a token"
    authority, bearer = eventually(claim, partial(token, kube), within=soon, every=0.1)
    kubeconfig = yaml.safe_dump(_kubeconfig(cluster_id, server, authority, bearer))
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"istio-remote-secret-{cluster_id}",
            "namespace": NAMESPACE,
            "labels": {"istio/multiCluster": "true"},
            "annotations": {"networking.istio.io/cluster": cluster_id},
        },
        "data": {cluster_id: base64.b64encode(kubeconfig.encode()).decode()},
    }


def token_of(secret: Object) -> bytes:
    """Read the bearer token out of a remote secret, for the scan that must not find it anywhere."""
    (kubeconfig,) = secret["data"].values()
    bearer: str = yaml.safe_load(base64.b64decode(kubeconfig))["users"][0]["user"]["token"]
    return bearer.encode()


def _reader(kube: Kube) -> None:
    if kube.get("ServiceAccount", READER, NAMESPACE) is None:
        raise NotYet(f"no ServiceAccount {NAMESPACE}/{READER}")


def token_request(name: str = _TOKEN_SECRET, namespace: str = NAMESPACE) -> Object:
    """Make a Secret that Kubernetes fills with a token; since 1.24 it creates none by itself."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "annotations": {"kubernetes.io/service-account.name": READER},
        },
    }


def token(kube: Kube, name: str = _TOKEN_SECRET, namespace: str = NAMESPACE) -> tuple[str, str]:
    """Read the cluster's CA, in base64 as kubeconfigs want it, and the bearer token; raises NotYet without."""
    data = (kube.get("Secret", name, namespace) or {}).get("data", {})
    if not {"ca.crt", "token"} <= data.keys():
        raise NotYet(f"Secret {namespace}/{name} holds {sorted(data) or 'nothing'}")
    return data["ca.crt"], base64.b64decode(data["token"]).decode()


def _kubeconfig(cluster_id: str, server: str, authority: str, token: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster_id,
                "cluster": {"server": server, "certificate-authority-data": authority},
            }
        ],
        "users": [{"name": cluster_id, "user": {"token": token}}],
        "contexts": [{"name": cluster_id, "context": {"cluster": cluster_id, "user": cluster_id}}],
        "current-context": cluster_id,
    }
