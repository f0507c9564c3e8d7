"""Names that Istio gives: namespaces, labels, ConfigMaps, ports, and what follows from a revision."""

from __future__ import annotations

SYSTEM_NAMESPACE = "istio-system"
EASTWEST_GATEWAY = "istio-eastwestgateway"
GATEWAY_PORT = 15443
DEFAULT_DOMAIN = "cluster.local"
NETWORK_LABEL = "topology.istio.io/network"
CLUSTER_LABEL = "topology.istio.io/cluster"
NO_CLUSTER = ""
"""The cluster id that istiod gives to a gateway of meshNetworks, which belongs to none."""
CONTROL_PLANE_ANNOTATION = "topology.istio.io/controlPlaneClusters"
"""On a system namespace: the ids of the clusters whose istiod may manage the cluster."""
EXPORTED_SERVICES_ONLY = "ENABLE_MCS_SERVICE_DISCOVERY"
"""In istiod's environment: Services of other clusters count only where a ServiceExport says so."""
REVISION_LABEL = "istio.io/rev"
GATEWAY_PORT_LABEL = "networking.istio.io/gatewayPort"
"""On a gateway's Service: its port for other networks, where it is not ``GATEWAY_PORT``."""
PROXY_CONFIG_ANNOTATION = "proxy.istio.io/config"
"""On a pod: settings of its proxy, as YAML."""
ROOT_CONFIG_MAP = "istio-ca-root-cert"
"""istiod writes its root certificate into every namespace under this name; pods with a sidecar mount it."""


def is_default_revision(revision: str) -> bool:
    """Whether an istiod of this revision is the one that is meant where none is named."""
    return revision in {"", "default"}


def revision_name(revision: str) -> str:
    """The value of ``REVISION_LABEL`` for an istiod of this revision."""
    return revision or "default"


def istiod_of(revision: str) -> str:
    """The name of the Deployment and of the Service of an istiod of this revision."""
    return "istiod" if is_default_revision(revision) else f"istiod-{revision}"


INJECTOR_VALUES = "values"
"""The key of the injector's ConfigMap under which it has Helm's values, as JSON."""


def injector_config_map_of(revision: str) -> str:
    """The name of the ConfigMap by which an istiod of this revision injects sidecars."""
    return "istio-sidecar-injector" if is_default_revision(revision) else f"istio-sidecar-injector-{revision}"


def config_map_of(revision: str) -> str:
    """The name of the ConfigMap that an istiod of this revision reads."""
    return "istio" if is_default_revision(revision) else f"istio-{revision}"


NO_TRUST_DOMAIN = "spiffe:///"
"""How an identity begins that lacks the trust domain. No certificate has one."""
