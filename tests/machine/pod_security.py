"""Pod Security ``restricted`` as the default of a kind cluster's API server, as a platform team has it everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

_IN_NODE = "/etc/kubernetes/admission"
_FILE = "admission.yaml"


def restrict(configuration: Path, *, exempt: Sequence[str]) -> None:
    """Change kind's configuration of a cluster: its API server refuses what ``restricted`` forbids.

    The namespaces in ``exempt`` take every pod. The file for the API server is written beside the configuration, and
    has to stay there until the cluster is created.
    """
    folder = configuration.with_suffix(".admission")
    folder.mkdir()
    (folder / _FILE).write_text(yaml.safe_dump(_admission(exempt)))
    document = yaml.safe_load(configuration.read_text())
    document.setdefault("kubeadmConfigPatches", []).append(yaml.safe_dump(_PATCH))
    mount = {"hostPath": str(folder), "containerPath": _IN_NODE, "readOnly": True}
    for node in document["nodes"]:
        node.setdefault("extraMounts", []).append(mount)
    configuration.write_text(yaml.safe_dump(document))


def _admission(exempt: Sequence[str]) -> dict[str, object]:
    levels = {part: value for mode in ("enforce", "audit", "warn")
              for part, value in ((mode, "restricted"), (f"{mode}-version", "latest"))}  # fmt: skip
    configuration = {
        "apiVersion": "pod-security.admission.config.k8s.io/v1",
        "kind": "PodSecurityConfiguration",
        "defaults": levels,
        "exemptions": {"namespaces": list(exempt)},
    }
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodSecurity", "configuration": configuration}],
    }


_PATCH = {
    "kind": "ClusterConfiguration",
    "apiServer": {
        "extraArgs": {"admission-control-config-file": f"{_IN_NODE}/{_FILE}"},
        "extraVolumes": [
            {
                "name": "admission",
                "hostPath": _IN_NODE,
                "mountPath": _IN_NODE,
                "readOnly": True,
                "pathType": "Directory",
            }
        ],
    },
}
