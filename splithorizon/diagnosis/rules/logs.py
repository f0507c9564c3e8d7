"""The access log of the clients' sidecars: switched off, or in a format of somebody's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from splithorizon.diagnosis import causes, scope, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import Cluster, Object, Reading, labels_of, name_of, namespace_of, spec_of

_FOLLOWS = frozenset({causes.ACCESS_LOG_OFF.id, causes.ACCESS_LOG_FORMAT_UNKNOWN.id, causes.LOG_LINES_DROPPED.id})
_STDOUT = "/dev/stdout"


def _telemetries(reading: Reading, plane: Cluster) -> Iterator[tuple[Object, int, Mapping[str, Any]]]:
    """What the Telemetries say of access logs that bind a client."""
    root = state.root_namespace(reading, plane)
    clients = [
        labels_of(pod)
        for cluster in reading.clusters
        if cluster.control_plane == plane.name
        for proxy in cluster.of("client")
        if (pod := cluster.get("Pod", proxy.pod, proxy.namespace))
    ]
    for one in plane.all("Telemetry"):
        if any(scope.binds(one, root, reading.namespace, labels) for labels in clients):
            for number, logging in enumerate(spec_of(one).get("accessLogging") or []):
                yield one, number, logging


def _formats(reading: Reading, plane: Cluster) -> list[tuple[str, Any]]:
    """The path and format of every file access log that the clients of a control plane write, by their Envoys."""
    return [
        (str(log.get("path", "")), log.get("format"))
        for cluster in reading.clusters
        if cluster.control_plane == plane.name
        for proxy in cluster.of("client")
        for listener in proxy.listeners
        for chain in listener["chains"]
        for log in chain["access_log"]
        if log.get("path")
    ]


@rule
def access_log(case: Case) -> Iterator[Finding]:
    """The mesh configuration or a Telemetry switches the access log off, or gives it another format."""
    reading = case.reading
    for plane in reading.config_clusters:
        config = state.mesh_config(reading, plane)
        found = state.config_map(reading, plane)
        if found is None:
            continue
        where = of(plane, found)
        logs = _formats(reading, plane)
        read = any("listeners" in proxy.read for cluster in reading.clusters for proxy in cluster.of("client"))
        silent = (
            "no client's Envoy writes an access log to standard output"
            if read and not [one for one in logs if one[0] == _STDOUT]
            else ""
        )
        asked = case.suspected(causes.ACCESS_LOG_OFF)
        telemetries = list(_telemetries(reading, plane))
        for one, number, logging in telemetries:
            if logging.get("disabled"):
                yield _finding(
                    causes.ACCESS_LOG_OFF,
                    of(plane, one),
                    f"spec.accessLogging[{number}].disabled",
                    True,
                    f"kubectl <{plane.name}> -n {namespace_of(one)} delete telemetry {name_of(one)}",
                    silent and asked,
                )
        if not config.get("accessLogFile") and not telemetries:
            yield _finding(
                causes.ACCESS_LOG_OFF,
                where,
                "data.mesh.accessLogFile",
                config.get("accessLogFile", "") or '""',
                "set accessLogFile: /dev/stdout in the mesh configuration",
                silent and asked,
            )
        unknown = case.suspected(causes.ACCESS_LOG_FORMAT_UNKNOWN)
        if text := config.get("accessLogFormat"):
            yield _finding(
                causes.ACCESS_LOG_FORMAT_UNKNOWN,
                where,
                "data.mesh.accessLogFormat",
                text,
                "take accessLogFormat out of the mesh configuration",
                unknown and _written(logs, text),
            )
        providers = {str(one.get("name")): one for one in config.get("extensionProviders") or []}
        for one, number, logging in telemetries:
            for provider in logging.get("providers") or []:
                settings = (providers.get(str(provider.get("name"))) or {}).get("envoyFileAccessLog") or {}
                if text := settings.get("logFormat"):
                    finding = _finding(
                        causes.ACCESS_LOG_FORMAT_UNKNOWN,
                        of(plane, one),
                        f"spec.accessLogging[{number}].providers",
                        provider.get("name"),
                        f"kubectl <{plane.name}> -n {namespace_of(one)} delete telemetry {name_of(one)}",
                        unknown and _written(logs, text),
                        Fact(
                            where,
                            f"data.mesh.extensionProviders {provider.get('name')}.envoyFileAccessLog.logFormat",
                            shown(text),
                        ),
                    )
                    yield finding


def _written(logs: list[tuple[str, Any]], text: Any) -> str:
    wanted = text.get("text", "") if isinstance(text, dict) else str(text)
    if any(str(wanted).strip() in str(found) for _, found in logs if wanted) or (isinstance(text, dict) and logs):
        return "the clients' Envoys write that format"
    return ""


def _finding(cause: causes.Cause, where: str, field: str, value: Any, fix: str, witness: str, *more: Fact) -> Finding:
    return Finding(cause, Layer.LOG, (Fact(where, field, shown(value)), *more), fix, witness, _FOLLOWS)
