"""What the user says of the run's pods and namespaces in an existing mesh."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from splithorizon.base.errors import UsageProblem
from splithorizon.istio.names import REVISION_LABEL
from splithorizon.kube import manifests
from splithorizon.kube.client import Kube, Object
from splithorizon.run import arguments
from splithorizon.run.options import Options
from splithorizon.traffic import workloads
from splithorizon.undo import ownership

_LABEL = re.compile(r"(?P<key>([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)=(?P<value>[A-Za-z0-9._-]*)")
_OURS = (REVISION_LABEL, ownership.MANAGED_BY, ownership.RUN, ownership.HOST, ownership.EXPIRES)
_CONTAINERS = (workloads.SERVICE, workloads.CLIENT)


def namespace_labels(options: Options) -> dict[str, str]:
    """The labels of ``--namespace-label``; raises UsageProblem for what is none, and for a label of the run's own."""
    found = {}
    for text in options.namespace_label:
        match = _LABEL.fullmatch(text)
        if match is None:
            raise _problem("namespace-label", text, "a label is needed, KEY=VALUE")
        if match["key"] in _OURS:
            raise _problem("namespace-label", text, "the run sets that label itself")
        found[match["key"]] = match["value"]
    return found


def images(options: Options) -> dict[str, str]:
    """The images of ``--image``, by name; raises UsageProblem for a name that no image has."""
    found = {}
    for text in options.image:
        name, _, reference = text.partition("=")
        if name not in workloads.IMAGES or not reference:
            raise _problem("image", text, f"NAME=REF is needed, where NAME is one of {', '.join(workloads.IMAGES)}")
        found[name] = reference
    return found


def overlay(options: Options) -> Mapping[str, Any]:
    """The patch of ``--overlay``; raises UsageProblem where it is none for pods, or for an unknown container."""
    if options.overlay is None:
        return {}
    try:
        documents = manifests.load(options.overlay)
    except UsageProblem as problem:
        raise UsageProblem(f"--overlay {problem}. Nothing was created.") from None
    where = str(options.overlay)
    if len(documents) != 1 or not documents[0].keys() <= {"metadata", "spec"}:
        raise _problem("overlay", where, "one document with metadata and spec of a pod is needed")
    (patch,) = documents
    for container in (patch.get("spec") or {}).get("containers") or []:
        if not isinstance(container, dict) or container.get("name") not in _CONTAINERS:
            raise _problem("overlay", where, f"a container's name is needed, one of {', '.join(_CONTAINERS)}")
    return patch


def pull_secret_name(options: Options) -> tuple[str, str]:
    """The namespace and name of ``--pull-secret``; raises UsageProblem for a text that has not both."""
    found = arguments.namespaced_name(options.pull_secret)
    if found is None:
        raise _problem("pull-secret", options.pull_secret, "NAMESPACE/NAME is needed")
    return found


def pull_secret(options: Options, kubes: Mapping[str, Kube]) -> dict[str, Object]:
    """The Secret of ``--pull-secret`` as each cluster gets it in the run's namespace; empty without the option.

    In a namespace that was there before the run it has to be there, and is only named.

    Raises UsageProblem where a cluster has no such Secret, or it is of another type.
    """
    if not options.pull_secret:
        return {}
    namespace, name = pull_secret_name(options)
    if options.namespace and namespace != options.namespace:
        raise _problem(
            "pull-secret", options.pull_secret,
            f"a Secret of namespace {options.namespace} is needed: in a namespace that is there none is copied",
        )  # fmt: skip
    found = {}
    for cluster, kube in kubes.items():
        secret = kube.get("Secret", name, namespace)
        if secret is None:
            raise _problem("pull-secret", options.pull_secret, f"the {cluster} has no such Secret")
        if not str(secret.get("type", "")).startswith("kubernetes.io/dockercfg") and not str(
            secret.get("type", "")
        ).startswith("kubernetes.io/dockerconfigjson"):
            raise _problem("pull-secret", options.pull_secret, f"the {cluster}'s Secret is none for registries")
        found[cluster] = {
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": secret["type"],
            "data": secret.get("data") or {},
        }  # fmt: skip
    return found


def _problem(option: str, text: str, why: str) -> UsageProblem:
    return UsageProblem(f"--{option} {text}: {why}. Nothing was created.")
