"""The rules of a diagnosis, by what they look at. Each registers itself; importing this package imports all."""

from __future__ import annotations

from splithorizon.diagnosis.rules import (  # noqa: F401  # they register themselves
    certificates,
    control_plane,
    destination_rules,
    filters,
    gateways,
    injection,
    latent,
    logs,
    losses,
    mesh_config,
    networks,
    pods,
    policies,
    services,
    sidecar_resources,
    trust,
    versions,
    virtual_services,
)
