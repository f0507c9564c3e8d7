"""The access log of the clients' sidecars: switched off, or in an unknown format."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from splithorizon.diagnosis import causes, scope, state
from splithorizon.diagnosis.finding import Case, Fact, Finding, Layer, of, rule, shown
from splithorizon.diagnosis.reading.model import Cluster, Object, Reading, labels_of, name_of, namespace_of, spec_of

_FOLLOWS = frozenset({causes.ACCESS_LOG_OFF.id, causes.ACCESS_LOG_FORMAT_UNKNOWN.id, causes.LOG_LINES_DROPPED.id})
_STDOUT = "/dev/stdout"
# Istio's own provider, which writes to standard output.
_FILE = {"name": "envoy"}

Telemetries: TypeAlias = Sequence[tuple[Object, int, Mapping[str, Any]]]
"""Telemetries with the number and the content of one of their ``accessLogging``."""


def _telemetries(reading: Reading, plane: Cluster) -> Iterator[tuple[Object, int, Mapping[str, Any]]]:
    """What the Telemetries say of access logs that bind a client."""
    root = state.root_namespace(reading, plane)
    clients = [
        (proxy.namespace, labels_of(pod))
        for cluster in state.managed_by(reading, plane)
        for proxy in cluster.of("client")
        if (pod := cluster.get("Pod", proxy.pod, proxy.namespace))
    ]
    for one in plane.all("Telemetry"):
        if any(scope.binds(one, root, namespace, labels) for namespace, labels in clients):
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
        found = state.config_map(reading, plane)
        if found is None:
            continue
        telemetries = list(_telemetries(reading, plane))
        yield from _switched_off(case, plane, found, telemetries)
        yield from _unknown_format(case, plane, found, telemetries)


def _switched_off(case: Case, plane: Cluster, config_map: Object, telemetries: Telemetries) -> Iterator[Finding]:
    reading, config = case.reading, state.mesh_config(case.reading, plane)
    clients = [proxy for cluster in state.managed_by(reading, plane) for proxy in cluster.of("client")]
    read = any("listeners" in proxy.read for proxy in clients)
    written = any(path == _STDOUT for path, _ in _formats(reading, plane))
    silent = "no client's Envoy writes an access log to standard output" if read and not written else ""
    witness = silent and case.suspected(causes.ACCESS_LOG_OFF)
    for one, number, logging in telemetries:
        if logging.get("disabled"):
            yield _finding(
                causes.ACCESS_LOG_OFF,
                Fact(of(plane, one), f"spec.accessLogging[{number}].disabled", shown(True)),
                fix=f"kubectl <{plane.name}> -n {namespace_of(one)} delete telemetry {name_of(one)}",
                witness=witness,
            )
        elif others := [str(each.get("name")) for each in logging.get("providers") or [] if each != _FILE]:
            # Providers of a Telemetry take the place of the mesh's own file.
            yield _finding(
                causes.ACCESS_LOG_OFF,
                Fact(of(plane, one), f"spec.accessLogging[{number}].providers", shown(others)),
                fix=f"add the provider {_FILE['name']} to Telemetry {name_of(one)} of {namespace_of(one)}",
                witness=witness,
            )
    if not config.get("accessLogFile") and not telemetries:
        value = config.get("accessLogFile", "") or '""'
        yield _finding(
            causes.ACCESS_LOG_OFF,
            Fact(of(plane, config_map), "data.mesh.accessLogFile", shown(value)),
            fix="set accessLogFile: /dev/stdout in the mesh configuration",
            witness=witness,
        )


def _unknown_format(case: Case, plane: Cluster, config_map: Object, telemetries: Telemetries) -> Iterator[Finding]:
    config, logs = state.mesh_config(case.reading, plane), _formats(case.reading, plane)
    asked = case.suspected(causes.ACCESS_LOG_FORMAT_UNKNOWN)
    where = of(plane, config_map)
    if text := config.get("accessLogFormat"):
        yield _finding(
            causes.ACCESS_LOG_FORMAT_UNKNOWN,
            Fact(where, "data.mesh.accessLogFormat", shown(text)),
            fix="take accessLogFormat out of the mesh configuration",
            witness=asked and _written(logs, text),
        )
    providers = {str(one.get("name")): one for one in config.get("extensionProviders") or []}
    for one, number, logging in telemetries:
        for provider in logging.get("providers") or []:
            name = provider.get("name")
            settings = (providers.get(str(name)) or {}).get("envoyFileAccessLog") or {}
            if text := settings.get("logFormat"):
                field = f"data.mesh.extensionProviders {name}.envoyFileAccessLog.logFormat"
                yield _finding(
                    causes.ACCESS_LOG_FORMAT_UNKNOWN,
                    Fact(of(plane, one), f"spec.accessLogging[{number}].providers", shown(name)),
                    Fact(where, field, shown(text)),
                    fix=f"kubectl <{plane.name}> -n {namespace_of(one)} delete telemetry {name_of(one)}",
                    witness=asked and _written(logs, text),
                )


def _written(logs: list[tuple[str, Any]], text: Any) -> str:
    wanted = text.get("text", "") if isinstance(text, dict) else str(text)
    if any(str(wanted).strip() in str(found) for _, found in logs if wanted) or (isinstance(text, dict) and logs):
        return "the clients' Envoys write that format"
    return ""


def _finding(cause: causes.Cause, *facts: Fact, fix: str, witness: str) -> Finding:
    return Finding(cause, Layer.LOG, facts, fix, witness, _FOLLOWS)
