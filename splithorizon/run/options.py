"""The options of a run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from splithorizon.istio.topology import PRIMARY_REMOTE, Topology
from splithorizon.run.catalogue import EVERYDAY


@dataclass(frozen=True)
class Options:
    """The options of a run. pytest's side sets them from the command line; this package does not parse one."""

    provider: str = "auto"
    images: str = "auto"
    rebuild: bool = False
    istio_version: str | None = None
    kubernetes_version: str | None = None
    hub: str | None = None
    sample_hub: str | None = None
    image: tuple[str, ...] = ()
    pull_secret: str = ""
    namespace: str = ""
    """A namespace of every cluster of ``contexts``, for the run's objects; empty for one that the run creates."""
    namespace_label: tuple[str, ...] = ()
    overlay: Path | None = None
    kind_image: str | None = None
    kind: Path | None = None
    kubectl: Path | None = None
    istioctl: Path | None = None
    cluster_name: str = "splithorizon"
    topology: Topology = PRIMARY_REMOTE
    """The clusters that are made; what ``contexts`` lead to is read."""
    keep: bool = False
    snapshot_before_install: bool = False
    mesh: Path | None = None
    contexts: tuple[str, ...] = ()
    kubeconfig: Path | None = None
    kubeconfig_primary: Path | None = None
    kubeconfig_remote: Path | None = None
    istiod_context: str = ""
    """The cluster of an external control plane; empty where istiod runs in one of ``contexts``, or is not read."""
    revision: str = ""
    allow_disruption: bool = False
    profiles: tuple[str, ...] = EVERYDAY
    exempt: tuple[str, ...] = ()
    reuse: bool = False
    ca_dir: Path | None = None
    gateway_address: str = "auto"
    network_mode: str = "labels"
    access_log_encoding: str = "text"
    requests: int = 1000
    timeout_scale: float = 1.0
    dry_run: bool = False
    expired: bool = False
    """Whether a sweep of an existing mesh removes expired namespaces alone."""
    metrics: Path | None = None
    json: bool = False
    """Whether the report is printed too."""
    reports: Path = Path("reports")
    baseline: str | None = None
    diagnostics: str = "failure"
    pause_on_fail: bool = False
    watch: bool = False
    watch_seconds: float | None = None
    rate: int = 20
    budget: str = ""
    upgrade_to: str | None = None
    upgrade_style: str = "in-place"
    upgrade_istioctl: Path | None = None
    upgrade_back: bool = False
    allow_skew: bool = False
    rotate_root: bool = False

    keep_on_failure: bool = False
    """Whether the clusters that the run makes stay where it is not conformant, or its set-up broke."""

    @property
    def outlived(self) -> bool:
        """Whether the mesh still exists after the run, whatever its verdict."""
        return bool(self.keep or self.reuse or self.contexts or self.mesh)

    def as_report(self) -> dict[str, Any]:
        """The options as values for JSON."""
        return {one.name: _plain(getattr(self, one.name)) for one in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value) if isinstance(value, Path | Topology) else value
