"""Faults of what is carried besides small requests."""

from __future__ import annotations

from contextlib import ExitStack

from proof.faults.registry import fault
from splithorizon.base.paths import MANIFESTS
from splithorizon.diagnosis import causes
from splithorizon.kube import manifests
from splithorizon.mesh.mesh import Mesh
from splithorizon.undo import mutations

_FAULTS = MANIFESTS / "faults"


@fault(
    "test_large_bodies_arrive_whole",
    cause=causes.BODY_LIMITED,
    root_cause=causes.BODY_LIMITED,
    cites=[("EnvoyFilter primary/sample/bodies-limited", "max_request_bytes", "65536")],
)
def bodies_limited(mesh: Mesh, undo: ExitStack) -> None:
    """A filter in helloworld's sidecars refuses bodies of more than 64 KiB."""
    mesh.apply_rules(_FAULTS / "bodies-limited.yaml", undo)


@fault(
    "test_http2_stays_http2",
    "test_tcp_is_passed_on_unread",
    "test_grpc_calls_are_answered",
    cause=causes.PORT_MISNAMED,
    root_cause=causes.PORT_MISNAMED,
    cites=[
        ("Service primary/sample/echo", "spec.ports", "http-"),
        ("Service remote/sample/echo", "spec.ports", "http-"),
    ],
)
def ports_misnamed(mesh: Mesh, undo: ExitStack) -> None:
    """Every port of the Service echo says http in its name, in both clusters."""
    (echo,) = manifests.load(MANIFESTS / "workloads" / "echo-service.yaml")
    ports = [{**port, "name": f"http-{number}"} for number, port in enumerate(echo["spec"]["ports"])]
    for cluster in mesh:
        name, namespace = echo["metadata"]["name"], mesh.info.namespace
        mutations.patch(cluster.kube, "Service", name, namespace, {"spec": {"ports": ports}}, undo)


@fault(
    "test_long_waits_are_waited_out",
    cause=causes.REQUEST_TIME_LIMITED,
    root_cause=causes.REQUEST_TIME_LIMITED,
    cites=[("VirtualService primary/sample/requests-limited", "spec.http[0].timeout", "5s")],
)
def requests_limited(mesh: Mesh, undo: ExitStack) -> None:
    """A VirtualService gives requests to echo 5 seconds."""
    mesh.apply_rules(_FAULTS / "requests-limited.yaml", undo)


@fault(
    "test_silent_connections_stay_open",
    cause=causes.SILENCE_LIMITED,
    root_cause=causes.SILENCE_LIMITED,
    cites=[("DestinationRule primary/sample/silence-limited", "connectionPool.tcp.idleTimeout", "5s")],
)
def silence_limited(mesh: Mesh, undo: ExitStack) -> None:
    """A DestinationRule closes connections to echo that are silent for 5 seconds."""
    mesh.apply_rules(_FAULTS / "silence-limited.yaml", undo)
