"""Why a pod or a Deployment is not ready, in one line: conditions, container states and the first warning event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Object = dict[str, Any]


def of_pod(pod: Object, events: Iterable[Object], containers: Sequence[Object], states: Mapping[str, Object]) -> str:
    """Explain a pod: its first warning event, then each container that is not ready.

    ``containers`` have to keep running. ``states`` are the statuses of all containers, by name.
    """
    metadata, status = pod["metadata"], pod.get("status", {})
    conditions = status.get("conditions") or []
    init = [container for container in pod["spec"].get("initContainers") or [] if container not in containers]
    unready = [container for container in [*init, *containers] if not states.get(container["name"], {}).get("ready")]
    ready_count = sum(container not in unready for container in containers)
    if states and ready_count < len(containers):
        reasons = [_container(container, states.get(container["name"], {})) for container in unready]
    else:
        # No container has started, or all are ready: the pod is not scheduled, evicted or has a readiness gate.
        reasons = [_condition(condition) for condition in conditions if condition["status"] != "True"]
    parts = [
        f"{ready_count} of {len(containers)} containers ready, phase {status.get('phase', 'unknown')}",
        "being deleted" if "deletionTimestamp" in metadata else "",
        _first_warning(event for event in events if _is_about(event, "Pod", metadata["name"])),
        *reasons,
    ]
    return "; ".join(filter(None, parts))


def of_deployment(deployment: Object, events: Sequence[Object], unready: Sequence[str]) -> str:
    """Explain a Deployment: its first warning event, its bad conditions and its first pod that is not ready."""
    name, status = deployment["metadata"]["name"], deployment.get("status", {})
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    conditions = status.get("conditions") or []
    own = (event for event in events if _is_about(event, "Deployment", name) or _is_about_replica_set(event, name))
    parts = [
        f"{ready} of {deployment['spec'].get('replicas', 1)} replicas ready, {updated} updated",
        _first_warning(own),
        *(_condition(condition) for condition in conditions if _is_bad(condition)),
        *unready[:1],
    ]
    return "; ".join(filter(None, parts))


def _is_bad(condition: Object) -> bool:
    return bool(condition["status"] == str(condition["type"] == "ReplicaFailure"))


def _condition(condition: Object) -> str:
    state = f"{condition['type']} is {condition['status']}"
    return ": ".join(filter(None, [state, condition.get("reason"), condition.get("message")]))


def _container(container: Object, status: Object) -> str:
    """The image of a container, its state, and how it ended before a restart."""
    parts = [f"container {container['name']} ({container['image']})"]
    now = status.get("state") or {"waiting": {}}
    parts += [f"{state}{_details(details)}" for state, details in now.items()]
    if before := (status.get("lastState") or {}).get("terminated"):
        parts.append(f"terminated before{_details(before)}")
    if restarts := status.get("restartCount"):
        parts.append(f"restarts: {restarts}")
    return ", ".join(parts)


def _details(state: Object) -> str:
    ended = f"exit {state['exitCode']}" if "exitCode" in state else ""
    words = [state.get("reason", ""), ended, state.get("message", "").strip()]
    return f" ({': '.join(filter(None, words))})" if any(words) else ""


def _is_about(event: Object, kind: str, name: str) -> bool:
    involved = event["involvedObject"]
    return bool(involved.get("kind") == kind and involved.get("name") == name)


def _is_about_replica_set(event: Object, deployment: str) -> bool:
    """Whether the event is about a ReplicaSet of the Deployment: ``<deployment>-<hash>``."""
    involved = event["involvedObject"]
    owner, _, _ = involved.get("name", "").rpartition("-")
    return bool(involved.get("kind") == "ReplicaSet" and owner == deployment)


def _first_warning(events: Iterable[Object]) -> str:
    warnings = sorted((event for event in events if event.get("type") == "Warning"), key=_first_seen)
    if not warnings:
        return ""
    return f"first warning {warnings[0].get('reason')}: {warnings[0].get('message', '').strip()}"


def _first_seen(event: Object) -> str:
    return str(event.get("firstTimestamp") or event["metadata"].get("creationTimestamp", ""))
