"""Why a pod or a deployment is not ready, in one line: what Kubernetes complained of, and where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Object = dict[str, Any]


def of_pod(pod: Object, events: Iterable[Object], lasting: Sequence[Object], states: Mapping[str, Object]) -> str:
    """Explain a pod: its first warning, then each container that holds it up.

    ``lasting`` are the containers that are to keep running, ``states`` all containers' by name.
    """
    metadata, status = pod["metadata"], pod.get("status", {})
    conditions = status.get("conditions") or []
    once = [one for one in pod["spec"].get("initContainers") or [] if one not in lasting]
    waited_for = [one for one in [*once, *lasting] if not states.get(one["name"], {}).get("ready")]
    good = sum(one not in waited_for for one in lasting)
    if states and good < len(lasting):
        blame = [_container(one, states.get(one["name"], {})) for one in waited_for]
    else:
        # No container has begun, or all are ready: not scheduled, evicted, a readiness gate.
        blame = [_unmet(one) for one in conditions if one["status"] != "True"]
    parts = [
        f"{good} of {len(lasting)} containers ready, phase {status.get('phase', 'unknown')}",
        "being deleted" if "deletionTimestamp" in metadata else "",
        _first_warning(event for event in events if _is_about(event, "Pod", metadata["name"])),
        *blame,
    ]
    return "; ".join(filter(None, parts))


def of_deployment(deployment: Object, events: Sequence[Object], unready: Sequence[str]) -> str:
    """Explain a deployment: its own first warning, its bad conditions, its first pod not ready."""
    name, status = deployment["metadata"]["name"], deployment.get("status", {})
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    conditions = status.get("conditions") or []
    own = (one for one in events if _is_about(one, "Deployment", name) or _is_about_set(one, name))
    parts = [
        f"{ready} of {deployment['spec'].get('replicas', 1)} replicas ready, {updated} updated",
        _first_warning(own),
        *(_unmet(one) for one in conditions if _is_bad(one)),
        *unready[:1],
    ]
    return "; ".join(filter(None, parts))


def _is_bad(condition: Object) -> bool:
    return bool(condition["status"] == str(condition["type"] == "ReplicaFailure"))


def _unmet(condition: Object) -> str:
    told = f"{condition['type']} is {condition['status']}"
    return ": ".join(filter(None, [told, condition.get("reason"), condition.get("message")]))


def _container(container: Object, status: Object) -> str:
    """Tell what a container does instead of being ready, how it ended before, and its image."""
    told = [f"container {container['name']} ({container['image']})"]
    now = status.get("state") or {"waiting": {}}
    told += [f"{state}{_facts(facts)}" for state, facts in now.items()]
    if before := (status.get("lastState") or {}).get("terminated"):
        told.append(f"ended before{_facts(before)}")
    if restarts := status.get("restartCount"):
        told.append(f"restarts: {restarts}")
    return ", ".join(told)


def _facts(state: Object) -> str:
    ended = f"exit {state['exitCode']}" if "exitCode" in state else ""
    words = [state.get("reason", ""), ended, state.get("message", "").strip()]
    return f" ({': '.join(filter(None, words))})" if any(words) else ""


def _is_about(event: Object, kind: str, name: str) -> bool:
    involved = event["involvedObject"]
    return bool(involved.get("kind") == kind and involved.get("name") == name)


def _is_about_set(event: Object, deployment: str) -> bool:
    """Whether the event is about a replica set of the deployment: ``<deployment>-<hash>``."""
    involved = event["involvedObject"]
    owner, _, _ = involved.get("name", "").rpartition("-")
    return bool(involved.get("kind") == "ReplicaSet" and owner == deployment)


def _first_warning(events: Iterable[Object]) -> str:
    warnings = sorted((one for one in events if one.get("type") == "Warning"), key=_first_seen)
    if not warnings:
        return ""
    return f"first warning {warnings[0].get('reason')}: {warnings[0].get('message', '').strip()}"


def _first_seen(event: Object) -> str:
    return str(event.get("firstTimestamp") or event["metadata"].get("creationTimestamp", ""))
